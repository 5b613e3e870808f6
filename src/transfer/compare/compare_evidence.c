/* Evidence made of runs. Two plans are compared on the same samples: a sample on which one was less wrong
 * than the other, over the seeds that both have, is a discordant pair, and McNemar's test asks whether such
 * pairs fall to one side more often than a coin does. With one seed that is his test as it stands; with
 * several it is the sign test of samples, whose number the seeds do not inflate. */
#include "transfer/compare/compare.h"

#include <math.h>
#include <string.h>

enum { MORE_LABELS = 50 };
static const double level = 0.95;

graft_compare_run *graft_comparison_run(const graft_comparison *c, size_t plan, size_t size, size_t seed) {
    return graft_comparison_lost(c, plan, size) ? NULL
                                                : c->runs[(seed * c->n_sizes + size) * c->n_plans + plan];
}

void graft_comparison_put(graft_comparison *c, graft_compare_run *r, size_t plan, size_t size, size_t seed) {
    const graft_compare_run **lost = &c->lost[size * c->n_plans + plan];
    c->runs[(seed * c->n_sizes + size) * c->n_plans + plan] = r;
    if (r->diverged && !isfinite(r->score) && !*lost) *lost = r;
}

const char *graft_comparison_lost(const graft_comparison *c, size_t plan, size_t size) {
    const graft_compare_run *here = c->lost[size * c->n_plans + plan],
                            *all = c->lost[(c->n_sizes - 1) * c->n_plans + plan];
    return all ? all->diverged : here ? here->diverged : NULL;
}

static double number_of(const graft_comparison *c, const graft_compare_run *r, graft_compare_number number) {
    switch (number) {
    case GRAFT_COMPARE_SCORE:
        return r->score;
    case GRAFT_COMPARE_VALIDATION:
        return r->validation;
    case GRAFT_COMPARE_TRAIN:
        return r->train;
    case GRAFT_COMPARE_GAP:
        return r->train - r->score;
    case GRAFT_COMPARE_SECONDS:
        return r->seconds;
    case GRAFT_COMPARE_LABELS:
        return (double)r->labels / (double)c->n_classes;
    }
    return NAN;
}

/* Numbers of the seeds that have one; how many. */
static int64_t gather(double out[GRAFT_COMPARE_MOST_SEEDS], const graft_comparison *c, size_t plan,
                      size_t size, graft_compare_number number) {
    int64_t n = 0;
    for (size_t seed = 0; seed < c->n_seeds; seed++) {
        const graft_compare_run *r = graft_comparison_run(c, plan, size, seed);
        double x = r ? number_of(c, r, number) : NAN;
        if (isfinite(x)) out[n++] = x;
    }
    return n;
}

graft_interval graft_comparison_interval(const graft_comparison *c, size_t plan, size_t size,
                                         graft_compare_number number) {
    double values[GRAFT_COMPARE_MOST_SEEDS];
    int64_t n = gather(values, c, plan, size, number);
    graft_interval i = graft_interval_of(values, n, level);
    bool is_share = number <= GRAFT_COMPARE_TRAIN && graft_data_task(c->facts.data) != GRAFT_TASK_REGRESSION;
    if (is_share && n > 1) {
        i.low = fmax(i.low, 0.0);
        i.high = fmin(i.high, 1.0);
    }
    return i;
}

double graft_comparison_labels(const graft_comparison *c, size_t size) {
    double sum = 0.0;
    int64_t n = 0;
    for (size_t plan = 0; plan < c->n_plans; plan++) {
        graft_interval i = graft_comparison_interval(c, plan, size, GRAFT_COMPARE_LABELS);
        if (i.n == 0) continue;
        sum += i.mean;
        n++;
    }
    return n ? sum / (double)n : NAN;
}

/* ---- Pairs ---- */

