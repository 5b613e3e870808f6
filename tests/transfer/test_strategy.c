/* Plans: which parameters a text marks, phase by phase, what no plan can mean, and that a step moves what is
 * marked by the gradient of a full step and nothing else. */
#include "learn/run.h"
#include "model/model_room.h"
#include "transfer/transfer.h"

#define RESNET "tests/parity/resnet/hf_basic"
#define BERT   "tests/parity/text/bert_classes"

typedef struct planned {
    graft_model *model;
    graft_phase *phases;
    size_t n;
    const char *text;
} planned;

static int plan_of(planned *out, room *r, graft_model *m, const char *plan, graft_err *err) {
    const graft_evidence evidence = {.n_train = 100, .n_classes = 2};
    *out = (planned){.model = m};
    return graft_strategy_phases(&out->phases, &out->n, &out->text, r->arena, m, plan, &evidence, err);
}

static planned plan(room *r, graft_model *m, const char *text) {
    graft_err err = {0};
    planned p;
    assert_ok(plan_of(&p, r, m, text, &err));
    return p;
}

static bool trains(const planned *p, size_t phase, const char *name) {
    int64_t i = graft_model_param_index(p->model, name);
    if (i < 0) fail_msg("no parameter '%s'", name);
    return p->phases[phase].trains[i];
}

/* Stages of which something trains, as letters: "...44h" hides nothing. */
static const char *stages(room *r, const planned *p, size_t phase) {
    size_t n = graft_model_n_stages(p->model);
    char *out = graft_arena_alloc(r->arena, n + 1);
    for (size_t s = 0; s < n; s++) {
        int64_t all = 0, some = graft_phase_trained_in(&p->phases[phase], p->model, s);
        for (size_t i = 0; i < graft_model_n_params(p->model); i++) {
            const graft_param *q = graft_model_param(p->model, i);
            int64_t count = 0;
            if (q->stage == (int)s && q->kind != GRAFT_PARAM_STATISTIC &&
                graft_shape_count(&q->shape, &count))
                all += count;
        }
        out[s] = some == 0 ? '.' : some == all ? 'T' : 't';
    }
    return out;
}

static void plans_mark_stages(void **state) {
    room *r = *state;
    graft_model *m = open_model(r, RESNET, NULL); /* stem, stage1 .. stage4, head */
    static const struct {
        const char *plan, *stages;
    } cases[] = {
        {"head", ".....T"},          {"top:1", "....TT"},       {"top:5", "TTTTTT"},
        {"from:stage3", "...TTT"},   {"full", "TTTTTT"},        {"surgical:stage2", "..T..T"},
        {"surgical:head", ".....T"}, {"norm-only", "tttttT"},   {"bias-only", "tttttT"},
        {"bitfit", "tttttT"},        {"stage4,head", "....TT"}, {"stage[12],!stage2", ".T...T"},
        {"!stem", ".TTTTT"},         {"params:stem", "T....T"}, {"stage?,!*.bias,head", ".ttttT"},
    };
    for (size_t i = 0; i < GRAFT_COUNT(cases); i++) {
        planned p = plan(r, m, cases[i].plan);
        assert_int_equal(p.n, 1);
        assert_string_equal(p.text, cases[i].plan);
        if (strcmp(stages(r, &p, 0), cases[i].stages) != 0)
            fail_msg("%s marks %s, not %s", cases[i].plan, stages(r, &p, 0), cases[i].stages);
    }
    graft_model_close(m);
}

