-- The oldest tenth of the finest period that there is; at least one row.
WITH finest AS (
    SELECT period, count(*) AS count FROM pipeline_telemetry GROUP BY period
    ORDER BY CASE period WHEN 'minute' THEN 0 WHEN 'hour' THEN 1 ELSE 2 END LIMIT 1
)
DELETE FROM pipeline_telemetry
WHERE period = (SELECT period FROM finest)
  AND start_ms <= (SELECT start_ms FROM pipeline_telemetry t WHERE t.period = (SELECT period FROM finest)
                   ORDER BY start_ms LIMIT 1 OFFSET (SELECT count / 10 FROM finest))
