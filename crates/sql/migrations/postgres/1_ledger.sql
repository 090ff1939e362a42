-- What was spent and what is set aside. Amounts are pico-dollars (10^-12 USD); times are microseconds since 1970, UTC, by this server's
-- clock unless said otherwise.
--
-- Functions that nodes call plan their statements once for a connection, by the indexes, whatever is in the tables: planning takes longer
-- than running.
--
-- Locks are taken in one order, so that nobody waits in a circle: new accounts by key, in a transaction of their own; then rows of
-- `account` by id; then rows of `hold` by id. Whoever changes `held`, `spent`, a hold's amount or a posting has locked its accounts.

CREATE TABLE account (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- SHA-256 of the names below: they have no longest.
    key BYTEA NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    scope TEXT NOT NULL,
    -- NULL: all models.
    models TEXT,
    period TEXT NOT NULL,
    -- Of a rolling window: nanoseconds of one of its 64 slices.
    slice BIGINT,
    -- Of a window of the calendar: when a period began that was the current one when it was last told, and when the two after it do.
    periods BIGINT[],
    held NUMERIC(39, 0) NOT NULL DEFAULT 0,
    -- What was spent in buckets that were pruned; and how much of it nobody settled.
    past NUMERIC(39, 0) NOT NULL DEFAULT 0,
    past_unreconciled NUMERIC(39, 0) NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE INDEX account_by_scope ON account USING hash (scope);

-- What was posted to an account in one bucket of its window: 0 when that is for ever, the number of a slice since 1970, or the second
-- that a period began in.
CREATE TABLE spent (
    account BIGINT NOT NULL,
    bucket BIGINT NOT NULL,
    amount NUMERIC(39, 0) NOT NULL,
    -- How much of it nobody settled.
    unreconciled NUMERIC(39, 0) NOT NULL,
    -- When something was posted last.
    posted_at BIGINT NOT NULL,
    PRIMARY KEY (account, bucket)
) WITH (fillfactor = 50);

-- What is set aside. A hold ends by becoming a posting.
CREATE TABLE hold (
    id BYTEA PRIMARY KEY,
    call BYTEA NOT NULL,
    amount NUMERIC(39, 0) NOT NULL,
    expires_at BIGINT NOT NULL,
    -- The whole amount is set aside in each.
    accounts BIGINT[] NOT NULL
);

CREATE INDEX hold_by_expiry ON hold (expires_at);

-- How every hold ended. One with the flag 16 was settled by nobody, and can still be.
CREATE TABLE posting (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    hold BYTEA NOT NULL UNIQUE,
    call BYTEA NOT NULL,
    -- By the clock of the node that settled it.
    at BIGINT NOT NULL,
    posted_at BIGINT NOT NULL,
    held NUMERIC(39, 0) NOT NULL,
    amount NUMERIC(39, 0) NOT NULL,
    -- 1 estimated, 2 usage invalid, 4 incomplete, 8 overrun, 16 unreconciled, 32 unpriced.
    flags INTEGER NOT NULL,
    -- What was posted as unreconciled before `amount` took its place, and when that was.
    unreconciled NUMERIC(39, 0),
    corrected_at BIGINT
);

CREATE INDEX posting_by_time ON posting (posted_at);
CREATE INDEX posting_by_call ON posting (call);

-- Where it was posted: the whole amount to every account.
CREATE TABLE posting_line (
    posting BIGINT NOT NULL,
    account BIGINT NOT NULL,
    bucket BIGINT NOT NULL,
    PRIMARY KEY (posting, account)
);

CREATE INDEX posting_line_by_account ON posting_line (account, posting);

-- More money than there is.
CREATE FUNCTION ziggurat_most() RETURNS NUMERIC LANGUAGE sql IMMUTABLE AS
'SELECT 340282366920938463463374607431768211455';

CREATE FUNCTION ziggurat_now() RETURNS BIGINT LANGUAGE sql VOLATILE AS
'SELECT floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint';

-- The bucket that is posted to at a time. When nobody has told the period, it is the first that is not known.
CREATE FUNCTION ziggurat_bucket(slice BIGINT, periods BIGINT[], at BIGINT) RETURNS BIGINT LANGUAGE sql IMMUTABLE AS
'SELECT CASE
    WHEN slice IS NOT NULL THEN at * 1000 / slice
    WHEN periods IS NOT NULL THEN floor(CASE
        WHEN at < periods[2] THEN periods[1]
        WHEN at < periods[3] THEN periods[2]
        ELSE periods[3]
    END / 1000000.0)::bigint
    ELSE 0
END';

-- The oldest bucket that counts at a time.
CREATE FUNCTION ziggurat_oldest(slice BIGINT, periods BIGINT[], at BIGINT) RETURNS BIGINT LANGUAGE sql IMMUTABLE AS
'SELECT ziggurat_bucket(slice, periods, at) - CASE WHEN slice IS NULL THEN 0 ELSE 64 END';

-- What accounts stand at, also those that are not there. `periods` are three times for each account, zeros where it has none.
CREATE FUNCTION ziggurat_standing(p_keys BYTEA[], p_periods BIGINT[], p_at BIGINT)
RETURNS TABLE (n BIGINT, spent NUMERIC, held NUMERIC, resets_at BIGINT) LANGUAGE sql STABLE AS $$
    SELECT k.n,
        least(coalesce(s.amount, 0), ziggurat_most()),
        coalesce(a.held, 0),
        CASE
            WHEN a.slice IS NOT NULL AND s.first IS NOT NULL THEN least(ceil((s.first + 65) * a.slice::numeric / 1000), 9223372036854775807)::bigint
            WHEN k.periods IS NOT NULL THEN CASE WHEN p_at < k.periods[2] THEN k.periods[2] ELSE k.periods[3] END
        END
    FROM (
        SELECT u.key, u.n, CASE WHEN p_periods[3 * u.n] <> 0 THEN p_periods[3 * u.n - 2 : 3 * u.n] END AS periods
        FROM unnest(p_keys) WITH ORDINALITY u (key, n)
    ) k
    LEFT JOIN account a ON a.key = k.key
    LEFT JOIN LATERAL (
        SELECT sum(b.amount) AS amount, min(b.bucket) FILTER (WHERE b.amount > 0) AS first
        FROM spent b
        WHERE b.account = a.id AND b.bucket >= ziggurat_oldest(a.slice, (k.periods)[1:3], p_at)
    ) s ON true
$$;

-- Whether the periods that were told have now in their first two.
CREATE FUNCTION ziggurat_covers(p_periods BIGINT[], p_at BIGINT) RETURNS BOOLEAN LANGUAGE sql IMMUTABLE AS $$
    SELECT NOT EXISTS (
        SELECT 1 FROM generate_series(3, cardinality(p_periods), 3) i
        WHERE p_periods[i] <> 0 AND (p_at < p_periods[i - 2] OR p_at >= p_periods[i])
    )
$$;

-- Makes accounts that are not there.
CREATE FUNCTION ziggurat_accounts(
    p_keys BYTEA[], p_kinds TEXT[], p_scopes TEXT[], p_models TEXT[], p_names TEXT[], p_slices BIGINT[]
) RETURNS void LANGUAGE sql VOLATILE AS $$
    INSERT INTO account (key, kind, scope, models, period, slice)
    SELECT key, kind, scope, models, period, slice
    FROM unnest(p_keys, p_kinds, p_scopes, p_models, p_names, p_slices) u (key, kind, scope, models, period, slice)
    ORDER BY key
    ON CONFLICT (key) DO NOTHING
$$;

-- Locks accounts, those of some keys and others. The verdict is `ok`; `accounts`, when some are to be made first; or `clock`, when
-- the periods that were told are not those of now.
CREATE FUNCTION ziggurat_lock(
    p_keys BYTEA[], p_periods BIGINT[], p_others BIGINT[], p_now BIGINT,
    OUT verdict TEXT, OUT clock BIGINT, OUT ids BIGINT[]
) LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    SELECT coalesce(array_agg(a.id ORDER BY k.n), '{}') INTO ids
    FROM unnest(p_keys) WITH ORDINALITY k (key, n) JOIN account a ON a.key = k.key;
    IF cardinality(ids) < cardinality(p_keys) THEN
        verdict := 'accounts';
        RETURN;
    END IF;
    PERFORM 1 FROM account a WHERE a.id = ANY (ids || p_others) ORDER BY a.id FOR NO KEY UPDATE;
    -- Behind the locks: who waited longer is later.
    clock := coalesce(p_now, ziggurat_now());
    IF cardinality(p_periods) > 0 THEN
        IF NOT ziggurat_covers(p_periods, clock) THEN
            verdict := 'clock';
            RETURN;
        END IF;
        UPDATE account a SET periods = p_periods[3 * i - 2 : 3 * i]
        FROM generate_subscripts(ids, 1) i
        WHERE a.id = ids[i] AND p_periods[3 * i] <> 0
            AND (a.periods IS NULL OR a.periods[3] < p_periods[3 * i] OR clock < a.periods[1]);
    END IF;
    verdict := 'ok';
END
$$;

-- Sets aside as much as fits, under an id that is new; or on top, under one that is open. Verdicts beside those of the locks:
-- `exceeded`, by the account of the number `refused`, and `ended`.
CREATE FUNCTION ziggurat_reserve(
    p_id BYTEA, p_call BYTEA, p_keys BYTEA[], p_periods BIGINT[], p_caps NUMERIC[], p_least NUMERIC, p_most NUMERIC,
    p_ttl BIGINT, p_extend BOOLEAN, p_now BIGINT,
    OUT verdict TEXT, OUT clock BIGINT, OUT granted NUMERIC, OUT refused BIGINT,
    OUT spents NUMERIC[], OUT helds NUMERIC[], OUT resets BIGINT[]
) LANGUAGE plpgsql VOLATILE
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
    ids BIGINT[];
    known hold%ROWTYPE;
    most NUMERIC := p_most;
    room NUMERIC;
BEGIN
    SELECT l.verdict, l.clock, l.ids INTO verdict, clock, ids FROM ziggurat_lock(p_keys, p_periods, '{}', p_now) l;
    IF verdict <> 'ok' THEN
        RETURN;
    END IF;
    SELECT * INTO known FROM hold h WHERE h.id = p_id FOR UPDATE;
    IF known.id IS NULL THEN
        IF p_extend OR EXISTS (SELECT 1 FROM posting p WHERE p.hold = p_id) THEN
            verdict := 'ended';
            RETURN;
        END IF;
    ELSIF NOT (known.accounts @> ids AND known.accounts <@ ids) THEN
        verdict := 'ended';
        RETURN;
    ELSIF p_extend THEN
        most := least(most, ziggurat_most() - known.amount);
    END IF;

    SELECT array_agg(s.spent ORDER BY s.n), array_agg(s.held ORDER BY s.n), array_agg(s.resets_at ORDER BY s.n),
        min(r.room), min(s.n) FILTER (WHERE r.room < least(p_least, most))
    INTO spents, helds, resets, room, refused
    FROM ziggurat_standing(p_keys, p_periods, clock) s
    JOIN unnest(p_caps) WITH ORDINALITY c (cap, n) ON c.n = s.n
    CROSS JOIN LATERAL (SELECT greatest(c.cap - s.spent - s.held, 0) AS room) r;

    IF known.id IS NOT NULL AND NOT p_extend THEN
        -- Asked again by who did not get the answer.
        granted := known.amount;
        refused := NULL;
        RETURN;
    ELSIF refused IS NOT NULL THEN
        verdict := 'exceeded';
        RETURN;
    END IF;
    granted := least(most, room);
    IF p_extend THEN
        UPDATE hold h SET amount = h.amount + granted, expires_at = clock + p_ttl WHERE h.id = p_id;
    ELSE
        INSERT INTO hold (id, call, amount, expires_at, accounts) VALUES (p_id, p_call, granted, clock + p_ttl, ids);
    END IF;
    IF granted > 0 THEN
        UPDATE account a SET held = a.held + granted WHERE a.id = ANY (ids);
        SELECT array_agg(u.held + granted ORDER BY u.n) INTO helds FROM unnest(helds) WITH ORDINALITY u (held, n);
    END IF;
END
$$;

-- Posts what is not posted yet, and ends the holds. Their accounts are locked. What was not held is posted to the accounts in the lines:
-- `p_line_of` is the place of a charge, `p_line_account` an account of it.
CREATE FUNCTION ziggurat_post(
    p_ids BYTEA[], p_calls BYTEA[], p_amounts NUMERIC[], p_flags INTEGER[], p_ats BIGINT[],
    p_line_of BIGINT[], p_line_account BIGINT[], p_at BIGINT
) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    WITH s AS MATERIALIZED (
        SELECT * FROM unnest(p_ids, p_calls, p_amounts, p_flags, p_ats) WITH ORDINALITY u (id, call, amount, flags, at, n)
    ), closed AS (
        DELETE FROM hold h USING s WHERE h.id = s.id RETURNING h.id, h.amount, h.accounts
    ), freed AS (
        UPDATE account a SET held = greatest(a.held - f.amount, 0)
        FROM (SELECT account, sum(c.amount) AS amount FROM closed c, unnest(c.accounts) account GROUP BY account) f
        WHERE a.id = f.account AND f.amount > 0
    ), posted AS (
        INSERT INTO posting (hold, call, at, posted_at, held, amount, flags)
        SELECT s.id, s.call, s.at, p_at, coalesce(c.amount, 0), s.amount,
            s.flags | CASE WHEN s.amount > coalesce(c.amount, 0) THEN 8 ELSE 0 END
        FROM s LEFT JOIN closed c ON c.id = s.id
        ORDER BY s.id
        ON CONFLICT (hold) DO NOTHING
        RETURNING id, hold, amount, flags
    ), lines AS (
        INSERT INTO posting_line (posting, account, bucket)
        SELECT l.posting, l.account, ziggurat_bucket(a.slice, a.periods, p_at)
        FROM (
            SELECT p.id AS posting, account FROM posted p JOIN closed c ON c.id = p.hold, unnest(c.accounts) account
            UNION ALL
            SELECT p.id, g.account
            FROM posted p JOIN s ON s.id = p.hold JOIN unnest(p_line_of, p_line_account) g (n, account) ON g.n = s.n
            WHERE NOT EXISTS (SELECT 1 FROM closed c WHERE c.id = p.hold)
        ) l JOIN account a ON a.id = l.account
        RETURNING posting, account, bucket
    )
    INSERT INTO spent (account, bucket, amount, unreconciled, posted_at)
    SELECT l.account, l.bucket, least(sum(p.amount), ziggurat_most()),
        least(coalesce(sum(p.amount) FILTER (WHERE p.flags & 16 <> 0), 0), ziggurat_most()), p_at
    FROM lines l JOIN posted p ON p.id = l.posting
    WHERE p.amount > 0
    GROUP BY l.account, l.bucket
    ON CONFLICT (account, bucket) DO UPDATE SET
        amount = least(spent.amount + excluded.amount, ziggurat_most()),
        unreconciled = least(spent.unreconciled + excluded.unreconciled, ziggurat_most()),
        posted_at = excluded.posted_at;
END
$$;

-- Puts what was charged in the place of what was posted as unreconciled, in the same buckets.
CREATE FUNCTION ziggurat_correct(p_ids BYTEA[], p_amounts NUMERIC[], p_flags INTEGER[], p_at BIGINT)
RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM posting p WHERE p.hold = ANY (p_ids) AND p.flags & 16 <> 0) THEN
        RETURN;
    END IF;
    -- Nothing is there where nothing was posted, or where it was pruned.
    INSERT INTO spent (account, bucket, amount, unreconciled, posted_at)
    SELECT DISTINCT l.account, l.bucket, 0, 0, p_at
    FROM posting p JOIN posting_line l ON l.posting = p.id
    WHERE p.hold = ANY (p_ids) AND p.flags & 16 <> 0
    ON CONFLICT (account, bucket) DO NOTHING;

    WITH old AS MATERIALIZED (
        SELECT p.id, p.amount AS posted, s.amount, s.flags & 16 <> 0 AS stays,
            s.flags | CASE WHEN s.amount > p.held THEN 8 ELSE 0 END AS flags
        FROM unnest(p_ids, p_amounts, p_flags) s (id, amount, flags) JOIN posting p ON p.hold = s.id
        WHERE p.flags & 16 <> 0
    ), fixed AS (
        UPDATE posting p SET amount = old.amount, flags = old.flags, unreconciled = coalesce(p.unreconciled, old.posted),
            corrected_at = p_at
        FROM old WHERE p.id = old.id
    ), sums AS (
        SELECT l.account, l.bucket, sum(old.amount - old.posted) AS more,
            sum(CASE WHEN old.stays THEN old.amount ELSE 0 END - old.posted) AS more_unreconciled
        FROM old JOIN posting_line l ON l.posting = old.id
        GROUP BY l.account, l.bucket
    )
    UPDATE spent s SET
        -- More money than there is stays that.
        amount = CASE WHEN s.amount = ziggurat_most() THEN s.amount
            ELSE greatest(least(s.amount + sums.more, ziggurat_most()), 0) END,
        unreconciled = greatest(least(s.unreconciled + sums.more_unreconciled, ziggurat_most()), 0)
    FROM sums WHERE s.account = sums.account AND s.bucket = sums.bucket;
