-- How often people agreed with the results, day by day. Days without feedback are left out.
SELECT time, pipeline, version, variant, correct_count, labelled_count, accuracy_ratio
FROM pipeline_days
WHERE labelled_count > 0
ORDER BY start_ms, pipeline;
