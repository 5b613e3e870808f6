/* Terms of a loss beside the answers' own; each is a scalar, summed into the loss by scale and add.
 *   twin_kl        rows 2i and 2i + 1 are two answers to one sample under two dropouts, p and q:
 *                  sum_i (u_2i + u_2i+1) / 2 (KL(p|q) + KL(q|p)), of R-Drop (Liang et al. 2021, "R-Drop:
 *                  regularized dropout for neural networks"). With a = log p, b = log q the sum is
 *                  sum_c (p - q)(a - b), and   d/dz_p = p ((a - b) - KL(p|q)) + p - q
 *   spectral_tail  the sum of the k smallest squared singular values of the rows x that weigh something, of
 * BSS (Chen et al. 2019, "Catastrophic forgetting meets negative transfer"), times `part`. Its second result
 * is sum_i s_i u_i v_i^T, half of the gradient */
#include "graph/op/rule.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const graft_rule_input twin_inputs[] = {{.name = "logits"}, {.name = "weight"}};
static const graft_rule_input twin_grad_inputs[] = {
    {.name = "dloss", .optional = true}, {.name = "logits"}, {.name = "weight"}};
static const graft_rule_input tail_inputs[] = {{.name = "x"}, {.name = "weight"}, {.name = "part"}};
static const graft_rule_input tail_grad_inputs[] = {{.name = "dloss", .optional = true}, {.name = "tail"}};

static bool is_matrix(const graft_shape *s) {
    return s->rank == 2 && graft_rule_is_batched(s);
}

/* ---- Twins ------------------------------------------------------------------------------------------------ */

static int rows_shape(const graft_op_types *t, const graft_rule_input *in, size_t first, graft_err *err) {
    const graft_shape *z = &t->in[first]->shape;
    if (!is_matrix(z)) return graft_rule_fail(t, in, err, "%s must be (N,K)", in[first].name);
    if (!graft_rule_is_vector(t, first + 1, z->dims[0]))
        return graft_rule_fail(t, in, err, "weight must be (N)");
    return 0;
}

static int twin_kl_shape(const graft_op_types *t, graft_err *err) {
    int rc = graft_rule_inputs(t, twin_inputs, GRAFT_COUNT(twin_inputs), err);
    return rc < 0 ? rc : rows_shape(t, twin_inputs, 0, err);
}

static int twin_kl_grad_shape(const graft_op_types *t, graft_err *err) {
    int rc = graft_rule_inputs(t, twin_grad_inputs, GRAFT_COUNT(twin_grad_inputs), err);
    if (rc == 0) rc = rows_shape(t, twin_grad_inputs, 1, err);
    if (rc == 0) graft_rule_copy(t, 0, 1);
    return rc;
}

static void twin_kl_gradient(graft_graph *g, const graft_node *n, const graft_value *dout, const bool *wanted,
                             graft_value *din) {
    if (wanted[1]) graft_graph_fail(g, GRAFT_EUNSUPPORTED, "gradient of twin_kl with respect to its weight");
    if (wanted[0])
        graft_graph_node(g, &graft_op_twin_kl_grad, NULL, (graft_value[]){dout[0], n->in[0], n->in[1]}, 3,
                         &din[0]);
}

/* log sum exp */
static double norm_of(const double *z, int64_t n) {
    double top = z[0], sum = 0;
    for (int64_t k = 1; k < n; k++) top = z[k] > top ? z[k] : top;
    for (int64_t k = 0; k < n; k++) sum += exp(z[k] - top);
    return top + log(sum);
}

static void twin_kl_reference(const graft_op_call *c) {
    int64_t n_rows = c->in_shape[0].dims[0], n = c->in_shape[0].dims[1];
    double loss = 0;
    for (int64_t i = 0; i + 1 < n_rows; i += 2) {
        const double *z = c->in[0] + i * n, *y = z + n;
        double z_norm = norm_of(z, n), y_norm = norm_of(y, n), sum = 0;
        for (int64_t k = 0; k < n; k++) {
            double a = z[k] - z_norm, b = y[k] - y_norm;
            sum += (exp(a) - exp(b)) * (a - b);
        }
        loss += (c->in[1][i] + c->in[1][i + 1]) / 2 * sum;
    }
    c->out[0][0] = loss;
}

