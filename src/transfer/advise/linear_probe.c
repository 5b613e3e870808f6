/* Multinomial logistic regression, minimised by L-BFGS (Liu and Nocedal 1989) that starts from the curvature
 * which the principal coordinates give away: along axis j it is about squares[j] / n times the variance of an
 * answer. A dozen steps then do where plain steps would take hundreds. */
#include "transfer/advise/linalg.h"
#include "transfer/advise/scores.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MEMORY = 8, MOST_STEPS = 200, N_DECAYS = 4 };
static const double decays[N_DECAYS] = {1e-1, 1e-2, 1e-3, 1e-4};

/* One training set and where its minimum was looked for. A row of x ends in a 1, whose weights do not decay.
 */
typedef struct problem {
    int64_t n, d, k, size; /* size = d k: weights, row j those of column j */
    const double *x;       /* [n, d] */
    const int32_t *y;
    double decay, *scale; /* [d] inverse curvature */
    double *logits;       /* [n, k] room; after a look the derivative by the logits */
} problem;

/* Loss and gradient at w. */
static double look(problem *p, const double *w, double *gradient) {
    double loss = 0, weight = 1.0 / (double)p->n;
    graft_product(p->logits, p->x, false, w, false, p->n, p->k, p->d);
    for (int64_t i = 0; i < p->n; i++) {
        double *z = p->logits + i * p->k, most = z[0], sum = 0, own = z[p->y[i]];
        for (int64_t c = 1; c < p->k; c++) most = fmax(most, z[c]);
        for (int64_t c = 0; c < p->k; c++) sum += z[c] = exp(z[c] - most);
        loss += weight * (log(sum) + most - own);
        for (int64_t c = 0; c < p->k; c++) z[c] *= weight / sum;
        z[p->y[i]] -= weight;
    }
    graft_product(gradient, p->x, true, p->logits, false, p->d, p->k, p->n);
    for (int64_t j = 0; j < (p->d - 1) * p->k; j++) {
        loss += 0.5 * p->decay * w[j] * w[j];
        gradient[j] += p->decay * w[j];
    }
    return loss;
}

static double dot(const double *a, const double *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
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
        alpha[at] = m->rho[at] * dot(m->steps + at * p->size, direction, p->size);
        for (int64_t i = 0; i < p->size; i++) direction[i] -= alpha[at] * m->changes[at * p->size + i];
    }
    for (int64_t j = 0; j < p->d; j++)
        for (int64_t c = 0; c < p->k; c++) direction[j * p->k + c] *= p->scale[j];
    for (int64_t l = first; l < m->n; l++) {
        int64_t at = l % MEMORY;
        double beta = m->rho[at] * dot(m->changes + at * p->size, direction, p->size);
        for (int64_t i = 0; i < p->size; i++) direction[i] += (alpha[at] - beta) * m->steps[at * p->size + i];
    }
}

/* Goes along `direction` from w as far as the loss falls enough (Armijo) and notes what it taught. False: it
 * no longer falls. */
static bool go(problem *p, memory *m, double *w, double *gradient, double *loss, const double *direction,
               double *tried, double *new_gradient) {
    double slope = dot(gradient, direction, p->size), length = 1.0, at = *loss;
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
    double curvature = dot(step, change, p->size);
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
    int64_t folds, d;
    int64_t *fold; /* [n] of each example; -1: it only trains */
    double *x;     /* [n, d] training rows, then those asked */
    int32_t *y;
    double *scale, *logits, *w, *room;
    double loss[N_DECAYS];
    int64_t right[N_DECAYS], asked;
    int n_decays;
    const double *decays;
} crossing;

static void assign_folds(crossing *x) {
    const graft_labelled *f = x->f;
    for (int64_t c = 0; c < f->k; c++) {
        int64_t seen = 0;
        for (int64_t i = 0; i < f->n; i++)
            if (f->y[i] == c) x->fold[i] = f->counts[c] > 1 ? seen++ % x->folds : -1;
    }
}

/* Training rows first, then the ones asked; returns how many train. */
static int64_t take_rows(crossing *x, int64_t fold, double scale) {
    const graft_labelled *f = x->f;
    int64_t at[2] = {0, 0};
    for (int64_t i = 0; i < f->n; i++) at[1] += x->fold[i] != fold;
    int64_t n_train = at[1];
    for (int64_t i = 0; i < f->n; i++) {
        int64_t to = at[x->fold[i] == fold]++;
        double *row = x->x + to * x->d;
        for (int64_t j = 0; j < f->rank; j++) row[j] = (f->t[i * f->rank + j] - f->mean[j]) * scale;
        row[f->rank] = 1.0;
        x->y[to] = f->y[i];
    }
    return n_train;
}

