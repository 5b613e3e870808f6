/* Planes, label errors and calibration against scikit-learn and numpy (tests/golden/make_report_golden.py).
 */
#include "report/maths.h"

#include "model/model_room.h"

#define FOLDER "tests/golden/report/"

typedef struct references {
    graft_tensors tensors;
    json_t *facts;
} references;

static references open_references(room *r) {
    references g;
    assert_int_equal(graft_safetensors_open(&g.tensors, r->arena, FOLDER "maths.safetensors", NULL), 0);
    assert_int_equal(graft_json_read(&g.facts, r->arena, FOLDER "maths.json", NULL), 0);
    return g;
}

/* A tensor's numbers, copied so that they are aligned. */
static void *numbers(room *r, const references *g, const char *name, int64_t *n, int64_t *d) {
    const graft_tensor *t = graft_tensors_find(&g->tensors, name);
    assert_non_null(t);
    void *copy = graft_arena_alloc(r->arena, t->size + 1);
    assert_non_null(copy);
    memcpy(copy, t->data, t->size);
    *n = t->shape.dims[0];
    *d = t->shape.rank > 1 ? t->shape.dims[1] : 1;
    return copy;
}

static const char *const cases[] = {"clusters", "blurred", "curve", "few"};

static void the_plane_is_that_of_the_principal_components(void **state) {
    room *r = *state;
    references g = open_references(r);
    for (size_t c = 0; c < GRAFT_COUNT(cases); c++) {
        char name[64];
        int64_t n, d, two;
        snprintf(name, sizeof name, "%s/rows", cases[c]);
        const float *rows = numbers(r, &g, name, &n, &d);
        snprintf(name, sizeof name, "%s/plane", cases[c]);
        const float *wanted = numbers(r, &g, name, &n, &two);
        float *got = graft_arena_array(r->arena, 2 * (size_t)n, sizeof *got);
        assert_int_equal(graft_pca_plane(got, rows, n, d, NULL), 0);
        double scale = 0.0, off = 0.0;
        for (int64_t i = 0; i < 2 * n; i++) {
            scale = fmax(scale, fabs((double)wanted[i]));
            off = fmax(off, fabs((double)(got[i] - wanted[i])));
        }
        if (off > 1e-3 * scale) fail_msg("%s: a point is off by %g of %g", cases[c], off, scale);
    }
}

static void tsne_reaches_the_divergence_of_scikit_learn(void **state) {
    room *r = *state;
    references g = open_references(r);
    for (size_t c = 0; c < GRAFT_COUNT(cases); c++) {
        char name[64];
        int64_t n, d;
        const json_t *facts = json_object_get(g.facts, cases[c]);
        snprintf(name, sizeof name, "%s/rows", cases[c]);
        const float *rows = numbers(r, &g, name, &n, &d);
        float *plane = graft_arena_array(r->arena, 2 * (size_t)n, sizeof *plane);
        float *again = graft_arena_array(r->arena, 2 * (size_t)n, sizeof *again);
        const graft_tsne_options o = {.perplexity = json_number_value(json_object_get(facts, "perplexity"))};
        double kl = 0.0, wanted = json_number_value(json_object_get(facts, "kl"));
        assert_int_equal(graft_tsne(plane, &kl, r->env, rows, n, d, &o, NULL), 0);
        print_message("%s: KL %.4f, scikit-learn's %.4f\n", cases[c], kl, wanted);
        if (kl > 1.05 * wanted) fail_msg("%s: KL %g, scikit-learn's is %g", cases[c], kl, wanted);
        assert_int_equal(graft_tsne(again, NULL, r->env, rows, n, d, &o, NULL), 0);
        assert_memory_equal(plane, again, 2 * (size_t)n * sizeof *plane);
    }
}