int graft_comparison_pair(graft_pairing *out, const graft_comparison *c, size_t a, size_t b, size_t size,
                          graft_err *err) {
    double differences[GRAFT_COMPARE_MOST_SEEDS];
    size_t n_samples = (size_t)graft_data_n_samples(c->facts.data);
    graft_arena *scratch = graft_arena_new(NULL);
    double *less = scratch ? graft_arena_array(scratch, n_samples + 1, sizeof *less) : NULL;
    int64_t n = 0;
    *out = (graft_pairing){.p = NAN};
    if (!less) {
        graft_arena_free(scratch);
        return graft_err_nomem(err);
    }
    for (size_t seed = 0; seed < c->n_seeds; seed++) {
        const graft_compare_run *x = graft_comparison_run(c, a, size, seed);
        const graft_compare_run *y = graft_comparison_run(c, b, size, seed);
        bool alike =
            x && y && x->n == y->n && memcmp(x->samples, y->samples, (size_t)x->n * sizeof *x->samples) == 0;
        if (!alike) continue;
        differences[n++] = x->score - y->score;
        for (int64_t i = 0; i < x->n; i++) less[x->samples[i]] += (double)y->loss[i] - (double)x->loss[i];
    }
    for (size_t i = 0; i < n_samples; i++) {
        out->better += less[i] > 0.0;
        out->worse += less[i] < 0.0;
    }
    out->difference = graft_interval_of(differences, n, level);
    if (n) out->p = graft_mcnemar(out->better, out->worse);
    graft_arena_free(scratch);
    return 0;
}

size_t graft_comparison_memory(const graft_comparison *c, size_t plan) {
    size_t most = 0;
    for (size_t seed = 0; seed < c->n_seeds; seed++)
        for (size_t size = 0; size < c->n_sizes; size++) {
            const graft_compare_run *r = graft_comparison_run(c, plan, size, seed);
            if (r && r->memory > most) most = r->memory;
        }
    return most;
}

/* Of the highest mean score; of equals the one with the least memory, which unlike seconds is the same in
 * every run. */
static size_t find_best(const graft_comparison *c) {
    size_t best = 0, memory = 0;
    double score = -INFINITY;
    for (size_t p = 0; p < c->n_plans; p++) {
        graft_interval s = graft_comparison_interval(c, p, c->n_sizes - 1, GRAFT_COMPARE_SCORE);
        size_t needs = graft_comparison_memory(c, p);
        if (s.n == 0 || s.mean < score || (s.mean == score && needs >= memory)) continue;
        best = p;
        score = s.mean;
        memory = needs;
    }
    return best;
}

static int pair_with_best(graft_compare_evidence *e, const graft_comparison *c, size_t best, graft_err *err) {
    double p[GRAFT_COMPARE_MOST_PLANS];
    for (size_t i = 0; i < c->n_plans; i++) {
        p[i] = NAN;
        e[i].best = (graft_pairing){.p = NAN};
        int rc = i == best ? 0 : graft_comparison_pair(&e[i].best, c, best, i, c->n_sizes - 1, err);
        if (rc < 0) return rc;
        p[i] = e[i].best.p;
    }
    int rc = graft_holm(p, p, c->n_plans, err);
    for (size_t i = 0; i < c->n_plans && rc == 0; i++) {
        e[i].p_holm = p[i];
        e[i].differs =
            p[i] < 1.0 - level && e[i].best.better > e[i].best.worse && e[i].best.difference.mean > 0.0;
    }
    return rc;
}

/* ---- Time ---- */

static double highest_validation(const graft_compare_run *r) {
    double best = -INFINITY;
    for (int64_t i = 0; i < r->n_epochs; i++)
        if (r->history[i].evaluated) best = fmax(best, r->history[i].score);
    return best;
}

/* Mean training seconds until a plan first stands within a point of the best plan's highest validation score,
 * over the seeds; NaN unless it does in all. */
static double seconds_to_best(const graft_comparison *c, size_t plan, size_t best) {
    double sum = 0.0;
    int64_t n = 0;
    for (size_t seed = 0; seed < c->n_seeds; seed++) {
        const graft_compare_run *r = graft_comparison_run(c, plan, c->n_sizes - 1, seed);
        const graft_compare_run *b = graft_comparison_run(c, best, c->n_sizes - 1, seed);
        int64_t i = 0;
        if (!r || !b) continue;
        double wanted = highest_validation(b) - 0.01;
        while (i < r->n_epochs && !(r->history[i].evaluated && r->history[i].score >= wanted)) i++;
        if (i == r->n_epochs) return NAN;
        sum += r->history[i].seconds;
        n++;
    }
    return n ? sum / (double)n : NAN;
}

/* ---- Labels ---- */

double graft_comparison_span(const graft_comparison *c) {
    return graft_data_task(c->facts.data) == GRAFT_TASK_REGRESSION ? 2.0 : 1.0;
}

