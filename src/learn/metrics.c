/* Metrics of a classifier from logits and labels, in one pass over the samples. */
#include "learn/learn.h"

#include <math.h>

enum { BINS = 15, TOP = 5 };

/* Probability of the likeliest class and of the true one, and how many classes lie before the true one. */
typedef struct row_facts {
    int64_t predicted, rank;
    double confidence, log_likelihood;
} row_facts;

static row_facts look(const float *z, int64_t k, int32_t label, const double *cuts) {
    row_facts f = {0};
    double sum = 0.0;
    int64_t likeliest = 0;
    for (int64_t c = 1; c < k; c++)
        if (z[c] > z[likeliest]) likeliest = c;
    f.predicted = cuts ? graft_decide(z, k, cuts) : likeliest;
    double top = (double)z[likeliest];
    for (int64_t c = 0; c < k; c++) {
        sum += exp((double)z[c] - top);
        if (z[c] > z[label] || (c < label && !(z[c] < z[label]))) f.rank++;
    }
    f.confidence = exp((double)z[f.predicted] - top) / sum;
    f.log_likelihood = (double)z[label] - top - log(sum);
    return f;
}

static double ratio(int64_t part, int64_t whole) {
    return whole > 0 ? (double)part / (double)whole : 0.0;
}

/* Counts of a pass, from which everything else follows. */
typedef struct counts {
    int64_t *hits, *predicted; /* [n_classes] */
    double bin_confidence[BINS], loss;
    int64_t bin_hits[BINS], n_hits, n_top;
} counts;

static int make_arrays(graft_metrics *m, counts *c, graft_arena *arena, graft_err *err) {
    size_t k = (size_t)m->n_classes;
    m->precision = graft_arena_array(arena, k, sizeof(double));
    m->recall = graft_arena_array(arena, k, sizeof(double));
    m->f1 = graft_arena_array(arena, k, sizeof(double));
    m->support = graft_arena_array(arena, k, sizeof(int64_t));
    c->hits = graft_arena_array(arena, k, sizeof(int64_t));
    c->predicted = graft_arena_array(arena, k, sizeof(int64_t));
    bool ok = m->precision && m->recall && m->f1 && m->support && c->hits && c->predicted;
    if (ok && m->n_classes <= GRAFT_MAX_CONFUSION) {
        m->confusion = graft_arena_array(arena, k * k, sizeof(int64_t));
        ok = m->confusion != NULL;
    }
    return ok ? 0 : graft_err_nomem(err);
}

static int count_sample(graft_metrics *m, counts *c, const float *z, int64_t i, int32_t label,
                        const double *cuts, graft_err *err) {
    int64_t k = m->n_classes;
    if (label < 0 || label >= k) {
        return graft_err_set(err, GRAFT_EDATA, "sample %lld has class %d, the model has %lld classes",
                             (long long)i, label, (long long)k);
    }
    row_facts f = look(z, k, label, cuts);
    if (!isfinite(f.confidence) || !isfinite(f.log_likelihood))
        return graft_err_set(err, GRAFT_EDATA, "sample %lld: the model's outputs are not finite",
                             (long long)i);
    bool hit = f.predicted == label;
    /* bins are (b/15, (b+1)/15], as Guo et al. 2017 have them */
    int bin = (int)ceil(f.confidence * BINS) - 1;
    bin = bin < 0 ? 0 : bin >= BINS ? BINS - 1 : bin;
    c->bin_confidence[bin] += f.confidence;
    c->bin_hits[bin] += hit;
    c->n_hits += hit;
    c->n_top += f.rank < TOP;
    c->loss -= f.log_likelihood;
    c->hits[label] += hit;
    c->predicted[f.predicted]++;
    m->support[label]++;
    if (m->confusion) m->confusion[label * k + f.predicted]++;
    return 0;
}

/* Precision, recall and F1 of every class. A class that nobody belongs to and nobody was put in counts in no
 * mean. */
