-- Accounts that nothing is left of are deleted, and what is old is found without looking at everything.

ALTER TABLE account ADD COLUMN seen_at BIGINT NOT NULL DEFAULT 0;
CREATE INDEX account_by_seen ON account (seen_at);
CREATE INDEX spent_by_time ON spent (posted_at);

-- By the hour: an index that is written with every call costs more than it finds.
CREATE FUNCTION ziggurat_keep_hour() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    NEW.posted_at := OLD.posted_at;
    RETURN NEW;
END
$$;
CREATE TRIGGER spent_by_the_hour BEFORE UPDATE ON spent FOR EACH ROW
WHEN (NEW.posted_at > OLD.posted_at AND NEW.posted_at < OLD.posted_at + 3600000000)
EXECUTE FUNCTION ziggurat_keep_hour();

-- As before, and takes note of when an account was seen; an account that was deleted before it was locked is to be made again.
CREATE OR REPLACE FUNCTION ziggurat_lock(
    p_keys BYTEA[], p_periods BIGINT[], p_others BIGINT[], p_now BIGINT,
    OUT verdict TEXT, OUT clock BIGINT, OUT ids BIGINT[]
) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    locked BIGINT;
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
    SELECT count(*) INTO locked FROM account a WHERE a.id = ANY (ids);
    IF locked < cardinality(ids) THEN
        verdict := 'accounts';
        RETURN;
    END IF;
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
    UPDATE account a SET seen_at = clock WHERE a.id = ANY (ids) AND a.seen_at < clock - 3600000000;
    verdict := 'ok';
END
$$;

-- Deletes some accounts that nobody has seen since, and of which nothing is left: nothing held, nothing that counts, no posting that is
-- kept. What they had spent before goes with them. Gives how many.
CREATE FUNCTION ziggurat_prune_accounts(p_before BIGINT, p_portion INTEGER, p_now BIGINT) RETURNS BIGINT LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    before BIGINT := least(p_before, coalesce(p_now, ziggurat_now()) - 86400000000);
    old BIGINT[];
    many BIGINT;
BEGIN
    old := ARRAY(
        SELECT a.id FROM account a
        WHERE a.seen_at < before AND a.held = 0
            AND NOT EXISTS (SELECT 1 FROM spent s WHERE s.account = a.id)
            AND NOT EXISTS (SELECT 1 FROM posting_line l WHERE l.account = a.id)
            AND NOT EXISTS (SELECT 1 FROM hold h WHERE a.id = ANY (h.accounts))
        ORDER BY a.seen_at LIMIT p_portion
    );
    PERFORM 1 FROM account a WHERE a.id = ANY (old) ORDER BY a.id FOR UPDATE;
    -- Looked at again behind the locks: somebody may have been faster.
    WITH gone AS (
        DELETE FROM account a
        WHERE a.id = ANY (old) AND a.seen_at < before AND a.held = 0
            AND NOT EXISTS (SELECT 1 FROM spent s WHERE s.account = a.id)
            AND NOT EXISTS (SELECT 1 FROM posting_line l WHERE l.account = a.id)
            AND NOT EXISTS (SELECT 1 FROM hold h WHERE a.id = ANY (h.accounts))
        RETURNING a.id
    ), untold AS (
        DELETE FROM told t USING gone g WHERE t.account = g.id
    )
    SELECT count(*) INTO many FROM gone;
    RETURN many;
END
$$;
