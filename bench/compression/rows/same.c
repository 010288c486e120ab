/* The same options on the same samples, again and on other instruction sets, each in a process of its own:
 * bytes, scales and decisions. */
#include "bench/compression/rows/rows.h"

#include "libpith/formats/onnx.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const nets[] = {"kws", "vww"};
static const char *const forms[] = {"{}", "{\"weights\":\"int4\"}"};

/* NET OPTIONS FILE, in a process of its own. */
void same_inside(const struct lab *lab, char **argv)
{
    struct subject subject;
    struct outcome outcome = {0};
    struct pith_error err = {0};

    open_tiny(&subject, lab, argv[0]);
    struct pith_graph *graph = subject_quantize(&subject, argv[1], -1, &outcome);

    lab_must(pith_onnx_save(graph, argv[2], NULL, &err), &err, argv[2]);
    (void) puts(outcome.digest);
    pith_graph_free(graph);
    outcome_done(&outcome);
    subject_close(&subject);
}

static void run_inside(const char *net, const char *options, const char *file, const char *isa, char digest[65])
{
    int ends[2], status;

    if (pipe(ends) < 0)
        lab_die("pipe: %s", strerror(errno));
    pid_t child = fork();

    if (child == 0) {
        if (isa)
            (void) setenv("PITH_ISA", isa, 1);
        (void) dup2(ends[1], STDOUT_FILENO);
        (void) close(ends[0]);
        (void) close(ends[1]);
        (void) execl("/proc/self/exe", "rows", "--same", net, options, file, (char *) NULL);
        _exit(127);
    }
    (void) close(ends[1]);
    ssize_t got = read(ends[0], digest, 64);

    if (child < 0 || waitpid(child, &status, 0) < 0 || got < 64 || status != 0)
        lab_die("%s %s failed", net, options);
    (void) close(ends[0]);
    digest[64] = 0;
}

/* The greatest relative difference of two graphs' scales; infinite where the graphs are not of one form. */
static double scale_difference(const struct pith_graph *a, const struct pith_graph *b)
{
    double worst = 0;

    if (pith_graph_value_limit(a) != pith_graph_value_limit(b))
        return HUGE_VAL;
    for (uint32_t i = 0; i < pith_graph_value_limit(a); i++) {
        const struct pith_quantization *p = pith_value_quantization(a, i), *q = pith_value_quantization(b, i);

        if (!p != !q || (p && p->count != q->count))
            return HUGE_VAL;
        for (size_t k = 0; p && k < p->count; k++)
            worst = fmax(worst, fabs((double) q->scale[k] / (double) p->scale[k] - 1));
    }
    return worst;
}

static void compare_isas(struct subject *subject, const char *net, const char *options)
{
    static const char *const isas[] = {NULL, NULL, "avx2", "sse2"};
    const struct lab *lab = subject->lab;
    struct pith_graph *first = NULL;
    struct outcome base = {0};
    char digest[4][65];

    for (size_t i = 0; i < 4; i++) {
        const char *file = lab_path(lab->made, "same-%s-%zu.onnx", net, i);
        struct outcome outcome = {.seconds = -1};

        run_inside(net, options, file, isas[i], digest[i]);
        struct pith_graph *graph = lab_graph(file);

        if (i == 1) {
            table_hold(!strcmp(digest[0], digest[1]) ? HELD : MISSED, "%s %s: the same bytes again", net, options);
            pith_graph_free(graph);
            continue;
        }
        outcome.bytes = lab_packed_bytes(graph);
        subject_measure(subject, graph, &subject->test, &outcome);
        table_form(subject, isas[i] ? isas[i] : "this machine's", &outcome, i == 0 ? NULL : &base);
        if (i == 0) {
            first = graph;
            base = outcome;
            continue;
        }
        double off = scale_difference(first, graph);
        struct pith_difference difference;

        lab_must(pith_metric_compare(base.metric, outcome.metric, &difference, NULL), NULL, "metric");
        if (isfinite(off))
            table_hold(off <= 0.001 ? HELD : MISSED, "%s %s on %s: scales differ by %.2g at most, at most 0.001", net,
                       options, isas[i], off);
        else
            table_hold(MISSED, "%s %s on %s: some layer has another form", net, options, isas[i]);
        table_hold(difference.p > 0.05 ? HELD : MISSED, "%s %s on %s: p %.3f of the difference in accuracy", net,
                   options, isas[i], difference.p);
        pith_graph_free(graph);
        outcome_done(&outcome);
    }
    pith_graph_free(first);
    outcome_done(&base);
}

void row_same(const struct lab *lab)
{
    if (!lab->made)
        lab_die("PITH_MADE names no folder for what is made: run bench/compression/ptq");
    table_row("same", "the same seed again, and on other instruction sets");
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
        struct subject subject;

        open_tiny(&subject, lab, nets[i]);
        for (size_t k = 0; k < sizeof forms / sizeof *forms; k++)
            compare_isas(&subject, nets[i], forms[k]);
        subject_close(&subject);
    }
}
