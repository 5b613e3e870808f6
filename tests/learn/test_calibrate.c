/* Temperatures and thresholds against scipy's and scikit-learn's (tests/golden/make_calibration_golden.py).
 */
#include "learn/learn.h"
#include "model/model_room.h"

#define FOLDER "tests/golden/learn/"

static void near(const char *what, const char *key, double got, double expected, double tolerance) {
    if (fabs(got - expected) > tolerance * fmax(1.0, fabs(expected)))
        fail_msg("%s: %s is %.17g, not %.17g", what, key, got, expected);
}

static double at(const json_t *o, const char *key, size_t i) {
    return json_number_value(json_array_get(json_object_get(o, key), i));
}

static void *copy_of(room *r, const graft_tensor *t) {
    void *out = graft_arena_alloc(r->arena, t->size);
    memcpy(out, t->data, t->size);
    return out;
}

static graft_answers answers_of(room *r, const graft_tensors *ts, const char *name, bool labels) {
    const graft_tensor *z = tensor_named(ts, graft_arena_printf(r->arena, "%s/logits", name));
    const graft_tensor *y =
        tensor_named(ts, graft_arena_printf(r->arena, labels ? "%s/targets" : "%s/labels", name));
    graft_answers a = {.n = z->shape.dims[0], .k = z->shape.dims[1], .logits = copy_of(r, z)};
    if (labels)
        a.targets = copy_of(r, y);
    else
        a.labels = copy_of(r, y);
    return a;
}

static void compare_f1(room *r, const char *name, const json_t *o, const graft_answers *a, graft_task task) {
    graft_err err = {0};
    double *thresholds = NULL, cuts[16];
    assert_ok(graft_thresholds_f1(&thresholds, r->arena, a, task, &err));
    for (int64_t c = 0; c < a->k; c++) {
        assert_true(thresholds[c] > 0 && thresholds[c] < 1);
        cuts[c] = graft_threshold_cut(thresholds[c], task);
    }
    if (task == GRAFT_TASK_CLASSES) {
        graft_metrics m;
        assert_ok(graft_metrics_decide(&m, r->arena, a->logits, a->labels, a->n, a->k, cuts, &err));
        near(name, "macro f1", m.macro_f1, at(o, "f1", 0), 1e-12);
        return;
    }
    graft_multilabel_metrics m;
    assert_ok(graft_multilabel_metrics_compute(&m, r->arena, a->logits, a->targets, a->n, a->k, cuts, &err));
    for (int64_t c = 0; c < a->k; c++) near(name, "f1", m.classes[c].f1, at(o, "f1", (size_t)c), 1e-12);
}

static void temperatures_and_thresholds_equal_those_of_scipy_and_scikit_learn(void **state) {
    room *r = *state;
    graft_err err = {0};
    graft_tensors ts;
    json_t *all = read_json(r, FOLDER "calibration.json"), *o;
    const char *name;
    assert_ok(graft_safetensors_open(&ts, r->arena, FOLDER "calibration.safetensors", &err));
    json_object_foreach(all, name, o) {
        bool labels = !strcmp(json_string_value(json_object_get(o, "task")), "multilabel");
        graft_task task = labels ? GRAFT_TASK_MULTILABEL : GRAFT_TASK_CLASSES;
        graft_answers a = answers_of(r, &ts, name, labels);
        graft_calibration c = graft_calibrate(&a, task);
        assert_int_equal(c.n, a.n);
        assert_false(c.smoothed);
        near(name, "temperature", c.temperature, json_number_value(json_object_get(o, "temperature")), 2e-7);
        near(name, "log loss before", c.before.log_loss, at(o, "log_loss", 0), 1e-12);
        near(name, "log loss after", c.after.log_loss, at(o, "log_loss", 1), 1e-12);
        near(name, "ece before", c.before.ece, at(o, "ece", 0), 1e-12);
        near(name, "ece after", c.after.ece, at(o, "ece", 1), 1e-5);
        if (json_object_get(o, "f1")) compare_f1(r, name, o, &a, task);
    }
    assert_int_equal(json_object_size(all), 7);
}

/* Answers of two classes, `wrong` of them by a margin of `sure`, the others right by it. */
static graft_answers two_classes(room *r, int64_t n, int64_t wrong, float sure) {
    graft_answers a = {.n = n, .k = 2};
    a.logits = graft_arena_array(r->arena, (size_t)n * 2, sizeof *a.logits);
    a.labels = graft_arena_array(r->arena, (size_t)n, sizeof *a.labels);
    for (int64_t i = 0; i < n; i++) {
        a.labels[i] = (int32_t)(i & 1);
        a.logits[2 * i + (i * wrong / n < (i + 1) * wrong / n ? !a.labels[i] : a.labels[i])] = sure;
    }
    return a;
}

