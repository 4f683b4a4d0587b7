-- Capture: every change of the alias `champion` becomes a row of the outbox in the transaction that makes it.
--
-- * A row trigger on MLflow's tables notes which model was touched; a deferred one, on Baton's own table of notes, judges the
--   final state at commit: MLflow archives the old version before it raises the new one, and who judged row by row would see a
--   withdrawal in between. Were the deferred trigger on MLflow's tables, then PostgreSQL would refuse every ALTER TABLE
--   after an UPDATE in one transaction, which is what a migration is ("pending trigger events").
-- * No column lists, no WHEN: they would block ALTER TYPE and DROP COLUMN in MLflow's migrations. Hence to_jsonb.
-- * Locks, always in this order and until commit: the alias row, then the model's row in baton.models. So the order of
--   generations is the order of commits, and two changes of one model never wait for each other in a circle.
-- * Every trigger runs its function through `baton.guarded`: an error never fails the user's write, it is logged, and the
--   reconciler captures the change later. The two errors that pass are refusals that Baton means: BT001 and BT002.
--
-- Run in one transaction, with search_path set to MLflow's schema and pg_temp; safe to run again.

CREATE OR REPLACE FUNCTION baton.guarded() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF current_setting('baton.capture', true) IS DISTINCT FROM 'off' THEN
        EXECUTE format('SELECT baton.%I($1, $2)', TG_ARGV[0]) USING to_jsonb(OLD), to_jsonb(NEW);
    END IF;
    RETURN NULL;
EXCEPTION
    WHEN SQLSTATE 'BT001' OR SQLSTATE 'BT002' THEN RAISE;
    WHEN OTHERS THEN
        BEGIN
            INSERT INTO baton.capture_errors (trigger_name, changed, sqlstate, message)
                VALUES (TG_NAME, coalesce(to_jsonb(NEW), to_jsonb(OLD)), SQLSTATE, SQLERRM);
        EXCEPTION WHEN OTHERS THEN
            RAISE WARNING 'baton: a change in MLflow could neither be captured nor logged: %', SQLERRM;
        END;
        RETURN NULL;
END
$$;

-- Compare alias and ledger, and record how they differ; returns whether they did.
CREATE OR REPLACE FUNCTION baton.capture(p_model text, p_reason text, p_refuse boolean) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '5s' AS $$
DECLARE
    final text;
BEGIN
    SELECT a.version::text INTO final FROM registered_model_aliases a
        WHERE a.workspace = 'default' AND a.name = p_model AND a.alias = 'champion' FOR UPDATE;
    RETURN baton.record_change(
        p_model,
        final,
        (SELECT v.run_id FROM model_versions v
            WHERE v.workspace = 'default' AND v.name = p_model AND v.version::text = final),
        (SELECT t.value FROM model_version_tags t
            WHERE t.workspace = 'default' AND t.name = p_model AND t.version::text = final AND t.key = 'baton.bundle'),
        p_reason,
        p_refuse
    );
END
$$;

