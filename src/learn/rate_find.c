/* The rate range test (Smith 2017, "Cyclical learning rates for training neural networks"): a few updates on
 * training batches while the rate grows evenly in its logarithm, from weights of their own. */
#include "learn/run.h"

#include <math.h>

enum { FEWEST = 10 };
static const double smoothing = 0.9, too_high = 4.0;

/* Of a recipe whose rate is the lowest: the factor up to the highest. */
static double sweep_factor(double step, double n_steps) {
    return pow(GRAFT_RATE_RANGE, n_steps > 1 ? step / (n_steps - 1) : 0.0);
}

static const graft_schedule sweep = {
    .name = "sweep", .help = "from the lowest rate to the highest", .factor = sweep_factor};

typedef struct search {
    graft_rate_search *out;
    graft_stepper stepper;
    graft_batches *train;
    graft_recipe recipe;
    int64_t epoch; /* of the batches under way; -1: none has begun */
    double average, best;
} search;

/* The next training batch, epoch after epoch. */
static int next_batch(search *s, graft_batch *b, graft_err *err) {
    int rc = s->epoch < 0 ? 0 : s->train->next(s->train->self, b, err);
    if (rc != 0) return rc < 0 ? rc : 0;
    s->epoch++;
    rc = s->train->begin(s->train->self, s->epoch, 0, err);
    if (rc == 0) rc = s->train->next(s->train->self, b, err);
    if (rc == 0) return graft_err_set(err, GRAFT_EDATA, "there is no sample to train on");
    return rc < 0 ? rc : 0;
}

/* Notes the loss that came before the update. False when it has left every good place behind. */
static bool note(search *s, int64_t i, int64_t n) {
    graft_rate_point *p = &s->out->points[i];
    double loss = s->stepper.loss;
    if (!isfinite(loss) || s->stepper.refused) return false;
    s->average = smoothing * s->average + (1.0 - smoothing) * loss;
    *p = (graft_rate_point){.rate = graft_recipe_rate(&s->recipe, i, n),
                            .loss = loss,
                            .smoothed = s->average / (1.0 - pow(smoothing, (double)i + 1.0))};
    s->out->n = i + 1;
    if (i == 0 || p->smoothed < s->best) s->best = p->smoothed;
    return i < FEWEST || p->smoothed <= too_high * fmax(s->best, 1e-3);
}

static int run(search *s, const graft_env *env, int64_t n, graft_err *err) {
    for (int64_t i = 0; i < n; i++) {
        graft_batch b = {0};
        int rc = next_batch(s, &b, err);
        if (rc == 0) rc = graft_stepper_run(&s->stepper, &b, i, n, err);
        if (rc == 0) rc = graft_env_check(env, err);
        if (rc < 0) return rc;
        graft_progress p = {.phase = "looking for a rate", .done = i + 1, .total = n};
        graft_env_progress(env, &p);
        if (!note(s, i, n)) return 0;
    }
    return 0;
}

/* Where the smoothed loss was the lowest, and before that fell the most steeply over five points. */
static int conclude(graft_rate_search *r, double rate, graft_err *err) {
    enum { SPAN = 4 };
    int64_t least = 0, steepest = -1;
    double steepest_fall = 0.0;
    for (int64_t i = 1; i < r->n; i++)
        if (r->points[i].smoothed < r->points[least].smoothed) least = i;
    for (int64_t i = SPAN; i <= least; i++) {
        double fall = r->points[i - SPAN].smoothed - r->points[i].smoothed;
        if (fall <= steepest_fall) continue;
        steepest_fall = fall;
        steepest = i - SPAN / 2;
    }
    if (r->n < FEWEST || steepest < 0)
        return graft_err_set(
            err, GRAFT_EDIVERGED,
            "no rate between %g and %g lowers the loss: look at the data and the plan, or give a "
            "rate with --lr (%g would be the usual one)",
            r->n ? r->points[0].rate : 0.0, r->n ? r->points[r->n - 1].rate : 0.0, rate);
    r->minimum = r->points[least].rate;
    r->steepest = r->points[steepest].rate;
    r->suggested = sqrt(r->steepest * r->minimum / 10.0);
    return 0;
}

