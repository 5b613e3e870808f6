/* Taps see what the model sees, and the judgement follows from the evidence alone. */
#include "model/model_room.h"
#include "transfer/advise/advise.h"
#include "transfer/advise/candidates.h"
#include "transfer/use.h"

#define PICTURES "tests/cli/pictures"

static graft_data *open_data(room *r, const graft_model *m) {
    const graft_data_choice choice = {0};
    graft_data *d = NULL;
    graft_err err = {0};
    assert_ok(graft_data_open_choice(&d, r->env, PICTURES, &choice, graft_model_modality(m),
                                     GRAFT_LABELS_NEEDED, NULL, 0, 0, &err));
    return d;
}

static void taps_hold_the_features_that_the_head_reads(void **state) {
    room *r = *state;
    graft_err err = {0};
    graft_model *m = open_model(r, golden(r, "hf_basic"), NULL);
    graft_data *d = open_data(r, m);
    graft_taps taps;
    graft_features *features = NULL;
    graft_use_rows rows;
    graft_use_options use = GRAFT_USE_OPTIONS_INIT;
    graft_features_options o = {.dtype = GRAFT_PRECISION_FP32, .check = true};
    use.no_cache = true;
    assert_ok(graft_taps_open(&taps, r->env, m, NULL, true, GRAFT_PRECISION_FP32, &err));
    assert_string_equal(taps.boundaries[0].plan, "head");
    assert_int_equal(taps.boundaries[0].first, 0);
    assert_int_equal(taps.boundaries[0].width, graft_model_feature_width(m));
    assert_true(taps.n_boundaries >= 2);
    assert_string_equal(taps.boundaries[1].plan, "top:1");
    assert_true(taps.input.width > 0 && taps.logits.width > 0);
    assert_int_equal(graft_prefix_row(taps.prefix, 0), taps.logits.first + taps.logits.width);
    assert_ok(graft_features_new(&features, r->env, d, &taps.transform, taps.prefix, &o, &err));
    assert_ok(graft_use_rows_open(&rows, r->env, m, d, NULL, 0, &use, &err));
    for (int64_t i = 0; i < graft_data_n_samples(d); i++) {
        const float *tapped = graft_features_row(features, i, -1);
        const float *whole = graft_features_row(rows.features, i, -1);
        for (size_t k = 0; k < taps.boundaries[0].width; k++)
            assert_true(fabsf(tapped[k] - whole[k]) <= 1e-5F * (1.0F + fabsf(whole[k])));
    }
    graft_features_free(features);
    graft_use_rows_close(&rows);
    graft_taps_close(&taps);
    graft_data_close(d);
    graft_model_close(m);
}

static void boundaries_that_are_none_are_refused(void **state) {
    room *r = *state;
    graft_err err = {0};
    graft_model *m = open_model(r, golden(r, "hf_basic"), NULL);
    graft_taps taps;
    assert_error(graft_taps_open(&taps, r->env, m, "head,full", false, GRAFT_PRECISION_FP32, &err),
                 GRAFT_EUSAGE, "freezes nothing");
    graft_taps_close(&taps);
    assert_error(graft_taps_open(&taps, r->env, m, "head,,top:1", false, GRAFT_PRECISION_FP32, &err),
                 GRAFT_EUSAGE, "unknown plan");
    graft_taps_close(&taps);
    assert_error(graft_taps_open(&taps, r->env, m, "head,head,head,head,head,head,head,head,head", false,
                                 GRAFT_PRECISION_FP32, &err),
                 GRAFT_EUSAGE, "at most 8");
    graft_taps_close(&taps);
    graft_model_close(m);
}

static void evidence_is_of_the_training_part(void **state) {
    room *r = *state;
    graft_err err = {0};
    graft_model *m = open_model(r, golden(r, "hf_basic"), NULL);
    graft_data *d = open_data(r, m);
    graft_model_evidence e;
    const graft_evidence_options o = {.dtype = GRAFT_PRECISION_FP32, .source = true};
    int64_t n = 0;
    assert_ok(graft_evidence_gather(&e, r->arena, r->env, m, d, &o, &err));
    graft_data_members(d, GRAFT_TRAIN, &n);
    assert_int_equal(e.n_train, n);
    assert_int_equal(e.n_used, n);
    assert_int_equal(e.n_classes, graft_data_n_classes(d));
    assert_false(e.likeness.known);
    for (size_t i = 0; i < e.n_boundaries; i++) {
        assert_true(e.boundaries[i].probe.accuracy >= 0 && e.boundaries[i].probe.accuracy <= 1);
        assert_int_equal(isfinite(e.boundaries[i].alike) != 0, i > 0);
        for (size_t s = 0; s < 6; s++) assert_true(isfinite(e.boundaries[i].scores[s]));
    }
    json_t *o2 = graft_evidence_json(&e);
    assert_non_null(o2);
    json_decref(o2);
    graft_data_close(d);
    graft_model_close(m);
}

