/* The conditional random field's loss and gradient against the enumeration of all paths, for short texts. */
#include "graph/op.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_LENGTH = 5, MAX_TAGS = 4, MAX_MASK = (MAX_TAGS + 2) * MAX_TAGS };

/* One text whose tokens are all in the chain. */
typedef struct chain {
    int64_t n, k;
    double emissions[MAX_LENGTH * MAX_TAGS], transitions[MAX_TAGS * MAX_TAGS], start[MAX_TAGS], end[MAX_TAGS];
    double allowed[MAX_MASK], tags[MAX_LENGTH], weight, span[2];
    bool is_masked;
} chain;

/* What the op computes. */
typedef struct answer {
    double nll, filtered[MAX_LENGTH * MAX_TAGS];
    double emissions[MAX_LENGTH * MAX_TAGS], transitions[MAX_TAGS * MAX_TAGS], start[MAX_TAGS], end[MAX_TAGS];
} answer;

static void fill(double *x, int64_t n, double size, graft_rng *rng) {
    for (int64_t i = 0; i < n; i++) x[i] = size * (2 * graft_rng_uniform(rng) - 1);
}

static chain make_chain(int64_t n, int64_t k, bool is_masked, graft_rng *rng) {
    chain c = {.n = n, .k = k, .weight = 0.5, .span = {0, (double)n}, .is_masked = is_masked};
    fill(c.emissions, n * k, 3, rng);
    fill(c.transitions, k * k, 2, rng);
    fill(c.start, k, 1, rng);
    fill(c.end, k, 1, rng);
    fill(c.allowed, (k + 2) * k, 1, rng);
    for (int64_t t = 0; t < n; t++) c.tags[t] = floor(graft_rng_uniform(rng) * (double)k);
    return c;
}

static answer ask(const chain *c) {
    answer a = {0};
    const graft_shape shapes[10] = {{2, {c->n, c->k}},     {2, {c->k, c->k}}, {1, {c->k}}, {1, {c->k}},
                                    {2, {c->k + 2, c->k}}, {1, {c->n}},       {1, {1}},    {2, {1, 2}},
                                    {2, {c->n, c->k}},     {0, {0}}};
    const double *in[10] = {
        c->emissions, c->transitions, c->start, c->end,     c->is_masked ? c->allowed : NULL,
        c->tags,      &c->weight,     c->span,  a.filtered, NULL};
    const graft_shape out_shapes[2] = {{0, {0}}, {2, {c->n, c->k}}};
    const graft_op_call forward = {in, shapes, 8, (double *const[]){&a.nll, a.filtered}, out_shapes, 2, NULL};
    graft_op_crf_nll.reference(&forward);
    const graft_op_call backward = {
        in, shapes, 10, (double *const[]){a.emissions, a.transitions, a.start, a.end}, shapes, 4, NULL};
    graft_op_crf_nll_grad.reference(&backward);
    return a;
}

static bool exists(const chain *c, int64_t row, int64_t tag) {
    return !c->is_masked || c->allowed[row * c->k + tag] > 0;
}

static double path_score(const chain *c, const int *y) {
    const double forbidden = GRAFT_CRF_FORBIDDEN;
    double score = exists(c, c->k, y[0]) ? c->start[y[0]] : forbidden;
    for (int64_t t = 0; t < c->n; t++) score += c->emissions[t * c->k + y[t]];
    for (int64_t t = 1; t < c->n; t++)
        score += exists(c, y[t - 1], y[t]) ? c->transitions[y[t - 1] * c->k + y[t]] : forbidden;
    return score + (exists(c, c->k + 1, y[c->n - 1]) ? c->end[y[c->n - 1]] : forbidden);
}

static int64_t n_paths(const chain *c) {
    int64_t n = 1;
    for (int64_t t = 0; t < c->n; t++) n *= c->k;
    return n;
}

static void path_at(const chain *c, int64_t i, int *y) {
    for (int64_t t = 0; t < c->n; t++, i /= c->k) y[t] = (int)(i % c->k);
}

/* Adds p to what the path y uses. */
static void use(const chain *c, const int *y, double p, answer *a) {
    for (int64_t t = 0; t < c->n; t++) a->emissions[t * c->k + y[t]] += p;
    for (int64_t t = 1; t < c->n; t++)
        if (exists(c, y[t - 1], y[t])) a->transitions[y[t - 1] * c->k + y[t]] += p;
    if (exists(c, c->k, y[0])) a->start[y[0]] += p;
    if (exists(c, c->k + 1, y[c->n - 1])) a->end[y[c->n - 1]] += p;
}

