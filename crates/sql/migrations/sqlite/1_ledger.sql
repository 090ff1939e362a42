-- What was spent. Amounts are whole dollars and the rest in pico-dollars (10^-12 USD); times are microseconds since 1970, UTC.

CREATE TABLE journal (
    -- The file of holds that belongs to this database names the same.
    pair BLOB NOT NULL
) STRICT;

CREATE TABLE account (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    scope TEXT NOT NULL,
    -- NULL: all models.
    models TEXT,
    period TEXT NOT NULL
) STRICT;

CREATE INDEX account_by_scope ON account (scope, kind);

-- What was posted to an account in one bucket of its window.
CREATE TABLE spent (
    account INTEGER NOT NULL REFERENCES account,
    bucket INTEGER NOT NULL,
    dollars INTEGER NOT NULL,
    pico INTEGER NOT NULL,
    -- When something was posted last.
    at INTEGER NOT NULL,
    PRIMARY KEY (account, bucket)
) STRICT, WITHOUT ROWID;

CREATE INDEX spent_by_time ON spent (at);

-- How every hold ended.
CREATE TABLE posting (
    id INTEGER PRIMARY KEY,
    hold BLOB NOT NULL UNIQUE,
    call BLOB NOT NULL,
    at INTEGER NOT NULL,
    held_dollars INTEGER NOT NULL,
    held_pico INTEGER NOT NULL,
    dollars INTEGER NOT NULL,
    pico INTEGER NOT NULL,
    -- 1 estimated, 2 usage invalid, 4 incomplete, 8 overrun, 16 unreconciled, 32 unpriced.
    flags INTEGER NOT NULL
) STRICT;

CREATE INDEX posting_by_time ON posting (at);
CREATE INDEX posting_by_call ON posting (call);

-- Where it was posted: the whole amount to every account.
CREATE TABLE posting_line (
    posting INTEGER NOT NULL REFERENCES posting,
    line INTEGER NOT NULL,
    account INTEGER NOT NULL REFERENCES account,
    bucket INTEGER NOT NULL,
    PRIMARY KEY (posting, line)
) STRICT, WITHOUT ROWID;

CREATE INDEX posting_line_by_account ON posting_line (account, bucket);
