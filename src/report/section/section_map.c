/* The features of samples before and after, laid out in the plane by t-SNE and by principal components. */
#include "report/section.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 400, PAD = 14, COLOURS = 10, LEAST = 8 };

typedef struct map {
    const graft_story *s;
    int32_t *tone;    /* [n_labels] colour of a class; COLOURS: one of the many */
    double low, high; /* regression: of the labels */
} map;

typedef struct tally {
    int64_t count;
    int32_t label;
} tally;

static int by_count(const void *a, const void *b) {
    const tally *x = a, *y = b;
    if (x->count != y->count) return x->count > y->count ? -1 : 1;
    return x->label < y->label ? -1 : x->label > y->label;
}

/* The commonest classes have a colour each. */
static int choose_colours(map *m, graft_err *err) {
    const graft_story *s = m->s;
    size_t k = s->n_labels;
    tally *tallies = graft_arena_array(s->arena, k + 1, sizeof *tallies);
    m->tone = graft_arena_array(s->arena, k + 1, sizeof *m->tone);
    if (!tallies || !m->tone) return graft_err_nomem(err);
    for (size_t c = 0; c < k; c++) tallies[c].label = (int32_t)c;
    for (int64_t i = 0; i < s->n_drawn; i++) {
        int32_t label = s->verdicts[s->drawn[i]].label;
        if (label >= 0) tallies[label].count++;
    }
    qsort(tallies, k, sizeof *tallies, by_count);
    for (size_t c = 0; c < k; c++) m->tone[c] = COLOURS;
    /* in the model's order, so that two pages of one model agree */
    int32_t next = 0;
    for (size_t c = 0; c < k && c < COLOURS; c++) m->tone[tallies[c].label] = -1;
    for (size_t c = 0; c < k; c++)
        if (m->tone[c] == -1) m->tone[c] = next++;
    return 0;
}

static double target(const graft_story *s, int64_t i) {
    const graft_answers *a = &s->kept.answers;
    return s->task == GRAFT_TASK_REGRESSION ? (double)a->targets[s->drawn[i] * a->k] : NAN;
}

static int tone_of(const map *m, int64_t i) {
    const graft_verdict *v = &m->s->verdicts[m->s->drawn[i]];
    if (m->s->task == GRAFT_TASK_CLASSES) return v->label >= 0 ? m->tone[v->label] : COLOURS;
    if (m->s->task == GRAFT_TASK_REGRESSION && m->high > m->low)
        return (int)fmin(4.0, floor(5.0 * (target(m->s, i) - m->low) / (m->high - m->low)));
    return v->right ? 0 : 1;
}

static void put_point(graft_buf *out, const map *m, const float *at, const double *shift, double scale,
                      int64_t i) {
    const graft_verdict *v = &m->s->verdicts[m->s->drawn[i]];
    graft_buf_printf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%s\"%s data-i=\"%lld\"/>",
                     SIDE / 2.0 + ((double)at[2 * i] - shift[0]) * scale,
                     SIDE / 2.0 - ((double)at[2 * i + 1] - shift[1]) * scale,
                     m->s->n_drawn > 400 ? "2.4" : "3.2",
                     m->s->task == GRAFT_TASK_CLASSES && !v->right ? " class=\"x\"" : "", (long long)i);
}

/* Both axes have one scale: distances are what the picture is about. */
static void put_plane(graft_buf *out, const map *m, const float *at, const char *kind, const char *about) {
    double low[2] = {INFINITY, INFINITY}, high[2] = {-INFINITY, -INFINITY};
    int64_t n = m->s->n_drawn;
    for (int64_t i = 0; i < 2 * n; i++) {
        low[i % 2] = fmin(low[i % 2], (double)at[i]);
        high[i % 2] = fmax(high[i % 2], (double)at[i]);
    }
    double widest = fmax(high[0] - low[0], high[1] - low[1]);
    const double shift[2] = {(low[0] + high[0]) / 2.0, (low[1] + high[1]) / 2.0};
    double scale = widest > 0.0 ? (SIDE - 2 * PAD) / widest : 0.0;
    graft_buf_printf(out, "<svg class=\"%s\" viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">", kind,
                     SIDE, SIDE, about);
    for (int tone = COLOURS; tone >= 0; tone--) { /* the many lie beneath the few */
        bool open = false;
        for (int64_t i = 0; i < n; i++) {
            if (tone_of(m, i) != tone) continue;
            if (!open)
                graft_buf_printf(out, "<g class=\"%s%d\" data-k=\"%d\">",
                                 m->s->task == GRAFT_TASK_REGRESSION ? "ramp" : "k", tone, tone);
            open = true;
            put_point(out, m, at, shift, scale, i);
        }
        if (open) graft_buf_text(out, "</g>");
    }
    graft_buf_text(out, "</svg>\n");
}

static int put_pair(graft_buf *out, const map *m, const float *rows, int64_t width, const char *title,
                    graft_err *err) {
    int64_t n = m->s->n_drawn;
    float *plane = graft_arena_array(m->s->arena, 2 * (size_t)n, sizeof *plane);
    if (!plane) return graft_err_nomem(err);
    graft_buf_printf(out, "<figure class=\"map\"><figcaption><span class=\"name\">%s</span></figcaption>\n",
                     title);
    int rc = graft_tsne(plane, NULL, m->s->env, rows, n, width, NULL, err);
    if (rc == 0) put_plane(out, m, plane, "tsne", "Features of samples laid out by t-SNE");
    if (rc == 0) rc = graft_pca_plane(plane, rows, n, width, err);
    if (rc == 0) put_plane(out, m, plane, "pca", "Features of samples along their two principal components");
    graft_buf_text(out, "</figure>\n");
    return rc;
}

