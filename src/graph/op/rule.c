/* Shared by the rows of this folder: what their shape rules verify, and how they say what is wrong. */
/* Shared by the rows: checks for shape rules and loops over indices. */
#include "graph/op/rule.h"

#include <stdarg.h>
#include <stdio.h>

int graft_rule_inputs(const graft_op_types *t, const graft_rule_input *in, size_t n_in, graft_err *err) {
    if (t->n_in != n_in)
        return graft_err_set(err, GRAFT_ESHAPE, "%zu inputs given where the op takes %zu", t->n_in, n_in);
    for (size_t i = 0; i < n_in; i++) {
        if (t->in[i] == NULL) {
            if (in[i].optional) continue;
            return graft_err_set(err, GRAFT_ESHAPE, "input %s is missing", in[i].name);
        }
        graft_dtype dtype = t->in[i]->dtype;
        bool fits =
            in[i].dtype == GRAFT_F32 ? dtype == GRAFT_F32 || dtype == GRAFT_BF16 : dtype == in[i].dtype;
        if (!fits)
            return graft_err_set(err, GRAFT_EDTYPE, "input %s has element type %s where the op takes %s",
                                 in[i].name, graft_dtype_name(dtype), graft_dtype_name(in[i].dtype));
    }
    return 0;
}

int graft_rule_fail(const graft_op_types *t, const graft_rule_input *in, graft_err *err, const char *format,
                    ...) {
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    int used = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    for (size_t i = 0; i < t->n_in && used >= 0 && (size_t)used < sizeof text; i++) {
        if (t->in[i] == NULL) continue;
        char shape[96];
        graft_shape_print(&t->in[i]->shape, shape, sizeof shape);
        used += snprintf(text + used, sizeof text - (size_t)used, "%s%s %s", i == 0 ? ": " : ", ", in[i].name,
                         shape);
    }
    return graft_err_set(err, GRAFT_ESHAPE, "%s", text);
}

bool graft_rule_window(int64_t n, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation,
                       int64_t *out) {
    const int64_t limit = INT64_C(1) << 31; /* keeps every product below in range */
    if (n < 1 || n > limit || kernel < 1 || kernel > limit || stride < 1 || pad < 0 || pad > limit)
        return false;
    if (dilation < 1 || dilation > limit) return false;
    int64_t room = n + 2 * pad - dilation * (kernel - 1) - 1;
    if (room < 0) return false;
    *out = room / stride + 1;
    return true;
}

bool graft_rule_is_batched(const graft_shape *s) {
    if (s->rank < 1 || (s->dims[0] < 1 && !graft_dim_is_open(s->dims[0]))) return false;
    for (int d = 1; d < s->rank; d++) {
        if (s->dims[d] < 1) return false;
    }
    return true;
}

bool graft_rule_is_rows(const graft_shape *s) {
    return (s->rank == 2 || s->rank == 3) && graft_rule_is_batched(s);
}

graft_shape graft_rule_with_width(const graft_shape *s, int64_t width) {
    graft_shape y = *s;
    y.dims[y.rank - 1] = width;
    return y;
}

graft_shape graft_rule_a_row(const graft_shape *s) {
    graft_shape y = *s;
    y.dims[--y.rank] = 0;
    return y;
}

bool graft_rule_is_vector(const graft_op_types *t, size_t i, int64_t n) {
    return t->in[i] == NULL || (t->in[i]->shape.rank == 1 && t->in[i]->shape.dims[0] == n);
}
