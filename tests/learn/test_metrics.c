/* Metrics against scikit-learn's (tests/golden/make_metric_golden.py). */
#include "learn/learn.h"
#include "model/model_room.h"

#define FOLDER "tests/golden/learn/"

static void near(const char *what, const char *key, double got, double expected, double tolerance) {
    if (fabs(got - expected) > tolerance * fmax(1.0, fabs(expected)))
        fail_msg("%s: %s is %.17g, not %.17g", what, key, got, expected);
}

static void compare_reals(const char *what, const json_t *o, const char *key, const double *got, int64_t k) {
    const json_t *list = json_object_get(o, key);
    assert_int_equal(json_array_size(list), k);
    for (int64_t c = 0; c < k; c++)
        near(what, key, got[c], json_number_value(json_array_get(list, (size_t)c)), 1e-12);
}

static void compare(const char *what, const json_t *o, const graft_metrics *m) {
    int64_t k = m->n_classes;
    near(what, "n", (double)m->n, json_number_value(json_object_get(o, "n")), 0);
    near(what, "accuracy", m->accuracy, json_number_value(json_object_get(o, "accuracy")), 1e-12);
    near(what, "top5", m->top5, json_number_value(json_object_get(o, "top5")), 1e-12);
    near(what, "log_loss", m->log_loss, json_number_value(json_object_get(o, "log_loss")), 1e-9);
    near(what, "ece", m->ece, json_number_value(json_object_get(o, "ece")), 1e-9);
    near(what, "macro_f1", m->macro_f1, json_number_value(json_object_get(o, "macro_f1")), 1e-12);
    near(what, "balanced_accuracy", m->balanced_accuracy,
         json_number_value(json_object_get(o, "balanced_accuracy")), 1e-12);
    compare_reals(what, o, "precision", m->precision, k);
    compare_reals(what, o, "recall", m->recall, k);
    compare_reals(what, o, "f1", m->f1, k);
    for (int64_t c = 0; c < k; c++) {
        const json_t *row = json_array_get(json_object_get(o, "confusion"), (size_t)c);
        assert_int_equal(m->support[c],
                         json_integer_value(json_array_get(json_object_get(o, "support"), (size_t)c)));
        for (int64_t p = 0; p < k; p++)
            assert_int_equal(m->confusion[c * k + p], json_integer_value(json_array_get(row, (size_t)p)));
    }
}

static void metrics_equal_those_of_scikit_learn(void **state) {
    room *r = *state;
    graft_err err = {0};
    graft_tensors ts;
    json_t *all = read_json(r, FOLDER "metrics.json"), *o;
    const char *name;
    assert_ok(graft_safetensors_open(&ts, r->arena, FOLDER "metrics.safetensors", &err));
    json_object_foreach(all, name, o) {
        const graft_tensor *z = tensor_named(&ts, graft_arena_printf(r->arena, "%s/logits", name)),
                           *y = tensor_named(&ts, graft_arena_printf(r->arena, "%s/labels", name));
        float *logits = graft_arena_alloc(r->arena, z->size);
        int32_t *labels = graft_arena_alloc(r->arena, y->size);
        graft_metrics m;
        memcpy(logits, z->data, z->size);
        memcpy(labels, y->data, y->size);
        assert_ok(
            graft_metrics_compute(&m, r->arena, logits, labels, z->shape.dims[0], z->shape.dims[1], &err));
        compare(name, o, &m);
    }
    assert_true(json_object_size(all) >= 7);
}

static void bad_labels_and_outputs_are_named(void **state) {
    room *r = *state;
    graft_err err;
    graft_metrics m;
    float z[] = {0, 1, 2, NAN, 0, 0, 1, 2, 3};
    int32_t good[] = {0, 1, 2}, high[] = {0, 3, 0}, none[] = {-1, 0, 0};
    assert_error(graft_metrics_compute(&m, r->arena, z, good, 3, 3, &err), GRAFT_EDATA, "sample 1");
    z[3] = INFINITY;
    assert_error(graft_metrics_compute(&m, r->arena, z, good, 3, 3, &err), GRAFT_EDATA, "not finite");
    z[3] = 1;
    assert_error(graft_metrics_compute(&m, r->arena, z, high, 3, 3, &err), GRAFT_EDATA, "class 3");
    assert_error(graft_metrics_compute(&m, r->arena, z, none, 3, 3, &err), GRAFT_EDATA, "class -1");
    assert_error(graft_metrics_compute(&m, r->arena, z, good, 0, 3, &err), GRAFT_EDATA, "no labelled");
    assert_ok(graft_metrics_compute(&m, r->arena, z, good, 3, 3, &err));
}

static void json_has_metrics_at_the_top_and_classes_by_name(void **state) {
    room *r = *state;
    graft_err err;
    graft_metrics m;
    const float z[] = {2, 0, 0, 2, 2, 0};
    const int32_t y[] = {0, 1, 1};
    static const char *const names[] = {"ant", "bee"};
    assert_ok(graft_metrics_compute(&m, r->arena, z, y, 3, 2, &err));
    json_t *o = graft_metrics_json(&m, names);
    assert_int_equal(json_integer_value(json_object_get(o, "n")), 3);
    near("json", "accuracy", json_real_value(json_object_get(o, "accuracy")), 2.0 / 3.0, 1e-15);
    json_t *bee = json_object_get(json_object_get(o, "classes"), "bee");
    near("json", "recall", json_real_value(json_object_get(bee, "recall")), 0.5, 1e-15);
    assert_int_equal(json_integer_value(json_object_get(bee, "support")), 2);
    json_t *row = json_array_get(json_object_get(o, "confusion"), 1);
    assert_int_equal(json_integer_value(json_array_get(row, 0)), 1);
    json_decref(o);
}

static void very_many_classes_have_no_confusion_matrix(void **state) {
    room *r = *state;
    enum { K = GRAFT_MAX_CONFUSION + 1 };
    graft_err err;
    graft_metrics m;
    float *z = graft_arena_array(r->arena, 2 * K, sizeof *z);
    const int32_t y[] = {3, K - 1};
    z[3] = 5;
    z[K + 8] = 5;
    assert_ok(graft_metrics_compute(&m, r->arena, z, y, 2, K, &err));
    assert_null(m.confusion);
    near("many", "accuracy", m.accuracy, 0.5, 0);
    near("many", "recall", m.recall[3], 1, 0);
    const char **names = graft_arena_array(r->arena, K, sizeof *names);
    for (int c = 0; c < K; c++) names[c] = graft_arena_printf(r->arena, "class %d", c);
    json_t *o = graft_metrics_json(&m, names);
    assert_non_null(o);
    assert_null(json_object_get(o, "confusion"));
    assert_int_equal(json_object_size(json_object_get(o, "classes")), K);
    json_decref(o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        room_test(metrics_equal_those_of_scikit_learn),
        room_test(bad_labels_and_outputs_are_named),
        room_test(json_has_metrics_at_the_top_and_classes_by_name),
        room_test(very_many_classes_have_no_confusion_matrix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