static void patterns_are_over_names_with_and_without_the_model_s_own(void **state) {
    room *r = *state;
    graft_model *m = open_model(r, BERT, NULL);
    planned with = plan(r, m, "bert.encoder.layer.1.*"), without = plan(r, m, "encoder.layer.1.*"),
            stage = plan(r, m, "layer1,head");
    for (size_t i = 0; i < graft_model_n_params(m); i++) {
        assert_int_equal(with.phases[0].trains[i], without.phases[0].trains[i]);
        assert_int_equal(with.phases[0].trains[i], stage.phases[0].trains[i]);
    }
    planned p = plan(r, m, "*.attention.self.query.*,!*.bias");
    assert_true(trains(&p, 0, "bert.encoder.layer.0.attention.self.query.weight"));
    assert_false(trains(&p, 0, "bert.encoder.layer.0.attention.self.query.bias"));
    assert_false(trains(&p, 0, "bert.encoder.layer.0.attention.self.key.weight"));
    assert_true(trains(&p, 0, "classifier.weight"));
    assert_false(trains(&p, 0, "classifier.bias")); /* taken away by name */
    graft_model_close(m);
}

static void a_norm_s_statistics_follow_its_scale(void **state) {
    room *r = *state;
    graft_model *m = open_model(r, RESNET, NULL);
    const char *stem = "resnet.embedder.embedder.normalization";
    static const struct {
        const char *plan;
        bool move;
    } cases[] = {{"head", false},
                 {"top:2", false},
                 {"full", true},
                 {"norm-only", true},
                 {"bias-only", false},
                 {"stem,head", true},
                 {"*.convolution.weight", false},
                 {"*normalization.bias", false},
                 {"*normalization.weight", true}};
    for (size_t i = 0; i < GRAFT_COUNT(cases); i++) {
        planned p = plan(r, m, cases[i].plan);
        assert_int_equal(trains(&p, 0, graft_arena_printf(r->arena, "%s.running_mean", stem)), cases[i].move);
        assert_int_equal(trains(&p, 0, graft_arena_printf(r->arena, "%s.running_var", stem)), cases[i].move);
    }
    graft_model_close(m);
}

static void bitfit_leaves_scales_and_norm_only_leaves_other_biases(void **state) {
    room *r = *state;
    graft_model *m = open_model(r, BERT, NULL);
    planned bias = plan(r, m, "bias-only"), norm = plan(r, m, "norm-only");
    assert_true(trains(&bias, 0, "bert.encoder.layer.0.output.LayerNorm.bias"));
    assert_false(trains(&bias, 0, "bert.encoder.layer.0.output.LayerNorm.weight"));
    assert_true(trains(&bias, 0, "bert.encoder.layer.0.output.dense.bias"));
    assert_true(trains(&norm, 0, "bert.encoder.layer.0.output.LayerNorm.bias"));
    assert_true(trains(&norm, 0, "bert.encoder.layer.0.output.LayerNorm.weight"));
    assert_false(trains(&norm, 0, "bert.encoder.layer.0.output.dense.bias"));
    graft_model_close(m);
}

static void encoders_train_all_layers_and_few_pictures_the_last_stage_unless_told_otherwise(void **state) {
    room *r = *state;
    graft_model *texts = open_model(r, BERT, NULL), *pictures = open_model(r, RESNET, NULL);
    assert_true(graft_model_n_stages(texts) > 3);
    assert_string_equal(plan(r, texts, NULL).text, "full");
    assert_string_equal(plan(r, pictures, NULL).text, "top:1");
    graft_model_close(texts);
    graft_model_close(pictures);
}

static void plans_of_several_phases(void **state) {
    room *r = *state;
    graft_model *m = open_model(r, RESNET, NULL);
    planned p = plan(r, m, "linear-probe-then-finetune"), q = plan(r, m, "lp-ft:top:2"),
            g = plan(r, m, "gradual:3"), s = plan(r, m, "head@3,stage4,!*.bias@5,lp-ft:surgical:stem");
    assert_int_equal(p.n, 2);
    assert_string_equal(stages(r, &p, 0), ".....T");
    assert_string_equal(stages(r, &p, 1), "TTTTTT");
    assert_string_equal(stages(r, &q, 1), "...TTT");
    assert_string_equal(q.phases[1].plan, "top:2");
    assert_int_equal(g.n, 6);
    for (size_t i = 0; i < g.n; i++) assert_int_equal(g.phases[i].epochs, i + 1 < g.n ? 3 : 0);
    assert_string_equal(stages(r, &g, 2), "...TTT");
    assert_string_equal(g.phases[0].plan, "head");
    assert_string_equal(g.phases[2].plan, "top:2");
    assert_string_equal(g.phases[5].plan, "full");
    assert_int_equal(s.n, 4);
    assert_int_equal(s.phases[0].epochs, 3);
    assert_int_equal(s.phases[1].epochs, 5);
    assert_string_equal(s.phases[1].plan, "stage4,!*.bias");
    assert_string_equal(stages(r, &s, 1), "....tt");
    assert_int_equal(s.phases[3].epochs, 0);
    assert_string_equal(stages(r, &s, 3), "T....T");
    graft_model_close(m);
}