static int fit_curve(graft_compare_evidence *e, const graft_comparison *c, size_t plan, graft_err *err) {
    double errors[GRAFT_COMPARE_MOST_SIZES][GRAFT_COMPARE_MOST_SEEDS];
    graft_curve_point points[GRAFT_COMPARE_MOST_SIZES];
    graft_err why = {0};
    size_t n_points = 0;
    int64_t n_test = 0;
    for (size_t size = 0; size < c->n_sizes; size++) {
        int64_t n = gather(errors[size], c, plan, size, GRAFT_COMPARE_SCORE);
        if (n == 0) continue;
        for (int64_t i = 0; i < n; i++) errors[size][i] = (1.0 - errors[size][i]) / graft_comparison_span(c);
        double labels = graft_comparison_interval(c, plan, size, GRAFT_COMPARE_LABELS).mean;
        points[n_points++] = (graft_curve_point){labels, errors[size], n};
        for (size_t seed = 0; seed < c->n_seeds; seed++) {
            const graft_compare_run *r = graft_comparison_run(c, plan, size, seed);
            if (r) n_test = r->n;
        }
    }
    int rc = graft_curve_fit(&e->curve, c->arena, points, n_points, n_test, c->options.fit.seed, &why);
    e->has_curve = rc == 0;
    if (rc == 0) return 0;
    e->curve_problem = graft_arena_strdup(c->arena, why.message);
    return rc == GRAFT_EDATA && e->curve_problem ? 0 : graft_err_set(err, rc, "%s", why.message);
}

/* Without a curve: the smallest size that reaches it. */
static void count_measured(graft_compare_evidence *e, const graft_comparison *c, size_t plan, double reach) {
    for (size_t size = 0; size < c->n_sizes; size++) {
        graft_interval s = graft_comparison_interval(c, plan, size, GRAFT_COMPARE_SCORE);
        if (s.n == 0 || s.mean < reach) continue;
        e->needed = graft_comparison_interval(c, plan, size, GRAFT_COMPARE_LABELS).mean;
        return;
    }
}

static int count_labels(graft_compare_evidence *e, const graft_comparison *c, size_t plan, double reach,
                        graft_err *err) {
    graft_interval all = graft_comparison_interval(c, plan, c->n_sizes - 1, GRAFT_COMPARE_LABELS);
    double span = graft_comparison_span(c);
    e->more = MORE_LABELS;
    e->gain = e->gain_low = e->gain_high = e->needed = e->needed_low = e->needed_high = NAN;
    if (!e->has_curve || all.n == 0) {
        count_measured(e, c, plan, reach);
        return 0;
    }
    int rc = graft_curve_gain(&e->gain, &e->gain_low, &e->gain_high, &e->curve, all.mean,
                              all.mean + MORE_LABELS, level, err);
    if (rc == 0)
        rc = graft_curve_needed(&e->needed, &e->needed_low, &e->needed_high, &e->curve, (1.0 - reach) / span,
                                level, err);
    e->gain *= span;
    e->gain_low *= span;
    e->gain_high *= span;
    e->extrapolated =
        e->needed > all.mean || e->needed < graft_comparison_interval(c, plan, 0, GRAFT_COMPARE_LABELS).mean;
    return rc;
}

int graft_comparison_evidence(graft_compare_evidence **out, size_t *best, double *reach,
                              const graft_comparison *c, graft_err *err) {
    graft_compare_evidence *e = graft_arena_array(c->arena, c->n_plans, sizeof *e);
    if (!e) return graft_err_nomem(err);
    *best = find_best(c);
    for (size_t p = 0; p < c->n_plans; p++)
        e[p].score = graft_comparison_interval(c, p, c->n_sizes - 1, GRAFT_COMPARE_SCORE);
    *reach = c->options.reach > 0 ? c->options.reach : e[*best].score.mean - 0.01;
    int rc = pair_with_best(e, c, *best, err);
    for (size_t p = 0; p < c->n_plans && rc == 0; p++) {
        e[p].seconds_to_best = seconds_to_best(c, p, *best);
        rc = fit_curve(&e[p], c, p, err);
        if (rc == 0) rc = count_labels(&e[p], c, p, *reach, err);
    }
    *out = e;
    return rc;
}