static void odd_rows_are_laid_out_or_refused(void **state) {
    room *r = *state;
    enum { N = 40, D = 3 };
    float rows[N * D] = {0}, plane[2 * N];
    graft_err err = {0};
    double kl;
    assert_int_equal(graft_pca_plane(plane, rows, 1, D, NULL), 0);
    assert_int_equal(graft_tsne(plane, &kl, r->env, rows, N, D, NULL, NULL), 0); /* all are equal */
    for (int i = 0; i < 2 * N; i++) assert_true(isfinite(plane[i]));
    for (int i = 0; i < N; i++) rows[i * D] = (float)(i % 3) * 1e20F;
    assert_int_equal(graft_pca_plane(plane, rows, N, D, NULL), 0);
    assert_int_equal(graft_tsne(plane, NULL, r->env, rows, 4, D, NULL, &err), GRAFT_EDATA);
    assert_int_equal(graft_tsne(plane, NULL, r->env, rows, GRAFT_TSNE_MOST + 1, D, NULL, &err), GRAFT_EDATA);
    assert_int_equal(graft_tsne(plane, NULL, r->env, rows, 5, D, NULL, NULL), 0);
    graft_env_cancel(r->env);
    assert_int_equal(graft_tsne(plane, NULL, r->env, rows, N, D, NULL, &err), GRAFT_EINTERRUPTED);
}

static void label_errors_are_those_of_confident_learning(void **state) {
    room *r = *state;
    references g = open_references(r);
    int64_t n, k, found = 0, one, wanted_n;
    const float *p = numbers(r, &g, "errors/probabilities", &n, &k);
    const int32_t *labels = numbers(r, &g, "errors/labels", &n, &one);
    const int64_t *rows = numbers(r, &g, "errors/rows", &wanted_n, &one);
    const int32_t *likely = numbers(r, &g, "errors/likely", &wanted_n, &one);
    graft_suspect *suspects;
    assert_int_equal(graft_confident_errors(&suspects, &found, r->arena, p, labels, n, k, NULL), 0);
    assert_int_equal(found, wanted_n);
    for (int64_t i = 0; i < found; i++) {
        assert_int_equal(suspects[i].row, rows[i]);
        assert_int_equal(suspects[i].likely, likely[i]);
        assert_int_equal(suspects[i].label, labels[rows[i]]);
    }
}

static void neighbours_vote_without_the_sample_itself(void **state) {
    room *r = *state;
    const float rows[] = {1, 0, 2, 0.1F, 3, 0.2F, 0, 1, 0.1F, 2, 0, 0};
    const int32_t labels[] = {0, 0, 1, 2, 2, -1};
    float shares[6 * 3];
    assert_int_equal(graft_neighbour_shares(shares, r->env, rows, labels, 6, 2, 3, 2, NULL), 0);
    const float wanted[] = {0.5F, 0.5F, 0};
    assert_memory_equal(shares, wanted, sizeof wanted); /* its own label would have made it 1 */
    assert_true(shares[6] > 0.99F);                     /* the third lies among the first two */
    assert_true(fabsf(shares[9 + 2] - 0.5F) < 1e-6F);
}

static void calibration_is_counted_in_fifteen_bins(void **state) {
    room *r = *state;
    references g = open_references(r);
    int64_t n, one;
    const double *confidence = numbers(r, &g, "reliable/confidence", &n, &one);
    const uint8_t *right = numbers(r, &g, "reliable/right", &n, &one);
    graft_reliability_bins bins = {0};
    assert_true(graft_reliability_error(&bins) == 0.0);
    for (int64_t i = 0; i < n; i++) graft_reliability_add(&bins, confidence[i], right[i] != 0);
    assert_true(fabs(graft_reliability_error(&bins) - json_number_value(json_object_get(g.facts, "ece"))) <
                1e-12);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_plane_is_that_of_the_principal_components, room_setup,
                                        room_teardown),
        cmocka_unit_test_setup_teardown(tsne_reaches_the_divergence_of_scikit_learn, room_setup,
                                        room_teardown),
        cmocka_unit_test_setup_teardown(odd_rows_are_laid_out_or_refused, room_setup, room_teardown),
        cmocka_unit_test_setup_teardown(label_errors_are_those_of_confident_learning, room_setup,
                                        room_teardown),
        cmocka_unit_test_setup_teardown(neighbours_vote_without_the_sample_itself, room_setup, room_teardown),
        cmocka_unit_test_setup_teardown(calibration_is_counted_in_fifteen_bins, room_setup, room_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