static void ask(crossing *x, int64_t n_train, int decay) {
    const graft_labelled *f = x->f;
    int64_t n = f->n - n_train, k = f->k;
    graft_product(x->logits, x->x + n_train * x->d, false, x->w, false, n, k, x->d);
    for (int64_t i = 0; i < n; i++) {
        const double *z = x->logits + i * k;
        int64_t best = 0;
        double sum = 0;
        for (int64_t c = 1; c < k; c++)
            if (z[c] > z[best]) best = c;
        for (int64_t c = 0; c < k; c++) sum += exp(z[c] - z[best]);
        x->loss[decay] += log(sum) + z[best] - z[x->y[n_train + i]];
        x->right[decay] += best == x->y[n_train + i];
    }
    if (decay == 0) x->asked += n;
}

static void run_fold(crossing *x, int64_t fold, double scale) {
    const graft_labelled *f = x->f;
    int64_t n_train = take_rows(x, fold, scale);
    if (n_train == 0 || n_train == f->n) return;
    problem p = {.n = n_train,
                 .d = x->d,
                 .k = f->k,
                 .size = x->d * f->k,
                 .x = x->x,
                 .y = x->y,
                 .scale = x->scale,
                 .logits = x->logits};
    memset(x->w, 0, (size_t)p.size * sizeof *x->w);
    double k = (double)f->k, spread = (k - 1.0) / (k * k);
    for (int i = 0; i < x->n_decays; i++) {
        p.decay = x->decays[i];
        for (int64_t j = 0; j < f->rank; j++)
            x->scale[j] = 1.0 / (spread * f->squares[j] * scale * scale / (double)f->n + p.decay);
        x->scale[f->rank] = 1.0 / fmax(spread, 1e-6);
        minimise(&p, x->w, x->o->tolerance > 0 ? x->o->tolerance : 1e-4, x->room);
        ask(x, n_train, i);
    }
}

static void conclude(graft_probe_result *out, const crossing *x) {
    int best = 0;
    for (int i = 1; i < x->n_decays; i++)
        if (x->loss[i] < x->loss[best]) best = i;
    double n = (double)x->asked, accuracy = n > 0 ? (double)x->right[best] / n : NAN;
    *out = (graft_probe_result){.accuracy = accuracy,
                                .log_loss = n > 0 ? x->loss[best] / n : NAN,
                                .error = sqrt(accuracy * (1.0 - accuracy) / n),
                                .decay = x->decays[best],
                                .n = x->asked};
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
    crossing x = {.f = f, .o = options ? options : &none, .d = f->rank + 1};
    graft_arena *arena = graft_arena_new(NULL);
    size_t n = (size_t)f->n, size = (size_t)(x.d * f->k);
    if (!arena) return graft_err_nomem(err);
    x.folds = x.o->folds > 0 ? x.o->folds : 5;
    x.n_decays = x.o->decay > 0 ? 1 : N_DECAYS;
    x.decays = x.o->decay > 0 ? &x.o->decay : decays;
    x.fold = graft_arena_array(arena, n, sizeof *x.fold);
    x.x = graft_arena_array(arena, n * (size_t)x.d, sizeof *x.x);
    x.y = graft_arena_array(arena, n, sizeof *x.y);
    x.scale = graft_arena_array(arena, (size_t)x.d, sizeof *x.scale);
    x.logits = graft_arena_array(arena, n * (size_t)f->k, sizeof *x.logits);
    x.w = graft_arena_array(arena, size, sizeof *x.w);
    x.room = graft_arena_array(arena, (4 + 2 * MEMORY) * size, sizeof *x.room);
    bool ok = x.fold && x.x && x.y && x.scale && x.logits && x.w && x.room;
    if (ok) {
        double scale = unit_scale(f);
        assign_folds(&x);
        for (int64_t i = 0; i < x.folds; i++) run_fold(&x, i, scale);
        conclude(out, &x);
    }
    graft_arena_free(arena);
    return ok ? 0 : graft_err_nomem(err);
}
