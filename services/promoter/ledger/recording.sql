-- Recording: a change of a champion takes its place in its model's order and becomes a row of the outbox.
--
-- Whoever saw the change calls it: the capture's triggers in the transaction that makes the change, or the promoter where
-- it watches MLflow from outside. Recording what is recorded already changes nothing. Safe to run again.

-- Matches an open intent of Baton's own. One that was judged on an older generation is refused (BT001) where it still can
-- be, with `p_refuse`; where the change has happened, it is recorded as made by somebody unknown.
CREATE OR REPLACE FUNCTION baton.record_change(
    p_model text, p_champion text, p_run_id text, p_bundle text, p_reason text, p_refuse boolean
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
    known baton.models;
    intent baton.intents;
BEGIN
    INSERT INTO baton.models (model) VALUES (p_model) ON CONFLICT DO NOTHING;
    SELECT * INTO known FROM baton.models m WHERE m.model = p_model FOR UPDATE;
    IF p_champion IS NOT DISTINCT FROM known.champion THEN
        RETURN false;
    END IF;

    -- An intent left behind by a promoter that died must not stand in a user's way for long: hence its age.
    SELECT * INTO intent FROM baton.intents i
        WHERE i.model = p_model AND i.version = p_champion AND i.state = 'open'
            AND i.opened_at > clock_timestamp() - interval '5 minutes'
        ORDER BY (i.expected_generation = known.generation) DESC, i.opened_at DESC LIMIT 1 FOR UPDATE;
    IF intent.expected_generation <> known.generation THEN
        IF p_refuse THEN
            RAISE EXCEPTION 'baton: out of date: % version % was judged against generation %, and % is current',
                p_model, p_champion, intent.expected_generation, known.generation USING ERRCODE = 'BT001';
        END IF;
        intent := NULL;
    END IF;

    UPDATE baton.models SET generation = known.generation + 1, champion = p_champion, changed_at = clock_timestamp()
        WHERE model = p_model;
    UPDATE baton.intents SET state = 'used' WHERE decision = intent.decision;
    INSERT INTO baton.promotions
        (model, generation, kind, version, run_id, bundle, previous, actor, reason, decision, committed_at)
    VALUES (
        p_model, known.generation + 1, CASE WHEN p_champion IS NULL THEN 'withdrawn' ELSE 'promoted' END,
        p_champion, p_run_id, p_bundle, known.champion,
        coalesce(intent.actor, 'unknown (MLflow)'), coalesce(intent.reason, 'unknown (MLflow): ' || p_reason),
        intent.decision, clock_timestamp()
    );
    PERFORM pg_notify('baton_promotions', p_model);
    RETURN true;
END
$$;
