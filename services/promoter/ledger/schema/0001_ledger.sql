-- The ledger: schema `baton` in MLflow's database. Versions are text, as in MLflow's API.

CREATE TABLE baton.ledger (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    is_only_row boolean NOT NULL UNIQUE DEFAULT true CHECK (is_only_row)
);
INSERT INTO baton.ledger DEFAULT VALUES;

-- What the capture knows of each model: the place in its order of changes, and who is champion.
CREATE TABLE baton.models (
    model text PRIMARY KEY,
    generation bigint NOT NULL DEFAULT 0,
    champion text,
    frozen boolean NOT NULL DEFAULT false
);

-- What the promoter judged. One decision per event stands; one that the registry overtook is superseded.
CREATE TABLE baton.decisions (
    id text PRIMARY KEY,
    source_event text NOT NULL,
    model text NOT NULL,
    version text NOT NULL,
    verdict text NOT NULL CHECK (verdict IN ('promoted', 'refused')),
    reason text NOT NULL,
    event jsonb NOT NULL, -- the whole `promotion.decided`
    decided_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    superseded boolean NOT NULL DEFAULT false
);
CREATE UNIQUE INDEX one_decision_per_event ON baton.decisions (source_event) WHERE NOT superseded;
CREATE INDEX decisions_by_model ON baton.decisions (model, decided_at);

-- What the promoter is about to do, so that the capture can tell by whom and why, and refuse what is out of date.
CREATE TABLE baton.intents (
    decision text PRIMARY KEY REFERENCES baton.decisions (id),
    model text NOT NULL,
    version text NOT NULL,
    expected_generation bigint NOT NULL,
    actor text NOT NULL,
    reason text NOT NULL,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'used', 'closed')),
    opened_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX open_intents ON baton.intents (model, version) WHERE state = 'open';

-- The outbox: every change of a champion, written by the transaction that makes it.
CREATE TABLE baton.promotions (
    model text NOT NULL,
    generation bigint NOT NULL,
    kind text NOT NULL CHECK (kind IN ('promoted', 'withdrawn')),
    version text,
    run_id text,
    bundle text, -- the version's tag `baton.bundle`, as it was at the commit
    previous text,
    actor text NOT NULL,
    reason text NOT NULL,
    decision text,
    committed_at timestamptz NOT NULL,
    published_at timestamptz,
    PRIMARY KEY (model, generation)
);
CREATE INDEX unpublished ON baton.promotions (model, generation) WHERE published_at IS NULL;

CREATE TABLE baton.capture_errors (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    happened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    trigger_name text NOT NULL,
    changed jsonb,
    sqlstate text NOT NULL,
    message text NOT NULL
);