/* A model whose head is new: freezing it is a mistake. */
static void a_plan_within_another_gets_its_adapters_too(void **state) {
    room *r = *state;
    graft_err err = {0};
    graft_model *m = open_model(r, BERT, NULL);
    assert_ok(graft_strategy_prepare(m, "lp-ft:lora:r=2,targets=query", 7, &err));
    assert_true(graft_model_n_adapted(m) > 0);
    planned p = plan(r, m, "lp-ft:lora:r=2,targets=query");
    assert_int_equal(p.n, 2);
    for (size_t i = 0; i < graft_model_n_params(m); i++) {
        const graft_param *q = graft_model_param(m, i);
        assert_int_equal(p.phases[0].trains[i], q->head);
        assert_int_equal(p.phases[1].trains[i], q->head || q->adapter);
    }
    graft_model_close(m);
}

static void what_no_plan_can_mean_is_told(void **state) {
    room *r = *state;
    graft_model *m = open_model(r, RESNET, NULL);
    graft_err err = {0};
    static const char *const names[] = {"x", "y"};
    static const char *const cases[][2] = {
        {"hed", "did you mean 'head'"},
        {"stage4", "from:stage4"},
        {"top:9", "1 to 5 stages"},
        {"top:x", "a number of stages"},
        {"from:stage9", "stem, stage1"},
        {"surgical", "no stage ''"},
        {"surgical:body", "stem, stage1"},
        {"full:1", "nothing after a colon"},
        {"norm-only:2", "nothing after a colon"},
        {"gradual:0", "epochs a stage"},
        {"gradual:1x", "epochs a stage"},
        {"encoder.stages.7.*", "encoder.stages.2.*"},
        {"stage4,stage7", "stage3"},
        {"*.running_mean", "running statistics alone"},
        {"stage4,!stage*", "leave one of them out"},
        {"head,full", "say their epochs"},
        {"stage4,,head", "an empty pattern"},
        {"!*", "nothing is left to train"},
        {"!head", "new and would stay random"},
        {"head@0,full", "at least one epoch"},
        {"head@99999999999999999999,full", "at least one epoch"},
        {"lp-ft@3,full", "is a schedule itself"},
        {"lp-ft:lp-ft", "probed once"},
        {"head@3,", "unknown plan ''"},
        {"", "unknown plan ''"},
        {"@3", "unknown plan ''"},
    };
    assert_ok(graft_model_head(m, "linear", names, 2, 0, NULL, &err));
    for (size_t i = 0; i < GRAFT_COUNT(cases); i++) {
        planned p;
        int rc = plan_of(&p, r, m, cases[i][0], &err);
        if (rc != GRAFT_EUSAGE) fail_msg("'%s' is taken for a plan", cases[i][0]);
        if (!strstr(err.message, cases[i][1])) fail_msg("'%s': %s", cases[i][0], err.message);
    }
    graft_model_close(m);
}

