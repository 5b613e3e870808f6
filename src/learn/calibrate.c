/* Temperature scaling: one number b = 1 / T for all logits, the least of
 *     L(b) = mean_i [log sum_c exp(b z_ic) - b sum_c t_ic z_ic]      (sigmoids: log(1 + exp(b z)) - b t z)
 * L is convex in b, so its slope has one root at most: Newton in log b, kept between two bounds of which the
 * slope's sign tells which one moves. */
#include "learn/learn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BINS = 15, MOST_ITERATIONS = 100 };
static const double least_temperature = 0.01, most_temperature = 100.0;

static bool is_sigmoid(graft_task task) {
    return task == GRAFT_TASK_MULTILABEL;
}

static bool has_truth(const graft_answers *a, graft_task task, int64_t row) {
    return is_sigmoid(task) || (a->labels[row] >= 0 && a->labels[row] < a->k);
}

/* Slope and curvature of the loss at b, summed over samples. */
typedef struct slope {
    double first, second;
} slope;

/* E_p[z] - t z and Var_p[z] of one softmax. */
static void add_softmax(slope *s, const float *z, int64_t k, int32_t label, double b, double smooth) {
    double top = (double)z[0], sum = 0.0, mean = 0.0, square = 0.0, plain = 0.0;
    for (int64_t c = 1; c < k; c++) top = fmax(top, (double)z[c]);
    for (int64_t c = 0; c < k; c++) {
        double d = (double)z[c] - top, e = exp(b * d);
        sum += e;
        mean += e * d;
        square += e * d * d;
        plain += d;
    }
    mean /= sum;
    double truth = (1.0 - smooth) * ((double)z[label] - top) + smooth * plain / (double)k;
    s->first += mean - truth;
    s->second += square / sum - mean * mean;
}

static void add_sigmoids(slope *s, const float *z, const float *target, int64_t k, double b, double smooth) {
    for (int64_t c = 0; c < k; c++) {
        double x = (double)z[c], p = 1.0 / (1.0 + exp(-b * x));
        double t = (1.0 - smooth) * (target[c] > 0.5F) + 0.5 * smooth;
        s->first += (p - t) * x;
        s->second += p * (1.0 - p) * x * x;
    }
}

static slope slope_at(const graft_answers *a, graft_task task, double b, double smooth) {
    slope s = {0};
    for (int64_t i = 0; i < a->n; i++) {
        const float *z = a->logits + i * a->k;
        if (is_sigmoid(task))
            add_sigmoids(&s, z, a->targets + i * a->k, a->k, b, smooth);
        else if (has_truth(a, task, i))
            add_softmax(&s, z, a->k, a->labels[i], b, smooth);
    }
    return s;
}

/* log b where the slope is 0, else the bound that it falls towards. */
static double solve(const graft_answers *a, graft_task task, double smooth) {
    double low = -log(most_temperature), high = -log(least_temperature), at = 0.0;
    if (slope_at(a, task, exp(low), smooth).first >= 0.0) return low;
    if (slope_at(a, task, exp(high), smooth).first < 0.0) return high;
    for (int i = 0; i < MOST_ITERATIONS && high - low > 1e-13; i++) {
        double b = exp(at);
        slope s = slope_at(a, task, b, smooth);
        if (s.first < 0.0)
            low = at;
        else
            high = at;
        double next = at - s.first / (b * s.second);
        if (!(next > low && next < high)) next = 0.5 * (low + high);
        if (fabs(next - at) < 1e-14) break;
        at = next;
    }
    return at;
}

/* ---- How far probabilities can be trusted ---- */

typedef struct bins {
    double confidence[BINS], truth[BINS], loss;
    int64_t n;
} bins;

/* Bins are (b/15, (b+1)/15]. */
static void put(bins *b, double confidence, bool is_true, double loss) {
    int i = confidence > 0.0 ? (int)ceil(confidence * BINS) - 1 : 0; /* infinite logits give no number */
    i = i < 0 ? 0 : i >= BINS ? BINS - 1 : i;
    b->confidence[i] += confidence;
    b->truth[i] += is_true;
    b->loss += loss;
    b->n++;
}

static void put_softmax(bins *b, const float *z, int64_t k, int32_t label, double scale) {
    int64_t best = 0;
    double sum = 0.0;
    for (int64_t c = 1; c < k; c++)
        if (z[c] > z[best]) best = c;
    for (int64_t c = 0; c < k; c++) sum += exp(scale * ((double)z[c] - (double)z[best]));
    put(b, 1.0 / sum, best == label, log(sum) - scale * ((double)z[label] - (double)z[best]));
}

static void put_sigmoids(bins *b, const float *z, const float *target, int64_t k, double scale) {
    for (int64_t c = 0; c < k; c++) {
        double x = scale * (double)z[c];
        bool is_true = target[c] > 0.5F;
        put(b, 1.0 / (1.0 + exp(-x)), is_true, fmax(x, 0.0) - (is_true ? x : 0.0) + log1p(exp(-fabs(x))));
    }
}

