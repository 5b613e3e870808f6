/* Optimiser updates in place: weight, gradient and moments lie in one layout, the weight's home, and padding
 * stays zero under every rule here. Work is cut into fixed pieces, so that sums do not depend on the thread
 * count. */
#include "backend/cpu/cpu.h"
#include "backend/cpu/own/update.h"

#include <math.h>

enum { PIECE = 1 << 15 };

/* Wants every value of `v` as float32 in the layout of the first, `md`, and gives the element count with
 * padding. */
static int want_alike(graft_lowering *l, const graft_value *v, size_t n, graft_buffer *out,
                      const_dnnl_memory_desc_t *md, size_t *count, graft_err *err) {
    dnnl_memory_desc_t plain = NULL;
    int rc = 0;
    *md = graft_cpu_md_of(l, v[0], GRAFT_F32);
    if (!*md) {
        rc = graft_cpu_md(&plain, graft_lower_arena(l), GRAFT_F32, graft_lower_shape(l, v[0]), false, err);
        *md = plain;
    }
    for (size_t i = 0; i < n && rc == 0; i++) {
        out[i] = GRAFT_NONE;
        if (v[i] != GRAFT_NONE) rc = graft_cpu_want(l, v[i], *md, GRAFT_F32, &out[i], err);
    }
    if (rc == 0) *count = dnnl_memory_desc_get_size(*md) / sizeof(float);
    return rc;
}

/* The results take the places of what they replace: `buffers` of the inputs are those that the step changes.
 */
static int replace(graft_lowering *l, const graft_node *n, graft_buffer *buffers, const_dnnl_memory_desc_t md,
                   graft_err *err) {
    int rc = 0;
    for (size_t o = 0; o < n->n_out && rc == 0; o++) {
        graft_buffer *b = &buffers[n->op->alias[o]];
        if (*b != GRAFT_NONE) rc = graft_cpu_take_over(l, n, o, *b, md, GRAFT_F32, b, err);
    }
    return rc;
}

/* Piece i of `count` elements. */
static size_t begin_of(size_t i) {
    return i * PIECE;
}

static size_t end_of(size_t i, size_t count) {
    return begin_of(i + 1) < count ? begin_of(i + 1) : count;
}

static size_t n_pieces_of(size_t count) {
    return (count + PIECE - 1) / PIECE;
}

static float scalar(const graft_cpu_own *own, size_t i, float absent) {
    const float *p = own->data[i];
    return p ? *p : absent;
}

typedef struct sgd_run {
    graft_sgd_span span;
    const graft_update_kernels *kernels;
    size_t count;
} sgd_run;

static void sgd_piece(void *self, size_t i) {
    const sgd_run *r = self;
    r->kernels->sgd(&r->span, begin_of(i), end_of(i, r->count));
}

/* buffers: w, dw, velocity, lr, g_scale */
static int run_sgd(void *self) {
    const graft_cpu_own *own = self;
    const graft_sgd_attr *a = own->attr;
    graft_sgd_span s = {.w = own->data[0],
                        .dw = own->data[1],
                        .velocity = own->data[2],
                        .rate = (float)((double)scalar(own, 3, 0.0F) * a->lr_scale),
                        .decay = (float)a->weight_decay,
                        .momentum = (float)a->momentum,
                        .scale = scalar(own, 4, 1.0F),
                        .nesterov = a->nesterov != 0};
    sgd_run run = {.span = s, .kernels = own->kernel, .count = own->count};
    graft_cpu_parallel(&run, n_pieces_of(own->count), sgd_piece);
    return 0;
}

int graft_cpu_sgd(graft_lowering *l, const graft_node *n, graft_err *err) {
    graft_cpu_own own = {.n_buffers = 5, .attr = n->attr, .kernel = GRAFT_CPU_CHOOSE(l, graft_update)};
    const_dnnl_memory_desc_t md;
    int rc = want_alike(l, n->in, 3, own.buffers, &md, &own.count, err);
    for (size_t i = 3; i < 5 && rc == 0; i++) {
        own.buffers[i] = GRAFT_NONE;
        if (n->in[i] != GRAFT_NONE) rc = graft_cpu_want_plain(l, n->in[i], &own.buffers[i], err);
    }
    if (rc == 0) rc = replace(l, n, own.buffers, md, err);
    return rc < 0 ? rc
                  : graft_cpu_emit_own(l, GRAFT_CPU_CHOOSE(l, graft_update)->sgd_name, run_sgd, own,
                                       sizeof(graft_sgd_attr), err);
}

