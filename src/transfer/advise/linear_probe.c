/* Multinomial logistic regression, minimised by L-BFGS (Liu and Nocedal 1989) that starts from the curvature
 * which the principal coordinates give away: along axis j it is about squares[j] / n times the variance of an
 * answer. A dozen steps then do where plain steps would take hundreds. */
#include "transfer/advise/probe_loops.h"
#include "transfer/advise/scores.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MEMORY = 8, MOST_STEPS = 200, N_DECAYS = 4 };
static const double decays[N_DECAYS] = {1e-1, 1e-2, 1e-3, 1e-4};

/* One training set and where its minimum was looked for. A row of x ends in a 1, whose weights do not decay,
 * and zeros up to whole lanes. */
typedef struct problem {
    const graft_probe_loops *loops;
    int64_t n, d, stride, k, size; /* size = k stride: weights, row c those of class c */
    const double *x;               /* [n, stride] */
    const int32_t *y;
    double decay, *scale; /* [stride] inverse curvature */
    double *logits;       /* [n, k] room; after a look the derivative by the logits */
} problem;

/* Rows that stay in the processor's cache between their logits and their part of the gradient. */
enum { BLOCK = 32 };

/* z [k] of class y becomes the derivative of weight times the loss, which is returned. */
static double derive(double *z, int64_t k, int32_t y, double weight) {
    double most = z[0], sum = 0, own = z[y];
    for (int64_t c = 1; c < k; c++) most = fmax(most, z[c]);
    for (int64_t c = 0; c < k; c++) sum += z[c] = exp(z[c] - most);
    for (int64_t c = 0; c < k; c++) z[c] *= weight / sum;
    z[y] -= weight;
    return weight * (log(sum) + most - own);
}

/* Loss and gradient at w. */
static double look(problem *p, const double *w, double *gradient) {
    double loss = 0, weight = 1.0 / (double)p->n;
    memset(gradient, 0, (size_t)p->size * sizeof *gradient);
    for (int64_t at = 0; at < p->n; at += BLOCK) {
        int64_t n = at + BLOCK < p->n ? BLOCK : p->n - at;
        const double *x = p->x + at * p->stride;
        double *z = p->logits + at * p->k;
        p->loops->logits(z, x, w, n, p->k, p->stride);
        for (int64_t i = 0; i < n; i++) loss += derive(z + i * p->k, p->k, p->y[at + i], weight);
        p->loops->gather(gradient, x, z, n, p->k, p->stride);
    }
    for (int64_t c = 0; c < p->k; c++)
        for (int64_t j = c * p->stride; j < c * p->stride + p->d - 1; j++) {
            loss += 0.5 * p->decay * w[j] * w[j];
            gradient[j] += p->decay * w[j];
        }
    return loss;
}

/* What the last steps taught: step and change of the gradient, and 1 / (step . change). */
typedef struct memory {
    double *steps, *changes; /* [MEMORY, size] */
    double rho[MEMORY];
    int64_t n; /* noted so far */
} memory;

/* direction = -H gradient, by the two loops over the memory. */
static void choose_direction(const problem *p, const memory *m, const double *gradient, double *direction) {
    double alpha[MEMORY];
    int64_t first = m->n > MEMORY ? m->n - MEMORY : 0;
    for (int64_t i = 0; i < p->size; i++) direction[i] = -gradient[i];
    for (int64_t l = m->n - 1; l >= first; l--) {
        int64_t at = l % MEMORY;
        alpha[at] = m->rho[at] * p->loops->dot(m->steps + at * p->size, direction, p->size);
        for (int64_t i = 0; i < p->size; i++) direction[i] -= alpha[at] * m->changes[at * p->size + i];
    }
    for (int64_t c = 0; c < p->k; c++)
        for (int64_t j = 0; j < p->stride; j++) direction[c * p->stride + j] *= p->scale[j];
    for (int64_t l = first; l < m->n; l++) {
        int64_t at = l % MEMORY;
        double beta = m->rho[at] * p->loops->dot(m->changes + at * p->size, direction, p->size);
        for (int64_t i = 0; i < p->size; i++) direction[i] += (alpha[at] - beta) * m->steps[at * p->size + i];
    }
}

/* Goes along `direction` from w as far as the loss falls enough (Armijo) and notes what it taught. False: it
 * no longer falls. */
