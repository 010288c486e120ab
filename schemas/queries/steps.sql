-- What each step of a compression did: before -> after.
SELECT d.model, d.version, s.step, s.name,
       s.bytes_before || ' -> ' || s.bytes_after             AS bytes,
       s.parameters_before_count || ' -> ' || s.parameters_after_count AS parameters,
       s.macs_before_count || ' -> ' || s.macs_after_count   AS macs,
       round(s.accuracy_before_ratio, 4) || ' -> ' || round(s.accuracy_after_ratio, 4) AS accuracy,
       round(s.latency_before_us) || ' -> ' || round(s.latency_after_us) AS latency_us,
       s.text
FROM deployment_steps s JOIN deployments d ON d.id = s.deployment
ORDER BY s.deployment, s.step;
