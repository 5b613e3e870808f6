/* What is wrong with the data, as far as the run has found out: twins across parts, labels that are likely
 * wrong, few or uneven classes, samples that could not be read. */
#include "report/section.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LISTED = 10, NAMED = 10, FEW = 10, UNEVEN = 3, BARS = 24 };

/* ---- Labels --------------------------------------------------------------------------------------------- */

typedef struct doubt {
    int64_t sample;
    const char *label, *likely, *by;
    double other;
} doubt;

/* Of the part that the model was judged by its own answers may doubt labels: it never learnt them. */
static int doubt_judged(graft_suspect **out, int64_t *n, const graft_story *s, graft_err *err) {
    const graft_answers *a = &s->kept.answers;
    *n = 0;
    if (s->task != GRAFT_TASK_CLASSES || a->n_samples < LISTED || a->k < 2) return 0;
    float *p = malloc((size_t)(a->n_samples * a->k) * sizeof *p);
    double *share = graft_arena_array(s->arena, (size_t)a->k, sizeof *share);
    if (!p || !share) {
        free(p);
        return graft_err_nomem(err);
    }
    for (int64_t i = 0; i < a->n_samples; i++) {
        graft_story_shares(share, a->logits + i * a->k, a->k);
        for (int64_t c = 0; c < a->k; c++) p[i * a->k + c] = (float)share[c];
    }
    int rc = graft_confident_errors(out, n, s->arena, p, a->labels, a->n_samples, a->k, err);
    free(p);
    if ((double)*n > GRAFT_MOST_DOUBTED * (double)a->n_samples) *n = 0;
    return rc;
}

static int put_doubt(graft_buf *out, const graft_story *s, const doubt *d, graft_err *err) {
    graft_buf caption;
    graft_buf_init(&caption, 0);
    graft_buf_text(&caption, "labelled <b class=\"no\">");
    graft_html_short(&caption, d->label, strlen(d->label), 40);
    graft_buf_printf(&caption, "</b><br>%s <b>", d->by);
    graft_html_short(&caption, d->likely, strlen(d->likely), 40);
    graft_buf_text(&caption, "</b> ");
    graft_html_percent(&caption, d->other);
    int rc =
        caption.failed ? graft_err_nomem(err) : graft_card_write(out, s, d->sample, "", caption.data, err);
    graft_buf_done(&caption);
    return rc;
}

static int put_doubts(graft_buf *out, const graft_story *s, const graft_suspect *judged, int64_t n_judged,
                      graft_err *err) {
    int rc = 0;
    if (n_judged + s->n_doubted == 0) return 0;
    graft_buf_text(out, "<h3>Labels worth a second look</h3><p class=\"about\">");
    graft_buf_text(out, "By confident learning. ");
    if (s->n_doubted > 0)
        graft_buf_printf(
            out,
            "%lld of %lld training samples lie among samples of another class, by the features from "
            "before training. ",
            (long long)s->n_doubted, (long long)s->n_looked_at);
    if (n_judged > 0)
        graft_buf_printf(
            out, "%lld of %lld of the %s part: the model, which never saw them, is sure of another class. ",
            (long long)n_judged, (long long)s->kept.answers.n_samples, graft_story_part(s->kept.part));
    int64_t shown = n_judged < LISTED ? n_judged : LISTED,
            also = s->n_doubted < LISTED ? s->n_doubted : LISTED;
    bool shows = s->data && !s->options.no_pictures;
    if (shows && (shown < n_judged || also < s->n_doubted)) graft_buf_text(out, "The likeliest are shown.");
    graft_buf_text(out, "</p>");
    if (!shows) return 0;
    graft_buf_text(out, "<div class=\"cards\">\n");
    for (int64_t i = 0; i < also && rc == 0; i++) {
        const graft_suspect *d = &s->doubted[i];
        const doubt one = {d->row, graft_data_class(s->data, d->label), graft_data_class(s->data, d->likely),
                           "neighbours:", d->other};
        rc = put_doubt(out, s, &one, err);
    }
    for (int64_t i = 0; i < shown && rc == 0; i++) {
        const graft_suspect *d = &judged[i];
        const doubt one = {s->verdicts[d->row].sample, graft_story_label(s, d->label),
                           graft_story_label(s, d->likely), "model:", d->other};
        rc = put_doubt(out, s, &one, err);
    }
    graft_buf_text(out, "</div>\n");
    return rc;
}

/* ---- Counts --------------------------------------------------------------------------------------------- */

typedef struct size_of_class {
    const char *name;
    int64_t n;
    size_t order;
} size_of_class;

