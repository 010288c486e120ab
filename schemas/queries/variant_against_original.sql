-- What compression changed: a model's variant beside its original, where both have served.
SELECT v.pipeline, v.version, v.variant,
       o.p50_us AS original_p50_us, v.p50_us, round(1.0 * v.p50_us / o.p50_us, 2) AS latency_ratio,
       o.energy_uj_each AS original_energy_uj_each, v.energy_uj_each,
       round(v.energy_uj_each / o.energy_uj_each, 2) AS energy_ratio,
       o.accuracy_ratio AS original_accuracy_ratio, v.accuracy_ratio, v.fidelity_ratio
FROM pipeline_summary v
JOIN pipeline_summary o ON o.pipeline = v.pipeline AND o.version = v.version AND o.variant = 'original'
WHERE v.variant <> 'original';
