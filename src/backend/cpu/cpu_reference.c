/* An op without a kernel runs its row's reference: inputs to double, plain loops, results back to float32. */
#include "backend/cpu/cpu.h"

#include <string.h>

typedef struct reference_step {
    const graft_op *op;
    graft_op_call call;
    size_t *in_count, *out_count;
    graft_buffer *in, *out; /* float32, C order; GRAFT_NONE where absent */
    graft_buffer work;      /* doubles of all inputs, then of all outputs */
    float **in_data, **out_data;
    double **in_work, **out_work;
    double *work_data;
} reference_step;

static int bind(void *self, const graft_program *p, graft_err *err) {
    (void)err;
    reference_step *s = self;
    double *at = graft_program_buffer(p, s->work);
    for (size_t i = 0; i < s->call.n_in; i++) {
        s->in_data[i] = graft_program_buffer(p, s->in[i]);
        s->in_work[i] = s->in[i] == GRAFT_NONE ? NULL : at;
        if (s->in[i] != GRAFT_NONE) at += s->in_count[i];
    }
    for (size_t i = 0; i < s->call.n_out; i++) {
        s->out_data[i] = graft_program_buffer(p, s->out[i]);
        s->out_work[i] = at;
        at += s->out_count[i];
    }
    return 0;
}

static int run(void *self) {
    const reference_step *s = self;
    for (size_t i = 0; i < s->call.n_in; i++)
        for (size_t k = 0; s->in_work[i] && s->in_data[i] && k < s->in_count[i]; k++)
            s->in_work[i][k] = (double)s->in_data[i][k];
    s->op->reference(&s->call);
    for (size_t i = 0; i < s->call.n_out; i++)
        for (size_t k = 0; s->out_data[i] && k < s->out_count[i]; k++)
            s->out_data[i][k] = (float)s->out_work[i][k];
    return 0;
}

static size_t count_of(const graft_shape *shape) {
    int64_t n = 0;
    return graft_shape_count(shape, &n) ? (size_t)n : 0;
}

static reference_step *make_step(graft_lowering *l, const graft_node *n) {
    graft_arena *a = graft_lower_arena(l);
    reference_step *s = graft_arena_alloc(a, sizeof *s);
    if (!s) return NULL;
    graft_shape *in_shape = graft_arena_array(a, n->n_in + 1, sizeof *in_shape);
    graft_shape *out_shape = graft_arena_array(a, n->n_out + 1, sizeof *out_shape);
    unsigned char *attr = graft_arena_alloc(a, n->op->attr_size);
    s->op = n->op;
    s->in_count = graft_arena_array(a, n->n_in + 1, sizeof(size_t));
    s->out_count = graft_arena_array(a, n->n_out + 1, sizeof(size_t));
    s->in = graft_arena_array(a, n->n_in + 1, sizeof(graft_buffer));
    s->out = graft_arena_array(a, n->n_out + 1, sizeof(graft_buffer));
    s->in_data = graft_arena_array(a, n->n_in + 1, sizeof(float *));
    s->out_data = graft_arena_array(a, n->n_out + 1, sizeof(float *));
    s->in_work = graft_arena_array(a, n->n_in + 1, sizeof(double *));
    s->out_work = graft_arena_array(a, n->n_out + 1, sizeof(double *));
    if (!in_shape || !out_shape || !attr || !s->in_count || !s->out_count || !s->in || !s->out ||
        !s->in_data || !s->out_data || !s->in_work || !s->out_work)
        return NULL;
    for (size_t i = 0; i < n->n_in; i++)
        if (n->in[i] != GRAFT_NONE) in_shape[i] = *graft_lower_shape(l, n->in[i]);
    for (size_t i = 0; i < n->n_out; i++) out_shape[i] = *graft_lower_shape(l, n->out[i]);
    if (n->attr) memcpy(attr, n->attr, n->op->attr_size);
    s->call = (graft_op_call){.in = (const double *const *)s->in_work,
                              .in_shape = in_shape,
                              .n_in = n->n_in,
                              .out = s->out_work,
                              .out_shape = out_shape,
                              .n_out = n->n_out,
                              .attr = n->attr ? attr : NULL};
    return s;
}

int graft_cpu_reference(graft_lowering *l, const graft_node *n, graft_err *err) {
    reference_step *s = make_step(l, n);
    size_t n_all = n->n_in + n->n_out + 1, total = 0;
    graft_buffer *all = graft_arena_array(graft_lower_arena(l), n_all, sizeof *all);
    if (!s || !all) return graft_err_nomem(err);
    int rc = 0;
    for (size_t i = 0; i < n->n_in && rc == 0; i++) {
        all[i] = s->in[i] = GRAFT_NONE;
        bool shape_only = i < 32 && (n->op->shape_only >> i & 1u);
        if (n->in[i] == GRAFT_NONE || shape_only) continue;
        rc = graft_cpu_want_plain(l, n->in[i], &s->in[i], err);
        all[i] = s->in[i];
        s->in_count[i] = count_of(&s->call.in_shape[i]);
        total += s->in_count[i];
    }
    for (size_t i = 0; i < n->n_out && rc == 0; i++) {
        s->out[i] = GRAFT_NONE;
        if (graft_lower_is_used(l, n->out[i])) rc = graft_cpu_new_plain(l, n->out[i], &s->out[i], err);
        all[n->n_in + i] = s->out[i];
        s->out_count[i] = count_of(&s->call.out_shape[i]);
        total += s->out_count[i];
    }
    if (rc == 0) rc = graft_lower_scratch(l, total * sizeof(double), &s->work, err);
    if (rc < 0) return rc;
    all[n_all - 1] = s->work;
    graft_step step = {.impl = "reference", .is_reference = true, .self = s, .bind = bind, .run = run};
    return graft_lower_emit(l, &step, all, n_all, err);
}
