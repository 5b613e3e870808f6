/* Metrics of a classifier from logits and labels, in one pass over the samples. */
#include "learn/learn.h"

#include <math.h>

enum { BINS = 15, TOP = 5 };

/* Probability of the likeliest class and of the true one, and how many classes lie before the true one. */
typedef struct row_facts {
    int64_t predicted, rank;
    double confidence, log_likelihood;
} row_facts;

static row_facts look(const float *z, int64_t k, int32_t label) {
    row_facts f = {0};
    double sum = 0.0;
    for (int64_t c = 1; c < k; c++)
        if (z[c] > z[f.predicted]) f.predicted = c;
    double top = (double)z[f.predicted];
    for (int64_t c = 0; c < k; c++) {
        sum += exp((double)z[c] - top);
        if (z[c] > z[label] || (c < label && !(z[c] < z[label]))) f.rank++;
    }
    f.confidence = 1.0 / sum;
    f.log_likelihood = (double)z[label] - top - log(sum);
    return f;
}

static double ratio(int64_t part, int64_t whole) {
    return whole > 0 ? (double)part / (double)whole : 0.0;
}

/* Precision, recall and F1 of every class from the confusion matrix. A class that nobody belongs to and
 * nobody was put in counts in no mean. */
static void class_metrics(graft_metrics *m) {
    int64_t k = m->n_classes, present = 0, seen = 0;
    for (int64_t c = 0; c < k; c++) {
        int64_t hit = m->confusion[c * k + c], predicted = 0;
        for (int64_t r = 0; r < k; r++) predicted += m->confusion[r * k + c];
        m->precision[c] = ratio(hit, predicted);
        m->recall[c] = ratio(hit, m->support[c]);
        m->f1[c] = ratio(2 * hit, predicted + m->support[c]);
        if (predicted + m->support[c] > 0) {
            m->macro_f1 += m->f1[c];
            present++;
        }
        if (m->support[c] > 0) {
            m->balanced_accuracy += m->recall[c];
            seen++;
        }
    }
    if (present) m->macro_f1 /= (double)present;
    if (seen) m->balanced_accuracy /= (double)seen;
}

int graft_metrics_compute(graft_metrics *out, graft_arena *arena, const float *logits, const int32_t *labels,
                          int64_t n, int64_t k, graft_err *err) {
    graft_metrics m = {.n = n, .n_classes = k};
    size_t classes = (size_t)k;
    m.precision = graft_arena_array(arena, classes, sizeof(double));
    m.recall = graft_arena_array(arena, classes, sizeof(double));
    m.f1 = graft_arena_array(arena, classes, sizeof(double));
    m.support = graft_arena_array(arena, classes, sizeof(int64_t));
    m.confusion = graft_arena_array(arena, classes * classes, sizeof(int64_t));
    if (!m.precision || !m.recall || !m.f1 || !m.support || !m.confusion) return graft_err_nomem(err);
    if (n < 1) return graft_err_set(err, GRAFT_EDATA, "no labelled sample to measure");
    double bin_confidence[BINS] = {0}, loss = 0.0;
    int64_t bin_hits[BINS] = {0}, hits = 0, top = 0;
    for (int64_t i = 0; i < n; i++) {
        int32_t label = labels[i];
        if (label < 0 || label >= k) {
            return graft_err_set(err, GRAFT_EDATA, "sample %lld has class %d, the model has %lld classes",
                                 (long long)i, label, (long long)k);
        }
        row_facts f = look(logits + i * k, k, label);
        bool hit = f.predicted == label;
        /* bins are (b/15, (b+1)/15], as Guo et al. 2017 have them */
        int bin = (int)ceil(f.confidence * BINS) - 1;
        bin = bin < 0 ? 0 : bin >= BINS ? BINS - 1 : bin;
        bin_confidence[bin] += f.confidence;
        bin_hits[bin] += hit;
        hits += hit;
        top += f.rank < TOP;
        loss -= f.log_likelihood;
        m.support[label]++;
        m.confusion[label * k + f.predicted]++;
    }
    m.accuracy = ratio(hits, n);
    m.top5 = ratio(top, n);
    m.log_loss = loss / (double)n;
    for (int b = 0; b < BINS; b++) m.ece += fabs((double)bin_hits[b] - bin_confidence[b]) / (double)n;
    class_metrics(&m);
    *out = m;
    return 0;
}

/* One class as {"precision", "recall", "f1", "support"}. */
static json_t *class_json(const graft_metrics *m, int64_t c) {
    return json_pack("{s:f,s:f,s:f,s:I}", "precision", m->precision[c], "recall", m->recall[c], "f1",
                     m->f1[c], "support", (json_int_t)m->support[c]);
}

json_t *graft_metrics_json(const graft_metrics *m, const char *const *class_names) {
    json_t *o = json_pack("{s:I,s:f,s:f,s:f,s:f,s:f,s:f}", "n", (json_int_t)m->n, "accuracy", m->accuracy,
                          "top5", m->top5, "log_loss", m->log_loss, "ece", m->ece, "macro_f1", m->macro_f1,
                          "balanced_accuracy", m->balanced_accuracy);
    json_t *classes = json_object(), *confusion = json_array();
    bool ok = o && classes && confusion;
    for (int64_t c = 0; ok && c < m->n_classes; c++) {
        json_t *row = json_array();
        ok = row && json_object_set_new(classes, class_names[c], class_json(m, c)) == 0;
        for (int64_t p = 0; ok && p < m->n_classes; p++)
            ok =
                json_array_append_new(row, json_integer((json_int_t)m->confusion[c * m->n_classes + p])) == 0;
        if (json_array_append_new(confusion, row) < 0) ok = false;
    }
    if (!ok || json_object_set(o, "classes", classes) < 0 || json_object_set(o, "confusion", confusion) < 0) {
        json_decref(o);
        o = NULL;
    }
    json_decref(classes);
    json_decref(confusion);
    return o;
}