graft_reliability graft_answers_reliability(const graft_answers *a, graft_task task, double temperature) {
    bins b = {.n = 0};
    graft_reliability r = {0};
    for (int64_t i = 0; i < a->n && task != GRAFT_TASK_REGRESSION; i++) {
        const float *z = a->logits + i * a->k;
        if (is_sigmoid(task))
            put_sigmoids(&b, z, a->targets + i * a->k, a->k, 1.0 / temperature);
        else if (has_truth(a, task, i))
            put_softmax(&b, z, a->k, a->labels[i], 1.0 / temperature);
    }
    if (b.n == 0) return r;
    r.log_loss = b.loss / (double)b.n;
    for (int i = 0; i < BINS; i++) r.ece += fabs(b.truth[i] - b.confidence[i]) / (double)b.n;
    return r;
}

graft_calibration graft_calibrate(const graft_answers *a, graft_task task) {
    graft_calibration c = {.temperature = 1.0};
    if (task == GRAFT_TASK_REGRESSION) return c;
    for (int64_t i = 0; i < a->n; i++) c.n += has_truth(a, task, i);
    c.before = c.after = graft_answers_reliability(a, task, 1.0);
    /* logits that are all alike say nothing at any temperature */
    slope now = slope_at(a, task, 1.0, 0.0);
    if (c.n == 0 || !(now.second > 0.0) || !isfinite(now.first) || !isfinite(now.second)) return c;
    double at = solve(a, task, 0.0);
    if (at >= -log(least_temperature)) {
        c.smoothed = true;
        at = solve(a, task, 1.0 / ((double)c.n + 1.0));
    }
    c.temperature = exp(-at);
    c.after = graft_answers_reliability(a, task, c.temperature);
    return c;
}

/* ---- Whether it helps ---- */

enum { FOLDS = 5 };

/* Labelled answer number i of all is one of fold i modulo FOLDS: `in` takes those, or all others. */
static void take_rows(graft_answers *out, const graft_answers *a, graft_task task, int64_t fold, bool in) {
    int64_t seen = 0;
    out->n = 0;
    for (int64_t i = 0; i < a->n; i++) {
        if (!has_truth(a, task, i) || (seen++ % FOLDS == fold) != in) continue;
        size_t row = (size_t)(out->n * a->k), size = (size_t)a->k * sizeof *a->logits;
        memcpy(out->logits + row, a->logits + i * a->k, size);
        if (is_sigmoid(task))
            memcpy(out->targets + row, a->targets + i * a->k, size);
        else
            out->labels[out->n] = a->labels[i];
        out->n++;
    }
}

/* Gains of the answers [n] that are held out, one by one: a mean and how sure it is. */
static void add_gains(double *sum, double *squares, const graft_answers *held, graft_task task,
                      double temperature) {
    for (int64_t i = 0; i < held->n; i++) {
        graft_answers one = *held;
        one.n = 1;
        one.logits += i * held->k;
        one.labels = one.labels ? one.labels + i : NULL;
        one.targets = one.targets ? one.targets + i * held->k : NULL;
        double gain = graft_answers_reliability(&one, task, 1.0).log_loss -
                      graft_answers_reliability(&one, task, temperature).log_loss;
        *sum += gain;
        *squares += gain * gain;
    }
}

int graft_calibration_check(graft_calibration *c, const graft_answers *a, graft_task task, graft_err *err) {
    graft_answers some = *a;
    size_t room = (size_t)(a->n * a->k) + 1;
    double sum = 0.0, squares = 0.0, n = (double)c->n;
    if (c->n == 0) return 0;
    some.logits = malloc(room * sizeof *some.logits);
    some.targets = is_sigmoid(task) ? malloc(room * sizeof *some.targets) : NULL;
    some.labels = is_sigmoid(task) ? NULL : malloc(((size_t)a->n + 1) * sizeof *some.labels);
    bool ok = some.logits && (some.targets || some.labels);
    for (int64_t fold = 0; ok && fold < FOLDS && fold < c->n; fold++) {
        take_rows(&some, a, task, fold, false);
        double temperature = graft_calibrate(&some, task).temperature;
        take_rows(&some, a, task, fold, true);
        add_gains(&sum, &squares, &some, task, temperature);
    }
    free(some.logits);
    free(some.targets);
    free(some.labels);
    if (!ok) return graft_err_nomem(err);
    c->checked = true;
    c->gain = sum / n;
    c->error = c->n > 1 ? sqrt(fmax(squares / n - c->gain * c->gain, 0.0) / (n - 1.0)) : INFINITY;
    c->refused = !(c->gain > c->error);
    if (!c->refused) return 0;
    c->temperature = 1.0;
    c->after = c->before;
    return 0;
}

json_t *graft_calibration_json(const graft_calibration *c) {
    json_t *o = json_pack("{s:f,s:I,s:f,s:f,s:f,s:f}", "temperature", c->temperature, "n", (json_int_t)c->n,
                          "log_loss_before", c->before.log_loss, "log_loss_after", c->after.log_loss,
                          "ece_before", c->before.ece, "ece_after", c->after.ece);
    if (!o || !c->checked) return o;
    bool ok =
        json_object_set_new(o, "gain", isfinite(c->gain) ? json_real(c->gain) : json_null()) == 0 &&
        json_object_set_new(o, "gain_error", isfinite(c->error) ? json_real(c->error) : json_null()) == 0 &&
        json_object_set_new(o, "refused", json_boolean(c->refused)) == 0;
    if (ok) return o;
    json_decref(o);
    return NULL;
}