int graft_rate_find(graft_rate_search *out, graft_arena *arena, const graft_env *env,
                    const graft_graph *suffix, graft_batches *train, const graft_recipe *recipe, int64_t n,
                    graft_err *err) {
    graft_state *state = NULL;
    search s = {.out = out, .train = train, .recipe = *recipe, .epoch = -1};
    s.recipe.lr = recipe->lr / sqrt(GRAFT_RATE_RANGE);
    s.recipe.schedule = &sweep;
    s.recipe.warmup = s.recipe.swa = 0.0; /* which would hold the rate where averaging begins */
    *out = (graft_rate_search){.points = graft_arena_array(arena, (size_t)n + 1, sizeof *out->points)};
    if (!out->points) return graft_err_nomem(err);
    int rc = graft_state_new(&state, env, err);
    if (rc == 0) rc = graft_stepper_init(&s.stepper, suffix, state, &s.recipe, err);
    if (rc == 0) rc = run(&s, env, n, err);
    graft_stepper_done(&s.stepper);
    graft_state_free(state);
    return rc < 0 ? rc : conclude(out, recipe->lr, err);
}

/* ---- What is shown ---- */

json_t *graft_rate_json(const graft_rate_search *r) {
    json_t *rates = json_array(), *losses = json_array(), *smoothed = json_array();
    for (int64_t i = 0; i < r->n && rates && losses && smoothed; i++) {
        json_array_append_new(rates, json_real(r->points[i].rate));
        json_array_append_new(losses, json_real(r->points[i].loss));
        json_array_append_new(smoothed, json_real(r->points[i].smoothed));
    }
    return json_pack("{s:f,s:f,s:f,s:o,s:o,s:o}", "suggested", r->suggested, "steepest", r->steepest,
                     "minimum", r->minimum, "rates", rates, "losses", losses, "smoothed", smoothed);
}

void graft_rate_plot(const graft_rate_search *r, const graft_env *env) {
    enum { WIDTH = 60, HEIGHT = 10 };
    char rows[HEIGHT][WIDTH + 1];
    double low = INFINITY, high = -INFINITY;
    if (r->n < 2) return;
    double begin = log(r->points[0].rate), length = log(r->points[r->n - 1].rate) - begin;
    for (int64_t i = 0; i < r->n; i++) {
        low = fmin(low, r->points[i].smoothed);
        high = fmax(high, r->points[i].smoothed);
    }
    high = fmin(high, r->points[0].smoothed * 1.5 + 1e-9); /* what runs away would flatten the rest */
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x <= WIDTH; x++) rows[y][x] = x < WIDTH ? ' ' : '\0';
    for (int64_t i = 0; i < r->n; i++) {
        int x = (int)((log(r->points[i].rate) - begin) / length * (WIDTH - 1) + 0.5);
        double share = high > low ? (fmin(r->points[i].smoothed, high) - low) / (high - low) : 0.0;
        rows[HEIGHT - 1 - (int)(share * (HEIGHT - 1) + 0.5)][x] = '*';
    }
    int mark = (int)((log(r->suggested) - begin) / length * (WIDTH - 1) + 0.5);
    for (int y = 0; y < HEIGHT && mark >= 0 && mark < WIDTH; y++)
        if (rows[y][mark] == ' ') rows[y][mark] = '|';
    for (int y = 0; y < HEIGHT; y++)
        graft_env_log(env, GRAFT_LOG_INFO, "%8.3g %s", high - (high - low) * y / (HEIGHT - 1), rows[y]);
    graft_env_log(env, GRAFT_LOG_INFO, "%8s %-*.2g%.2g", "loss", WIDTH - 6, r->points[0].rate,
                  r->points[r->n - 1].rate);
}