static void patterns_take_time_of_their_length_times_the_name_s(void **state) {
    room *r = *state;
    graft_model *m = open_model(r, RESNET, NULL);
    graft_err err = {0};
    char stars[4097];
    planned p;
    for (size_t i = 0; i + 1 < sizeof stars; i++) stars[i] = i % 2 ? '*' : 'e';
    stars[sizeof stars - 1] = '\0';
    assert_int_equal(plan_of(&p, r, m, stars, &err), GRAFT_EUSAGE);
    assert_int_equal(plan_of(&p, r, m, "[", &err), GRAFT_EUSAGE);
    assert_int_equal(plan_of(&p, r, m, "stage[", &err), GRAFT_EUSAGE);
    assert_int_equal(plan_of(&p, r, m, "[]]*", &err), GRAFT_EUSAGE);
    p = plan(r, m, "stage[!1-3]");
    assert_string_equal(stages(r, &p, 0), "....TT");
    graft_model_close(m);
}

/* ---- Gradients ---------------------------------------------------------------------------------------------- */

static graft_param_group plain(void *user, const char *param) {
    (void)user;
    (void)param;
    return (graft_param_group){.lr_scale = 1.0};
}

/* w - gradient of every marked parameter after one step of plain descent, by name; what is not marked is no
 * part of the state. */
static graft_state *one_step(room *r, graft_model *m, const char *text, bool statistics) {
    graft_err err = {0};
    planned p = plan(r, m, text);
    graft_graph *g = NULL;
    graft_state *state = NULL;
    graft_stepper s;
    size_t k = 0;
    graft_model_labels(m, &k);
    const graft_recipe recipe = {.loss = graft_loss_find("cross_entropy"),
                                 .optimiser = graft_optimiser_find("sgd"),
                                 .schedule = graft_schedule_find("constant"),
                                 .lr = 1.0,
                                 .epochs = 1,
                                 .n_classes = (int64_t)k,
                                 .batch = 6,
                                 .micro_batch = 6,
                                 .dtype = GRAFT_PRECISION_FP32,
                                 .group = plain};
    graft_tensors batches;
    assert_ok(graft_safetensors_open(&batches, r->arena, GOLDEN "train/batches.safetensors", &err));
    graft_tensor x = *tensor_named(&batches, "inputs");
    int32_t labels[6] = {0, 1, 2, 3, 4, 0};
    x.name = "pixel_values";
    x.size /= 2;
    x.shape = (graft_shape){4, {6, 3, x.shape.dims[3], x.shape.dims[4]}};
    const graft_batch b = {.n = 6, .inputs = &x, .n_inputs = 1, .labels = labels};
    assert_ok(graft_model_graph(&g, r->arena, m, x.shape.dims[2], x.shape.dims[3], &err));
    assert_ok(graft_mark_trained(g, m, &p.phases[0], statistics, &err));
    assert_ok(graft_state_new(&state, r->env, &err));
    assert_ok(graft_stepper_init(&s, g, state, &recipe, &err));
    assert_ok(graft_stepper_run(&s, &b, 0, 1, &err));
    graft_stepper_done(&s);
    return state;
}

static void only_what_is_marked_moves_and_by_the_full_gradient(void **state) {
    room *r = *state;
    graft_err err = {0};
    static const char *const plans[] = {
        "head",      "top:2",   "surgical:stem", "surgical:stage2",      "norm-only",
        "bias-only", "!*.bias", "stage2,stage4", "*.convolution.weight", "!stage3,!*normalization.weight"};
    graft_model *m = open_model(r, RESNET, NULL);
    graft_state *full = one_step(r, m, "full", false);
    for (size_t i = 0; i < GRAFT_COUNT(plans); i++) {
        planned p = plan(r, m, plans[i]);
        graft_state *some = one_step(r, m, plans[i], false);
        for (size_t k = 0; k < graft_model_n_params(m); k++) {
            const graft_param *q = graft_model_param(m, k);
            bool marked = p.phases[0].trains[k] && q->kind != GRAFT_PARAM_STATISTIC;
            if (!marked) {
                if (graft_state_shape(some, q->name)) fail_msg("%s: %s is in the state", plans[i], q->name);
                continue;
            }
            int64_t n = 0;
            double far = 0, scale = 1e-3;
            assert_true(graft_shape_count(&q->shape, &n));
            float *a = graft_arena_array(r->arena, (size_t)n, sizeof *a),
                  *b = graft_arena_array(r->arena, (size_t)n, sizeof *b);
            assert_ok(graft_state_read(some, q->name, a, (size_t)n, &err));
            assert_ok(graft_state_read(full, q->name, b, (size_t)n, &err));
            for (int64_t e = 0; e < n; e++) {
                far = fmax(far, fabs((double)a[e] - (double)b[e]));
                scale = fmax(scale, fabs((double)b[e]));
            }
            if (far > 2e-5 * scale)
                fail_msg("%s: %s is %g from that of a full step", plans[i], q->name, far / scale);
        }
        graft_state_free(some);
    }
    graft_state_free(full);
    graft_model_close(m);
}

