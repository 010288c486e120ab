-- ?1: minutes older than it go, ?2: hours, ?3: days. Each a start_ms. ?4: what is before it stays.
DELETE FROM pipeline_telemetry
WHERE ((period = 'minute' AND start_ms < ?1) OR (period = 'hour' AND start_ms < ?2) OR (period = 'day' AND start_ms < ?3))
  AND start_ms >= ?4
