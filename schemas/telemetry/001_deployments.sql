-- Models, their deployments, and each step that compression took.
-- Times are milliseconds since 1970 (UTC); unknown is NULL, never 0.

-- A deployment is one desired document (one generation of one model) on its way, or at its end.
CREATE TABLE deployments (
    id              INTEGER PRIMARY KEY AUTOINCREMENT, -- names its folder; never used again
    model           TEXT    NOT NULL,
    version         TEXT    NOT NULL,
    generation      INTEGER NOT NULL,
    manifest_sha256 TEXT    NOT NULL,                  -- '' where the model should be gone
    manifest_bytes  INTEGER NOT NULL,
    signer          TEXT    NOT NULL,                  -- id of the key that signed the desired document
    state           TEXT    NOT NULL,
    reason          TEXT    NOT NULL DEFAULT '',
    attempt_count   INTEGER NOT NULL DEFAULT 1,        -- how often this state was begun
    created_ms      INTEGER NOT NULL,
    updated_ms      INTEGER NOT NULL,                  -- when the state was entered
    variant         TEXT,                              -- what serves: 'original' or the variant's name
    result_json     TEXT,                              -- the worker's result, as it was written
    original_bytes          INTEGER,                   -- at rest, all graphs
    variant_bytes           INTEGER,
    original_parameters_count INTEGER,
    variant_parameters_count  INTEGER,
    original_macs_count     INTEGER,
    variant_macs_count      INTEGER,
    original_accuracy_ratio REAL,
    variant_accuracy_ratio  REAL,
    original_latency_us     REAL,
    variant_latency_us      REAL,
    fidelity_ratio          REAL,                      -- agreement of the variant's decisions with the original's
    energy_ratio            REAL                       -- energy of the variant over the original's
) STRICT;
CREATE INDEX deployments_by_model ON deployments (model, generation);

-- A model as the gateway knows it. The generation only moves up: it is the guard against replay.
CREATE TABLE models (
    model          TEXT    PRIMARY KEY,
    generation     INTEGER NOT NULL,  -- of the newest desired document that was accepted
    desired_sha256 TEXT    NOT NULL,  -- of its payload: the same generation with other bytes is refused
    newest         INTEGER REFERENCES deployments (id), -- the deployment of that document
    active         INTEGER REFERENCES deployments (id), -- serves
    previous       INTEGER REFERENCES deployments (id), -- kept for rollback
    trial_count    INTEGER NOT NULL DEFAULT 0 -- starts of `active` that have not come to an end: guards against crash loops
) STRICT;

-- Each state that a deployment entered, in order.
CREATE TABLE deployment_states (
    deployment    INTEGER NOT NULL REFERENCES deployments (id) ON DELETE CASCADE,
    sequence      INTEGER NOT NULL,
    time_ms       INTEGER NOT NULL,
    state         TEXT    NOT NULL,
    reason        TEXT    NOT NULL,
    attempt_count INTEGER NOT NULL,
    PRIMARY KEY (deployment, sequence)
) STRICT, WITHOUT ROWID;

-- What each step of the compression did, before and after: the techniques of the recipe, and each finer form that was tried.
CREATE TABLE deployment_steps (
    deployment              INTEGER NOT NULL REFERENCES deployments (id) ON DELETE CASCADE,
    step                    INTEGER NOT NULL,
    name                    TEXT    NOT NULL,
    text                    TEXT    NOT NULL,
    time_ms                 INTEGER,       -- how long it took
    bytes_before            INTEGER,
    bytes_after             INTEGER,
    parameters_before_count INTEGER,
    parameters_after_count  INTEGER,
    macs_before_count       INTEGER,
    macs_after_count        INTEGER,
    accuracy_before_ratio   REAL,
    accuracy_after_ratio    REAL,
    fidelity_before_ratio   REAL,
    fidelity_after_ratio    REAL,
    latency_before_us       REAL,
    latency_after_us        REAL,
    PRIMARY KEY (deployment, step)
) STRICT, WITHOUT ROWID;

CREATE VIEW deployment_history AS
SELECT d.model, d.version, d.generation,
       datetime(s.time_ms / 1000, 'unixepoch') AS time,
       s.state, s.attempt_count, s.reason
FROM deployment_states s JOIN deployments d ON d.id = s.deployment
ORDER BY d.id, s.sequence;

CREATE VIEW deployment_outcomes AS
SELECT d.model, d.version, d.generation, d.state, d.reason, d.variant,
       d.original_bytes, d.variant_bytes,
       round(1.0 * d.variant_bytes / d.original_bytes, 3)         AS bytes_ratio,
       d.original_latency_us, d.variant_latency_us,
       round(1.0 * d.variant_latency_us / d.original_latency_us, 3) AS latency_ratio,
       d.original_accuracy_ratio, d.variant_accuracy_ratio, d.fidelity_ratio, d.energy_ratio,
       m.active IS d.id   AS is_active,
       m.previous IS d.id AS is_previous
FROM deployments d LEFT JOIN models m ON m.model = d.model
ORDER BY d.id;
