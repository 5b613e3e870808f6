/* The recurrence of a long short-term memory (Hochreiter and Schmidhuber 1997, with the forget gate of Gers
 * et al. 2000) over the tokens of each span, gates in PyTorch's order i, f, g, o. A linear layer over all
 * tokens at once comes before it: pre (T,4H) = x w_ih^T + b_ih. For the tokens of a span in order, or against
 * it when `reverse`, [i f g o] = pre_t + h_(t-1) w_hh^T + b_hh, through sigmoid, sigmoid, tanh, sigmoid (w_hh
 * (4H,H)) c_t = f c_(t-1) + i g      h_t = o tanh(c_t)      h and c before the first token are 0 Results: h
 * (T,H); the gates (T,4H) and c (T,H), kept for the gradient. Rows of no span are 0 everywhere. The gradient
 * runs against the order: with dh_t = dy_t + d[i f g o]_(t+1) w_hh and dc_t = dh_t o (1 - tanh(c_t)^2) +
 * dc_(t+1) f_(t+1) it gives dpre_t and h_(t-1) for every token; dw_hh is then that of a linear layer on
 * h_(t-1). */
#include "graph/op/rule.h"
#include "graph/op/span.h"

#include <math.h>
#include <string.h>

static const graft_rule_input forward_inputs[] = {{.name = "pre"},
                                                  {.name = "w_hh"},
                                                  {.name = "b_hh", .optional = true},
                                                  {.name = "spans", .dtype = GRAFT_I32}};
static const graft_rule_input grad_inputs[] = {{.name = "dy"},    {.name = "y"},
                                               {.name = "gates"}, {.name = "cells"},
                                               {.name = "w_hh"},  {.name = "spans", .dtype = GRAFT_I32}};

static bool is_rows(const graft_shape *s, int64_t n, int64_t width) {
    return s->rank == 2 && s->dims[0] == n && s->dims[1] == width;
}

static bool are_spans(const graft_shape *s) {
    return s->rank == 2 && graft_rule_is_batched(s) && s->dims[1] == 2;
}

static int lstm_shape(const graft_op_types *t, graft_err *err) {
    int rc = graft_rule_inputs(t, forward_inputs, GRAFT_COUNT(forward_inputs), err);
    if (rc < 0) return rc;
    const graft_shape *pre = &t->in[0]->shape, *w = &t->in[1]->shape;
    if (pre->rank != 2 || !graft_rule_is_batched(pre) || w->rank != 2 || w->dims[1] < 1 ||
        !is_rows(w, pre->dims[1], w->dims[1]) || w->dims[0] / 4 != w->dims[1] || w->dims[0] % 4 != 0)
        return graft_rule_fail(t, forward_inputs, err, "pre must be (T,4H) and w_hh (4H,H)");
    if (!graft_rule_is_vector(t, 2, w->dims[0]))
        return graft_rule_fail(t, forward_inputs, err, "b_hh must be (4H)");
    if (!are_spans(&t->in[3]->shape)) return graft_rule_fail(t, forward_inputs, err, "spans must be (N,2)");
    t->out_shape[0] = t->out_shape[2] = (graft_shape){2, {pre->dims[0], w->dims[1]}};
    t->out_shape[1] = *pre;
    return 0;
}

static int lstm_grad_shape(const graft_op_types *t, graft_err *err) {
    int rc = graft_rule_inputs(t, grad_inputs, GRAFT_COUNT(grad_inputs), err);
    if (rc < 0) return rc;
    const graft_shape *dy = &t->in[0]->shape, *gates = &t->in[2]->shape, *w = &t->in[4]->shape;
    if (dy->rank != 2 || !graft_rule_is_batched(dy) || !graft_rule_same(t, 0, 1) || !graft_rule_same(t, 0, 3))
        return graft_rule_fail(t, grad_inputs, err, "dy, y and cells must be (T,H)");
    if (!is_rows(gates, dy->dims[0], 4 * dy->dims[1]) || !is_rows(w, 4 * dy->dims[1], dy->dims[1]))
        return graft_rule_fail(t, grad_inputs, err, "gates must be (T,4H) and w_hh (4H,H)");
    if (!are_spans(&t->in[5]->shape)) return graft_rule_fail(t, grad_inputs, err, "spans must be (N,2)");
    graft_rule_copy(t, 0, 2);
    graft_rule_copy(t, 1, 0);
    return 0;
}

