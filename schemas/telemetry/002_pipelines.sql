-- What pipelines measured: a row a minute, and the same summed up by hour and by day.
-- Times are milliseconds since 1970 (UTC); unknown is NULL, never 0.

CREATE TABLE pipeline_telemetry (
    period                    TEXT    NOT NULL CHECK (period IN ('minute', 'hour', 'day')),
    start_ms                  INTEGER NOT NULL,           -- of the period
    pipeline                  TEXT    NOT NULL,
    model                     TEXT    NOT NULL,
    version                   TEXT    NOT NULL,
    variant                   TEXT    NOT NULL,           -- 'original' or the variant's name
    payload_count             INTEGER NOT NULL,           -- sensor messages that were taken
    inference_count           INTEGER NOT NULL,           -- passes through the last graph
    fired_count               INTEGER NOT NULL,           -- of them reported a label
    latency_histogram         TEXT    NOT NULL,           -- {"<microseconds>": count}: middles of buckets 6 % wide
    cpu_us                    INTEGER NOT NULL,           -- CPU time of inference
    energy_uj                 INTEGER,                    -- NULL: unknown
    energy_source             TEXT CHECK (energy_source IN ('measured', 'estimated')), -- the weaker one, where both
    energy_inference_count    INTEGER NOT NULL,           -- the inferences that energy_uj is of
    correct_count             INTEGER NOT NULL,           -- of labelled_count: feedback that agreed
    labelled_count            INTEGER NOT NULL,
    agreed_count              INTEGER NOT NULL,           -- of compared_count: same decision as the original
    compared_count            INTEGER NOT NULL,
    dropped_count             INTEGER NOT NULL,           -- payloads that gave way in a full queue
    refused_count             INTEGER NOT NULL,           -- payloads that were malformed
    PRIMARY KEY (period, start_ms, pipeline, model, version, variant)
) STRICT, WITHOUT ROWID;

-- Readable rows: quantiles out of the histogram, ratios, energy per inference.
CREATE VIEW pipeline_periods AS
SELECT period, start_ms, datetime(start_ms / 1000, 'unixepoch') AS time,
       pipeline, model, version, variant, payload_count, inference_count, fired_count,
       (SELECT us FROM (SELECT CAST(key AS INTEGER) AS us, sum(value) OVER (ORDER BY CAST(key AS INTEGER)) AS upto,
                               sum(value) OVER () AS total FROM json_each(t.latency_histogram))
        WHERE upto >= 0.50 * total ORDER BY us LIMIT 1) AS p50_us,
       (SELECT us FROM (SELECT CAST(key AS INTEGER) AS us, sum(value) OVER (ORDER BY CAST(key AS INTEGER)) AS upto,
                               sum(value) OVER () AS total FROM json_each(t.latency_histogram))
        WHERE upto >= 0.90 * total ORDER BY us LIMIT 1) AS p90_us,
       (SELECT us FROM (SELECT CAST(key AS INTEGER) AS us, sum(value) OVER (ORDER BY CAST(key AS INTEGER)) AS upto,
                               sum(value) OVER () AS total FROM json_each(t.latency_histogram))
        WHERE upto >= 0.99 * total ORDER BY us LIMIT 1) AS p99_us,
       round(1.0 * cpu_us / nullif(inference_count, 0), 1)           AS cpu_us_each,
       energy_uj, energy_source,
       round(1.0 * energy_uj / nullif(energy_inference_count, 0), 1) AS energy_uj_each,
       correct_count, labelled_count,
       round(1.0 * correct_count / nullif(labelled_count, 0), 4)     AS accuracy_ratio,
       agreed_count, compared_count,
       round(1.0 * agreed_count / nullif(compared_count, 0), 4)      AS fidelity_ratio,
       dropped_count, refused_count
FROM pipeline_telemetry t;

CREATE VIEW pipeline_minutes AS SELECT * FROM pipeline_periods WHERE period = 'minute';
CREATE VIEW pipeline_hours   AS SELECT * FROM pipeline_periods WHERE period = 'hour';
CREATE VIEW pipeline_days    AS SELECT * FROM pipeline_periods WHERE period = 'day';

-- One row a pipeline, version and variant, over all days that are kept.
CREATE VIEW pipeline_summary AS
WITH merged AS (
    SELECT pipeline, model, version, variant,
           json_group_object(us, count) AS latency_histogram
    FROM (SELECT d.pipeline, d.model, d.version, d.variant, CAST(h.key AS INTEGER) AS us, sum(h.value) AS count
          FROM pipeline_telemetry d, json_each(d.latency_histogram) h
          WHERE d.period = 'day' GROUP BY 1, 2, 3, 4, 5)
    GROUP BY 1, 2, 3, 4
), summed AS (
    SELECT pipeline, model, version, variant,
           min(start_ms) AS first_ms, max(start_ms) AS last_ms,
           sum(payload_count) AS payload_count, sum(inference_count) AS inference_count, sum(fired_count) AS fired_count,
           sum(cpu_us) AS cpu_us, sum(energy_uj) AS energy_uj, min(energy_source) AS energy_source,
           sum(energy_inference_count) AS energy_inference_count,
           sum(correct_count) AS correct_count, sum(labelled_count) AS labelled_count,
           sum(agreed_count) AS agreed_count, sum(compared_count) AS compared_count,
           sum(dropped_count) AS dropped_count, sum(refused_count) AS refused_count
    FROM pipeline_telemetry WHERE period = 'day' GROUP BY 1, 2, 3, 4
)
SELECT s.pipeline, s.model, s.version, s.variant,
       date(s.first_ms / 1000, 'unixepoch') AS first_day, date(s.last_ms / 1000, 'unixepoch') AS last_day,
       s.payload_count, s.inference_count, s.fired_count,
       (SELECT us FROM (SELECT CAST(key AS INTEGER) AS us, sum(value) OVER (ORDER BY CAST(key AS INTEGER)) AS upto,
                               sum(value) OVER () AS total FROM json_each(m.latency_histogram))
        WHERE upto >= 0.50 * total ORDER BY us LIMIT 1) AS p50_us,
       (SELECT us FROM (SELECT CAST(key AS INTEGER) AS us, sum(value) OVER (ORDER BY CAST(key AS INTEGER)) AS upto,
                               sum(value) OVER () AS total FROM json_each(m.latency_histogram))
        WHERE upto >= 0.90 * total ORDER BY us LIMIT 1) AS p90_us,
       (SELECT us FROM (SELECT CAST(key AS INTEGER) AS us, sum(value) OVER (ORDER BY CAST(key AS INTEGER)) AS upto,
                               sum(value) OVER () AS total FROM json_each(m.latency_histogram))
        WHERE upto >= 0.99 * total ORDER BY us LIMIT 1) AS p99_us,
       round(1.0 * s.cpu_us / nullif(s.inference_count, 0), 1)           AS cpu_us_each,
       s.energy_uj, s.energy_source,
       round(1.0 * s.energy_uj / nullif(s.energy_inference_count, 0), 1) AS energy_uj_each,
       s.correct_count, s.labelled_count,
       round(1.0 * s.correct_count / nullif(s.labelled_count, 0), 4)     AS accuracy_ratio,
       s.agreed_count, s.compared_count,
       round(1.0 * s.agreed_count / nullif(s.compared_count, 0), 4)      AS fidelity_ratio,
       s.dropped_count, s.refused_count
FROM summed s LEFT JOIN merged m USING (pipeline, model, version, variant)
ORDER BY s.pipeline, s.first_ms, s.version, s.variant;