/* With --norm train: the statistics of norms whose scale trains, and of no other. */
static void statistics_move_only_with_their_scale(void **state) {
    room *r = *state;
    static const char *const plans[] = {"head", "top:1", "surgical:stage2", "bias-only", "norm-only", "full"};
    graft_model *m = open_model(r, RESNET, NULL);
    for (size_t i = 0; i < GRAFT_COUNT(plans); i++) {
        planned p = plan(r, m, plans[i]);
        graft_state *s = one_step(r, m, plans[i], true);
        for (size_t k = 0; k < graft_model_n_params(m); k++) {
            const graft_param *q = graft_model_param(m, k);
            if (q->kind == GRAFT_PARAM_STATISTIC)
                assert_int_equal(graft_state_shape(s, q->name) != NULL, p.phases[0].trains[k]);
        }
        graft_state_free(s);
    }
    graft_model_close(m);
}

static void what_goes_on_with_a_plan_is_none_of_its_own(void **state) {
    (void)state;
    static const char *const cases[][2] = {{"lora:r=8", "rslora"},
                                           {"lora:rslora", "r=4@3"},
                                           {"lora:r=8,alpha=2", "targets=query+value"},
                                           {"head@1,lora:r=8", "rslora"},
                                           {"lp-ft:lora:r=8", "rslora"},
                                           {"layer4.*", "!*.bias"},
                                           {"head@3", "full"},
                                           {"nothing:r=8", "alpha=16"}};
    static const char *const others[][2] = {{"lora:r=8", "full"},     {"lora:r=8", "lora:r=4"},
                                            {"lora", "rslora"},       {"head", "rslora"},
                                            {"head@3,full", "top:1"}, {"top:1", "lora:r=4"}};
    for (size_t i = 0; i < GRAFT_COUNT(cases); i++)
        if (!graft_strategy_goes_on(cases[i][0], cases[i][1]))
            fail_msg("'%s' does not go on with '%s'", cases[i][0], cases[i][1]);
    for (size_t i = 0; i < GRAFT_COUNT(others); i++)
        if (graft_strategy_goes_on(others[i][0], others[i][1]))
            fail_msg("'%s' goes on with '%s'", others[i][0], others[i][1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        room_test(plans_mark_stages),
        room_test(patterns_are_over_names_with_and_without_the_model_s_own),
        room_test(a_norm_s_statistics_follow_its_scale),
        room_test(bitfit_leaves_scales_and_norm_only_leaves_other_biases),
        room_test(encoders_train_all_layers_and_few_pictures_the_last_stage_unless_told_otherwise),
        room_test(plans_of_several_phases),
        room_test(a_plan_within_another_gets_its_adapters_too),
        room_test(what_no_plan_can_mean_is_told),
        room_test(patterns_take_time_of_their_length_times_the_name_s),
        room_test(only_what_is_marked_moves_and_by_the_full_gradient),
        room_test(statistics_move_only_with_their_scale),
        cmocka_unit_test(what_goes_on_with_a_plan_is_none_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