typedef struct adam_run {
    graft_adam_span span;
    const graft_update_kernels *kernels;
    size_t count;
} adam_run;

static void adam_piece(void *self, size_t i) {
    const adam_run *r = self;
    r->kernels->adam(&r->span, begin_of(i), end_of(i, r->count));
}

/* buffers: w, dw, m, v, lr, step, g_scale */
static int run_adam(void *self) {
    const graft_cpu_own *own = self;
    const graft_adam_attr *a = own->attr;
    double lr = (double)scalar(own, 4, 0.0F) * a->lr_scale,
           step = (double)scalar(own, 5, 1.0F) + a->steps_before;
    graft_adam_span s = {.w = own->data[0],
                         .dw = own->data[1],
                         .m = own->data[2],
                         .v = own->data[3],
                         .beta1 = (float)a->beta1,
                         .beta2 = (float)a->beta2,
                         .eps = (float)a->eps,
                         .scale = scalar(own, 6, 1.0F),
                         .decay = a->decoupled ? 0.0F : (float)a->weight_decay,
                         .shrink = a->decoupled ? (float)(1.0 - lr * a->weight_decay) : 1.0F,
                         .rate = (float)(lr / (1.0 - pow(a->beta1, step))),
                         .root_correction = (float)sqrt(1.0 - pow(a->beta2, step))};
    adam_run run = {.span = s, .kernels = own->kernel, .count = own->count};
    graft_cpu_parallel(&run, n_pieces_of(own->count), adam_piece);
    return 0;
}

int graft_cpu_adam(graft_lowering *l, const graft_node *n, graft_err *err) {
    graft_cpu_own own = {.n_buffers = 7, .attr = n->attr, .kernel = GRAFT_CPU_CHOOSE(l, graft_update)};
    const_dnnl_memory_desc_t md;
    int rc = want_alike(l, n->in, 4, own.buffers, &md, &own.count, err);
    for (size_t i = 4; i < 7 && rc == 0; i++) {
        own.buffers[i] = GRAFT_NONE;
        if (n->in[i] != GRAFT_NONE) rc = graft_cpu_want_plain(l, n->in[i], &own.buffers[i], err);
    }
    if (rc == 0) rc = replace(l, n, own.buffers, md, err);
    return rc < 0 ? rc
                  : graft_cpu_emit_own(l, GRAFT_CPU_CHOOSE(l, graft_update)->adam_name, run_adam, own,
                                       sizeof(graft_adam_attr), err);
}

/* ---- Drawn towards others: memory sets the pace, so one version serves all processors ---------------------- */

/* buffers: a, b, share */
static void lerp_piece(void *self, size_t i) {
    const graft_cpu_own *own = self;
    float *restrict a = own->data[0];
    const float *restrict b = own->data[1];
    const float share = scalar(own, 2, 0.0F), rest = 1.0F - share;
    for (size_t k = begin_of(i); k < end_of(i, own->count); k++) a[k] = rest * a[k] + share * b[k];
}

static int run_lerp(void *self) {
    const graft_cpu_own *own = self;
    graft_cpu_parallel(self, n_pieces_of(own->count), lerp_piece);
    return 0;
}

/* buffers: dw, w, w0 */
static void pull_piece(void *self, size_t i) {
    const graft_cpu_own *own = self;
    const graft_pull_attr *attr = own->attr;
    float *restrict dw = own->data[0];
    const float *restrict w = own->data[1], *restrict start = own->data[2];
    const float alpha = (float)attr->alpha;
    for (size_t k = begin_of(i); k < end_of(i, own->count); k++) dw[k] += alpha * (w[k] - start[k]);
}

static int run_pull(void *self) {
    const graft_cpu_own *own = self;
    graft_cpu_parallel(self, n_pieces_of(own->count), pull_piece);
    return 0;
}

int graft_cpu_lerp(graft_lowering *l, const graft_node *n, graft_err *err) {
    graft_cpu_own own = {.n_buffers = 3};
    const graft_value home_first[] = {n->in[1], n->in[0]}; /* the average lies as the weight does */
    graft_buffer found[2];
    const_dnnl_memory_desc_t md;
    int rc = want_alike(l, home_first, 2, found, &md, &own.count, err);
    own.buffers[0] = found[1];
    own.buffers[1] = found[0];
    if (rc == 0) rc = graft_cpu_want_plain(l, n->in[2], &own.buffers[2], err);
    if (rc == 0) rc = replace(l, n, own.buffers, md, err);
    return rc < 0 ? rc : graft_cpu_emit_own(l, "lerp", run_lerp, own, 0, err);
}

