/* Drawing: every panel has its own scale and shares the rows. Text is escaped, since layers may be
 * called anything. */
#include "cli/sensitivity_plot.h"
#include "cli/output.h"

#include <math.h>
#include <string.h>

#define ROW_HEIGHT   18
#define NAME_WIDTH   250
#define NAME_LETTERS 38
#define PANEL_WIDTH  190
#define PANEL_GAP    26
#define HEAD_HEIGHT  118
#define FOOT_HEIGHT  34
#define MARGIN       16

#define INK    "#1f2933"
#define FAINT  "#9aa5b1"
#define GRID   "#e4e7eb"
#define FIRST  "#1f6fb2" /* blue and orange: told apart by most who see colours otherwise */
#define SECOND "#d9730d"

/* What a panel shows: one or two marks a row. `of` is the member of a layer that holds the key, or
 * NULL for the layer itself. */
struct series {
    const char *name, *of, *key;
    double factor;
};
struct panel {
    const char *title, *unit;
    struct series series[2];
    const char *whole; /* key of the report's "whole", drawn as a line; NULL: none */
    bool bars;         /* from zero; else points */
    double low, high;
};

static const struct panel panels[] = {
    {.title = "Signal to quantization noise",
     .unit = "dB (more is better)",
     .series = {{"weights", NULL, "weight_sqnr_db", 1}, {"input", NULL, "input_sqnr_db", 1}}},
    {.title = "Error of its own output",
     .unit = "% of its deviation",
     .series = {{"float inputs", NULL, "output_error_ratio", 100}},
     .bars = true},
    {.title = "Error of the model's outputs",
     .unit = "% of their deviation",
     .series = {{"only it quantized", "alone", "error_ratio", 100},
                {"all but it", "others", "error_ratio", 100}},
     .whole = "error_ratio"},
    {.title = "Change of the metric",
     .unit = "",
     .series = {{"only it quantized", "alone", "metric_change", 1},
                {"all but it", "others", "metric_change", 1}},
     .whole = "metric_change"},
    {.title = "Time gained",
     .unit = "µs (others quantized, or float)",
     .series = {{"beside the others", NULL, "time_gained_us", 1},
                {"alone", NULL, "time_gained_alone_us", 1}}},
};
#define PANELS (sizeof panels / sizeof *panels)

static double at(const json_t *layer, const struct series *series)
{
    const json_t *object = series->of ? json_object_get(layer, series->of) : layer;

    return number_of(object, series->key) * series->factor;
}

/* ---- scales ---- */

void plot_ticks(double low, double high, int most, double *out_first, double *out_step)
{
    double raw = (high - low) / most, power, step;

    if (!(raw > 0))
        raw = 1;
    power = pow(10, floor(log10(raw)));
    step = raw <= power       ? power
           : raw <= 2 * power ? 2 * power
           : raw <= 5 * power ? 5 * power
                              : 10 * power;
    *out_step = step;
    *out_first = ceil(low / step - 1e-9) * step;
}

static void widen(struct panel *panel, double x)
{
    if (!isfinite(x))
        return;
    panel->low = fmin(panel->low, x);
    panel->high = fmax(panel->high, x);
}

/* Zero is in every scale: bars start there, and changes are from there. */
static void scale(struct panel *panel, const json_t *report)
{
    const json_t *layer;
    size_t i;

    panel->low = panel->high = 0;
    json_array_foreach(json_object_get(report, "layers"), i,
                       layer) for (size_t s = 0; s < 2 && panel->series[s].name; s++)
        widen(panel, at(layer, &panel->series[s]));
    if (panel->whole)
        widen(panel,
              number_of(json_object_get(report, "whole"), panel->whole) * panel->series[0].factor);
    if (panel->high - panel->low < 1e-12)
        panel->high = panel->low + 1;
    else
        panel->high += 0.04 * (panel->high - panel->low);
    if (panel->low < 0)
        panel->low -= 0.04 * (panel->high - panel->low);
}

static double place(const struct panel *panel, double left, double x)
{
    return left + (x - panel->low) / (panel->high - panel->low) * PANEL_WIDTH;
}

/* ---- pieces ---- */