CREATE OR REPLACE FUNCTION baton.alias_changed(p_old jsonb, p_new jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    old_name text;
    new_name text;
BEGIN
    IF p_old ->> 'alias' = 'champion' AND p_old ->> 'workspace' = 'default' THEN
        old_name := p_old ->> 'name';
    END IF;
    IF p_new ->> 'alias' = 'champion' AND p_new ->> 'workspace' = 'default' THEN
        new_name := p_new ->> 'name';
    END IF;
    IF old_name <> new_name THEN
        INSERT INTO baton.touched (name, reason, renamed_from) VALUES
            (old_name, 'renamed to ' || new_name, NULL), (new_name, 'renamed from ' || old_name, old_name);
    ELSIF new_name IS NOT NULL THEN
        INSERT INTO baton.touched (name, reason) VALUES (new_name, 'alias champion moved');
    ELSIF old_name IS NOT NULL THEN
        INSERT INTO baton.touched (name, reason) VALUES (old_name, 'alias champion deleted');
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION baton.stage_changed(p_old jsonb, p_new jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF p_new ->> 'workspace' = 'default' AND p_new ->> 'current_stage' = 'Production'
        AND p_old ->> 'current_stage' IS DISTINCT FROM 'Production'
    THEN
        INSERT INTO baton.touched (name, reason, raised)
            VALUES (p_new ->> 'name', 'stage set to Production', p_new ->> 'version');
    END IF;
END
$$;

-- At commit. Stage to alias comes first: the upsert locks the alias row, so the order of locks is kept; what it notes in
-- turn finds the change recorded already.
CREATE OR REPLACE FUNCTION baton.judge(p_old jsonb, p_new jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM baton.touched WHERE id = (p_new ->> 'id')::bigint;
    IF p_new ->> 'raised' IS NOT NULL THEN
        INSERT INTO registered_model_aliases (workspace, name, alias, version)
            SELECT v.workspace, v.name, 'champion', v.version FROM model_versions v
                WHERE v.workspace = 'default' AND v.name = p_new ->> 'name' AND v.version::text = p_new ->> 'raised'
                    AND v.current_stage = 'Production' -- still, at commit
            ON CONFLICT (workspace, name, alias) DO UPDATE SET version = EXCLUDED.version
                WHERE registered_model_aliases.version <> EXCLUDED.version;
    END IF;
    PERFORM baton.capture(p_new ->> 'name', p_new ->> 'reason', true);
    IF p_new ->> 'renamed_from' IS NOT NULL THEN
        UPDATE baton.models m
            SET frozen = f.frozen, frozen_by = f.frozen_by, frozen_reason = f.frozen_reason
            FROM baton.models f WHERE m.model = p_new ->> 'name' AND f.model = p_new ->> 'renamed_from';
        UPDATE baton.models SET frozen = false, frozen_by = NULL, frozen_reason = NULL
            WHERE model = p_new ->> 'renamed_from';
    END IF;
END
$$;

-- One run per train request becomes a version: a trainer that was paused and replaced cannot register a second one. Not a
-- unique index, for MLflow copies the tags of a version that a user copies; a copy has the run of its original.
CREATE OR REPLACE FUNCTION baton.request_tagged(p_old jsonb, p_new jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF p_new ->> 'key' IS DISTINCT FROM 'baton.request_id' THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended(concat_ws('/', p_new ->> 'name', p_new ->> 'value'), 0));
    IF EXISTS (
        SELECT 1 FROM model_version_tags t
            JOIN model_versions other ON other.workspace = t.workspace AND other.name = t.name AND other.version = t.version
            JOIN model_versions own ON own.workspace = t.workspace AND own.name = t.name
                AND own.version::text = p_new ->> 'version'
            WHERE t.workspace = p_new ->> 'workspace' AND t.name = p_new ->> 'name'
                AND t.key = 'baton.request_id' AND t.value = p_new ->> 'value' AND other.run_id <> own.run_id
    ) THEN
        RAISE EXCEPTION 'baton: train request % has made a version of % already', p_new ->> 'value', p_new ->> 'name'
            USING ERRCODE = 'BT002';
    END IF;
END
$$;

DROP TRIGGER IF EXISTS baton_judge ON baton.touched;
CREATE CONSTRAINT TRIGGER baton_judge AFTER INSERT ON baton.touched
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION baton.guarded('judge');

-- Replaced, not dropped: that makes nobody wait who only reads. In the order in which MLflow's transactions lock these tables.
CREATE OR REPLACE TRIGGER baton_stage AFTER UPDATE ON model_versions
    FOR EACH ROW EXECUTE FUNCTION baton.guarded('stage_changed');
CREATE OR REPLACE TRIGGER baton_request AFTER INSERT ON model_version_tags
    FOR EACH ROW EXECUTE FUNCTION baton.guarded('request_tagged');
CREATE OR REPLACE TRIGGER baton_alias AFTER INSERT OR UPDATE OR DELETE ON registered_model_aliases
    FOR EACH ROW EXECUTE FUNCTION baton.guarded('alias_changed');

-- What earlier texts installed.
DROP TRIGGER IF EXISTS baton_alias_changed ON registered_model_aliases;
DROP TRIGGER IF EXISTS baton_stage_changed ON model_versions;
DROP TRIGGER IF EXISTS baton_request_tagged ON model_version_tags;
DROP FUNCTION IF EXISTS baton.alias_changed(), baton.stage_changed(), baton.request_tagged();
DROP INDEX IF EXISTS baton_one_version_per_request;
