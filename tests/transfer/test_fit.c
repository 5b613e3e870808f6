/* graft_fit through the public API: what is frozen stays byte for byte, options have one meaning, a run can
 * be asked for by zero or by the initialiser. */
#include "model/model.h"
#include "tensor/tensor.h"
#include "transfer/fit_room.h"

static void fit(room *r, const char *model, const char *train, const char *norm) {
    graft_fit_options o = GRAFT_FIT_OPTIONS_INIT;
    graft_err err = {0};
    char *result = NULL;
    o.train = train;
    o.norm = norm;
    o.epochs = 2;
    o.batch = 8;
    o.lr = 1e-2;
    o.restart = true;
    int rc = graft_fit(&result, r->env, model, PICTURES, r->out, &o, &err);
    if (rc < 0) fail_msg("%s", err.message);
    assert_non_null(strstr(result, "\"accuracy\""));
    graft_text_free(result);
}

static bool same_bytes(const graft_tensor *a, const graft_tensor *b) {
    return a->dtype == b->dtype && graft_shape_equal(&a->shape, &b->shape) &&
           memcmp(a->data, b->data, a->size) == 0;
}

/* Tensors outside the trained stages are the source's bytes, statistics included; inside, every weight has
 * moved. */
static void check_frozen(room *r, const char *train, const char *norm, const char *first_trained) {
    graft_tensors before, after;
    graft_model *m = NULL;
    size_t n_frozen = 0, n_trained = 0;
    fit(r, MODEL, train, norm);
    assert_int_equal(graft_tensors_open(&before, r->arena, MODEL, NULL), 0);
    assert_int_equal(graft_tensors_open(&after, r->arena, r->out, NULL), 0);
    assert_int_equal(graft_model_open(&m, r->env, r->out, NULL, NULL), 0);
    int first = graft_model_find_stage(m, first_trained);
    assert_true(first >= 0);
    for (size_t i = 0; i < graft_model_n_params(m); i++) {
        const graft_param *p = graft_model_param(m, i);
        if (p->head) continue;
        const graft_tensor *a = graft_tensors_find(&before, p->name),
                           *b = graft_tensors_find(&after, p->name);
        assert_non_null(a);
        assert_non_null(b);
        bool is_trained =
            p->stage >= first && (p->kind != GRAFT_PARAM_STATISTIC || (norm && strcmp(norm, "train") == 0));
        if (same_bytes(a, b) == is_trained)
            fail_msg("%s, plan %s: %s", p->name, train,
                     is_trained ? "did not move" : "is not the source's bytes");
        ++*(is_trained ? &n_trained : &n_frozen);
    }
    for (size_t i = 0; i < before.n_items; i++)
        assert_non_null(graft_tensors_find(&after, before.items[i].name));
    assert_int_equal(after.n_items, before.n_items);
    assert_true(n_frozen + n_trained > 60);
    graft_model_close(m);
}

static void a_head_alone_leaves_the_backbone_byte_for_byte(void **state) {
    check_frozen(*state, "head", NULL, "head");
}

static void stages_below_the_trained_ones_stay_byte_for_byte(void **state) {
    check_frozen(*state, "top:1", "train", "stage4");
    check_frozen(*state, "from:stage3", "train", "stage3");
}

static void frozen_statistics_stay_byte_for_byte_in_trained_stages(void **state) {
    check_frozen(*state, "full", "frozen", "stem");
}

static void everything_moves_in_a_full_run(void **state) {
    check_frozen(*state, "full", "train", "stem");
}

static void options_left_out_are_those_of_the_initialiser(void **state) {
    room *r = *state;
    graft_fit_options o = GRAFT_FIT_OPTIONS_INIT;
    char *with = NULL, *without = NULL;
    o.dry_run = true;
    assert_int_equal(graft_fit(&with, r->env, MODEL, PICTURES, r->out, &o, NULL), 0);
    o = (graft_fit_options){
        .dry_run = true, .weight_decay = -1, .warmup = -1, .clip_norm = -1, .label_smoothing = -1};
    assert_int_equal(graft_fit(&without, r->env, MODEL, PICTURES, r->out, &o, NULL), 0);
    assert_string_equal(with, without);
    assert_false(graft_path_is_dir(r->out));
    graft_text_free(with);
    graft_text_free(without);
}

static int count_one(void *user, const graft_prediction *p) {
    assert_non_null(p->label);
    assert_true(p->n_top == 2 && p->top_confidences[0] >= p->top_confidences[1]);
    assert_true(p->confidence > 0.0 && p->confidence <= 1.0);
    return ++*(int *)user == 3 ? GRAFT_EINTERRUPTED : 0;
}

static void predictions_come_one_by_one_and_may_be_stopped(void **state) {
    room *r = *state;
    int n = 0;
    const char *inputs[] = {PICTURES "/test"};
    fit(r, MODEL, "head", NULL);
    assert_int_equal(graft_predict(r->env, r->out, inputs, 1, NULL, count_one, &n, NULL), GRAFT_EINTERRUPTED);
    assert_int_equal(n, 3);
}

static void a_cancelled_environment_stops_every_command(void **state) {
    room *r = *state;
    const char *inputs[] = {PICTURES "/test"};
    char *result = NULL;
    graft_fit_options o = GRAFT_FIT_OPTIONS_INIT;
    char path[128];
    fit(r, MODEL, "head", NULL);
    snprintf(path, sizeof path, "%s/features.npy", r->folder);
    graft_env_cancel(r->env);
    assert_int_equal(graft_embed(&result, r->env, r->out, inputs, 1, path, NULL, NULL), GRAFT_EINTERRUPTED);
    assert_null(result);
    assert_false(graft_path_is_file(path));
    graft_use_options use = GRAFT_USE_OPTIONS_INIT;
    use.no_cache = true;
    assert_int_equal(graft_eval(&result, r->env, r->out, PICTURES, &use, NULL), GRAFT_EINTERRUPTED);
    o.epochs = 1;
    snprintf(path, sizeof path, "%s/second", r->folder);
    assert_int_equal(graft_fit(&result, r->env, MODEL, PICTURES, path, &o, NULL), GRAFT_EINTERRUPTED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fit_test(a_head_alone_leaves_the_backbone_byte_for_byte),
        fit_test(stages_below_the_trained_ones_stay_byte_for_byte),
        fit_test(frozen_statistics_stay_byte_for_byte_in_trained_stages),
        fit_test(everything_moves_in_a_full_run),
        fit_test(options_left_out_are_those_of_the_initialiser),
        fit_test(predictions_come_one_by_one_and_may_be_stopped),
        fit_test(a_cancelled_environment_stops_every_command),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