END
$$;

-- Ends holds; each of the ids is told once. `p_line_key` is the place of a key.
CREATE FUNCTION ziggurat_settle(
    p_keys BYTEA[], p_periods BIGINT[], p_ids BYTEA[], p_calls BYTEA[], p_amounts NUMERIC[], p_flags INTEGER[],
    p_ats BIGINT[], p_line_of BIGINT[], p_line_key BIGINT[], p_now BIGINT,
    OUT verdict TEXT, OUT clock BIGINT
) LANGUAGE plpgsql VOLATILE
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
    others BIGINT[];
    ids BIGINT[];
BEGIN
    SELECT coalesce(array_agg(o.account), '{}') INTO others FROM (
        SELECT unnest(h.accounts) AS account FROM hold h WHERE h.id = ANY (p_ids)
        UNION
        SELECT l.account FROM posting p JOIN posting_line l ON l.posting = p.id WHERE p.hold = ANY (p_ids) AND p.flags & 16 <> 0
    ) o;
    SELECT l.verdict, l.clock, l.ids INTO verdict, clock, ids FROM ziggurat_lock(p_keys, p_periods, others, p_now) l;
    IF verdict <> 'ok' THEN
        RETURN;
    END IF;
    PERFORM 1 FROM hold h WHERE h.id = ANY (p_ids) ORDER BY h.id FOR UPDATE;
    PERFORM ziggurat_correct(p_ids, p_amounts, p_flags, clock);
    PERFORM ziggurat_post(
        p_ids, p_calls, p_amounts, p_flags, p_ats, p_line_of,
        ARRAY(SELECT ids[u.key] FROM unnest(p_line_key) WITH ORDINALITY u (key, n) ORDER BY u.n), clock
    );
