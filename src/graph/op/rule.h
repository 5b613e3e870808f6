/* What the rows of this folder share: checks for shape rules, whose messages name every input with its shape,
 * and indices for the reference loops. Private to graph/op. */
#ifndef GRAFT_GRAPH_OP_RULE_H
#define GRAFT_GRAPH_OP_RULE_H

#include "graph/op.h"

/** What an op expects of one input. */
typedef struct graft_rule_input {
    const char *name;
    bool optional;
    graft_dtype dtype; /* F32 stands for any floating type that a program may choose (F32, BF16) */
} graft_rule_input;

/** Verifies count, presence and element types. ESHAPE, EDTYPE. */
int graft_rule_inputs(const graft_op_types *t, const graft_rule_input *in, size_t n_in, graft_err *err);

/** Describes what is wrong, followed by every input's name and shape; returns ESHAPE. */
int graft_rule_fail(const graft_op_types *t, const graft_rule_input *in, graft_err *err, const char *format,
                    ...) __attribute__((format(printf, 4, 5)));

/** The length of a sliding window's walk: floor((n + 2 pad - dilation (kernel - 1) - 1) / stride) + 1; false
 * when a number makes no sense or the window does not fit once. */
bool graft_rule_window(int64_t n, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation,
                       int64_t *out);

/** Every dim past the first is bound and at least 1, the first too unless it is open; rank at least 1.
 */
bool graft_rule_is_batched(const graft_shape *s);

/** Whether input i is absent or has rank 1 and length n. */
bool graft_rule_is_vector(const graft_op_types *t, size_t i, int64_t n);

/** Most rules: the output has the shape of input i. */
static inline void graft_rule_copy(const graft_op_types *t, size_t o, size_t i) {
    t->out_shape[o] = t->in[i]->shape;
}

static inline bool graft_rule_same(const graft_op_types *t, size_t i, size_t j) {
    return graft_shape_equal(&t->in[i]->shape, &t->in[j]->shape);
}

/** act(x), `act` being a graft_act. */
double graft_rule_activate(int32_t act, double x);

/** Elements of a bound shape. */
static inline int64_t graft_rule_count(const graft_shape *s) {
    int64_t n = 1;
    for (int d = 0; d < s->rank; d++) n *= s->dims[d];
    return n;
}

/** Elements of each (n, c) of a bound (N, C, ...). */
static inline int64_t graft_rule_inner(const graft_shape *s) {
    int64_t n = 1;
    for (int d = 2; d < s->rank; d++) n *= s->dims[d];
    return n;
}

/** Rows of vectors: (T,D) or (N,D), or (N,L,D), where each sample has L rows. */
bool graft_rule_is_rows(const graft_shape *s);

/** Elements of a row. */
static inline int64_t graft_rule_width(const graft_shape *s) {
    return s->dims[s->rank - 1];
}

/** Rows of a bound shape. */
static inline int64_t graft_rule_n_rows(const graft_shape *s) {
    return graft_rule_count(s) / graft_rule_width(s);
}

/** As many rows of another width; one number a row. */
graft_shape graft_rule_with_width(const graft_shape *s, int64_t width);
graft_shape graft_rule_a_row(const graft_shape *s);

/** Offset of [a, b, c, d] in a shape of rank 4. */
static inline int64_t graft_rule_at(const graft_shape *s, int64_t a, int64_t b, int64_t c, int64_t d) {
    return ((a * s->dims[1] + b) * s->dims[2] + c) * s->dims[3] + d;
}

#endif
