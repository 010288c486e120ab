-- Hours in which payloads were lost or refused.
SELECT time, pipeline, payload_count, dropped_count, refused_count
FROM pipeline_hours
WHERE dropped_count > 0 OR refused_count > 0
ORDER BY start_ms DESC;