END
$$;

-- Posts some of the holds that have expired. Gives how many; fewer than asked for when there are no more.
CREATE FUNCTION ziggurat_expire(p_portion INTEGER, p_now BIGINT) RETURNS INTEGER LANGUAGE plpgsql VOLATILE
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
    clock BIGINT := coalesce(p_now, ziggurat_now());
    due BYTEA[];
    calls BYTEA[];
    amounts NUMERIC[];
    many INTEGER;
BEGIN
    due := ARRAY(SELECT h.id FROM hold h WHERE h.expires_at <= clock ORDER BY h.expires_at LIMIT p_portion);
    IF cardinality(due) = 0 THEN
        RETURN 0;
    END IF;
    PERFORM 1 FROM account a
    WHERE a.id IN (SELECT unnest(h.accounts) FROM hold h WHERE h.id = ANY (due))
    ORDER BY a.id FOR NO KEY UPDATE;
    -- Another node was faster with some, and some were renewed.
    SELECT array_agg(h.id), array_agg(h.call), array_agg(h.amount), count(*) INTO due, calls, amounts, many
    FROM (
        SELECT * FROM hold h WHERE h.id = ANY (due) AND h.expires_at <= clock ORDER BY h.id FOR UPDATE SKIP LOCKED
    ) h;
    IF many > 0 THEN
        PERFORM ziggurat_post(
            due, calls, amounts, array_fill(16, ARRAY[many]), array_fill(clock, ARRAY[many]), '{}', '{}', clock
        );
    END IF;
    RETURN many;
