-- ?3 a pipeline or NULL for all, ?4 limit; ?1 and ?2 are not used.
SELECT * FROM pipeline_summary WHERE (?3 IS NULL OR pipeline = ?3) LIMIT ?4
