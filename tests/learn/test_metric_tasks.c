/* Metrics of entities, numbers and several classes a sample against seqeval's, scipy's and scikit-learn's
 * (tests/golden/make_metric_golden.py). */
#include "learn/learn.h"
#include "model/model_room.h"

#define FOLDER "tests/golden/learn/"

static void near(const char *what, const char *key, double got, const json_t *expected) {
    double value = json_number_value(expected);
    if (!json_is_number(expected) || !(fabs(got - value) <= 1e-12 * fmax(1.0, fabs(value))))
        fail_msg("%s: %s is %.17g, not %.17g", what, key, got, value);
}

static void near_prf(const char *what, const json_t *o, const char *key, const graft_prf *got) {
    const json_t *expected = json_object_get(o, key);
    near(what, key, got->precision, json_object_get(expected, "precision"));
    near(what, key, got->recall, json_object_get(expected, "recall"));
    near(what, key, got->f1, json_object_get(expected, "f1"));
}

/* Value i of the lists "precision", "recall", "f1", "support". */
static void near_row(const char *what, const json_t *o, size_t i, const graft_prf *got, int64_t support) {
    near(what, "precision", got->precision, json_array_get(json_object_get(o, "precision"), i));
    near(what, "recall", got->recall, json_array_get(json_object_get(o, "recall"), i));
    near(what, "f1", got->f1, json_array_get(json_object_get(o, "f1"), i));
    near(what, "support", (double)support, json_array_get(json_object_get(o, "support"), i));
}

/* ---- Entities
 * ------------------------------------------------------------------------------------------------------- */

/* Texts of a case, one after the other. */
static int32_t *flatten(graft_arena *arena, const json_t *texts, int64_t *lengths) {
    size_t n = 0, at = 0;
    for (size_t i = 0; i < json_array_size(texts); i++) n += json_array_size(json_array_get(texts, i));
    int32_t *out = graft_arena_array(arena, n + 1, sizeof *out);
    assert_non_null(out);
    for (size_t i = 0; i < json_array_size(texts); i++) {
        const json_t *text = json_array_get(texts, i);
        lengths[i] = (int64_t)json_array_size(text);
        for (size_t k = 0; k < json_array_size(text); k++)
            out[at++] = (int32_t)json_integer_value(json_array_get(text, k));
    }
    return out;
}

static void check_entities(room *r, const char *name, const json_t *o) {
    graft_err err = {0};
    graft_entity_metrics m;
    const char *labels[16];
    int64_t lengths[8];
    const json_t *names = json_object_get(o, "labels");
    assert_in_range(json_array_size(names), 1, 16);
    for (size_t i = 0; i < json_array_size(names); i++)
        labels[i] = json_string_value(json_array_get(names, i));
    const json_t *texts = json_object_get(o, "truth");
    assert_in_range(json_array_size(texts), 1, 8);
    int32_t *truth = flatten(r->arena, texts, lengths);
    int32_t *predicted = flatten(r->arena, json_object_get(o, "predicted"), lengths);
    assert_ok(graft_entity_metrics_compute(&m, r->arena, truth, predicted, lengths,
                                           (int64_t)json_array_size(texts), labels, json_array_size(names),
                                           &err));
    near(name, "accuracy", m.accuracy, json_object_get(o, "accuracy"));
    near_prf(name, o, "micro", &m.micro);
    near_prf(name, o, "macro", &m.macro);
    near_prf(name, o, "weighted", &m.weighted);
    const json_t *types = json_object_get(o, "types");
    assert_int_equal(m.n_types, json_array_size(types));
    for (size_t i = 0; i < m.n_types; i++) {
        assert_string_equal(m.types[i].name, json_string_value(json_array_get(types, i)));
        near_row(name, o, i, &m.types[i].score, m.types[i].support);
    }
}

