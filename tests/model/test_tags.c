/* Schemes of tags, the steps they have, and best paths against the enumeration of all. */
#include "model_room.h"

static void schemes_are_known_by_their_labels(void **state) {
    (void)state;
    static const struct {
        const char *labels[6];
        graft_tag_scheme scheme;
    } some[] = {
        {{"O", "B-PER", "I-PER", "B-LOC", "I-LOC"}, GRAFT_TAGS_IOB2},
        {{"O", "B-PER", "B-LOC"}, GRAFT_TAGS_IOB2},
        {{"B", "I", "O"}, GRAFT_TAGS_IOB2},
        {{"O", "I-PER", "B-LOC", "I-LOC"}, GRAFT_TAGS_IOB1},
        {{"O", "I-PER", "I-LOC"}, GRAFT_TAGS_IOB1},
        {{"O", "B-X", "I-X", "E-X", "S-X"}, GRAFT_TAGS_IOBES},
        {{"O", "B-X", "I-X", "L-X", "U-X"}, GRAFT_TAGS_IOBES},
        {{"O", "B-X", "I-X", "S-Y"}, GRAFT_TAGS_IOBES},
        {{"O", "I-X", "E-X"}, GRAFT_TAGS_PLAIN},
        {{"NOUN", "VERB", "O"}, GRAFT_TAGS_PLAIN},
        {{"B-X", "I-X", "other"}, GRAFT_TAGS_PLAIN},
        {{"O"}, GRAFT_TAGS_PLAIN},
        {{"", "O", "B-X"}, GRAFT_TAGS_PLAIN},
    };
    for (size_t i = 0; i < GRAFT_COUNT(some); i++) {
        size_t n = 0;
        while (n < 6 && some[i].labels[n]) n++;
        if (graft_tag_scheme_of(some[i].labels, n) != some[i].scheme) fail_msg("case %zu is not known", i);
    }
}

/* One line a row, one character a label. */
static void assert_steps(graft_tag_scheme scheme, const char *const *labels, size_t n, const char *expected) {
    float allowed[64];
    char text[80];
    size_t at = 0;
    assert_in_range((n + 2) * n, 1, 64);
    graft_tag_scheme_allowed(scheme, labels, n, allowed);
    for (size_t i = 0; i < n + 2; i++) {
        for (size_t j = 0; j < n; j++) text[at++] = allowed[i * n + j] > 0 ? '1' : '.';
        text[at++] = i < n + 1 ? ' ' : '\0';
    }
    assert_string_equal(text, expected);
}

static void steps_are_those_of_the_scheme(void **state) {
    (void)state;
    static const char *const iob[] = {"O", "B-x", "I-x", "B-y", "I-y"}, *const iobes[] = {"O", "B", "I", "E",
                                                                                          "S"};
    assert_steps(GRAFT_TAGS_IOB2, iob, 5, "11.1. 1111. 1111. 11.11 11.11 11.1. 11111");
    assert_steps(GRAFT_TAGS_IOB1, iob, 5, "1.1.1 111.1 111.1 1.111 1.111 1.1.1 11111");
    assert_steps(GRAFT_TAGS_IOBES, iobes, 5, "11..1 ..11. ..11. 11..1 11..1 11..1 1..11");
    assert_steps(GRAFT_TAGS_PLAIN, iob, 3, "111 111 111 111 111");
}

static void fill(float *x, int64_t n, double size, graft_rng *rng) {
    for (int64_t i = 0; i < n; i++) x[i] = (float)(size * (2 * graft_rng_uniform(rng) - 1));
}

static double score_of(const graft_crf *c, const float *emissions, int64_t n, const int32_t *y) {
    const double forbidden = GRAFT_CRF_FORBIDDEN;
    const float *a = c->allowed;
    double s = 0;
    for (int64_t t = 0; t < n; t++) {
        int64_t from = t == 0 ? c->k : y[t - 1];
        bool exists = !a || a[from * c->k + y[t]] > 0;
        double step = (double)(t == 0 ? c->start[y[t]] : c->transitions[from * c->k + y[t]]);
        s += (double)emissions[t * c->k + y[t]] + (exists ? step : forbidden);
    }
    return s + (!a || a[(c->k + 1) * c->k + y[n - 1]] > 0 ? (double)c->end[y[n - 1]] : forbidden);
}

static void best_paths_are_those_of_the_enumeration(void **state) {
    (void)state;
    enum { N = 5, K = 4 };
    graft_rng rng = graft_rng_at(6, 0, 0, GRAFT_RNG_TEST);
    float emissions[N * K], transitions[K * K], start[K], end[K], allowed[(K + 2) * K];
    for (int i = 0; i < 200; i++) {
        graft_err err = {0};
        int64_t n = 1 + i % N, k = 1 + i / N % K, paths = 1;
        graft_crf c = {k, transitions, start, end, i % 2 ? allowed : NULL};
        fill(emissions, n * k, 2, &rng);
        fill(transitions, k * k, 2, &rng);
        fill(start, k, 1, &rng);
        fill(end, k, 1, &rng);
        fill(allowed, (k + 2) * k, 1, &rng);
        int32_t y[N], got[N];
        double best = -INFINITY, score = 0;
        for (int64_t t = 0; t < n; t++) paths *= k;
        for (int64_t p = 0; p < paths; p++) {
            for (int64_t t = 0, rest = p; t < n; t++, rest /= k) y[t] = (int32_t)(rest % k);
            best = fmax(best, score_of(&c, emissions, n, y));
        }
        assert_ok(graft_crf_decode(&c, emissions, n, got, &score, &err));
        if (!(fabs(score - best) < 1e-9) || !(fabs(score_of(&c, emissions, n, got) - best) < 1e-9))
            fail_msg("%d words of %d tags: %.15g, not %.15g", (int)n, (int)k, score, best);
    }
}