static void put_legend(graft_buf *out, const map *m) {
    const graft_story *s = m->s;
    bool many = false;
    graft_buf_text(out, "<p class=\"legend map-legend\">");
    for (size_t c = 0; c < s->n_labels && s->task == GRAFT_TASK_CLASSES; c++) {
        many = many || m->tone[c] == COLOURS;
        if (m->tone[c] == COLOURS) continue;
        graft_buf_printf(out,
                         "<button type=\"button\" class=\"key k%d\" data-k=\"%d\" aria-pressed=\"false\">",
                         m->tone[c], m->tone[c]);
        graft_html_short(out, s->labels[c], strlen(s->labels[c]), 32);
        graft_buf_text(out, "</button> ");
    }
    if (many)
        graft_buf_printf(out,
                         "<button type=\"button\" class=\"key k10\" data-k=\"10\" aria-pressed=\"false\">"
                         "%zu other classes</button> ",
                         s->n_labels - COLOURS);
    if (s->task == GRAFT_TASK_CLASSES) {
        graft_buf_text(out, "<span class=\"key ring\">wrong answer</span>");
    } else if (s->task == GRAFT_TASK_REGRESSION) {
        for (int t = 0; t < 5; t++)
            graft_buf_printf(out, "<span class=\"key ramp%d\">%s</span> ", t,
                             t == 0   ? "low label"
                             : t == 4 ? "high label"
                                      : "");
    } else {
        graft_buf_text(
            out, "<span class=\"key k0\">all classes right</span> <span class=\"key k1\">not all</span>");
    }
    graft_buf_text(out, "</p>\n");
}

/* What the page's script says of a point: label, answer, origin. */
static void put_points(graft_buf *out, const graft_story *s) {
    graft_buf_text(out, "<ul id=\"points\" hidden>");
    for (int64_t i = 0; i < s->n_drawn; i++) {
        const graft_verdict *v = &s->verdicts[s->drawn[i]];
        const char *origin = s->data ? graft_path_name(graft_data_sample(s->data, v->sample)->origin) : "";
        graft_buf_text(out, "<li>");
        if (s->task == GRAFT_TASK_CLASSES) {
            graft_html_text(out, graft_story_label(s, v->label));
            if (!v->right) {
                graft_buf_text(out, ", answered ");
                graft_html_text(out, graft_story_label(s, v->predicted));
            }
            graft_buf_text(out, " · ");
        } else if (s->task == GRAFT_TASK_REGRESSION) {
            graft_html_number(out, target(s, i));
            graft_buf_text(out, ", answered ");
            graft_html_number(out, v->confidence);
            graft_buf_text(out, " · ");
        }
        graft_html_short(out, origin, strlen(origin), 60);
        graft_buf_text(out, "</li>");
    }
    graft_buf_text(out, "</ul>\n");
}

static int write_map(graft_buf *out, graft_story *s, graft_err *err) {
    map m = {.s = s, .low = INFINITY, .high = -INFINITY};
    int rc = 0;
    bool scratch = json_is_true(json_object_get(json_object_get(s->record, "settings"), "from_scratch"));
    if (s->n_drawn < LEAST || (!s->before && !s->after)) return 0;
    if ((rc = choose_colours(&m, err)) < 0) return rc;
    for (int64_t i = 0; i < s->n_drawn && s->task == GRAFT_TASK_REGRESSION; i++) {
        m.low = fmin(m.low, target(s, i));
        m.high = fmax(m.high, target(s, i));
    }
    graft_buf_printf(
        out,
        "<p>Each point is one of %lld samples of the %s part that training did not see, placed by what the "
        "model makes of it below its head: alike is near.</p>\n",
        (long long)s->n_drawn, graft_story_part(s->kept.part));
    graft_buf_text(
        out, "<div class=\"mapbox\"><input type=\"radio\" name=\"plane\" id=\"plane-tsne\" checked><label "
             "for=\"plane-tsne\">t-SNE</label><input type=\"radio\" name=\"plane\" id=\"plane-pca\"><label "
             "for=\"plane-pca\">Principal components</label>\n<div class=\"maps\">\n");
    bool same = s->before && s->after && s->width == s->width_before &&
                memcmp(s->before, s->after, (size_t)(s->n_drawn * s->width) * sizeof *s->before) == 0;
    if (s->before && !same)
        rc = put_pair(out, &m, s->before, s->width_before,
                      scratch ? "Before: random weights" : "Before: as pretrained", err);
    if (rc == 0 && s->after)
        rc = put_pair(out, &m, s->after, s->width,
                      same ? "Before and after: nothing below the head was trained" : "After: adapted", err);
    if (rc < 0) return rc;
    graft_buf_text(out, "</div></div>\n");
    put_legend(out, &m);
    put_points(out, s);
    return 0;
}

const graft_section graft_section_map = {"map", "What the model sees", "Map", write_map};
