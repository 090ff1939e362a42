-- Who may call. Every row is a document, of which the columns beside it are copies to search and join by. Times are microseconds since
-- 1970, UTC. `version` grows with every change; changing it locks the row.

CREATE TABLE budget_template (
    id TEXT NOT NULL PRIMARY KEY,
    created_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    document TEXT NOT NULL
);

CREATE TABLE team (
    id TEXT NOT NULL PRIMARY KEY,
    alias TEXT,
    organisation TEXT,
    budget_id TEXT REFERENCES budget_template,
    created_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    document TEXT NOT NULL
);

CREATE INDEX team_by_alias ON team (alias);
CREATE INDEX team_by_organisation ON team (organisation);
CREATE INDEX team_by_budget ON team (budget_id);

CREATE TABLE app_user (
    id TEXT NOT NULL PRIMARY KEY,
    email TEXT,
    role TEXT,
    budget_id TEXT REFERENCES budget_template,
    created_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    document TEXT NOT NULL
);

CREATE INDEX app_user_by_email ON app_user (email);
CREATE INDEX app_user_by_budget ON app_user (budget_id);

-- A user need not be in `app_user`.
CREATE TABLE team_member (
    team_id TEXT NOT NULL REFERENCES team ON DELETE CASCADE,
    user_id TEXT NOT NULL,
    budget_id TEXT REFERENCES budget_template,
    created_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (team_id, user_id)
);

CREATE INDEX team_member_by_user ON team_member (user_id);
CREATE INDEX team_member_by_budget ON team_member (budget_id);

CREATE TABLE customer (
    id TEXT NOT NULL PRIMARY KEY,
    alias TEXT,
    budget_id TEXT REFERENCES budget_template,
    created_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    document TEXT NOT NULL
);

CREATE INDEX customer_by_budget ON customer (budget_id);

-- The key itself is nowhere.
CREATE TABLE api_key (
    -- SHA-256, hexadecimal.
    hash TEXT NOT NULL PRIMARY KEY,
    -- What its spending is counted under; stays when the hash changes.
    id TEXT NOT NULL UNIQUE,
    alias TEXT UNIQUE,
    user_id TEXT,
    team_id TEXT REFERENCES team ON DELETE CASCADE,
    organisation TEXT,
    budget_id TEXT REFERENCES budget_template,
    created_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    document TEXT NOT NULL
);

CREATE INDEX api_key_by_user ON api_key (user_id);
CREATE INDEX api_key_by_team ON api_key (team_id);
CREATE INDEX api_key_by_organisation ON api_key (organisation);
CREATE INDEX api_key_by_budget ON api_key (budget_id);
