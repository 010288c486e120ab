-- Each deployment and what came of it: bytes, latency and accuracy as delivered and as it serves.
SELECT model, version, generation, state, variant, original_bytes, variant_bytes, bytes_ratio,
       original_latency_us, variant_latency_us, latency_ratio,
       original_accuracy_ratio, variant_accuracy_ratio, fidelity_ratio
FROM deployment_outcomes;