static void class_metrics(graft_metrics *m, const counts *n) {
    int64_t present = 0, seen = 0;
    for (int64_t c = 0; c < m->n_classes; c++) {
        m->precision[c] = ratio(n->hits[c], n->predicted[c]);
        m->recall[c] = ratio(n->hits[c], m->support[c]);
        m->f1[c] = ratio(2 * n->hits[c], n->predicted[c] + m->support[c]);
        if (n->predicted[c] + m->support[c] > 0) {
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

int64_t graft_decide(const float *z, int64_t k, const double *cuts) {
    int64_t best = 0;
    for (int64_t c = 1; c < k; c++)
        if ((double)z[c] - cuts[c] > (double)z[best] - cuts[best]) best = c;
    return best;
}

int graft_metrics_compute(graft_metrics *out, graft_arena *arena, const float *logits, const int32_t *labels,
                          int64_t n, int64_t k, graft_err *err) {
    return graft_metrics_decide(out, arena, logits, labels, n, k, NULL, err);
}

int graft_metrics_decide(graft_metrics *out, graft_arena *arena, const float *logits, const int32_t *labels,
                         int64_t n, int64_t k, const double *cuts, graft_err *err) {
    graft_metrics m = {.n = n, .n_classes = k};
    counts c = {0};
    if (n < 1) return graft_err_set(err, GRAFT_EDATA, "no labelled sample to measure");
    int rc = make_arrays(&m, &c, arena, err);
    for (int64_t i = 0; i < n && rc == 0; i++)
        rc = count_sample(&m, &c, logits + i * k, i, labels[i], cuts, err);
    if (rc < 0) return rc;
    m.accuracy = ratio(c.n_hits, n);
    m.top5 = ratio(c.n_top, n);
    m.log_loss = c.loss / (double)n;
    for (int b = 0; b < BINS; b++) m.ece += fabs((double)c.bin_hits[b] - c.bin_confidence[b]) / (double)n;
    class_metrics(&m, &c);
    *out = m;
    return 0;
}

/* One class as {"precision", "recall", "f1", "support"}. */
static json_t *class_json(const graft_metrics *m, int64_t c) {
    return json_pack("{s:f,s:f,s:f,s:I}", "precision", m->precision[c], "recall", m->recall[c], "f1",
                     m->f1[c], "support", (json_int_t)m->support[c]);
}

static json_t *row_json(const int64_t *row, int64_t n) {
    json_t *o = json_array();
    for (int64_t i = 0; o && i < n; i++) {
        if (json_array_append_new(o, json_integer((json_int_t)row[i])) == 0) continue;
        json_decref(o);
        o = NULL;
    }
    return o;
}

json_t *graft_metrics_json(const graft_metrics *m, const char *const *class_names) {
    json_t *o = json_pack("{s:I,s:f,s:f,s:f,s:f,s:f,s:f}", "n", (json_int_t)m->n, "accuracy", m->accuracy,
                          "top5", m->top5, "log_loss", m->log_loss, "ece", m->ece, "macro_f1", m->macro_f1,
                          "balanced_accuracy", m->balanced_accuracy);
    json_t *classes = json_object(), *confusion = json_array();
    bool ok = o && classes && confusion;
    for (int64_t c = 0; ok && c < m->n_classes; c++) {
        ok = json_object_set_new(classes, class_names[c], class_json(m, c)) == 0;
        if (ok && m->confusion)
            ok = json_array_append_new(confusion, row_json(m->confusion + c * m->n_classes, m->n_classes)) ==
                 0;
    }
    if (ok) ok = json_object_set(o, "classes", classes) == 0;
    if (ok && m->confusion) ok = json_object_set(o, "confusion", confusion) == 0;
    json_decref(classes);
    json_decref(confusion);
    if (ok) return o;
    json_decref(o);
    return NULL;
}