static bool go(problem *p, memory *m, double *w, double *gradient, double *loss, const double *direction,
               double *tried, double *new_gradient) {
    double slope = p->loops->dot(gradient, direction, p->size), length = 1.0, at = *loss;
    if (!(slope < 0)) return false;
    for (int halvings = 0; halvings < 30; halvings++, length *= 0.5) {
        for (int64_t i = 0; i < p->size; i++) tried[i] = w[i] + length * direction[i];
        at = look(p, tried, new_gradient);
        if (at <= *loss + 1e-4 * length * slope) break;
    }
    if (!(at < *loss)) return false;
    int64_t place = m->n % MEMORY;
    double *step = m->steps + place * p->size, *change = m->changes + place * p->size;
    for (int64_t i = 0; i < p->size; i++) {
        step[i] = tried[i] - w[i];
        change[i] = new_gradient[i] - gradient[i];
    }
    double curvature = p->loops->dot(step, change, p->size);
    if (curvature > 0) {
        m->rho[place] = 1.0 / curvature;
        m->n++;
    }
    memcpy(w, tried, (size_t)p->size * sizeof *w);
    memcpy(gradient, new_gradient, (size_t)p->size * sizeof *gradient);
    *loss = at;
    return true;
}

/* Minimises from w on. `room` [(3 + 2 MEMORY) size] */
static void minimise(problem *p, double *w, double tolerance, double *room) {
    double *gradient = room, *direction = room + p->size, *tried = room + 2 * p->size;
    double *new_gradient = room + 3 * p->size;
    memory m = {.steps = room + 4 * p->size, .changes = room + (4 + MEMORY) * p->size};
    double loss = look(p, w, gradient);
    for (int i = 0; i < MOST_STEPS; i++) {
        double most = 0;
        for (int64_t j = 0; j < p->size; j++) most = fmax(most, fabs(gradient[j]));
        if (most <= tolerance) return;
        choose_direction(p, &m, gradient, direction);
        if (!go(p, &m, w, gradient, &loss, direction, tried, new_gradient)) return;
    }
}

/* ---- Cross-validation ------------------------------------------------------------------------------------ */

typedef struct crossing {
    const graft_labelled *f;
    const graft_probe_options *o;
    int64_t folds, stride;
    int64_t *fold; /* [n] of each example; -1: it only trains */
    double scale;
    int n_decays;
    const double *decays;
} crossing;

/* One fold: its rows, and what came of them. */
typedef struct fold {
    double *x; /* [n, stride] training rows, then those asked */
    int32_t *y;
    double *scale, *logits, *w, *room;
    int64_t n_train;
    double loss[N_DECAYS];
    int64_t right[N_DECAYS], asked;
    bool failed; /* for lack of memory */
} fold;

static void assign_folds(crossing *x) {
    const graft_labelled *f = x->f;
    for (int64_t c = 0; c < f->k; c++) {
        int64_t seen = 0;
        for (int64_t i = 0; i < f->n; i++)
            if (f->y[i] == c) x->fold[i] = f->counts[c] > 1 ? seen++ % x->folds : -1;
    }
}

static void take_rows(fold *o, const crossing *x, int64_t number) {
    const graft_labelled *f = x->f;
    int64_t at[2] = {0, 0};
    for (int64_t i = 0; i < f->n; i++) at[1] += x->fold[i] != number;
    o->n_train = at[1];
    for (int64_t i = 0; i < f->n; i++) {
        int64_t to = at[x->fold[i] == number]++;
        double *row = o->x + to * x->stride;
        for (int64_t j = 0; j < f->rank; j++) row[j] = (f->t[i * f->rank + j] - f->mean[j]) * x->scale;
        row[f->rank] = 1.0;
        o->y[to] = f->y[i];
    }
}

static void ask(fold *o, const problem *p, int64_t n, int decay) {
    p->loops->logits(o->logits, o->x + o->n_train * p->stride, o->w, n, p->k, p->stride);
    for (int64_t i = 0; i < n; i++) {
        const double *z = o->logits + i * p->k;
        int64_t best = 0;
        double sum = 0;
        for (int64_t c = 1; c < p->k; c++)
            if (z[c] > z[best]) best = c;
        for (int64_t c = 0; c < p->k; c++) sum += exp(z[c] - z[best]);
        o->loss[decay] += log(sum) + z[best] - z[o->y[o->n_train + i]];
        o->right[decay] += best == o->y[o->n_train + i];
    }
    o->asked = n;
}