/* One of the two rows: d of z, whose twin is y. */
static void twin_row(const double *z, const double *y, int64_t n, double scale, double *d) {
    double z_norm = norm_of(z, n), y_norm = norm_of(y, n), divergence = 0;
    for (int64_t k = 0; k < n; k++) divergence += exp(z[k] - z_norm) * (z[k] - z_norm - y[k] + y_norm);
    for (int64_t k = 0; k < n; k++) {
        double a = z[k] - z_norm, b = y[k] - y_norm;
        d[k] = scale * (exp(a) * (a - b - divergence) + exp(a) - exp(b));
    }
}

static void twin_kl_grad_reference(const graft_op_call *c) {
    int64_t n_rows = c->in_shape[1].dims[0], n = c->in_shape[1].dims[1];
    double dloss = c->in[0] ? c->in[0][0] : 1;
    for (int64_t k = 0; k < n_rows * n; k++) c->out[0][k] = 0;
    for (int64_t i = 0; i + 1 < n_rows; i += 2) {
        const double *z = c->in[1] + i * n, *y = z + n;
        double scale = dloss * (c->in[2][i] + c->in[2][i + 1]) / 2;
        twin_row(z, y, n, scale, c->out[0] + i * n);
        twin_row(y, z, n, scale, c->out[0] + (i + 1) * n);
    }
}

/* ---- The spectrum's tail ---------------------------------------------------------------------------------- */

static int spectral_tail_shape(const graft_op_types *t, graft_err *err) {
    const graft_spectral_tail_attr *a = t->attr;
    int rc = graft_rule_inputs(t, tail_inputs, GRAFT_COUNT(tail_inputs), err);
    if (rc == 0) rc = rows_shape(t, tail_inputs, 0, err);
    if (rc < 0) return rc;
    if (!graft_rule_is_vector(t, 2, 1)) return graft_rule_fail(t, tail_inputs, err, "part must be (1)");
    if (a->k < 1) return graft_rule_fail(t, tail_inputs, err, "%lld smallest values", (long long)a->k);
    graft_rule_copy(t, 1, 0);
    return 0;
}

static int spectral_tail_grad_shape(const graft_op_types *t, graft_err *err) {
    int rc = graft_rule_inputs(t, tail_grad_inputs, GRAFT_COUNT(tail_grad_inputs), err);
    if (rc == 0) graft_rule_copy(t, 0, 1);
    return rc;
}

static void spectral_tail_gradient(graft_graph *g, const graft_node *n, const graft_value *dout,
                                   const bool *wanted, graft_value *din) {
    if (wanted[1] || wanted[2] || dout[1] != GRAFT_NONE)
        graft_graph_fail(g, GRAFT_EUNSUPPORTED, "gradient of spectral_tail that is not the loss's by x");
    if (wanted[0])
        graft_graph_node(g, &graft_op_spectral_tail_grad, NULL, (graft_value[]){dout[0], n->out[1]}, 2,
                         &din[0]);
}

/* Cyclic Jacobi rotations (Golub and Van Loan 2013, algorithm 8.5.2) of the symmetric m (n,n), whose diagonal
 * becomes its eigenvalues and v's columns its eigenvectors. */
static void rotate(double *m, double *v, int64_t n, int64_t p, int64_t q) {
    double apq = m[p * n + q];
    if (fabs(apq) <= DBL_MIN) return;
    double theta = (m[q * n + q] - m[p * n + p]) / (2 * apq);
    double t = (theta >= 0 ? 1 : -1) / (fabs(theta) + sqrt(theta * theta + 1)), c = 1 / sqrt(t * t + 1),
           s = t * c;
    for (int64_t i = 0; i < n; i++) {
        double ip = m[i * n + p], iq = m[i * n + q];
        m[i * n + p] = c * ip - s * iq;
        m[i * n + q] = s * ip + c * iq;
    }
    for (int64_t i = 0; i < n; i++) {
        double pi = m[p * n + i], qi = m[q * n + i], vp = v[i * n + p], vq = v[i * n + q];
        m[p * n + i] = c * pi - s * qi;
        m[q * n + i] = s * pi + c * qi;
        v[i * n + p] = c * vp - s * vq;
        v[i * n + q] = s * vp + c * vq;
    }
}