/* bytes: at most so many of the text; 0: all. */
static void put_text(struct pith_buffer *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '<')
            pith_buffer_printf(out, "&lt;");
        else if (*text == '>')
            pith_buffer_printf(out, "&gt;");
        else if (*text == '&')
            pith_buffer_printf(out, "&amp;");
        else if (*text == '"')
            pith_buffer_printf(out, "&quot;");
        else if ((unsigned char) *text < 0x20)
            pith_buffer_printf(out, " ");
        else
            pith_buffer_printf(out, "%c", *text);
    }
}

/* The end of a long name tells more than its beginning. */
static const char *tail(const char *name)
{
    size_t letters = 0;

    for (const char *p = name; *p; p++)
        letters += ((unsigned char) *p & 0xc0) != 0x80;
    while (letters > NAME_LETTERS) {
        name++;
        while (((unsigned char) *name & 0xc0) == 0x80)
            name++;
        letters--;
    }
    return name;
}

static void put_label(struct pith_buffer *out, double x, double y, const char *anchor,
                      const char *colour, const char *more, const char *text)
{
    pith_buffer_printf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" fill=\"%s\" %s>", x, y,
                       anchor, colour, more);
    put_text(out, text);
    pith_buffer_printf(out, "</text>\n");
}

static void put_line(struct pith_buffer *out, double x0, double y0, double x1, double y1,
                     const char *colour, const char *more)
{
    pith_buffer_printf(out,
                       "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\" %s/>\n",
                       x0, y0, x1, y1, colour, more);
}

static void put_mark(struct pith_buffer *out, const struct panel *panel, size_t series, double left,
                     double y, double x)
{
    const char *colour = series ? SECOND : FIRST;
    double from = place(panel, left, 0), to = place(panel, left, x);

    if (!isfinite(x))
        return;
    if (panel->bars)
        pith_buffer_printf(out,
                           "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" fill=\"%s\">",
                           fmin(from, to), y - 5, fmax(fabs(to - from), 0.5), 10, colour);
    else if (series)
        pith_buffer_printf(out,
                           "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.6\" fill=\"white\" stroke=\"%s\" "
                           "stroke-width=\"1.6\">",
                           to, y, colour);
    else
        pith_buffer_printf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.4\" fill=\"%s\">", to, y,
                           colour);
    pith_buffer_printf(out, "<title>%s: %.5g</title></%s>\n", panel->series[series].name, x,
                       panel->bars ? "rect" : "circle");
}

/* ---- one panel ---- */

static void put_axis(struct pith_buffer *out, const struct panel *panel, double left, double bottom)
{
    double first, step;

    plot_ticks(panel->low, panel->high, 4, &first, &step);
    for (double x = first; x <= panel->high + 1e-9 * step; x += step) {
        char text[32];
        double value = fabs(x) < 1e-9 * step ? 0 : x;

        put_line(out, place(panel, left, x), HEAD_HEIGHT - 6, place(panel, left, x), bottom,
                 value == 0 ? FAINT : GRID, "");
        (void) snprintf(text, sizeof text, "%.4g", value);
        put_label(out, place(panel, left, x), bottom + 14, "middle", INK, "font-size=\"10\"", text);
    }
}

static void put_head(struct pith_buffer *out, const struct panel *panel, double left)
{
    double y = 72;

    put_label(out, left, y, "start", INK, "font-weight=\"bold\"", panel->title);
    put_label(out, left, y + 13, "start", FAINT, "font-size=\"10\"", panel->unit);
    for (size_t s = 0; s < 2 && panel->series[s].name; s++) {
        double x = left + 4 + (double) s * 108;

        put_mark(
            out,
            &(struct panel){.series = {panel->series[0], panel->series[1]}, .low = 0, .high = 1}, s,
            x, y + 26, 0);
        put_label(out, x + 8, y + 29.5, "start", INK, "font-size=\"10\"", panel->series[s].name);
    }
}