static void lstm_gradient(graft_graph *g, const graft_node *n, const graft_value *dout, const bool *wanted,
                          graft_value *din) {
    if (dout[1] != GRAFT_NONE || dout[2] != GRAFT_NONE) {
        graft_graph_fail(g, GRAFT_EUNSUPPORTED, "gradient through the gates or cells of lstm");
        return;
    }
    graft_value out[2], weights[2];
    graft_graph_node(g, &graft_op_lstm_grad, n->attr,
                     (graft_value[]){dout[0], n->out[0], n->out[1], n->out[2], n->in[1], n->in[3]}, 6, out);
    if (wanted[0]) din[0] = out[0];
    if (!wanted[1] && !wanted[2]) return;
    graft_graph_node(g, &graft_op_linear_dw, &(graft_linear_attr){0}, (graft_value[]){out[1], out[0]}, 2,
                     weights);
    if (wanted[1]) din[1] = weights[0];
    if (wanted[2]) din[2] = weights[1];
}

static double sigmoid(double x) {
    double e = exp(-fabs(x));
    return x >= 0 ? 1 / (1 + e) : e / (1 + e);
}

/* Token `step` of a span in the order of the recurrence. */
static int64_t token_at(const graft_op_call *c, graft_tokens span, int64_t step) {
    const graft_lstm_attr *a = c->attr;
    return a->reverse ? span.first + span.count - 1 - step : span.first + step;
}

static graft_tokens span_at(const double *spans, int64_t n, int64_t n_tokens) {
    return graft_tokens_of((int64_t)spans[2 * n], (int64_t)spans[2 * n + 1], n_tokens);
}

/* One token: rows of the results from the rows before, which are NULL at the first. */
static void advance(const graft_op_call *c, int64_t t, const double *h_before, const double *c_before) {
    const int64_t size = c->in_shape[1].dims[1];
    double *h = c->out[0] + t * size, *gates = c->out[1] + t * 4 * size, *cells = c->out[2] + t * size;
    for (int64_t j = 0; j < 4 * size; j++) {
        double sum = c->in[0][t * 4 * size + j] + (c->in[2] != NULL ? c->in[2][j] : 0);
        for (int64_t k = 0; h_before != NULL && k < size; k++) sum += h_before[k] * c->in[1][j * size + k];
        gates[j] = j / size == 2 ? tanh(sum) : sigmoid(sum);
    }
    for (int64_t j = 0; j < size; j++) {
        double kept = c_before != NULL ? gates[size + j] * c_before[j] : 0;
        cells[j] = kept + gates[j] * gates[2 * size + j];
        h[j] = gates[3 * size + j] * tanh(cells[j]);
    }
}

static void lstm_reference(const graft_op_call *c) {
    const int64_t size = c->in_shape[1].dims[1], n_tokens = c->in_shape[0].dims[0];
    for (size_t o = 0; o < 3; o++)
        memset(c->out[o], 0, (size_t)graft_rule_count(&c->out_shape[o]) * sizeof(double));
    for (int64_t n = 0; n < c->in_shape[3].dims[0]; n++) {
        graft_tokens span = span_at(c->in[3], n, n_tokens);
        for (int64_t step = 0; step < span.count; step++) {
            int64_t before = step > 0 ? token_at(c, span, step - 1) : -1;
            advance(c, token_at(c, span, step), before < 0 ? NULL : c->out[0] + before * size,
                    before < 0 ? NULL : c->out[2] + before * size);
        }
    }
}

/* dpre of token t. Rows of `before` carry dc f to the token before until the span is done. */
static void retreat(const graft_op_call *c, int64_t t, int64_t before, int64_t after) {
    const int64_t size = c->in_shape[0].dims[1];
    const double *gates = c->in[2] + t * 4 * size;
    double *d = c->out[0] + t * 4 * size;
    for (int64_t j = 0; j < size; j++) {
        double i = gates[j], f = gates[size + j], g = gates[2 * size + j], o = gates[3 * size + j];
        double th = tanh(c->in[3][t * size + j]), dh = c->in[0][t * size + j];
        for (int64_t k = 0; after >= 0 && k < 4 * size; k++)
            dh += c->out[0][after * 4 * size + k] * c->in[4][k * size + j];
        double dc = dh * o * (1 - th * th) + (after >= 0 ? c->out[1][after * size + j] : 0);
        d[j] = dc * g * i * (1 - i);
        d[size + j] = before >= 0 ? dc * c->in[3][before * size + j] * f * (1 - f) : 0;
        d[2 * size + j] = dc * i * (1 - g * g);
        d[3 * size + j] = dh * th * o * (1 - o);
        c->out[1][t * size + j] = dc * f;
    }
}

