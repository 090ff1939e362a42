-- Which amounts were told of: the latest of each kind that an account has.
CREATE TABLE told (
    account BIGINT NOT NULL,
    -- So many percent of the cap; 0 for the soft amount.
    kind SMALLINT NOT NULL,
    -- The bucket that was current then.
    bucket BIGINT NOT NULL,
    amount NUMERIC(39, 0) NOT NULL,
    -- The hold that was settled then: whoever asks by it again is told the same.
    by_hold BYTEA NOT NULL,
    PRIMARY KEY (account, kind)
);

-- Says of each mark whether it is to be told: 1 if it is, 0 if it was, -1 if it is not reached; what is spent, and when it may be told
-- again. `p_mark_key` is the place of a mark's key.
CREATE FUNCTION ziggurat_tell(
    p_keys BYTEA[], p_periods BIGINT[], p_mark_key BIGINT[], p_kinds INTEGER[], p_amounts NUMERIC[], p_bys BYTEA[], p_now BIGINT,
    OUT verdict TEXT, OUT clock BIGINT, OUT tells INTEGER[], OUT spents NUMERIC[], OUT again BIGINT[]
) LANGUAGE plpgsql VOLATILE
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
    ids BIGINT[];
    stands RECORD;
    known told%ROWTYPE;
    tell INTEGER;
    k BIGINT;
BEGIN
    SELECT l.verdict, l.clock, l.ids INTO verdict, clock, ids FROM ziggurat_lock(p_keys, p_periods, '{}', p_now) l;
    IF verdict <> 'ok' THEN
        RETURN;
    END IF;
    FOR i IN 1 .. cardinality(p_mark_key) LOOP
        k := p_mark_key[i];
        SELECT s.spent, s.resets_at, a.slice, ziggurat_bucket(a.slice, a.periods, clock) AS bucket INTO stands
        FROM ziggurat_standing(p_keys[k:k], p_periods[3 * k - 2 : 3 * k], clock) s JOIN account a ON a.id = ids[k];
        SELECT * INTO known FROM told t WHERE t.account = ids[k] AND t.kind = p_kinds[i];
        IF known.account IS NOT NULL AND (
            CASE WHEN stands.slice IS NULL THEN known.bucket <> stands.bucket ELSE known.bucket + 64 <= stands.bucket END
            OR known.amount < p_amounts[i]
        ) THEN
            known := NULL;
        END IF;
        IF stands.spent < p_amounts[i] THEN
            tell := -1;
        ELSIF known.account IS NULL THEN
            tell := 1;
            INSERT INTO told VALUES (ids[k], p_kinds[i], stands.bucket, p_amounts[i], p_bys[i])
            ON CONFLICT (account, kind) DO UPDATE SET
                bucket = excluded.bucket, amount = excluded.amount, by_hold = excluded.by_hold;
        ELSE
            tell := CASE WHEN known.by_hold = p_bys[i] AND known.amount = p_amounts[i] THEN 1 ELSE 0 END;
        END IF;
        tells[i] := tell;
        spents[i] := stands.spent;
        again[i] := CASE
            WHEN stands.slice IS NULL THEN stands.resets_at
            ELSE least((coalesce(known.bucket, stands.bucket) + 64)::numeric * stands.slice / 1000, 9223372036854775807)::bigint
        END;
    END LOOP;
END
$$;

-- Ends holds, as before, and gives what is spent in each account after it.
DROP FUNCTION ziggurat_settle(
    BYTEA[], BIGINT[], BYTEA[], BYTEA[], NUMERIC[], INTEGER[], BIGINT[], BIGINT[], BIGINT[], BIGINT
);
CREATE FUNCTION ziggurat_settle(
    p_keys BYTEA[], p_periods BIGINT[], p_ids BYTEA[], p_calls BYTEA[], p_amounts NUMERIC[], p_flags INTEGER[],
    p_ats BIGINT[], p_line_of BIGINT[], p_line_key BIGINT[], p_now BIGINT,
    OUT verdict TEXT, OUT clock BIGINT, OUT spents NUMERIC[]
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
    SELECT array_agg(s.spent ORDER BY s.n) INTO spents FROM ziggurat_standing(p_keys, p_periods, clock) s;
END
$$;
