-- ?1 period, ?2 since, ?3 a pipeline or NULL for all, ?4 limit.
SELECT * FROM pipeline_periods
WHERE period = ?1 AND start_ms >= ?2 AND (?3 IS NULL OR pipeline = ?3)
ORDER BY start_ms DESC, pipeline, version, variant LIMIT ?4