/* nll and expectations from every path's probability. */
static answer enumerate(const chain *c) {
    answer a = {0};
    int y[MAX_LENGTH], gold[MAX_LENGTH];
    double top = -INFINITY, sum = 0;
    for (int64_t t = 0; t < c->n; t++) gold[t] = (int)c->tags[t];
    for (int64_t i = 0; i < n_paths(c); i++) {
        path_at(c, i, y);
        top = fmax(top, path_score(c, y));
    }
    for (int64_t i = 0; i < n_paths(c); i++) {
        path_at(c, i, y);
        sum += exp(path_score(c, y) - top);
    }
    for (int64_t i = 0; i < n_paths(c); i++) {
        path_at(c, i, y);
        use(c, y, c->weight * exp(path_score(c, y) - top) / sum, &a);
    }
    use(c, gold, -c->weight, &a);
    a.nll = c->weight * (top + log(sum) - path_score(c, gold));
    return a;
}

static void assert_near(const char *what, const chain *c, const double *got, const double *expected,
                        int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(got[i] - expected[i]) <= 1e-9 * fmax(1, fabs(expected[i]))))
            fail_msg("%d tokens of %d tags: %s[%d] is %.15g, not %.15g", (int)c->n, (int)c->k, what, (int)i,
                     got[i], expected[i]);
}

static void compare(const chain *c) {
    answer got = ask(c), expected = enumerate(c);
    assert_near("nll", c, &got.nll, &expected.nll, 1);
    assert_near("demissions", c, got.emissions, expected.emissions, c->n * c->k);
    assert_near("dtransitions", c, got.transitions, expected.transitions, c->k * c->k);
    assert_near("dstart", c, got.start, expected.start, c->k);
    assert_near("dend", c, got.end, expected.end, c->k);
}

static void loss_and_marginals_are_those_of_all_paths(void **state) {
    (void)state;
    graft_rng rng = graft_rng_at(3, 0, 0, GRAFT_RNG_TEST);
    for (int64_t n = 1; n <= MAX_LENGTH; n++)
        for (int64_t k = 1; k <= MAX_TAGS; k++)
            for (int i = 0; i < 6; i++) {
                chain c = make_chain(n, k, i % 2 == 1, &rng);
                compare(&c);
            }
}

/* A rule under which no path exists at all: every path breaks it, and all is finite still. */
static void a_rule_that_nothing_meets_stays_finite(void **state) {
    (void)state;
    graft_rng rng = graft_rng_at(4, 0, 0, GRAFT_RNG_TEST);
    chain c = make_chain(4, 3, true, &rng);
    for (int64_t i = 0; i < (c.k + 2) * c.k; i++) c.allowed[i] = 0;
    answer got = ask(&c);
    compare(&c);
    assert_true(isfinite(got.nll));
    for (int64_t i = 0; i < c.k * c.k; i++) assert_true(got.transitions[i] == 0);
}

/* Tokens that are passed over and other texts change nothing of a text, and get nothing. */
static void tokens_without_a_tag_are_passed_over(void **state) {
    (void)state;
    enum { T = 9, K = 3 };
    graft_rng rng = graft_rng_at(5, 0, 0, GRAFT_RNG_TEST);
    chain c = make_chain(4, K, false, &rng);
    const int64_t place[4] = {2, 3, 5, 6};
    double emissions[T * K], tags[T], d[T * K], filtered[T * K], nll, dt[K * K], ds[K], de[K];
    const double weight[2] = {0.5, 7}, spans[4] = {1, 7, 0, 0};
    fill(emissions, (int64_t)T * K, 9, &rng);
    for (int i = 0; i < T; i++) tags[i] = i % 2 ? -1 : -100;
    for (int i = 0; i < 4; i++) {
        memcpy(emissions + place[i] * K, c.emissions + (ptrdiff_t)i * K, K * sizeof(double));
        tags[place[i]] = c.tags[i];
    }
    const graft_shape shapes[10] = {{2, {T, K}}, {2, {K, K}}, {1, {K}},    {1, {K}},    {-1, {0}},
                                    {1, {T}},    {1, {2}},    {2, {2, 2}}, {2, {T, K}}, {0, {0}}};
    const double *in[10] = {emissions, c.transitions, c.start, c.end,    NULL,
                            tags,      weight,        spans,   filtered, NULL};
    const graft_shape out_shapes[2] = {{0, {0}}, {2, {T, K}}};
    graft_op_crf_nll.reference(
        &(graft_op_call){in, shapes, 8, (double *const[]){&nll, filtered}, out_shapes, 2, NULL});
    graft_op_crf_nll_grad.reference(
        &(graft_op_call){in, shapes, 10, (double *const[]){d, dt, ds, de}, shapes, 4, NULL});
    answer alone = ask(&c);
    assert_near("nll", &c, &nll, &alone.nll, 1);
    assert_near("dtransitions", &c, dt, alone.transitions, (int64_t)K * K);
    for (int i = 0; i < 4; i++) {
        assert_near("demissions", &c, d + place[i] * K, alone.emissions + (ptrdiff_t)i * K, K);
        memset(d + place[i] * K, 0, K * sizeof(double));
    }
    for (int i = 0; i < T * K; i++) assert_true(d[i] == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loss_and_marginals_are_those_of_all_paths),
        cmocka_unit_test(a_rule_that_nothing_meets_stays_finite),
        cmocka_unit_test(tokens_without_a_tag_are_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