static void diagonalise(double *m, double *v, int64_t n) {
    enum { SWEEPS = 30 }; /* it converges quadratically: a dozen are plenty */
    for (int64_t i = 0; i < n * n; i++) v[i] = i % (n + 1) == 0;
    for (int sweep = 0; sweep < SWEEPS; sweep++) {
        double off = 0, on = 0;
        for (int64_t i = 0; i < n * n; i++) *(i % (n + 1) == 0 ? &on : &off) += m[i] * m[i];
        if (off <= 1e-30 * on) return;
        for (int64_t p = 0; p < n; p++)
            for (int64_t q = p + 1; q < n; q++) rotate(m, v, n, p, q);
    }
}

/* The rows that weigh something, or the columns where they are fewer: x as n vectors of `size`. */
typedef struct vectors {
    const double *x;
    const int64_t *rows;
    int64_t n, size, width;
    bool by_column;
} vectors;

static double element(const vectors *a, int64_t i, int64_t k) {
    return a->by_column ? a->x[a->rows[k] * a->width + i] : a->x[a->rows[i] * a->width + k];
}

/* Adds sum_i (e . a_i) e_j a_j for the eigenvector e of the products, column `at` of v. */
static void add_tail(const vectors *a, const double *v, int64_t at, double *out) {
    for (int64_t k = 0; k < a->size; k++) {
        double along = 0;
        for (int64_t i = 0; i < a->n; i++) along += v[i * a->n + at] * element(a, i, k);
        for (int64_t i = 0; i < a->n; i++) {
            int64_t row = a->by_column ? a->rows[k] : a->rows[i], column = a->by_column ? i : k;
            out[row * a->width + column] += v[i * a->n + at] * along;
        }
    }
}

/* `work` has room for 2 n^2; m's diagonal entries that are used up become infinite. */
static double find_tail(const vectors *a, double *work, int64_t k, double part, double *out) {
    double *m = work, *v = work + a->n * a->n, loss = 0;
    for (int64_t i = 0; i < a->n; i++)
        for (int64_t j = 0; j < a->n; j++) {
            double sum = 0;
            for (int64_t s = 0; s < a->size; s++) sum += element(a, i, s) * element(a, j, s);
            m[i * a->n + j] = sum;
        }
    diagonalise(m, v, a->n);
    for (int64_t found = 0; found < k && found < a->n; found++) {
        int64_t least = 0;
        for (int64_t i = 1; i < a->n; i++)
            if (m[i * a->n + i] < m[least * a->n + least]) least = i;
        loss += fmax(m[least * a->n + least], 0);
        m[least * a->n + least] = INFINITY;
        add_tail(a, v, least, out);
    }
    return part * loss;
}

static void spectral_tail_reference(const graft_op_call *c) {
    const graft_spectral_tail_attr *attr = c->attr;
    int64_t n_rows = c->in_shape[0].dims[0], width = c->in_shape[0].dims[1], n = 0;
    double part = c->in[2][0];
    memset(c->out[1], 0, (size_t)(n_rows * width) * sizeof *c->out[1]);
    c->out[0][0] = 0;
    int64_t *rows = malloc((size_t)n_rows * sizeof *rows);
    for (int64_t i = 0; rows && i < n_rows; i++)
        if (c->in[1][i] > 0) rows[n++] = i;
    bool by_column = width < n;
    int64_t side = by_column ? width : n;
    double *work = n ? malloc(2 * (size_t)(side * side) * sizeof *work) : NULL;
    if (work) {
        const vectors a = {c->in[0], rows, side, by_column ? n : width, width, by_column};
        c->out[0][0] = find_tail(&a, work, attr->k, part, c->out[1]);
        for (int64_t i = 0; i < n_rows * width; i++) c->out[1][i] *= part;
    } else if (n > 0 || !rows) {
        c->out[0][0] = NAN; /* out of memory: training stops at a loss that is no number */
    }
    free(work);
    free(rows);
}

static void spectral_tail_grad_reference(const graft_op_call *c) {
    double dloss = c->in[0] ? c->in[0][0] : 1;
    for (int64_t i = 0; i < graft_rule_count(&c->out_shape[0]); i++) c->out[0][i] = 2 * dloss * c->in[1][i];
}

/* ---- Rows ------------------------------------------------------------------------------------------------- */

#define WEIGHTED(n, k)                                                                                       \
    {2, {n, k}}, {                                                                                           \
        1, {                                                                                                 \
            n                                                                                                \
        }                                                                                                    \
    }