static void entities_are_counted_as_seqeval_counts_them(void **state) {
    room *r = *state;
    json_t *all = read_json(r, FOLDER "entities.json"), *o;
    const char *name;
    json_object_foreach(all, name, o) check_entities(r, name, o);
    assert_true(json_object_size(all) > 70);
}

static void words_without_a_tag_are_passed_over(void **state) {
    room *r = *state;
    graft_err err;
    graft_entity_metrics m;
    static const char *const labels[] = {"O", "B-x", "I-x"};
    const int32_t truth[] = {-1, 1, -100, 2, 0, -1, 1}, predicted[] = {2, 1, 0, 2, 0, 1, 1};
    const int64_t lengths[] = {6, 1}, none[] = {1, 0};
    assert_ok(graft_entity_metrics_compute(&m, r->arena, truth, predicted, lengths, 2, labels, 3, &err));
    assert_int_equal(m.n, 4);
    assert_true(m.micro.f1 == 1 && m.accuracy == 1);
    assert_int_equal(m.types[0].support, 2);
    assert_error(graft_entity_metrics_compute(&m, r->arena, truth, predicted, none, 2, labels, 3, &err),
                 GRAFT_EDATA, "no tagged word");
    assert_error(graft_entity_metrics_compute(&m, r->arena, truth, predicted, lengths, 2, labels, 2, &err),
                 GRAFT_EDATA, "text 0 has tag 2");
    const int32_t wrong[] = {0, 0, 0, 0, 0, 0, -1};
    assert_error(graft_entity_metrics_compute(&m, r->arena, truth, wrong, lengths, 2, labels, 3, &err),
                 GRAFT_EDATA, "text 1 has tag -1");
}

static void entity_json_has_types_by_name(void **state) {
    room *r = *state;
    graft_err err;
    graft_entity_metrics m;
    static const char *const labels[] = {"O", "B-x", "I-x", "B-y"};
    const int32_t truth[] = {1, 2, 0, 3}, predicted[] = {1, 2, 0, 1};
    const int64_t lengths[] = {4};
    assert_ok(graft_entity_metrics_compute(&m, r->arena, truth, predicted, lengths, 1, labels, 4, &err));
    json_t *o = graft_entity_metrics_json(&m);
    assert_non_null(o);
    assert_true(fabs(json_real_value(json_object_get(o, "f1")) - 0.5) < 1e-15);
    assert_true(fabs(json_real_value(json_object_get(o, "accuracy")) - 0.75) < 1e-15);
    const json_t *x = json_object_get(json_object_get(o, "types"), "x");
    assert_true(fabs(json_real_value(json_object_get(x, "precision")) - 0.5) < 1e-15);
    assert_int_equal(json_integer_value(json_object_get(x, "support")), 1);
    assert_true(fabs(json_real_value(json_object_get(json_object_get(o, "macro"), "f1")) - 1.0 / 3) < 1e-15);
    json_decref(o);
}

/* ---- Numbers, several classes
 * --------------------------------------------------------------------------------------- */

static float *values_at(room *r, const graft_tensors *ts, const char *kind, const char *name,
                        const char *role, graft_shape *shape) {
    const graft_tensor *t = tensor_named(ts, graft_arena_printf(r->arena, "%s/%s/%s", kind, name, role));
    float *out = graft_arena_alloc(r->arena, t->size);
    assert_non_null(out);
    memcpy(out, t->data, t->size);
    *shape = t->shape;
    return out;
}

static void numbers_are_measured_as_scikit_learn_and_scipy_do(void **state) {
    room *r = *state;
    graft_err err = {0};
    graft_tensors ts;
    graft_shape shape;
    json_t *all = json_object_get(read_json(r, FOLDER "tasks.json"), "regression"), *o;
    const char *name, *key;
    assert_ok(graft_safetensors_open(&ts, r->arena, FOLDER "tasks.safetensors", &err));
    json_object_foreach(all, name, o) {
        float *p = values_at(r, &ts, "regression", name, "predicted", &shape),
              *t = values_at(r, &ts, "regression", name, "truth", &shape);
        graft_regression_metrics m;
        assert_ok(graft_regression_metrics_compute(&m, p, t, shape.dims[0], &err));
        json_t *got = graft_regression_metrics_json(&m), *value;
        json_object_foreach(got, key, value)
            near(name, key, json_number_value(value), json_object_get(o, key));
        assert_int_equal(json_object_size(got), 6);
        json_decref(got);
    }
    assert_true(json_object_size(all) >= 8);
}