END
$$;

-- Keeps open holds from expiring.
CREATE FUNCTION ziggurat_renew(p_ids BYTEA[], p_ttl BIGINT, p_now BIGINT) RETURNS void LANGUAGE plpgsql VOLATILE
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
BEGIN
    WITH open AS MATERIALIZED (SELECT h.id FROM hold h WHERE h.id = ANY (p_ids) ORDER BY h.id FOR UPDATE)
    UPDATE hold h SET expires_at = coalesce(p_now, ziggurat_now()) + p_ttl FROM open WHERE h.id = open.id;
END
$$;

-- What accounts stand at, at one moment.
CREATE FUNCTION ziggurat_balances(
    p_keys BYTEA[], p_periods BIGINT[], p_now BIGINT,
    OUT verdict TEXT, OUT clock BIGINT, OUT spents NUMERIC[], OUT helds NUMERIC[], OUT resets BIGINT[]
) LANGUAGE plpgsql VOLATILE
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
BEGIN
    clock := coalesce(p_now, ziggurat_now());
    verdict := CASE WHEN ziggurat_covers(p_periods, clock) THEN 'ok' ELSE 'clock' END;
    SELECT array_agg(s.spent ORDER BY s.n), array_agg(s.held ORDER BY s.n), array_agg(s.resets_at ORDER BY s.n)
    INTO spents, helds, resets
    FROM ziggurat_standing(p_keys, p_periods, clock) s;
