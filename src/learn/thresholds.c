/* Thresholds of probability that give the best F1 on answers that training did not see. Between two answers
 * next to each other every threshold decides alike; the middle is taken. */
#include "learn/learn.h"

#include <math.h>
#include <stdlib.h>

enum { FEWEST_SAMPLES = 5 };

typedef struct scored {
    double p;
    bool is_true;
} scored;

static int by_probability(const void *a, const void *b) {
    double x = ((const scored *)a)->p, y = ((const scored *)b)->p;
    return (x < y) - (x > y);
}

/* F1 of the positive class when the first `said` of a ranking are said, `hits` of them rightly. */
static double f1(int64_t hits, int64_t said, int64_t truth) {
    return said + truth > 0 ? 2.0 * (double)hits / (double)(said + truth) : 0.0;
}

/* The threshold of the best F1, or where `both` is set of the best mean of both sides' F1; the usual one half
 * where no other is better. Sorts `rows`. */
static double best_threshold(scored *rows, int64_t n, bool both) {
    int64_t truth = 0, hits = 0, usual_hits = 0, usual = 0;
    qsort(rows, (size_t)n, sizeof *rows, by_probability);
    for (int64_t i = 0; i < n; i++) {
        truth += rows[i].is_true;
        usual += rows[i].p >= 0.5;
        usual_hits += rows[i].p >= 0.5 && rows[i].is_true;
    }
    double found = 0.5, best = -1.0;
    for (int64_t said = 0; said <= n; said++) {
        if (said > 0) hits += rows[said - 1].is_true;
        bool tied = said > 0 && said < n && !(rows[said].p < rows[said - 1].p);
        if (tied || (said == 0 && !both)) continue;
        int64_t rest_hits = (n - said) - (truth - hits);
        double score = f1(hits, said, truth);
        if (both) score = 0.5 * (score + f1(rest_hits, n - said, n - truth));
        double above = said > 0 ? rows[said - 1].p : 1.0, below = said < n ? rows[said].p : 0.0;
        bool is_usual = said == usual && hits == usual_hits;
        if (score < best || (!(score > best) && !is_usual)) continue;
        best = score;
        found = is_usual ? 0.5 : 0.5 * (above + below);
    }
    return found;
}

static double sigmoid(double x) {
    return 1.0 / (1.0 + exp(-x));
}

static void of_labels(double *out, scored *rows, const graft_answers *a) {
    int64_t n = 0;
    for (int64_t i = 0; i < a->n * a->k; i++)
        rows[n++] = (scored){sigmoid((double)a->logits[i]), a->targets[i] > 0.5F};
    double shared = best_threshold(rows, n, false);
    for (int64_t c = 0; c < a->k; c++) {
        int64_t truth = 0;
        for (int64_t i = 0; i < a->n; i++) {
            rows[i] = (scored){sigmoid((double)a->logits[i * a->k + c]), a->targets[i * a->k + c] > 0.5F};
            truth += rows[i].is_true;
        }
        out[c] = truth < FEWEST_SAMPLES ? shared : best_threshold(rows, a->n, false);
    }
}

static int64_t of_two(double *out, scored *rows, const graft_answers *a) {
    int64_t n = 0;
    for (int64_t i = 0; i < a->n; i++) {
        if (a->labels[i] < 0) continue;
        const float *z = a->logits + i * 2;
        rows[n++] = (scored){sigmoid((double)z[1] - (double)z[0]), a->labels[i] == 1};
    }
    out[1] = best_threshold(rows, n, true);
    out[0] = 1.0 - out[1];
    return n;
}

int graft_thresholds_f1(double **out, graft_arena *arena, const graft_answers *a, graft_task task,
                        graft_err *err) {
    bool labels = task == GRAFT_TASK_MULTILABEL;
    size_t n = (size_t)(labels ? a->n * a->k : a->n);
    if (!labels && (task != GRAFT_TASK_CLASSES || a->k != 2))
        return graft_err_set(err, GRAFT_EUSAGE,
                             "thresholds are for two classes and for several labels a sample; for more "
                             "classes of unlike size there are --logit-adjust and --class-weights");
    *out = graft_arena_array(arena, (size_t)a->k + 1, sizeof **out);
    scored *rows = graft_arena_array(arena, n + 1, sizeof *rows);
    if (!*out || !rows) return graft_err_nomem(err);
    int64_t seen = a->n;
    if (labels)
        of_labels(*out, rows, a);
    else
        seen = of_two(*out, rows, a);
    return seen > 0 ? 0 : graft_err_set(err, GRAFT_EDATA, "no labelled sample to choose thresholds on");
}

double graft_threshold_cut(double threshold, graft_task task) {
    double least = 1e-12, t = fmin(fmax(threshold, least), 1.0 - least);
    return task == GRAFT_TASK_MULTILABEL ? log(t) - log1p(-t) : log(t);
}
