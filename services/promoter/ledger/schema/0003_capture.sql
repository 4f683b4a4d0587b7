-- What the capture and the reconciler keep for themselves.

-- The text that was installed, by its digest.
ALTER TABLE baton.schema_version DROP COLUMN IF EXISTS capture;
ALTER TABLE baton.schema_version ADD COLUMN capture text NOT NULL DEFAULT '';

-- Models that a transaction on MLflow's tables touched, to be judged when it commits. No row outlives its
-- transaction, unless judging failed.
CREATE UNLOGGED TABLE baton.touched (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL, -- as MLflow's tables have it
    reason text NOT NULL,
    raised text, -- the version that was moved to the stage Production
    renamed_from text
);

-- Versions in stage Production when the promoter looked last: where it polls, a new one is a transition made elsewhere.
ALTER TABLE baton.models ADD COLUMN production text[] NOT NULL DEFAULT '{}';

-- They are made anew with other results.
DROP FUNCTION IF EXISTS baton.capture(text, text, boolean);