static void few_samples_are_judged_of_many(void **state) {
    room *r = *state;
    graft_err err = {0};
    graft_model *m = open_model(r, golden(r, "hf_basic"), NULL);
    graft_data *d = open_data(r, m);
    graft_model_evidence e;
    const graft_evidence_options o = {.dtype = GRAFT_PRECISION_FP32, .most = 4};
    assert_ok(graft_evidence_gather(&e, r->arena, r->env, m, d, &o, &err));
    assert_true(e.n_used < e.n_train);
    assert_true(e.n_used <= 5 * e.n_classes);
    assert_true(e.boundaries[0].probe.n == e.n_used);
    graft_data_close(d);
    graft_model_close(m);
}

/* ---- Judgement ---- */

static graft_model_evidence evidence(double per_class, double head, double below, double input) {
    graft_model_evidence e = {.per_class = per_class,
                              .n_classes = 4,
                              .n_train = (int64_t)(4 * per_class),
                              .input = {.accuracy = input, .error = 0.02},
                              .n_boundaries = 2};
    e.boundaries[0] = (graft_boundary_evidence){.plan = "head", .probe = {.accuracy = head, .error = 0.02}};
    e.boundaries[1] = (graft_boundary_evidence){.plan = "top:1", .probe = {.accuracy = below, .error = 0.02}};
    return e;
}

static void the_cell_is_of_size_and_similarity(void **state) {
    (void)state;
    graft_model_evidence e = evidence(10, 0.9, 0.8, 0.5);
    graft_cell c = graft_cell_of(&e);
    assert_true(c.small && c.similar);
    e = evidence(500, 0.4, 0.3, 0.3);
    c = graft_cell_of(&e);
    assert_true(!c.small && !c.similar);
    assert_non_null(strstr(c.why, "500 examples a class"));
    /* data that lie far from the reference are different where labels do not speak against it */
    e = evidence(10, 0.7, 0.6, 0.3);
    assert_true(graft_cell_of(&e).similar);
    e.likeness = (graft_likeness_evidence){.known = true, .frechet = 3.0, .proxy_a = 2.0};
    c = graft_cell_of(&e);
    assert_false(c.similar);
    assert_non_null(strstr(c.why, "Frechet"));
}

static void a_linear_head_is_enough_where_nothing_is_left_to_gain(void **state) {
    (void)state;
    const char *const plans[] = {"head", "top:1", "full"};
    graft_model_evidence e = evidence(20, 0.99, 0.95, 0.5);
    assert_int_equal(graft_choose_plan(&e, plans, 3), 0);
    e = evidence(1000, 0.7, 0.6, 0.3);
    assert_true(graft_choose_plan(&e, plans, 3) > 0);
}

static void transfer_is_useless_where_the_input_says_as_much(void **state) {
    (void)state;
    graft_model_evidence e = evidence(20, 0.5, 0.55, 0.9);
    assert_true(graft_transfer_is_useless(&e));
    e = evidence(20, 0.9, 0.55, 0.5);
    assert_false(graft_transfer_is_useless(&e));
    e.input.accuracy = NAN;
    assert_false(graft_transfer_is_useless(&e));
}

