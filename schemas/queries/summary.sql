-- Each pipeline, version and variant over all days that are kept: latency, energy, accuracy, fidelity side by side.
SELECT * FROM pipeline_summary;
