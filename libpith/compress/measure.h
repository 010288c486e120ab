/* What a graph or a chain costs: sizes, work, time, energy. A figure that is not known is NAN here and null in JSON. */
#ifndef PITH_COMPRESS_MEASURE_H
#define PITH_COMPRESS_MEASURE_H

#include <jansson.h>
#include <pith/engine.h>
#include <pith/meter.h>

struct pith_facts {
    double bytes;                 /* at rest: ONNX, zstd */
    double raw_bytes;             /* the ONNX file */
    double weight_bytes;
    double entropy_bytes;         /* of the weights, see entropy.h */
    double parameters, nonzero;
    double macs;                  /* of one run */
    double peak_activation_bytes;
    double arena_bytes;           /* of the engine's session */
    double latency_p50_us, latency_p95_us, latency_runs;
    double cpu_us;                /* mean of one run */
    double energy_uj;             /* of one run */
    uint32_t energy_source;       /* enum pith_energy_source */
    double accuracy_ratio, accuracy_low_ratio, accuracy_high_ratio, accuracy_samples;
    double fidelity_ratio, error_ratio;
};
void pith_facts_init(struct pith_facts *facts); /* all unknown */
json_t *pith_facts_json(const struct pith_facts *facts); /* a new reference; NULL: out of memory */
/* What pith_facts_json wrote; members that are missing stay unknown. */
void pith_facts_read(struct pith_facts *out, const json_t *object);

/* Sizes and work. bytes: at rest; raw_bytes: unpacked. */
void pith_facts_of_graph(struct pith_facts *facts, const struct pith_graph *graph, uint64_t bytes, uint64_t raw_bytes);
/* MACs and activations, for inputs of these shapes, as many as the graph takes. Unknown where inference can't tell. */
void pith_facts_of_work(struct pith_facts *facts, const struct pith_graph *graph, const struct pith_shape *shapes);
/* Sizes are summed and peaks compared; unknown stays unknown. Times are left alone. */
void pith_facts_sum(struct pith_facts *total, const struct pith_facts *part);

struct pith_timing { /* one graph on one engine */
    bool supported;
    char reason[PITH_ERROR_TEXT_BYTES]; /* why not, where not supported */
    double compile_us, arena_bytes;
    double latency_p50_us, latency_p95_us, cpu_us;
    uint32_t runs;
};

struct pith_contender { /* who takes part in a measurement */
    const struct pith_engine_ops *engine;
    const struct pith_graph *graph;
    const struct pith_option_value *options; /* of the engine; NULL: defaults don't exist */
    struct pith_timing timing;               /* out */
};
/* Times all contenders in turn, run by run (A B C A B C ...), so that a machine that warms up or is shared treats them
 * alike. inputs: as many as the graphs have inputs, of known shapes. One that fails is marked unsupported, with why.
 * limit_ms: no further run after that time, but for the least that says something; 0: all of `runs`. */
int pith_measure_latency(const struct pith_host *host, struct pith_contender *contenders, size_t count,
                         const struct pith_tensor *inputs, size_t input_count, uint32_t threads, uint32_t runs,
                         uint32_t limit_ms, struct pith_error *err) PITH_CHECKED;
/* Estimated: CPU time times what one busy core takes above idle. cpu_power_mw: 0 where unknown, and then so is energy. */
void pith_facts_estimate_energy(struct pith_facts *facts, double cpu_power_mw);

#endif
