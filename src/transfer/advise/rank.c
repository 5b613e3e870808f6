#include "transfer/advise/candidates.h"

#include <math.h>
#include <stdlib.h>

/* Score s of a model's head boundary, of more classes no more than of few. */
static double score_of(const graft_judged *m, size_t s) {
    return m->evidence.n_boundaries ? m->evidence.boundaries[0].scores[s] : NAN;
}

/* Mean over the scores that every model has of how many standard deviations above the models' mean it is. */
static void set_standings(graft_candidates *c) {
    size_t n_scores = 0, used = 0;
    graft_transferabilities(&n_scores);
    for (size_t s = 0; s < n_scores && c->n_models > 1; s++) {
        double n = (double)c->n_models, mean = 0, square = 0;
        for (size_t i = 0; i < c->n_models; i++) mean += score_of(&c->models[i], s) / n;
        for (size_t i = 0; i < c->n_models; i++)
            square += (score_of(&c->models[i], s) - mean) * (score_of(&c->models[i], s) - mean) / n;
        if (!isfinite(square) || !(square > 1e-18)) continue;
        used++;
        for (size_t i = 0; i < c->n_models; i++)
            c->models[i].standing += (score_of(&c->models[i], s) - mean) / sqrt(square);
    }
    for (size_t i = 0; i < c->n_models && used; i++)
        c->models[i].standing = fmax(-1.0, fmin(1.0, c->models[i].standing / (double)used));
}

static int by_rank(const void *x, const void *y) {
    const graft_candidate *a = x, *b = y;
    if (a->rank != b->rank) return a->rank > b->rank ? -1 : 1;
    if (a->model != b->model) return a->model < b->model ? -1 : 1;
    return (a->plan > b->plan) - (a->plan < b->plan);
}

int graft_candidates_rank(graft_candidates *c, graft_err *err) {
    size_t n = 0;
    for (size_t i = 0; i < c->n_models; i++) n += c->models[i].n_plans;
    c->items = graft_arena_array(c->arena, n + 1, sizeof *c->items);
    if (!c->items) return graft_err_nomem(err);
    set_standings(c);
    for (size_t i = 0; i < c->n_models; i++) {
        const graft_judged *m = &c->models[i];
        double error = m->evidence.boundaries[0].probe.error;
        for (size_t p = 0; p < m->n_plans; p++) {
            double expected = graft_expected_accuracy(&m->evidence, m->plans[p]);
            c->items[c->n_items++] =
                (graft_candidate){.model = m,
                                  .plan = p,
                                  .expected = expected,
                                  .rank = expected + m->standing * (isfinite(error) ? error : 0.0),
                                  .measured = NAN};
        }
    }
    qsort(c->items, c->n_items, sizeof *c->items, by_rank);
    return 0;
}
