-- Decisions of many calls in one statement: calls that share an account wait for one commit, and not for one each.
DROP FUNCTION ziggurat_reserve(
    BYTEA, BYTEA, BYTEA[], BIGINT[], NUMERIC[], NUMERIC, NUMERIC, BIGINT, BOOLEAN, BIGINT
);

-- Sets aside as much as fits, for one claim after the other: under an id that is new (0), or on top under one that is open (1). What was
-- set aside elsewhere is held from now on, whatever fits (2). A claim's lines end at `p_ends`; a line is an account by the place of its
-- key, and its cap. Nobody waits for a lock for longer than `p_patience` milliseconds.
--
-- Verdicts of claims: `ok`; `exceeded`, by the line of that number among the claim's; and `ended`. What accounts stand at after a claim
-- is told by line.
CREATE FUNCTION ziggurat_decide(
    p_keys BYTEA[], p_periods BIGINT[], p_ids BYTEA[], p_calls BYTEA[], p_leasts NUMERIC[], p_mosts NUMERIC[], p_ttls BIGINT[],
    p_hows INTEGER[], p_ends BIGINT[], p_line_key BIGINT[], p_line_cap NUMERIC[], p_patience INTEGER, p_now BIGINT,
    OUT verdict TEXT, OUT clock BIGINT, OUT verdicts TEXT[], OUT granted NUMERIC[], OUT refused BIGINT[],
    OUT spents NUMERIC[], OUT helds NUMERIC[], OUT resets BIGINT[]
) LANGUAGE plpgsql VOLATILE
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
    ids BIGINT[];
    spent NUMERIC[];
    held NUMERIC[];
    reset BIGINT[];
    more NUMERIC[] := array_fill(0::numeric, ARRAY[cardinality(p_keys)]);
    known hold%ROWTYPE;
    own BIGINT[];
    first BIGINT := 1;
    k BIGINT;
    most NUMERIC;
    room NUMERIC;
    fits NUMERIC;
    bad BIGINT;
BEGIN
    PERFORM set_config('lock_timeout', p_patience::text, true);
    SELECT l.verdict, l.clock, l.ids INTO verdict, clock, ids FROM ziggurat_lock(p_keys, p_periods, '{}', p_now) l;
    IF verdict <> 'ok' THEN
        RETURN;
    END IF;
    granted := array_fill(NULL::numeric, ARRAY[cardinality(p_ids)]);
    refused := array_fill(NULL::bigint, ARRAY[cardinality(p_ids)]);
    spents := '{}';
    helds := '{}';
    resets := '{}';
    PERFORM 1 FROM hold h WHERE h.id = ANY (p_ids) ORDER BY h.id FOR UPDATE;
    SELECT array_agg(s.spent ORDER BY s.n), array_agg(s.held ORDER BY s.n), array_agg(s.resets_at ORDER BY s.n)
    INTO spent, held, reset
    FROM ziggurat_standing(p_keys, p_periods, clock) s;

    FOR i IN 1 .. cardinality(p_ids) LOOP
        own := '{}';
        bad := NULL;
        most := p_mosts[i];
        fits := NULL;
        FOR n IN first .. p_ends[i] LOOP
            own := own || ids[p_line_key[n]];
        END LOOP;
        SELECT * INTO known FROM hold h WHERE h.id = p_ids[i];
        IF known.id IS NULL AND (p_hows[i] = 1 OR EXISTS (SELECT 1 FROM posting p WHERE p.hold = p_ids[i])) THEN
            verdicts[i] := 'ended';
        ELSIF known.id IS NOT NULL AND NOT (known.accounts @> own AND known.accounts <@ own) THEN
            verdicts[i] := 'ended';
        ELSIF p_hows[i] = 0 AND known.id IS NOT NULL THEN
            -- Asked again by who did not get the answer.
            verdicts[i] := 'ok';
            granted[i] := known.amount;
            most := 0;
        ELSE
            most := least(most, ziggurat_most() - coalesce(known.amount, 0));
            IF p_hows[i] = 2 THEN
                most := greatest(p_mosts[i] - coalesce(known.amount, 0), 0);
            ELSE
                FOR n IN first .. p_ends[i] LOOP
                    k := p_line_key[n];
                    room := greatest(p_line_cap[n] - spent[k] - held[k], 0);
                    IF bad IS NULL AND room < least(p_leasts[i], most) THEN
                        bad := n - first + 1;
                    END IF;
                    fits := least(fits, room);
                END LOOP;
                most := least(most, fits);
            END IF;
            verdicts[i] := CASE WHEN bad IS NULL THEN 'ok' ELSE 'exceeded' END;
            IF bad IS NULL THEN
                granted[i] := most;
                IF known.id IS NULL THEN
                    INSERT INTO hold (id, call, amount, expires_at, accounts) VALUES (p_ids[i], p_calls[i], most, clock + p_ttls[i], own);
                ELSE
                    UPDATE hold h SET amount = h.amount + most, expires_at = clock + p_ttls[i] WHERE h.id = p_ids[i];
                END IF;
                FOR n IN first .. p_ends[i] LOOP
                    k := p_line_key[n];
                    held[k] := least(held[k] + most, ziggurat_most());
                    more[k] := more[k] + most;
                END LOOP;
            END IF;
        END IF;
        refused[i] := bad;
        FOR n IN first .. p_ends[i] LOOP
            k := p_line_key[n];
            spents[n] := spent[k];
            helds[n] := held[k];
            resets[n] := reset[k];
        END LOOP;
        first := p_ends[i] + 1;
    END LOOP;
    UPDATE account a SET held = least(a.held + m.more, ziggurat_most())
    FROM unnest(ids, more) m (id, more)
    WHERE a.id = m.id AND m.more > 0;
END
$$;
