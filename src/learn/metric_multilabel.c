/* Metrics of samples that have any number of classes. */
#include "learn/metric_tasks.h"

#include <math.h>
#include <stdlib.h>

typedef struct scored {
    float logit;
    bool is_true;
} scored;

typedef struct counts {
    int64_t *hits, *predicted; /* [n_classes] */
    int64_t n_wrong, n_right_samples;
    scored *column; /* [n] */
} counts;

static int make_arrays(graft_multilabel_metrics *m, counts *c, graft_arena *arena, graft_err *err) {
    size_t k = (size_t)m->n_classes;
    m->classes = graft_arena_array(arena, k, sizeof *m->classes);
    m->average_precision = graft_arena_array(arena, k, sizeof *m->average_precision);
    m->support = graft_arena_array(arena, k, sizeof *m->support);
    c->hits = graft_arena_array(arena, k, sizeof *c->hits);
    c->predicted = graft_arena_array(arena, k, sizeof *c->predicted);
    c->column = graft_arena_array(arena, (size_t)m->n, sizeof *c->column);
    bool ok = m->classes && m->average_precision && m->support && c->hits && c->predicted && c->column;
    return ok ? 0 : graft_err_nomem(err);
}

static int count_sample(graft_multilabel_metrics *m, counts *c, const float *z, const float *t, int64_t i,
                        const double *cuts, graft_err *err) {
    int64_t hits = 0, predicted = 0, support = 0;
    for (int64_t k = 0; k < m->n_classes; k++) {
        if (!isfinite(z[k]))
            return graft_err_set(err, GRAFT_EDATA, "sample %lld: the model's outputs are not finite",
                                 (long long)i);
        const double logit = (double)z[k];
        const bool is_true = t[k] > 0.5F, is_predicted = logit > (cuts ? cuts[k] : 0.0);
        hits += is_true && is_predicted;
        predicted += is_predicted;
        support += is_true;
        c->hits[k] += is_true && is_predicted;
        c->predicted[k] += is_predicted;
        m->support[k] += is_true;
        m->log_loss += fmax(logit, 0.0) - (is_true ? logit : 0.0) + log1p(exp(-fabs(logit)));
    }
    int64_t wrong = predicted + support - 2 * hits;
    c->n_wrong += wrong;
    c->n_right_samples += wrong == 0;
    graft_prf one = graft_prf_of(hits, predicted, support);
    graft_prf_add(&m->samples, &one, 1.0 / (double)m->n);
    return 0;
}

static int by_logit(const void *a, const void *b) {
    float x = ((const scored *)a)->logit, y = ((const scored *)b)->logit;
    return (x < y) - (x > y);
}

/* sum over thresholds of precision times what recall gains there; 0 for a class without samples. */
static double average_precision(scored *column, int64_t n, int64_t support) {
    double sum = 0.0;
    int64_t hits = 0;
    qsort(column, (size_t)n, sizeof *column, by_logit);
    for (int64_t i = 0, j; i < n && support > 0; i = j) {
        int64_t before = hits;
        for (j = i; j < n && !(column[j].logit < column[i].logit); j++) hits += column[j].is_true;
        sum += (double)hits / (double)j * (double)(hits - before) / (double)support;
    }
    return sum;
}

static void summarise(graft_multilabel_metrics *m, const counts *c, const float *logits, const float *truth) {
    const int64_t k = m->n_classes;
    int64_t hits = 0, predicted = 0, support = 0, n_seen = 0;
    for (int64_t i = 0; i < k; i++) {
        for (int64_t r = 0; r < m->n; r++)
            c->column[r] = (scored){logits[r * k + i], truth[r * k + i] > 0.5F};
        m->average_precision[i] = average_precision(c->column, m->n, m->support[i]);
        m->mean_average_precision += m->average_precision[i];
        n_seen += m->support[i] > 0;
        m->classes[i] = graft_prf_of(c->hits[i], c->predicted[i], m->support[i]);
        graft_prf_add(&m->macro, &m->classes[i], 1.0 / (double)k);
        hits += c->hits[i];
        predicted += c->predicted[i];
        support += m->support[i];
    }
    if (n_seen) m->mean_average_precision /= (double)n_seen;
    m->micro = graft_prf_of(hits, predicted, support);
    m->subset_accuracy = (double)c->n_right_samples / (double)m->n;
    m->hamming_loss = (double)c->n_wrong / (double)(m->n * k);
    m->log_loss /= (double)(m->n * k);
}

int graft_multilabel_metrics_compute(graft_multilabel_metrics *out, graft_arena *arena, const float *logits,
                                     const float *truth, int64_t n, int64_t k, const double *cuts,
                                     graft_err *err) {
    graft_multilabel_metrics m = {.n = n, .n_classes = k};
    counts c = {0};
    if (n < 1 || k < 1) return graft_err_set(err, GRAFT_EDATA, "no labelled sample to measure");
    int rc = make_arrays(&m, &c, arena, err);
    for (int64_t i = 0; i < n && rc == 0; i++)
        rc = count_sample(&m, &c, logits + i * k, truth + i * k, i, cuts, err);
    if (rc < 0) return rc;
    summarise(&m, &c, logits, truth);
    *out = m;
    return 0;
}

static json_t *class_json(const graft_multilabel_metrics *m, int64_t i) {
    json_t *o = graft_prf_json(&m->classes[i], m->support[i]);
    if (!o || json_object_set_new(o, "average_precision", json_real(m->average_precision[i])) == 0) return o;
    json_decref(o);
    return NULL;
}

json_t *graft_multilabel_metrics_json(const graft_multilabel_metrics *m, const char *const *class_names) {
    json_t *o = json_pack("{s:I,s:f,s:f,s:f,s:f,s:f,s:o*,s:o*,s:o*}", "n", (json_int_t)m->n,
                          "subset_accuracy", m->subset_accuracy, "hamming_loss", m->hamming_loss, "log_loss",
                          m->log_loss, "mean_average_precision", m->mean_average_precision, "f1", m->micro.f1,
                          "micro", graft_prf_json(&m->micro, -1), "macro", graft_prf_json(&m->macro, -1),
                          "samples", graft_prf_json(&m->samples, -1));
    json_t *classes = json_object();
    bool ok = o && classes && json_object_size(o) == 9;
    for (int64_t i = 0; ok && i < m->n_classes; i++)
        ok = json_object_set_new(classes, class_names[i], class_json(m, i)) == 0;
    if (ok) ok = json_object_set(o, "classes", classes) == 0;
    json_decref(classes);
    if (ok) return o;
    json_decref(o);
    return NULL;
}