END
$$;

-- Deletes some postings, and behind them buckets that count no more, of which the sums stay. Gives how many rows there were; zero when
-- all is gone that was older. What is younger than a day stays: it is what repeated ids are known by.
CREATE FUNCTION ziggurat_prune(p_before BIGINT, p_portion INTEGER, p_now BIGINT) RETURNS BIGINT LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    clock BIGINT := coalesce(p_now, ziggurat_now());
    before BIGINT := least(p_before, clock - 86400000000);
    gone BIGINT[];
    many BIGINT;
BEGIN
    WITH old AS (
        SELECT p.id FROM posting p WHERE p.posted_at < before ORDER BY p.posted_at LIMIT p_portion FOR UPDATE SKIP LOCKED
    ), deleted AS (
        DELETE FROM posting p USING old WHERE p.id = old.id RETURNING p.id
    ), lines AS (
        DELETE FROM posting_line l USING deleted d WHERE l.posting = d.id
    )
    SELECT count(*) INTO many FROM deleted;
    IF many > 0 THEN
        RETURN many;
    END IF;
    gone := ARRAY(
        SELECT DISTINCT s.account FROM spent s JOIN account a ON a.id = s.account
        WHERE s.posted_at < before AND s.bucket < ziggurat_oldest(a.slice, a.periods, CASE WHEN a.slice IS NULL THEN 0 ELSE clock END)
        LIMIT p_portion
    );
    PERFORM 1 FROM account a WHERE a.id = ANY (gone) ORDER BY a.id FOR NO KEY UPDATE;
    WITH deleted AS (
        DELETE FROM spent s USING account a
        WHERE a.id = s.account AND a.id = ANY (gone) AND s.posted_at < before
            AND s.bucket < ziggurat_oldest(a.slice, a.periods, CASE WHEN a.slice IS NULL THEN 0 ELSE clock END)
        RETURNING s.account, s.amount, s.unreconciled
    ), sums AS (
        SELECT account, sum(amount) AS amount, sum(unreconciled) AS unreconciled, count(*) AS rows FROM deleted GROUP BY account
    ), kept AS (
        UPDATE account a SET past = least(a.past + sums.amount, ziggurat_most()),
            past_unreconciled = least(a.past_unreconciled + sums.unreconciled, ziggurat_most())
        FROM sums WHERE a.id = sums.account
        RETURNING sums.rows
    )
    SELECT coalesce(sum(rows), 0) INTO many FROM kept;
    RETURN many;
END
$$;