static void pictures_are_foreign_where_features_say_hardly_more_than_pixels(void **state) {
    (void)state;
    graft_model_evidence e = evidence(20, 0.65, 0.7, 0.72);
    assert_true(graft_data_are_foreign(&e));
    assert_false(graft_cell_of(&e).similar);
    e = evidence(20, 0.9, 0.8, 0.8);
    assert_false(graft_data_are_foreign(&e)); /* half the errors */
    e = evidence(5, 0.4, 0.3, 0.3);
    assert_false(graft_data_are_foreign(&e)); /* three times as much above chance, of a hard task */
    e = evidence(20, 0.96, 0.9, 0.94);
    assert_false(graft_data_are_foreign(&e)); /* an easy task */
    e = evidence(20, 0.65, 0.7, NAN);
    assert_false(graft_data_are_foreign(&e));
    e = evidence(8, 0.75, 0.75, 0.7);
    e.n_classes = 2;
    e.boundaries[0].probe.error = 0;
    assert_true(graft_data_are_foreign(&e));
    e.boundaries[0].probe.error = 0.108; /* of sixteen pictures */
    assert_false(graft_data_are_foreign(&e));
    e = evidence(20, 0.65, 0.7, 0.72);
    e.texts = true;
    assert_false(graft_data_are_foreign(&e));
}

static void probes_that_asked_nothing_give_chance(void **state) {
    (void)state;
    graft_model_evidence e = evidence(1, NAN, NAN, NAN);
    assert_true(isfinite(graft_expected_accuracy(&e, "head")));
    assert_true(isfinite(graft_expected_accuracy(&e, "full")));
    assert_int_equal(graft_cell_of(&e).small, true);
}

static void what_fit_would_not_look_at_costs_what_fit_would_do(void **state) {
    room *r = *state;
    graft_err err = {0};
    graft_model *m = open_model(r, golden(r, "hf_basic"), NULL);
    graft_job j = {.env = r->env,
                   .arena = r->arena,
                   .model = m,
                   .data = open_data(r, m),
                   .options = GRAFT_FIT_OPTIONS_INIT,
                   .looked = true};
    graft_plan_cost known, foreign;
    j.options.data.per_class = 5; /* too few for fit to ask */
    assert_ok(graft_data_check(j.data, &err));
    assert_ok(graft_plan_cost_of(&known, &j, "full", 1e9, &err));
    j.evidence.is_foreign = true;
    assert_ok(graft_plan_cost_of(&foreign, &j, "full", 1e9, &err));
    assert_int_equal(foreign.memory, known.memory);
    graft_data_close(j.data);
    graft_model_close(m);
}

/* ---- Short runs ---- */

static void a_probe_that_diverges_is_the_last_and_the_others_count(void **state) {
    room *r = *state;
    graft_err err = {0};
    const char *plans[] = {"full", "head"};
    graft_plan_cost costs[2] = {{.epochs = 1}, {.epochs = 1}};
    graft_judged model = {.path = golden(r, "hf_basic"), .plans = plans, .costs = costs, .n_plans = 2};
    graft_candidate items[2] = {{.model = &model, .plan = 0, .rank = 1.0}, {.model = &model, .plan = 1}};
    graft_fit_options fit = GRAFT_FIT_OPTIONS_INIT;
    graft_candidates c = {.env = r->env,
                          .arena = r->arena,
                          .data_path = PICTURES,
                          .options = &fit,
                          .models = &model,
                          .n_models = 1,
                          .items = items,
                          .n_items = 2};
    fit.lr = 0.01;
    fit.backbone_lr_scale = 1e30;
    fit.clip_norm = -1;
    fit.optimizer = "sgd";
    assert_ok(graft_candidates_probe(&c, 1.0, &err));
    assert_int_equal(items[0].plan, 1);
    assert_true(items[0].n_runs > 0 && !items[0].diverged);
    assert_non_null(strstr(items[1].diverged, "not finite at epoch 1"));
    items[0] = (graft_candidate){.model = &model, .plan = 0};
    c.n_items = 1;
    assert_error(graft_candidates_probe(&c, 1.0, &err), GRAFT_EDIVERGED,
                 "every plan that was tried diverged");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        room_test(taps_hold_the_features_that_the_head_reads),
        room_test(boundaries_that_are_none_are_refused),
        room_test(evidence_is_of_the_training_part),
        room_test(few_samples_are_judged_of_many),
        room_test(what_fit_would_not_look_at_costs_what_fit_would_do),
        room_test(a_probe_that_diverges_is_the_last_and_the_others_count),
        cmocka_unit_test(the_cell_is_of_size_and_similarity),
        cmocka_unit_test(a_linear_head_is_enough_where_nothing_is_left_to_gain),
        cmocka_unit_test(transfer_is_useless_where_the_input_says_as_much),
        cmocka_unit_test(pictures_are_foreign_where_features_say_hardly_more_than_pixels),
        cmocka_unit_test(probes_that_asked_nothing_give_chance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