static void put_panel(struct pith_buffer *out, const json_t *report, const struct panel *panel,
                      double left, double bottom)
{
    double whole = panel->whole ? number_of(json_object_get(report, "whole"), panel->whole) *
                                      panel->series[0].factor
                                : NAN;
    const json_t *layer;
    size_t i;

    put_head(out, panel, left);
    put_axis(out, panel, left, bottom);
    if (isfinite(whole)) {
        put_line(out, place(panel, left, whole), HEAD_HEIGHT - 6, place(panel, left, whole), bottom,
                 SECOND, "stroke-dasharray=\"4 3\"");
        put_label(out, place(panel, left, whole), bottom + 26, "middle", SECOND, "font-size=\"10\"",
                  "all quantized");
    }
    json_array_foreach(json_object_get(report, "layers"), i, layer)
    {
        double y = HEAD_HEIGHT + (double) i * ROW_HEIGHT + ROW_HEIGHT / 2.0;

        /* The open mark is drawn last, and lets the full one show where both fall together. */
        for (size_t s = 0; s < 2 && panel->series[s].name; s++)
            put_mark(out, panel, s, left, y, at(layer, &panel->series[s]));
    }
}

/* ---- the picture ---- */

static void put_rows(struct pith_buffer *out, const json_t *report, double width)
{
    const json_t *layer;
    size_t i;

    json_array_foreach(json_object_get(report, "layers"), i, layer)
    {
        double top = HEAD_HEIGHT + (double) i * ROW_HEIGHT;
        const char *name = json_string_value(json_object_get(layer, "layer"));
        const char *op = json_string_value(json_object_get(layer, "op"));
        bool measured = json_is_true(json_object_get(layer, "measured"));
        char shown[4 * NAME_LETTERS + 8];

        if (i % 2 == 0)
            pith_buffer_printf(
                out, "<rect x=\"0\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" fill=\"#f5f7fa\"/>\n",
                top, width, ROW_HEIGHT);
        (void) snprintf(shown, sizeof shown, "%s%s", tail(name) != name ? "…" : "", tail(name));
        pith_buffer_printf(out, "<g><title>");
        put_text(out, name);
        pith_buffer_printf(out, " (%s)%s</title>\n", op ? op : "",
                           measured ? "" : ": not measured");
        put_label(out, NAME_WIDTH + MARGIN - 8, top + ROW_HEIGHT - 5, "end", measured ? INK : FAINT,
                  "font-size=\"11\"", shown);
        pith_buffer_printf(out, "</g>\n");
    }
}

static const char *unit_of_metric(const char *metric, double *factor)
{
    bool share = metric && strcmp(metric, "mse") != 0 && strcmp(metric, "psnr") != 0;

    *factor = share ? 100 : 1;
    return share ? "points" : metric && !strcmp(metric, "psnr") ? "dB" : "";
}

void sensitivity_plot(const json_t *report, const char *model, struct pith_buffer *out)
{
    size_t rows = json_array_size(json_object_get(report, "layers")), shown = 0;
    const char *metric = json_string_value(json_object_get(report, "metric"));
    double bottom = HEAD_HEIGHT + (double) rows * ROW_HEIGHT;
    size_t wanted = PANELS - !metric;
    double width = 2 * MARGIN + NAME_WIDTH + (double) wanted * (PANEL_WIDTH + PANEL_GAP);
    char line[512], title[96];

    pith_buffer_printf(out,
                       "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
                       "viewBox=\"0 0 %.0f %.0f\" font-family=\"sans-serif\" font-size=\"12\">\n"
                       "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
                       width, bottom + FOOT_HEIGHT, width, bottom + FOOT_HEIGHT);
    (void) snprintf(line, sizeof line, "%.120s, layer by layer: %s", model,
                    json_string_value(json_object_get(report, "form")));
    put_label(out, MARGIN, 24, "start", INK, "font-size=\"16\" font-weight=\"bold\"", line);
    (void) snprintf(line, sizeof line, "%lld samples. %.400s",
                    (long long) json_integer_value(json_object_get(report, "samples")),
                    json_string_value(json_object_get(report, "text")));
    put_label(out, MARGIN, 43, "start", INK, "", line);
    put_rows(out, report, width);
    for (size_t i = 0; i < PANELS; i++) {
        struct panel panel = panels[i];

        if (!strcmp(panel.series[0].key, "metric_change")) {
            if (!metric)
                continue;
            (void) snprintf(title, sizeof title, "Change of %.40s", metric);
            panel.title = title;
            panel.unit = unit_of_metric(metric, &panel.series[0].factor);
            panel.series[1].factor = panel.series[0].factor;
        }
        scale(&panel, report);
        put_panel(out, report, &panel,
                  MARGIN + NAME_WIDTH + (double) shown++ * (PANEL_WIDTH + PANEL_GAP), bottom);
    }
    pith_buffer_printf(out, "</svg>\n");
}