static void a_temperature_of_few_answers_has_to_prove_itself(void **state) {
    room *r = *state;
    graft_err err = {0};
    /* a quarter is wrong: the right margin is log 3, and 1.3 is not to be told from it by 20 answers */
    graft_answers near_right = two_classes(r, 20, 5, 1.3F), far = two_classes(r, 60, 15, 9.0F);
    graft_calibration c = graft_calibrate(&near_right, GRAFT_TASK_CLASSES);
    assert_true(c.temperature > 1.01);
    assert_ok(graft_calibration_check(&c, &near_right, GRAFT_TASK_CLASSES, &err));
    assert_true(c.checked && c.refused && c.error > 0);
    assert_true(fabs(c.temperature - 1.0) < 1e-12 && fabs(c.after.log_loss - c.before.log_loss) < 1e-12);
    c = graft_calibrate(&far, GRAFT_TASK_CLASSES);
    double temperature = c.temperature;
    assert_ok(graft_calibration_check(&c, &far, GRAFT_TASK_CLASSES, &err));
    assert_true(c.checked && !c.refused && c.gain > c.error);
    assert_true(fabs(c.temperature - temperature) < 1e-12 && fabs(temperature - 9.0 / log(3.0)) < 1e-3);
    /* one answer proves nothing */
    graft_answers one = two_classes(r, 1, 0, 2.0F);
    c = graft_calibrate(&one, GRAFT_TASK_CLASSES);
    assert_ok(graft_calibration_check(&c, &one, GRAFT_TASK_CLASSES, &err));
    assert_true(c.refused);
}

static void a_perfect_validation_part_does_not_make_the_model_certain(void **state) {
    (void)state;
    float z[] = {2, 0, 0, 2, 3, 1, 0, 1};
    int32_t y[] = {0, 1, 0, 1};
    graft_answers a = {.n = 4, .k = 2, .logits = z, .labels = y};
    graft_calibration c = graft_calibrate(&a, GRAFT_TASK_CLASSES);
    assert_true(c.smoothed);
    assert_true(c.temperature > 0.2 && c.temperature < 2);
}

static void what_says_nothing_leaves_the_temperature_at_one(void **state) {
    (void)state;
    float z[] = {1, 1, 1, 1}, huge[] = {INFINITY, 0, 0, 1};
    int32_t y[] = {0, 1}, none[] = {-1, -1};
    graft_answers same = {.n = 2, .k = 2, .logits = z, .labels = y},
                  unknown = {.n = 2, .k = 2, .logits = z, .labels = none},
                  infinite = {.n = 2, .k = 2, .logits = huge, .labels = y}, empty = {.k = 2};
    assert_true(graft_calibrate(&same, GRAFT_TASK_CLASSES).temperature == 1.0);
    assert_true(graft_calibrate(&infinite, GRAFT_TASK_CLASSES).temperature == 1.0);
    assert_int_equal(graft_calibrate(&unknown, GRAFT_TASK_CLASSES).n, 0);
    assert_int_equal(graft_calibrate(&empty, GRAFT_TASK_CLASSES).n, 0);
    assert_int_equal(graft_calibrate(&same, GRAFT_TASK_REGRESSION).n, 0);
}

static void a_model_that_errs_when_sure_is_flattened_to_the_bound(void **state) {
    (void)state;
    float z[] = {5, 0, 0, 5};
    int32_t y[] = {1, 0};
    graft_answers a = {.n = 2, .k = 2, .logits = z, .labels = y};
    graft_calibration c = graft_calibrate(&a, GRAFT_TASK_CLASSES);
    assert_true(fabs(c.temperature - 100) < 1e-9);
    assert_true(c.after.log_loss < c.before.log_loss);
}

static void thresholds_are_for_two_classes_or_labels(void **state) {
    room *r = *state;
    graft_err err;
    double *t;
    float z[6] = {0};
    int32_t y[] = {0, 1}, none[] = {-1, -1};
    graft_answers three = {.n = 2, .k = 3, .logits = z, .labels = y},
                  unlabelled = {.n = 2, .k = 2, .logits = z, .labels = none};
    assert_error(graft_thresholds_f1(&t, r->arena, &three, GRAFT_TASK_CLASSES, &err), GRAFT_EUSAGE,
                 "two classes");
    assert_error(graft_thresholds_f1(&t, r->arena, &unlabelled, GRAFT_TASK_CLASSES, &err), GRAFT_EDATA,
                 "no labelled");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        room_test(a_temperature_of_few_answers_has_to_prove_itself),
        room_test(temperatures_and_thresholds_equal_those_of_scipy_and_scikit_learn),
        room_test(a_perfect_validation_part_does_not_make_the_model_certain),
        room_test(what_says_nothing_leaves_the_temperature_at_one),
        room_test(a_model_that_errs_when_sure_is_flattened_to_the_bound),
        room_test(thresholds_are_for_two_classes_or_labels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