static void several_classes_are_measured_as_scikit_learn_does(void **state) {
    room *r = *state;
    graft_err err = {0};
    graft_tensors ts;
    graft_shape shape;
    json_t *all = json_object_get(read_json(r, FOLDER "tasks.json"), "multilabel"), *o;
    const char *name;
    assert_ok(graft_safetensors_open(&ts, r->arena, FOLDER "tasks.safetensors", &err));
    json_object_foreach(all, name, o) {
        float *z = values_at(r, &ts, "multilabel", name, "predicted", &shape),
              *t = values_at(r, &ts, "multilabel", name, "truth", &shape);
        graft_multilabel_metrics m;
        assert_ok(
            graft_multilabel_metrics_compute(&m, r->arena, z, t, shape.dims[0], shape.dims[1], NULL, &err));
        near(name, "subset_accuracy", m.subset_accuracy, json_object_get(o, "subset_accuracy"));
        near(name, "hamming_loss", m.hamming_loss, json_object_get(o, "hamming_loss"));
        near(name, "log_loss", m.log_loss, json_object_get(o, "log_loss"));
        near(name, "mean_average_precision", m.mean_average_precision,
             json_object_get(o, "mean_average_precision"));
        near_prf(name, o, "micro", &m.micro);
        near_prf(name, o, "macro", &m.macro);
        near_prf(name, o, "samples", &m.samples);
        for (int64_t c = 0; c < m.n_classes; c++) {
            near_row(name, o, (size_t)c, &m.classes[c], m.support[c]);
            near(name, "average_precision", m.average_precision[c],
                 json_array_get(json_object_get(o, "average_precision"), (size_t)c));
        }
    }
    assert_true(json_object_size(all) >= 6);
}

static void what_is_not_finite_is_named(void **state) {
    room *r = *state;
    graft_err err;
    graft_regression_metrics numbers;
    graft_multilabel_metrics several;
    const float bad[] = {0, 1, NAN, 2}, good[] = {0, 1, 1, 0};
    assert_error(graft_regression_metrics_compute(&numbers, bad, good, 4, &err), GRAFT_EDATA,
                 "sample 2: the model's output");
    assert_error(graft_regression_metrics_compute(&numbers, good, bad, 4, &err), GRAFT_EDATA,
                 "sample 2: its number");
    assert_error(graft_regression_metrics_compute(&numbers, good, good, 0, &err), GRAFT_EDATA, "no sample");
    assert_error(graft_multilabel_metrics_compute(&several, r->arena, bad, good, 2, 2, NULL, &err),
                 GRAFT_EDATA, "sample 1");
    assert_error(graft_multilabel_metrics_compute(&several, r->arena, bad, good, 0, 2, NULL, &err),
                 GRAFT_EDATA, "no labelled");
    assert_ok(graft_multilabel_metrics_compute(&several, r->arena, good, good, 2, 2, NULL, &err));
    static const char *const names[] = {"ant", "bee"};
    json_t *o = graft_multilabel_metrics_json(&several, names);
    assert_non_null(o);
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(json_object_get(o, "classes"), "bee"), "support")),
        1);
    json_decref(o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        room_test(entities_are_counted_as_seqeval_counts_them),
        room_test(words_without_a_tag_are_passed_over),
        room_test(entity_json_has_types_by_name),
        room_test(numbers_are_measured_as_scikit_learn_and_scipy_do),
        room_test(several_classes_are_measured_as_scikit_learn_does),
        room_test(what_is_not_finite_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