static void lstm_grad_reference(const graft_op_call *c) {
    const int64_t size = c->in_shape[0].dims[1], n_tokens = c->in_shape[0].dims[0];
    for (size_t o = 0; o < 2; o++)
        memset(c->out[o], 0, (size_t)graft_rule_count(&c->out_shape[o]) * sizeof(double));
    for (int64_t n = 0; n < c->in_shape[5].dims[0]; n++) {
        graft_tokens span = span_at(c->in[5], n, n_tokens);
        for (int64_t step = span.count - 1; step >= 0; step--)
            retreat(c, token_at(c, span, step), step > 0 ? token_at(c, span, step - 1) : -1,
                    step + 1 < span.count ? token_at(c, span, step + 1) : -1);
        for (int64_t step = 0; step < span.count; step++) {
            double *row = c->out[1] + token_at(c, span, step) * size;
            if (step == 0)
                memset(row, 0, (size_t)size * sizeof *row);
            else
                memcpy(row, c->in[1] + token_at(c, span, step - 1) * size, (size_t)size * sizeof *row);
        }
    }
}

/* ---- Cases
 * ------------------------------------------------------------------------------------------------------------
 */

static const double gaps[] = {1, 3, 4, 0, 5, 4}, one_span[] = {0, 1},
                    many_spans[] = {0, 7, 7, 1, 8, 13, 21, 2, 24, 5, 29, 0, 29, 4, 33, 3, 36, 1};
static const graft_lstm_attr onwards = {0}, backwards = {1};

#define FORWARD(t, h, n)                                                                                     \
    .n_in = 4, .in = {{2, {t, 4 * (h)}}, {2, {4 * (h), h}}, {1, {4 * (h)}}, {2, {n, 2}}},                    \
    .dtype = {[3] = GRAFT_I32}
#define BACKWARD(t, h, n)                                                                                    \
    .n_in = 6,                                                                                               \
    .in = {{2, {t, h}}, {2, {t, h}}, {2, {t, 4 * (h)}}, {2, {t, h}}, {2, {4 * (h), h}}, {2, {n, 2}}},        \
    .dtype = {[5] = GRAFT_I32}

static const graft_op_case forward_cases[] = {
    {.name = "an empty text, padding", .attr = &onwards, FORWARD(10, 3, 3), .data = {[3] = gaps}},
    {.name = "against the order", .attr = &backwards, FORWARD(10, 3, 3), .data = {[3] = gaps}},
    {.name = "one token", .attr = &onwards, FORWARD(1, 16, 1), .data = {[3] = one_span}},
    {.name = "many",
     .attr = &onwards,
     FORWARD(38, 21, 9),
     .low = {-3},
     .high = {3},
     .data = {[3] = many_spans}},
    {.name = "many against the order",
     .attr = &backwards,
     FORWARD(38, 32, 9),
     .low = {-9},
     .high = {9},
     .data = {[3] = many_spans}},
    {.name = "without b_hh",
     .attr = &onwards,
     .n_in = 4,
     .in = {{2, {10, 4}}, {2, {4, 1}}, {-1, {0}}, {2, {3, 2}}},
     .dtype = {[3] = GRAFT_I32},
     .data = {[3] = gaps}},
};
const graft_op graft_op_lstm = {
    .name = "lstm",
    .attr_size = sizeof(graft_lstm_attr),
    .n_out = 3,
    .shape = lstm_shape,
    .grad = lstm_gradient,
    .reference = lstm_reference,
    .alias = {-1, -1, -1, -1},
    .cases = forward_cases,
    .n_cases = GRAFT_COUNT(forward_cases),
};

static const graft_op_case grad_cases[] = {
    {.name = "an empty text, padding", .attr = &onwards, BACKWARD(10, 3, 3), .data = {[5] = gaps}},
    {.name = "against the order", .attr = &backwards, BACKWARD(10, 3, 3), .data = {[5] = gaps}},
    {.name = "one token", .attr = &onwards, BACKWARD(1, 16, 1), .data = {[5] = one_span}},
    {.name = "many",
     .attr = &onwards,
     BACKWARD(38, 21, 9),
     .low = {[2] = 0.01},
     .high = {[2] = 0.9},
     .data = {[5] = many_spans}},
    {.name = "many against the order",
     .attr = &backwards,
     BACKWARD(38, 32, 9),
     .low = {[2] = 0.01},
     .high = {[2] = 0.9},
     .data = {[5] = many_spans}},
};
const graft_op graft_op_lstm_grad = {
    .name = "lstm_grad",
    .attr_size = sizeof(graft_lstm_attr),
    .n_out = 2,
    .shape = lstm_grad_shape,
    .reference = lstm_grad_reference,
    .alias = {-1, -1, -1, -1},
    .cases = grad_cases,
    .n_cases = GRAFT_COUNT(grad_cases),
};

graft_value graft_lstm(graft_graph *g, graft_value x, graft_lstm_values w, graft_value spans, bool reverse) {
    const graft_lstm_attr a = {.reverse = reverse};
    graft_value out[3], pre = graft_linear(g, x, w.weight_ih, w.bias_ih);
    graft_graph_node(g, &graft_op_lstm, &a, (graft_value[]){pre, w.weight_hh, w.bias_hh, spans}, 4, out);
    return out[0];
}
