-- The last hour, minute by minute.
SELECT time, pipeline, version, variant, inference_count, fired_count, p50_us, p99_us, energy_uj_each, energy_source,
       dropped_count, refused_count
FROM pipeline_minutes
WHERE start_ms >= (unixepoch() - 3600) * 1000
ORDER BY start_ms, pipeline;
