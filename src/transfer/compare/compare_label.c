/* What to label next: where the runs on all labels are least sure and agree least. A sample's doubt is 1 less
 * the mean over its runs of the margin between the two likeliest classes (Scheffer et al. 2001), counted
 * against it where a run votes for another class than most do (query by committee, Seung et al. 1992). The
 * samples are those that nobody has labelled. Where all are, they are those of the validation parts: they
 * show what kind of sample to look for, and their classes which to label more of. */
#include "transfer/compare/compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_LISTED = 20 };

typedef struct vote {
    int64_t sample;
    int32_t predicted;
    float margin;
} vote;

typedef struct doubt {
    int64_t sample;
    int32_t predicted;   /* by most runs */
    double doubt, votes; /* share of the runs that say so */
} doubt;

static int by_sample(const void *x, const void *y) {
    const vote *a = x, *b = y;
    if (a->sample != b->sample) return a->sample < b->sample ? -1 : 1;
    return (a->predicted > b->predicted) - (a->predicted < b->predicted);
}

static int by_doubt(const void *x, const void *y) {
    const doubt *a = x, *b = y;
    if (a->doubt != b->doubt) return a->doubt > b->doubt ? -1 : 1;
    return a->sample < b->sample ? -1 : a->sample > b->sample;
}

/* Votes [0, n) are of one sample, equal classes side by side. */
static doubt judge(const vote *v, size_t n) {
    doubt d = {.sample = v[0].sample};
    size_t most = 0;
    for (size_t from = 0, to; from < n; from = to) {
        to = from + 1;
        while (to < n && v[to].predicted == v[from].predicted) to++;
        if (to - from <= most) continue;
        most = to - from;
        d.predicted = v[from].predicted;
    }
    double margin = 0.0;
    for (size_t i = 0; i < n; i++)
        margin += v[i].predicted == d.predicted ? (double)v[i].margin : -(double)v[i].margin;
    d.votes = (double)most / (double)n;
    d.doubt = fmin(1.0, 1.0 - margin / (double)n);
    return d;
}

/* The runs that vote: plans that the best is not shown to be better than would all do; the simplest is all
 * plans whose weights are pretrained, and all where there are none such. */
static bool votes(const graft_comparison *c, size_t plan) {
    for (size_t p = 0; p < c->n_plans; p++)
        if (!c->plans[p].from_scratch) return !c->plans[plan].from_scratch;
    return true;
}

static int gather(vote **out, size_t *n, graft_arena *arena, const graft_comparison *c, graft_err *err) {
    size_t room = 0;
    *n = 0;
    for (int pass = 0; pass < 2; pass++) {
        if (pass && !(*out = graft_arena_array(arena, room + 1, sizeof **out))) return graft_err_nomem(err);
        for (size_t seed = 0; seed < c->n_seeds; seed++)
            for (size_t p = 0; p < c->n_plans; p++) {
                const graft_compare_run *r = graft_comparison_run(c, p, c->n_sizes - 1, seed);
                if (!r || !votes(c, p)) continue;
                room += pass ? 0 : (size_t)r->n_doubts;
                for (int64_t i = 0; pass && i < r->n_doubts; i++)
                    (*out)[(*n)++] = (vote){r->doubt_samples[i], r->predicted[i], r->margin[i]};
            }
    }
    qsort(*out, *n, sizeof **out, by_sample);
    return 0;
}

static size_t judge_all(doubt *out, const vote *v, size_t n) {
    size_t n_doubts = 0;
    for (size_t from = 0, to; from < n; from = to) {
        to = from + 1;
        while (to < n && v[to].sample == v[from].sample) to++;
        out[n_doubts++] = judge(v + from, to - from);
    }
    qsort(out, n_doubts, sizeof *out, by_doubt);
    return n_doubts;
}

static json_t *class_name(const graft_comparison *c, int32_t label) {
    return label >= 0 && label < c->n_classes ? graft_json_string(graft_data_class(c->facts.data, label))
                                              : json_null();
}

static json_t *samples_json(const graft_comparison *c, const doubt *d, size_t n) {
    json_t *list = json_array();
    for (size_t i = 0; i < n && i < MOST_LISTED; i++) {
        const graft_sample *s = graft_data_sample(c->facts.data, d[i].sample);
        json_array_append_new(list, json_pack("{s:o,s:o,s:o,s:f,s:f}", "input", graft_json_string(s->origin),
                                              "label", class_name(c, s->label), "predicted",
                                              class_name(c, d[i].predicted), "doubt", d[i].doubt, "votes",
                                              d[i].votes));
    }
    return list;
}

typedef struct class_doubt {
    int32_t label;
    int64_t n, wrong;
    double sum;
} class_doubt;

static int by_class_doubt(const void *x, const void *y) {
    const class_doubt *a = x, *b = y;
    double p = a->n ? a->sum / (double)a->n : -1.0, q = b->n ? b->sum / (double)b->n : -1.0;
    if (p != q) return p > q ? -1 : 1;
    return a->label - b->label;
}

static bool are_labelled(const graft_comparison *c, const doubt *d, size_t n) {
    return n > 0 && graft_data_sample(c->facts.data, d[0].sample)->label >= 0;
}

static json_t *classes_json(const graft_comparison *c, graft_arena *arena, const doubt *d, size_t n) {
    class_doubt *of = graft_arena_array(arena, (size_t)c->n_classes + 1, sizeof *of);
    json_t *list = of ? json_array() : NULL;
    bool known = are_labelled(c, d, n); /* else classes are those predicted, and how many are wrong is not */
    if (!list) return NULL;
    for (int32_t k = 0; k < c->n_classes; k++) of[k].label = k;
    for (size_t i = 0; i < n; i++) {
        int32_t label = graft_data_sample(c->facts.data, d[i].sample)->label;
        if (label < 0) label = d[i].predicted;
        if (label < 0 || label >= c->n_classes) continue;
        of[label].n++;
        of[label].wrong += d[i].predicted != label;
        of[label].sum += d[i].doubt;
    }
    qsort(of, (size_t)c->n_classes, sizeof *of, by_class_doubt);
    for (int64_t k = 0; k < c->n_classes && k < MOST_LISTED && of[k].n; k++)
        json_array_append_new(
            list, json_pack("{s:o,s:f,s:o,s:I}", "class", class_name(c, of[k].label), "doubt",
                            of[k].sum / (double)of[k].n, "error",
                            graft_json_number(known ? (double)of[k].wrong / (double)of[k].n : NAN), "n",
                            (json_int_t)of[k].n));
    return list;
}

int graft_comparison_label_next(json_t **out, const graft_comparison *c, graft_err *err) {
    graft_arena *arena = graft_arena_new(NULL);
    vote *v = NULL;
    size_t n = 0;
    *out = NULL;
    int rc = arena ? gather(&v, &n, arena, c, err) : graft_err_nomem(err);
    if (rc == 0 && n == 0) {
        *out = json_null();
    } else if (rc == 0) {
        doubt *d = graft_arena_array(arena, n, sizeof *d);
        size_t n_doubts = d ? judge_all(d, v, n) : 0;
        if (d)
            *out = json_pack("{s:s,s:o,s:o}", "of",
                             are_labelled(c, d, n_doubts) ? "validation" : "unlabelled", "samples",
                             samples_json(c, d, n_doubts), "classes", classes_json(c, arena, d, n_doubts));
        if (!*out) rc = graft_err_nomem(err);
    }
    graft_arena_free(arena);
    return rc;
}