int graft_cpu_pull(graft_lowering *l, const graft_node *n, graft_err *err) {
    graft_cpu_own own = {.n_buffers = 3, .attr = n->attr};
    const graft_value home_first[] = {n->in[1], n->in[0], n->in[2]};
    graft_buffer found[3];
    const_dnnl_memory_desc_t md;
    int rc = want_alike(l, home_first, 3, found, &md, &own.count, err);
    own.buffers[0] = found[1];
    own.buffers[1] = found[0];
    own.buffers[2] = found[2];
    if (rc == 0) rc = replace(l, n, own.buffers, md, err);
    return rc < 0 ? rc : graft_cpu_emit_own(l, "pull", run_pull, own, sizeof(graft_pull_attr), err);
}

/* ---- Clipping: the norm over all gradients, whatever their layouts (padding is zero)
 * ---------------------------- */

typedef struct clip_step {
    size_t n, now;         /* gradients, and the one whose pieces are summed */
    graft_buffer *buffers; /* gradients, then the partial sums, then the result */
    size_t *counts;
    const float **data;
    double *partial;
    float *out;
    double max_norm;
    const graft_update_kernels *kernels;
} clip_step;

static int bind_clip(void *self, const graft_program *p, graft_err *err) {
    clip_step *s = self;
    (void)err;
    for (size_t i = 0; i < s->n; i++) s->data[i] = graft_program_buffer(p, s->buffers[i]);
    s->partial = graft_program_buffer(p, s->buffers[s->n]);
    s->out = graft_program_buffer(p, s->buffers[s->n + 1]);
    return 0;
}

static void clip_piece(void *self, size_t i) {
    const clip_step *s = self;
    s->partial[i] = s->kernels->sum_squares(s->data[s->now], begin_of(i), end_of(i, s->counts[s->now]));
}

static int run_clip(void *self) {
    clip_step *s = self;
    double total = 0.0;
    for (s->now = 0; s->now < s->n; s->now++) {
        size_t n_pieces = n_pieces_of(s->counts[s->now]);
        graft_cpu_parallel(s, n_pieces, clip_piece);
        for (size_t i = 0; i < n_pieces; i++) total += s->partial[i];
    }
    double scale = s->max_norm / (sqrt(total) + 1e-6);
    *s->out = scale < 1.0 ? (float)scale : 1.0F;
    return 0;
}

int graft_cpu_clip_scale(graft_lowering *l, const graft_node *n, graft_err *err) {
    graft_arena *arena = graft_lower_arena(l);
    const graft_clip_attr *a = n->attr;
    clip_step *s = graft_arena_alloc(arena, sizeof *s);
    if (!s) return graft_err_nomem(err);
    *s = (clip_step){.n = n->n_in, .max_norm = a->max_norm, .kernels = GRAFT_CPU_CHOOSE(l, graft_update)};
    s->buffers = graft_arena_array(arena, n->n_in + 2, sizeof *s->buffers);
    s->counts = graft_arena_array(arena, n->n_in + 1, sizeof *s->counts);
    s->data = graft_arena_array(arena, n->n_in + 1, sizeof *s->data);
    if (!s->buffers || !s->counts || !s->data) return graft_err_nomem(err);
    size_t most = 1;
    const_dnnl_memory_desc_t md;
    int rc = 0;
    for (size_t i = 0; i < n->n_in && rc == 0; i++) {
        rc = want_alike(l, &n->in[i], 1, &s->buffers[i], &md, &s->counts[i], err);
        if (rc == 0 && s->counts[i] > most) most = s->counts[i];
    }
    if (rc == 0) rc = graft_lower_scratch(l, n_pieces_of(most) * sizeof(double), &s->buffers[n->n_in], err);
    if (rc == 0) rc = graft_cpu_new_plain(l, n->out[0], &s->buffers[n->n_in + 1], err);
    if (rc < 0) return rc;
    graft_step step = {.impl = s->kernels->norm_name, .self = s, .bind = bind_clip, .run = run_clip};
    return graft_lower_emit(l, &step, s->buffers, n->n_in + 2, err);
}
