-- Adds what one period of one pipeline measured to its row. ?1 period, ?2 start_ms, ?3 to ?6 who, ?7 on: counts.
INSERT INTO pipeline_telemetry
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)
ON CONFLICT DO UPDATE SET
    payload_count     = payload_count + excluded.payload_count,
    inference_count   = inference_count + excluded.inference_count,
    fired_count       = fired_count + excluded.fired_count,
    latency_histogram = (SELECT json_group_object(key, count) FROM
                          (SELECT key, sum(value) AS count FROM
                            (SELECT key, value FROM json_each(pipeline_telemetry.latency_histogram)
                             UNION ALL SELECT key, value FROM json_each(excluded.latency_histogram))
                           GROUP BY key ORDER BY CAST(key AS INTEGER))),
    cpu_us            = cpu_us + excluded.cpu_us,
    energy_uj         = CASE WHEN excluded.energy_uj IS NULL THEN energy_uj
                             ELSE ifnull(energy_uj, 0) + excluded.energy_uj END,
    energy_source     = min(ifnull(energy_source, excluded.energy_source), ifnull(excluded.energy_source, energy_source)),
    energy_inference_count = energy_inference_count + excluded.energy_inference_count,
    correct_count     = correct_count + excluded.correct_count,
    labelled_count    = labelled_count + excluded.labelled_count,
    agreed_count      = agreed_count + excluded.agreed_count,
    compared_count    = compared_count + excluded.compared_count,
    dropped_count     = dropped_count + excluded.dropped_count,
    refused_count     = refused_count + excluded.refused_count