static void a_best_path_has_only_steps_of_the_scheme(void **state) {
    (void)state;
    enum { N = 40, K = 9 };
    static const char *const labels[K] = {"O", "B-x", "I-x", "E-x", "S-x", "B-y", "I-y", "E-y", "S-y"};
    graft_err err = {0};
    graft_rng rng = graft_rng_at(7, 0, 0, GRAFT_RNG_TEST);
    float emissions[N * K], transitions[K * K], start[K], end[K], allowed[(K + 2) * K];
    graft_crf c = {K, transitions, start, end, allowed};
    fill(emissions, (int64_t)N * K, 50, &rng);
    fill(transitions, (int64_t)K * K, 1, &rng);
    fill(start, K, 1, &rng);
    fill(end, K, 1, &rng);
    graft_tag_scheme_allowed(graft_tag_scheme_of(labels, K), labels, K, allowed);
    int32_t y[N];
    assert_ok(graft_crf_decode(&c, emissions, N, y, NULL, &err));
    int64_t from = K;
    for (int t = 0; t < N; t++) {
        assert_true(allowed[from * K + y[t]] > 0);
        from = y[t];
    }
    assert_true(allowed[(K + 1) * K + from] > 0);
}

static void texts_without_words_and_what_is_not_finite_are_decoded(void **state) {
    (void)state;
    graft_err err = {0};
    const float transitions[4] = {NAN, INFINITY, -INFINITY, 0}, row[2] = {NAN, 1},
                emissions[6] = {NAN, 0, NAN, NAN, 1, 2};
    graft_crf c = {2, transitions, row, row, NULL};
    int32_t y[3] = {7, 7, 7};
    double score = 5;
    assert_ok(graft_crf_decode(&c, NULL, 0, y, &score, &err));
    assert_true(score == 0 && y[0] == 7);
    assert_ok(graft_crf_decode(&c, emissions, 3, y, &score, &err));
    for (int t = 0; t < 3; t++) assert_in_range(y[t], 0, 1);
}

static void the_head_has_the_names_that_others_read(void **state) {
    room *r = *state;
    graft_err err;
    static const char *const names[] = {"O", "B-x", "I-x"};
    graft_model *m = open_model(r, golden(r, "hf_basic"), NULL);
    assert_ok(graft_model_head(m, "crf", names, 3, 5, NULL, &err));
    size_t n;
    float *a = values_of(r, m, "crf.transitions", &n);
    assert_int_equal(n, 9);
    for (size_t i = 0; i < n; i++) assert_true(a[i] != 0 && fabs((double)a[i]) <= 0.1);
    values_of(r, m, "crf.start_transitions", &n);
    assert_int_equal(n, 3);
    values_of(r, m, "crf.end_transitions", &n);
    assert_int_equal(n, 3);
    assert_int_equal(graft_model_find_param(m, "classifier.1.weight")->shape.dims[0], 3);
    graft_model_close(m);
}

static void the_loss_takes_the_parameters_and_the_steps(void **state) {
    room *r = *state;
    graft_err err = {0};
    static const char *const names[] = {"O", "B-x", "I-x"}, *const plain[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++) {
        graft_graph *g = graft_graph_new(r->arena);
        graft_value e = graft_graph_input(g, "emissions", GRAFT_F32, (graft_shape){2, {GRAFT_DIM_TOKENS, 3}});
        graft_value y = graft_graph_input(g, "tags", GRAFT_I32, (graft_shape){1, {GRAFT_DIM_TOKENS}});
        graft_value w = graft_graph_input(g, "weight", GRAFT_F32, (graft_shape){1, {GRAFT_DIM_BATCH}});
        graft_value s = graft_graph_input(g, "spans", GRAFT_I32, (graft_shape){2, {GRAFT_DIM_BATCH, 2}});
        graft_graph_param(g, "crf.transitions", NULL, (graft_shape){2, {3, 3}});
        graft_graph_param(g, "crf.start_transitions", NULL, (graft_shape){1, {3}});
        if (i < 2) graft_graph_param(g, "crf.end_transitions", NULL, (graft_shape){1, {3}});
        graft_value loss = graft_crf_loss(g, e, y, w, s, i ? plain : names, 3);
        if (i == 2) {
            assert_error(graft_graph_end(g, &err), GRAFT_EINTERNAL, "crf.end_transitions");
            continue;
        }
        assert_ok(graft_graph_end(g, &err));
        assert_int_equal(graft_graph_value(g, loss)->shape.rank, 0);
        assert_int_equal(graft_graph_find(g, "crf.allowed") != GRAFT_NONE, i == 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(schemes_are_known_by_their_labels),
        cmocka_unit_test(steps_are_those_of_the_scheme),
        cmocka_unit_test(best_paths_are_those_of_the_enumeration),
        cmocka_unit_test(a_best_path_has_only_steps_of_the_scheme),
        cmocka_unit_test(texts_without_words_and_what_is_not_finite_are_decoded),
        room_test(the_head_has_the_names_that_others_read),
        room_test(the_loss_takes_the_parameters_and_the_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
