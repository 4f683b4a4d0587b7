-- Commands by hand, approvals, freezing, what predictors made of a promotion, and whose turn it is.

ALTER TABLE baton.decisions DROP CONSTRAINT decisions_verdict_check;
ALTER TABLE baton.decisions ADD CONSTRAINT decisions_verdict_check
    CHECK (verdict IN ('promoted', 'refused', 'awaiting', 'done'));
ALTER TABLE baton.decisions ADD COLUMN action text NOT NULL DEFAULT 'promote';
ALTER TABLE baton.decisions ADD COLUMN actor text NOT NULL DEFAULT 'promoter';
ALTER TABLE baton.decisions ADD COLUMN generation bigint; -- the standing that it was made on

-- `awaiting`: passed by the policy, to be carried out when somebody approves. The capture sees open intents only.
ALTER TABLE baton.intents DROP CONSTRAINT intents_state_check;
ALTER TABLE baton.intents ADD CONSTRAINT intents_state_check
    CHECK (state IN ('open', 'awaiting', 'used', 'closed'));

ALTER TABLE baton.models ADD COLUMN frozen_by text;
ALTER TABLE baton.models ADD COLUMN frozen_reason text;
ALTER TABLE baton.models ADD COLUMN changed_at timestamptz;
UPDATE baton.models m SET changed_at =
    (SELECT max(p.committed_at) FROM baton.promotions p WHERE p.model = m.model);

-- When the first predictor answered with the version: only versions that have served are rolled back to.
ALTER TABLE baton.promotions ADD COLUMN served_at timestamptz;

CREATE TABLE baton.rejections (
    model text NOT NULL,
    generation bigint NOT NULL,
    predictor text NOT NULL,
    version text NOT NULL,
    run_id text,
    check_failed text NOT NULL,
    message text NOT NULL,
    happened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (model, generation, predictor, check_failed)
);

-- One promoter at a time judges a model. A lease, not a lock: who was paused loses it, and finds its intent out of date.
CREATE TABLE baton.turns (
    model text PRIMARY KEY,
    holder uuid NOT NULL,
    ends_at timestamptz NOT NULL
);
