-- Capture: every change of the alias `champion` becomes a row of the outbox in the transaction that makes it.
--
-- * The triggers are deferred and judge the final state at commit: MLflow archives the old version before it raises the
--   new one, and a plain row trigger would see a withdrawal in between.
-- * No column lists, no WHEN: they would block ALTER TYPE and DROP COLUMN in MLflow's migrations. Hence to_jsonb.
-- * Locks, always in this order and until commit: the alias row, then the model's row in baton.models. So the order of
--   generations is the order of commits, and two changes of one model never wait for each other in a circle.
-- * An error of the capture itself never fails the user's write: it is logged, and the relay's reconciliation captures
--   the change later. The one error that passes is the refusal of an intent of Baton's own that is out of date (BT001).
--
-- Run in one transaction, with search_path set to MLflow's schema and pg_temp; safe to run again.

CREATE OR REPLACE FUNCTION baton.capture(p_model text, p_reason text, p_judge_intents boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '5s' AS $$
DECLARE
    final text;
    known baton.models;
    intent baton.intents;
BEGIN
    SELECT a.version::text INTO final FROM registered_model_aliases a
        WHERE a.workspace = 'default' AND a.name = p_model AND a.alias = 'champion' FOR UPDATE;
    INSERT INTO baton.models (model) VALUES (p_model) ON CONFLICT DO NOTHING;
    SELECT * INTO known FROM baton.models m WHERE m.model = p_model FOR UPDATE;
    IF final IS NOT DISTINCT FROM known.champion THEN
        RETURN; -- another row event of this transaction captured it, or nothing changed in the end
    END IF;

    -- An intent left behind by a promoter that died must not stand in a user's way for long: hence its age.
    SELECT * INTO intent FROM baton.intents i
        WHERE i.model = p_model AND i.version = final AND i.state = 'open'
            AND i.opened_at > clock_timestamp() - interval '5 minutes'
        ORDER BY (i.expected_generation = known.generation) DESC, i.opened_at DESC LIMIT 1 FOR UPDATE;
    IF intent.expected_generation <> known.generation THEN
        IF p_judge_intents THEN
            RAISE EXCEPTION 'baton: out of date: % version % was judged against generation %, and % is current',
                p_model, final, intent.expected_generation, known.generation USING ERRCODE = 'BT001';
        END IF;
        intent := NULL;
    END IF;

    UPDATE baton.models SET generation = known.generation + 1, champion = final, changed_at = clock_timestamp()
        WHERE model = p_model;
    UPDATE baton.intents SET state = 'used' WHERE decision = intent.decision;
    INSERT INTO baton.promotions
        (model, generation, kind, version, run_id, bundle, previous, actor, reason, decision, committed_at)
    VALUES (
        p_model,
        known.generation + 1,
        CASE WHEN final IS NULL THEN 'withdrawn' ELSE 'promoted' END,
        final,
        (SELECT v.run_id FROM model_versions v
            WHERE v.workspace = 'default' AND v.name = p_model AND v.version::text = final),
        (SELECT t.value FROM model_version_tags t
            WHERE t.workspace = 'default' AND t.name = p_model AND t.version::text = final AND t.key = 'baton.bundle'),
        known.champion,
        coalesce(intent.actor, 'unknown (MLflow)'),
        coalesce(intent.reason, p_reason),
        intent.decision,
        clock_timestamp()
    );
    PERFORM pg_notify('baton_promotions', p_model);
END
$$;

CREATE OR REPLACE FUNCTION baton.alias_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    changed text;
    what text;
BEGIN
    IF current_setting('baton.capture', true) = 'off' THEN
        RETURN NULL;
    END IF;
    what := CASE TG_OP WHEN 'DELETE' THEN 'deleted' ELSE 'moved' END;
    FOR changed IN -- a model that is renamed has two names
        SELECT DISTINCT side ->> 'name' FROM unnest(ARRAY[to_jsonb(OLD), to_jsonb(NEW)]) AS side
            WHERE side ->> 'alias' = 'champion' AND side ->> 'workspace' = 'default' ORDER BY 1
    LOOP
        PERFORM baton.capture(changed, 'unknown (MLflow): alias champion ' || what, true);
    END LOOP;
    RETURN NULL;
EXCEPTION
    WHEN SQLSTATE 'BT001' THEN RAISE;
    WHEN OTHERS THEN
        BEGIN
            INSERT INTO baton.capture_errors (trigger_name, changed, sqlstate, message)
                VALUES (TG_NAME, coalesce(to_jsonb(NEW), to_jsonb(OLD)), SQLSTATE, SQLERRM);
        EXCEPTION WHEN OTHERS THEN
            RAISE WARNING 'baton: a change of a champion could neither be captured nor logged: %', SQLERRM;
        END;
        RETURN NULL;
END
$$;

-- Stage to alias. The alias row is locked by the upsert, so the order of locks is kept; the deferred alias trigger that
-- the upsert queues finds the change captured already.
CREATE OR REPLACE FUNCTION baton.stage_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    raised jsonb;
BEGIN
    raised := to_jsonb(NEW);
    IF current_setting('baton.capture', true) = 'off'
        OR raised ->> 'workspace' <> 'default'
        OR raised ->> 'current_stage' IS DISTINCT FROM 'Production'
        OR to_jsonb(OLD) ->> 'current_stage' = 'Production'
    THEN
        RETURN NULL;
    END IF;
    INSERT INTO registered_model_aliases (workspace, name, alias, version)
        SELECT v.workspace, v.name, 'champion', v.version FROM model_versions v
            WHERE v.workspace = 'default' AND v.name = raised ->> 'name' AND v.version::text = raised ->> 'version'
                AND v.current_stage = 'Production' -- still, at commit
        ON CONFLICT (workspace, name, alias) DO UPDATE SET version = EXCLUDED.version
            WHERE registered_model_aliases.version <> EXCLUDED.version;
    PERFORM baton.capture(raised ->> 'name', 'unknown (MLflow): stage set to Production', true);
    RETURN NULL;
EXCEPTION
    WHEN SQLSTATE 'BT001' THEN RAISE;
    WHEN OTHERS THEN
        BEGIN
            INSERT INTO baton.capture_errors (trigger_name, changed, sqlstate, message)
                VALUES (TG_NAME, to_jsonb(NEW), SQLSTATE, SQLERRM);
        EXCEPTION WHEN OTHERS THEN
            RAISE WARNING 'baton: a stage transition could neither be captured nor logged: %', SQLERRM;
        END;
        RETURN NULL;
END
$$;

DROP TRIGGER IF EXISTS baton_alias_changed ON registered_model_aliases;
CREATE CONSTRAINT TRIGGER baton_alias_changed AFTER INSERT OR UPDATE OR DELETE ON registered_model_aliases
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION baton.alias_changed();

DROP TRIGGER IF EXISTS baton_stage_changed ON model_versions;
CREATE CONSTRAINT TRIGGER baton_stage_changed AFTER UPDATE ON model_versions
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION baton.stage_changed();

-- One run per train request becomes a version: a trainer that was paused and replaced cannot register a second one. Not a
-- unique index, for MLflow copies the tags of a version that a user copies; a copy has the run of its original.
CREATE OR REPLACE FUNCTION baton.request_tagged() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    tag jsonb;
BEGIN
    tag := to_jsonb(NEW);
    IF tag ->> 'key' IS DISTINCT FROM 'baton.request_id' THEN
        RETURN NULL;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended(concat_ws('/', tag ->> 'name', tag ->> 'value'), 0));
    IF EXISTS (
        SELECT 1 FROM model_version_tags t
            JOIN model_versions other ON other.workspace = t.workspace AND other.name = t.name AND other.version = t.version
            JOIN model_versions own ON own.workspace = t.workspace AND own.name = t.name
                AND own.version::text = tag ->> 'version'
            WHERE t.workspace = tag ->> 'workspace' AND t.name = tag ->> 'name'
                AND t.key = 'baton.request_id' AND t.value = tag ->> 'value' AND other.run_id <> own.run_id
    ) THEN
        RAISE EXCEPTION 'baton: train request % has made a version of % already', tag ->> 'value', tag ->> 'name'
            USING ERRCODE = 'BT002';
    END IF;
    RETURN NULL;
EXCEPTION
    WHEN SQLSTATE 'BT002' THEN RAISE;
    WHEN OTHERS THEN
        BEGIN
            INSERT INTO baton.capture_errors (trigger_name, changed, sqlstate, message)
                VALUES (TG_NAME, to_jsonb(NEW), SQLSTATE, SQLERRM);
        EXCEPTION WHEN OTHERS THEN
            RAISE WARNING 'baton: a tag could neither be checked nor logged: %', SQLERRM;
        END;
        RETURN NULL;
END
$$;

DROP INDEX IF EXISTS baton_one_version_per_request;
DROP TRIGGER IF EXISTS baton_request_tagged ON model_version_tags;
CREATE TRIGGER baton_request_tagged AFTER INSERT ON model_version_tags
    FOR EACH ROW EXECUTE FUNCTION baton.request_tagged();