static int by_size(const void *a, const void *b) {
    const size_of_class *x = a, *y = b;
    if (x->n != y->n) return x->n > y->n ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static void put_sizes(graft_buf *out, const size_of_class *c, size_t n, bool tags) {
    graft_buf_printf(out, "<h3>Training %s</h3>\n<ol class=\"bars\">\n",
                     tags ? "words by tag" : "samples by class");
    for (size_t i = 0; i < n; i++) {
        if (n > BARS && i == BARS / 2) {
            graft_buf_printf(out, "<li class=\"more\">… %zu more …</li>\n", n - BARS);
            i = n - BARS / 2;
        }
        graft_buf_text(out, "<li><span class=\"what\" title=\"");
        graft_html_text(out, c[i].name);
        graft_buf_text(out, "\">");
        graft_html_short(out, c[i].name, strlen(c[i].name), 32);
        graft_buf_printf(out, "</span><span class=\"length\" style=\"--v:%.4f\"></span><span class=\"n\">",
                         c[0].n > 0 ? (double)c[i].n / (double)c[0].n : 0.0);
        graft_html_count(out, c[i].n);
        graft_buf_text(out, "</span></li>\n");
    }
    graft_buf_text(out, "</ol>\n");
}

static void put_warning(graft_buf *out, const char *text) {
    graft_buf_printf(out, "<li>%s", text);
}

static void warn_uneven(graft_buf *out, const size_of_class *c, size_t n) {
    int64_t few = 0;
    for (size_t i = 0; i < n; i++) few += c[i].n < FEW;
    if (n > 1 && c[0].n >= UNEVEN * (c[n - 1].n > 0 ? c[n - 1].n : 1)) {
        put_warning(out, "Classes are uneven: ");
        graft_html_count(out, c[0].n);
        graft_buf_text(out, " samples of <b>");
        graft_html_text(out, c[0].name);
        graft_buf_text(out, "</b>, ");
        graft_html_count(out, c[n - 1].n);
        graft_buf_text(out, " of <b>");
        graft_html_text(out, c[n - 1].name);
        graft_buf_text(
            out, "</b>. <code>--class-weights auto</code> or <code>--sampler balanced</code> evens them out; "
                 "judge by macro F1 beside accuracy.</li>\n");
    }
    if (few > 0) {
        put_warning(out, "");
        graft_html_count(out, few);
        graft_buf_printf(out, " %s fewer than %d training samples.</li>\n",
                         few == 1 ? "class has" : "classes have", FEW);
    }
}

/* ---- Trouble -------------------------------------------------------------------------------------------- */

static void put_named(graft_buf *out, const json_t *pairs, const char *between) {
    size_t n = json_array_size(pairs);
    graft_buf_text(out, "<ul class=\"names\">");
    for (size_t i = 0; i < n && i < NAMED; i++) {
        const json_t *pair = json_array_get(pairs, i);
        const char *a = json_string_value(json_array_get(pair, 0)),
                   *b = json_string_value(json_array_get(pair, 1));
        graft_buf_text(out, "<li>");
        graft_html_text(out, a);
        graft_buf_text(out, between);
        graft_html_text(out, b);
        graft_buf_text(out, "</li>");
    }
    graft_buf_text(out, "</ul>");
}

static void warn_twins(graft_buf *out, const graft_story *s, const json_t *twins) {
    double same = graft_story_number(twins, "same"), near = graft_story_number(twins, "near");
    double n = graft_story_number(s->metrics, "n");
    if (!(same + near > 0.0)) return;
    put_warning(out, "");
    graft_html_number(out, same + near);
    graft_buf_text(out, " samples to be judged by stand in the training part too");
    if (near > 0.0) {
        graft_buf_text(out, " (");
        graft_html_number(out, near);
        graft_buf_text(out, " of them nearly so)");
    }
    if (n > 0.0) {
        graft_buf_text(out, ": the score may be up to ");
        graft_html_percent(out, fmin(1.0, (same + near) / n));
        graft_buf_text(out, " too high");
    }
    graft_buf_text(out, ".");
    put_named(out, json_object_get(twins, "pairs"), " = ");
    graft_buf_text(out, "</li>\n");
}

static void warn_bad(graft_buf *out, const json_t *found) {
    double n = graft_story_number(found, "n_bad");
    if (!(n > 0.0)) return;
    put_warning(out, "");
    graft_html_number(out, n);
    graft_buf_text(out, n == 1.0 ? " sample was left out:" : " samples were left out:");
    put_named(out, json_object_get(found, "bad"), ": ");
    graft_buf_text(out, "</li>\n");
}

static size_t gather_sizes(size_of_class *c, const json_t *classes) {
    size_t n = json_array_size(classes);
    for (size_t i = 0; i < n; i++) {
        const json_t *pair = json_array_get(classes, i);
        const char *name = json_string_value(json_array_get(pair, 0));
        c[i] = (size_of_class){name ? name : "", json_integer_value(json_array_get(pair, 1)), i};
    }
    qsort(c, n, sizeof *c, by_size);
    return n;
}

static int write_data(graft_buf *out, graft_story *s, graft_err *err) {
    const json_t *found = json_object_get(s->record, "found"), *classes = json_object_get(found, "classes");
    size_of_class *c = graft_arena_array(s->arena, json_array_size(classes) + 1, sizeof *c);
    graft_suspect *judged = NULL;
    int64_t n_judged = 0;
    int rc = c ? doubt_judged(&judged, &n_judged, s, err) : graft_err_nomem(err);
    if (rc < 0) return rc;
    size_t n = gather_sizes(c, classes);
    graft_buf_text(out, "<ul class=\"warnings\">\n");
    size_t before = out->size;
    warn_twins(out, s, json_object_get(found, "twins"));
    warn_bad(out, found);
    if (s->task != GRAFT_TASK_REGRESSION && s->task != GRAFT_TASK_TAGGING && n > 0) warn_uneven(out, c, n);
    if (out->size == before)
        graft_buf_text(out, "<li class=\"fine\">No duplicates across parts, no unreadable samples, no "
                            "class that is very small.</li>\n");
    graft_buf_text(out, "</ul>\n");
    if (n > 1) put_sizes(out, c, n, s->task == GRAFT_TASK_TAGGING);
    return put_doubts(out, s, judged, n_judged, err);
}

const graft_section graft_section_data = {"data", "The data", "Data", write_data};
