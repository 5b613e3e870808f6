/* One run: a trial, and what is kept of it. Logits are not: of dozens of runs and thousands of classes they
 * would fill the memory, and the comparison needs of each sample only how wrong and how sure the answer was.
 */
#include "transfer/compare/compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int64_t likeliest(const float *logits, int64_t k) {
    int64_t best = 0;
    for (int64_t c = 1; c < k; c++)
        if (logits[c] > logits[best]) best = c;
    return best;
}

/* The class that is said of a row, as the score counts it. */
static int64_t said(const graft_answers *a, int64_t row) {
    const float *logits = a->logits + row * a->k;
    return a->cuts ? graft_decide(logits, a->k, a->cuts) : likeliest(logits, a->k);
}

/* Rows [first, first + n) of the answers belong to one sample: how wrong are they? */
static float loss_of(const graft_answers *a, graft_task task, int64_t first, int64_t n) {
    const float *logits = a->logits + first * a->k, *targets = a->targets + first * a->k;
    int64_t wrong = 0;
    switch (task) {
    case GRAFT_TASK_CLASSES:
        return said(a, first) == a->labels[first] ? 0.0f : 1.0f;
    case GRAFT_TASK_REGRESSION:
        return fabsf(logits[0] - targets[0]);
    case GRAFT_TASK_MULTILABEL:
        for (int64_t c = 0; c < a->k; c++)
            wrong += ((double)logits[c] > (a->cuts ? a->cuts[c] : 0.0)) != (targets[c] > 0.5f);
        return (float)wrong;
    case GRAFT_TASK_TAGGING:
        for (int64_t i = first; i < first + n; i++)
            wrong += a->labels[i] >= 0 && a->predicted[i] != a->labels[i];
        return (float)wrong;
    }
    return 0.0f;
}

static int take_losses(graft_compare_run *r, graft_arena *arena, const graft_answers *a, graft_task task,
                       graft_err *err) {
    r->n = a->n_samples;
    r->samples = graft_arena_array(arena, (size_t)r->n + 1, sizeof *r->samples);
    r->loss = graft_arena_array(arena, (size_t)r->n + 1, sizeof *r->loss);
    if (!r->samples || !r->loss) return graft_err_nomem(err);
    int64_t row = 0;
    for (int64_t i = 0; i < r->n; i++) {
        int64_t rows = task == GRAFT_TASK_TAGGING ? a->words[i] : 1;
        r->samples[i] = a->samples[i];
        r->loss[i] = loss_of(a, task, row, rows);
        row += rows;
    }
    return 0;
}

/* Probability of the likeliest class less that of the second (Scheffer et al. 2001: margin sampling). */
static float margin_of(const float *logits, int64_t k) {
    int64_t best = likeliest(logits, k);
    double second = -INFINITY, sum = 0.0;
    for (int64_t c = 0; c < k; c++) {
        sum += exp((double)logits[c] - (double)logits[best]);
        if (c != best) second = fmax(second, (double)logits[c]);
    }
    return (float)((1.0 - exp(second - (double)logits[best])) / sum);
}

static int take_doubts(graft_compare_run *r, graft_arena *arena, const graft_answers *a, graft_err *err) {
    size_t n = (size_t)a->n_samples;
    r->n_doubts = a->n_samples;
    r->doubt_samples = graft_arena_array(arena, n + 1, sizeof *r->doubt_samples);
    r->predicted = graft_arena_array(arena, n + 1, sizeof *r->predicted);
    r->margin = graft_arena_array(arena, n + 1, sizeof *r->margin);
    if (!r->doubt_samples || !r->predicted || !r->margin) return graft_err_nomem(err);
    for (size_t i = 0; i < n; i++) {
        const float *logits = a->logits + (int64_t)i * a->k;
        r->doubt_samples[i] = a->samples[i];
        r->predicted[i] = (int32_t)likeliest(logits, a->k);
        r->margin[i] = margin_of(logits, a->k);
    }
    return 0;
}

static int take(graft_compare_run *r, const graft_comparison *c, const graft_trial *t, bool is_largest,
                graft_err *err) {
    const graft_answers *judged = t->test.n_samples ? &t->test : &t->validation;
    const graft_training *training = &t->training;
    int64_t kept = training->best_epoch ? training->best_epoch : training->n_epochs;
    r->score = t->test.n_samples ? t->test_score.score : t->validation_score.score;
    r->validation = t->validation.n_samples ? t->validation_score.score : NAN;
    r->train = t->has_train_score                      ? t->train_score.score
               : t->task == GRAFT_TASK_CLASSES && kept ? training->history[kept - 1].train_accuracy
                                                       : NAN;
    r->seconds = t->seconds;
    r->n_train = t->n_train;
    r->n_validation = t->validation.n_samples;
    r->labels = r->n_train + (c->validation_is_made ? r->n_validation : 0);
    r->n_epochs = training->n_epochs;
    r->best_epoch = kept;
    r->memory = t->peak_memory;
    r->history = graft_arena_array(c->arena, (size_t)r->n_epochs + 1, sizeof *r->history);
    r->diverged = t->diverged ? graft_arena_strdup(c->arena, t->diverged) : NULL;
    if (!r->history || (t->diverged && !r->diverged)) return graft_err_nomem(err);
    if (r->n_epochs) memcpy(r->history, training->history, (size_t)r->n_epochs * sizeof *r->history);
    int rc = take_losses(r, c->arena, judged, t->task, err);
    if (rc == 0 && is_largest && t->task == GRAFT_TASK_CLASSES)
        rc = take_doubts(r, c->arena, t->unlabelled.n_samples ? &t->unlabelled : &t->validation, err);
    return rc;
}

/* Of a run that diverged before its first good epoch. */
static int take_nothing(graft_compare_run *r, const graft_comparison *c, double seconds, const char *message,
                        graft_err *err) {
    *r = (graft_compare_run){.score = NAN,
                             .validation = NAN,
                             .train = NAN,
                             .seconds = seconds,
                             .diverged = graft_arena_strdup(c->arena, message)};
    return r->diverged ? 0 : graft_err_nomem(err);
}

int graft_comparison_train(graft_compare_run **out, graft_comparison *c, graft_env *env, size_t plan,
                           size_t size, size_t seed, graft_err *err) {
    graft_fit_options o = c->options.fit;
    graft_arena *arena = graft_arena_new(NULL);
    graft_compare_run *r = NULL;
    graft_trial t = {0};
    graft_err why = {0};
    double begun = graft_now();
    o.train = c->plans[plan].train;
    o.from_scratch = c->plans[plan].from_scratch;
    o.seed += seed;
    o.data.per_class = c->sizes[size].per_class;
    int rc = arena ? 0 : graft_err_nomem(&why);
    bool is_largest = size + 1 == c->n_sizes;
    const graft_extras extras = {.train = true, .unlabelled = is_largest};
    if (rc == 0) rc = graft_trial_run_more(&t, arena, env, c->model, c->data, &o, extras, &why);
    bool is_lost = rc == GRAFT_EDIVERGED;
    pthread_mutex_lock(&c->guard);
    if ((rc == 0 || is_lost) && !(r = graft_arena_alloc(c->arena, sizeof *r))) rc = graft_err_nomem(&why);
    if (rc == 0)
        rc = take(r, c, &t, is_largest, &why);
    else if (r && is_lost)
        rc = take_nothing(r, c, graft_now() - begun, why.message, &why);
    pthread_mutex_unlock(&c->guard);
    if (rc < 0) graft_err_set(err, rc, "%s", why.message);
    graft_trial_done(&t);
    graft_arena_free(arena);
    *out = r;
    return rc;
}