static const graft_op_case twin_cases[] = {
    {.name = "pairs", .n_in = 2, .in = {WEIGHTED(6, 5)}, .low = {-3}, .high = {3, 1}},
    {.name = "two classes", .n_in = 2, .in = {WEIGHTED(4, 2)}, .low = {-9}, .high = {9, 1}},
    {.name = "one without a twin", .n_in = 2, .in = {WEIGHTED(3, 7)}, .low = {-1}, .high = {1, 1}},
};
const graft_op graft_op_twin_kl = {
    .name = "twin_kl",
    .n_out = 1,
    .shape = twin_kl_shape,
    .grad = twin_kl_gradient,
    .reference = twin_kl_reference,
    .alias = {-1, -1, -1, -1},
    .loss = true,
    .cases = twin_cases,
    .n_cases = GRAFT_COUNT(twin_cases),
};

static const graft_op_case twin_grad_cases[] = {
    {.name = "root",
     .n_in = 3,
     .in = {{-1, {0}}, WEIGHTED(6, 5)},
     .low = {[1] = -3},
     .high = {[1] = 3, [2] = 1}},
    {.name = "within a sum",
     .n_in = 3,
     .in = {{0, {0}}, WEIGHTED(3, 7)},
     .low = {[1] = -3},
     .high = {[1] = 3, [2] = 1}},
};
const graft_op graft_op_twin_kl_grad = {
    .name = "twin_kl_grad",
    .n_out = 1,
    .shape = twin_kl_grad_shape,
    .reference = twin_kl_grad_reference,
    .alias = {-1, -1, -1, -1},
    .cases = twin_grad_cases,
    .n_cases = GRAFT_COUNT(twin_grad_cases),
};

static const graft_spectral_tail_attr one_value = {1}, three_values = {3};
static const double some_weigh[] = {0.25, 0.25, 0, 0.25, 0.25, 0};

static const graft_op_case tail_cases[] = {
    {.name = "wide",
     .attr = &one_value,
     .n_in = 3,
     .in = {WEIGHTED(5, 33), {1, {1}}},
     .high = {[1] = 1, [2] = 1}},
    {.name = "tall",
     .attr = &one_value,
     .n_in = 3,
     .in = {WEIGHTED(17, 4), {1, {1}}},
     .high = {[1] = 1, [2] = 1}},
    {.name = "three values",
     .attr = &three_values,
     .n_in = 3,
     .in = {WEIGHTED(6, 9), {1, {1}}},
     .data = {[1] = some_weigh},
     .high = {[2] = 1}},
    {.name = "fewer rows than values",
     .attr = &three_values,
     .n_in = 3,
     .in = {WEIGHTED(2, 5), {1, {1}}},
     .high = {[1] = 1, [2] = 1}},
};
const graft_op graft_op_spectral_tail = {
    .name = "spectral_tail",
    .attr_size = sizeof(graft_spectral_tail_attr),
    .n_out = 2,
    .shape = spectral_tail_shape,
    .grad = spectral_tail_gradient,
    .reference = spectral_tail_reference,
    .alias = {-1, -1, -1, -1},
    .loss = true,
    .cases = tail_cases,
    .n_cases = GRAFT_COUNT(tail_cases),
};

static const graft_op_case tail_grad_cases[] = {
    {.name = "root", .n_in = 2, .in = {{-1, {0}}, {2, {5, 9}}}},
    {.name = "within a sum", .n_in = 2, .in = {{0, {0}}, {2, {5, 9}}}},
};
const graft_op graft_op_spectral_tail_grad = {
    .name = "spectral_tail_grad",
    .n_out = 1,
    .shape = spectral_tail_grad_shape,
    .reference = spectral_tail_grad_reference,
    .alias = {1, -1, -1, -1},
    .cases = tail_grad_cases,
    .n_cases = GRAFT_COUNT(tail_grad_cases),
};

graft_value graft_twin_kl(graft_graph *g, graft_value logits, graft_value weight) {
    graft_value loss;
    graft_graph_node(g, &graft_op_twin_kl, NULL, (graft_value[]){logits, weight}, 2, &loss);
    return loss;
}

graft_value graft_spectral_tail(graft_graph *g, graft_value x, graft_value weight, graft_value part,
                                int64_t k) {
    graft_value out[2];
    graft_graph_node(g, &graft_op_spectral_tail, &(graft_spectral_tail_attr){k},
                     (graft_value[]){x, weight, part}, 3, out);
    return out[0];
}