static void try_decays(fold *o, const crossing *x) {
    const graft_labelled *f = x->f;
    problem p = {.loops = graft_probe_loops_choose(),
                 .n = o->n_train,
                 .d = f->rank + 1,
                 .stride = x->stride,
                 .k = f->k,
                 .size = f->k * x->stride,
                 .x = o->x,
                 .y = o->y,
                 .scale = o->scale,
                 .logits = o->logits};
    double k = (double)f->k, spread = (k - 1.0) / (k * k);
    for (int i = 0; i < x->n_decays; i++) {
        p.decay = x->decays[i];
        for (int64_t j = 0; j < f->rank; j++)
            o->scale[j] = 1.0 / (spread * f->squares[j] * x->scale * x->scale / (double)f->n + p.decay);
        o->scale[f->rank] = 1.0 / fmax(spread, 1e-6);
        minimise(&p, o->w, x->o->tolerance > 0 ? x->o->tolerance : 1e-4, o->room);
        ask(o, &p, f->n - o->n_train, i);
    }
}

static void run_fold(fold *o, const crossing *x, int64_t number) {
    graft_arena *arena = graft_arena_new(NULL);
    size_t n = (size_t)x->f->n, stride = (size_t)x->stride, size = stride * (size_t)x->f->k;
    if (arena) {
        o->x = graft_arena_array(arena, n * stride, sizeof *o->x);
        o->y = graft_arena_array(arena, n, sizeof *o->y);
        o->scale = graft_arena_array(arena, stride, sizeof *o->scale);
        o->logits = graft_arena_array(arena, n * (size_t)x->f->k, sizeof *o->logits);
        o->w = graft_arena_array(arena, size, sizeof *o->w);
        o->room = graft_arena_array(arena, (4 + 2 * MEMORY) * size, sizeof *o->room);
    }
    o->failed = !o->x || !o->y || !o->scale || !o->logits || !o->w || !o->room;
    if (!o->failed) take_rows(o, x, number);
    if (!o->failed && o->n_train > 0 && o->n_train < x->f->n) try_decays(o, x);
    graft_arena_free(arena);
}

static void conclude(graft_probe_result *out, const crossing *x, const fold *folds) {
    double loss[N_DECAYS] = {0};
    int64_t right[N_DECAYS] = {0}, asked = 0;
    int best = 0;
    for (int64_t i = 0; i < x->folds; i++) {
        asked += folds[i].asked;
        for (int k = 0; k < x->n_decays; k++) {
            loss[k] += folds[i].loss[k];
            right[k] += folds[i].right[k];
        }
    }
    for (int i = 1; i < x->n_decays; i++)
        if (loss[i] < loss[best]) best = i;
    double n = (double)asked, accuracy = n > 0 ? (double)right[best] / n : NAN;
    *out = (graft_probe_result){.accuracy = accuracy,
                                .log_loss = n > 0 ? loss[best] / n : NAN,
                                .error = sqrt(accuracy * (1.0 - accuracy) / n),
                                .decay = x->decays[best],
                                .n = asked};
    for (int64_t c = 0; c < x->f->k; c++) out->n_alone += x->f->counts[c] == 1;
}

/* 1 / root of the mean square of the centred rows. */
static double unit_scale(const graft_labelled *f) {
    double total = 0;
    for (int64_t j = 0; j < f->rank; j++) total += f->squares[j] - (double)f->n * f->mean[j] * f->mean[j];
    return total > 1e-12 * f->squares[0] ? sqrt((double)f->n / total) : 0.0;
}

int graft_probe_cross_validate(graft_probe_result *out, const graft_labelled *f,
                               const graft_probe_options *options, graft_err *err) {
    static const graft_probe_options none = {0};
    crossing x = {.f = f, .o = options ? options : &none, .scale = unit_scale(f)};
    graft_arena *arena = graft_arena_new(NULL);
    if (!arena) return graft_err_nomem(err);
    x.folds = x.o->folds > 0 ? x.o->folds : 5;
    x.stride = (f->rank / GRAFT_PROBE_LANES + 1) * GRAFT_PROBE_LANES;
    x.n_decays = x.o->decay > 0 ? 1 : N_DECAYS;
    x.decays = x.o->decay > 0 ? &x.o->decay : decays;
    x.fold = graft_arena_array(arena, (size_t)f->n, sizeof *x.fold);
    fold *folds = graft_arena_array(arena, (size_t)x.folds, sizeof *folds);
    bool ok = x.fold && folds;
    if (ok) {
        assign_folds(&x);
#pragma omp parallel for num_threads(x.o->threads > 0 ? x.o->threads : 1) schedule(dynamic, 1)
        for (int64_t i = 0; i < x.folds; i++) run_fold(&folds[i], &x, i);
        for (int64_t i = 0; i < x.folds; i++) ok = ok && !folds[i].failed;
    }
    if (ok) conclude(out, &x, folds);
    graft_arena_free(arena);
    return ok ? 0 : graft_err_nomem(err);
}
