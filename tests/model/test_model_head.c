#include "model_room.h"

static const char *const new_names[] = {"dog", "fox", "ant"};

static void rows_of_equal_names_are_kept(void **state) {
    room *r = *state;
    graft_err err;
    graft_model *m = open_model(r, golden(r, "hf_basic"), NULL);
    size_t n, kept = 99;
    float *old = values_of(r, m, "classifier.1.weight", &n),
          *old_b = values_of(r, m, "classifier.1.bias", &n);
    assert_ok(graft_model_head(m, "linear", new_names, 3, 5, &kept, &err));
    float *w = values_of(r, m, "classifier.1.weight", &n);
    assert_int_equal(n, 3 * 24);
    assert_int_equal(kept, 2);
    assert_memory_equal(w, old + 3 * 24, 24 * sizeof *w);
    assert_memory_equal(w + 2 * 24, old, 24 * sizeof *w);
    for (size_t i = 24; i < 48; i++) assert_true(fabs((double)w[i]) <= 1 / sqrt(24) + 1e-6);
    float *b = values_of(r, m, "classifier.1.bias", &n);
    assert_true(b[0] == old_b[3] && b[2] == old_b[0]);
    assert_string_equal(graft_model_labels(m, &n)[1], "fox");
    assert_int_equal(n, 3);
    assert_false(graft_model_head_is_new(m));
    assert_int_equal(graft_model_find_param(m, "classifier.1.weight")->stage, 5);
    assert_int_equal(graft_model_n_stages(m), 6);
    assert_string_equal(r->log.data, "a new head of 3 classes; the rows of 2 are kept from the old one\n");
    graft_model_close(m);
}

static void a_head_without_equal_names_is_new_and_keyed_by_the_seed(void **state) {
    room *r = *state;
    graft_err err;
    static const char *const names[] = {"x", "y", "z"};
    graft_model *m = open_model(r, golden(r, "timm_bottleneck"), NULL);
    size_t n, kept = 99;
    assert_ok(graft_model_head(m, "linear", names, 3, 1, &kept, &err));
    float *a = values_of(r, m, "fc.weight", &n);
    assert_int_equal(kept, 0);
    assert_true(graft_model_head_is_new(m));
    assert_ok(graft_model_head(m, "linear", names, 2, 1, NULL, &err));
    assert_int_equal(graft_model_find_param(m, "fc.weight")->shape.dims[0], 2);
    assert_ok(graft_model_head(m, "linear", names, 3, 1, NULL, &err));
    assert_memory_equal(a, values_of(r, m, "fc.weight", &n), n * sizeof *a);
    assert_ok(graft_model_head(m, "linear", names, 3, 2, NULL, &err));
    assert_memory_not_equal(a, values_of(r, m, "fc.weight", &n), n * sizeof *a);
    assert_int_equal(graft_model_param_stage(m, "fc.weight"), 5);
    graft_model_close(m);
}

static void rows_trained_here_are_kept_by_the_next_head(void **state) {
    room *r = *state;
    graft_err err;
    static const char *const names[] = {"x", "y"}, *const more[] = {"y", "z", "x"};
    graft_model *m = open_model(r, golden(r, "hf_grey"), NULL);
    float b[2] = {3, 4};
    size_t n, kept = 0;
    assert_ok(graft_model_head(m, "linear", names, 2, 1, NULL, &err));
    assert_ok(graft_model_set(m, "classifier.1.bias", b, 2, &err));
    assert_ok(graft_model_head(m, "linear", more, 3, 1, &kept, &err));
    float *now = values_of(r, m, "classifier.1.bias", &n);
    assert_int_equal(kept, 2);
    assert_true(now[0] == 4 && now[2] == 3);
    graft_model_close(m);
}

static void a_hidden_layer_is_named_as_robertas_is(void **state) {
    room *r = *state;
    graft_err err;
    graft_model *m = open_model(r, golden(r, "hf_basic"), NULL);
    assert_ok(graft_model_head(m, "mlp", new_names, 3, 5, NULL, &err));
    size_t n;
    float *w = values_of(r, m, "classifier.1.dense.weight", &n);
    assert_int_equal(n, 24 * 24);
    for (size_t i = 0; i < n; i++) assert_true(fabs((double)w[i]) <= 1 / sqrt(24) + 1e-6);
    values_of(r, m, "classifier.1.dense.bias", &n);
    assert_int_equal(n, 24);
    values_of(r, m, "classifier.1.out_proj.weight", &n);
    assert_int_equal(n, 3 * 24);
    graft_graph *g;
    assert_ok(graft_model_graph(&g, r->arena, m, 32, 32, &err));
    assert_int_equal(graft_graph_value(g, graft_graph_find(g, "logits"))->shape.dims[1], 3);
    graft_model_close(m);
}

static void wrong_heads_are_refused(void **state) {
    room *r = *state;
    graft_err err;
    static const char *const twice[] = {"x", "y", "x"};
    graft_model *m = open_model(r, golden(r, "hf_basic"), NULL);
    assert_error(graft_model_head(m, "oracle", new_names, 3, 1, NULL, &err), GRAFT_EUSAGE, "linear");
    assert_error(graft_model_head(m, "linear", twice, 3, 1, NULL, &err), GRAFT_EUSAGE, "'x'");
    assert_error(graft_model_head(m, "linear", NULL, 0, 1, NULL, &err), GRAFT_EUSAGE, "class");
    static const char *const latin[] = {"caf\xe9", "tea"};
    assert_error(graft_model_head(m, "linear", latin, 2, 1, NULL, &err), GRAFT_EDATA, "UTF-8");
    size_t n;
    graft_model_labels(m, &n);
    assert_int_equal(n, 5);
    assert_int_equal(r->log.size, 0);
    graft_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        room_test(rows_of_equal_names_are_kept),
        room_test(a_head_without_equal_names_is_new_and_keyed_by_the_seed),
        room_test(rows_trained_here_are_kept_by_the_next_head),
        room_test(a_hidden_layer_is_named_as_robertas_is),
        room_test(wrong_heads_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
