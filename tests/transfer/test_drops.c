/* What is dropped in training: stochastic depth and a dropout of one's own, where they stand and where not,
 * and R-Drop's batches in which every sample stands twice. */
#include "graph/op.h"
#include "learn/run.h"
#include "model/text_room.h"

static graft_model *model_of(room *r, const char *folder, double dropout, double drop_path) {
    graft_model *m = open_model(r, folder, NULL);
    graft_model_set_drops(m, dropout, drop_path);
    graft_model_set_dropout(m, true);
    return m;
}

static graft_graph *graph_of(room *r, const graft_model *m) {
    graft_graph *g = NULL;
    graft_err err = {0};
    assert_ok(graft_model_graph(&g, r->arena, m, 33, 29, &err));
    return g;
}

/* Shares of the nodes of `op`, in order; *n of them. */
static double *shares_of(room *r, const graft_graph *g, const graft_op *op, size_t *n) {
    double *p = graft_arena_array(r->arena, graft_graph_n_nodes(g) + 1, sizeof *p);
    *n = 0;
    for (size_t i = 0; i < graft_graph_n_nodes(g); i++) {
        const graft_node *node = graft_graph_node_at(g, i);
        if (node->op == op) p[(*n)++] = ((const graft_dropout_attr *)node->attr)->p;
    }
    return p;
}

static void stochastic_depth_grows_evenly_to_the_last_branch(void **state) {
    room *r = *state;
    static const struct {
        const char *folder;
        size_t blocks, branches; /* branches a block */
    } models[] = {{GOLDEN "hf_basic", 5, 1},
                  {TEXT_GOLDEN "bert_classes", 0, 2},
                  {TEXT_GOLDEN "gpt2_classes", 0, 2},
                  {TEXT_GOLDEN "distilbert_classes", 0, 2}};
    for (size_t i = 0; i < GRAFT_COUNT(models); i++) {
        graft_model *m = model_of(r, models[i].folder, -1, 0.4);
        size_t n = 0, none = 0, blocks = models[i].blocks ? models[i].blocks : graft_model_n_stages(m) - 2;
        const double *p = shares_of(r, graph_of(r, m), &graft_op_drop_path, &n);
        assert_int_equal(n, blocks * models[i].branches);
        for (size_t k = 0; k < n; k++)
            assert_true(fabs(p[k] - 0.4 * (double)(k / models[i].branches + 1) / (double)blocks) < 1e-12);
        graft_model_set_dropout(m, false);
        shares_of(r, graph_of(r, m), &graft_op_drop_path, &none);
        assert_int_equal(none, 0);
        graft_model_close(m);
    }
}

static void a_dropout_of_ones_own_holds_everywhere_and_before_the_head(void **state) {
    room *r = *state;
    static const char *const folders[] = {GOLDEN "hf_basic", TEXT_GOLDEN "bert_classes",
                                          TEXT_GOLDEN "sentence_mean_unit"};
    for (size_t i = 0; i < GRAFT_COUNT(folders); i++) {
        size_t n = 0, with = 0;
        graft_model *m = model_of(r, folders[i], -1, 0);
        shares_of(r, graph_of(r, m), &graft_op_dropout, &n);
        graft_model_set_drops(m, 0.3, 0);
        const double *p = shares_of(r, graph_of(r, m), &graft_op_dropout, &with);
        assert_int_equal(with, i == 1 ? n : n + 1); /* the pooler of BERT drops what the head reads already */
        for (size_t k = 0; k < with; k++) assert_true(fabs(p[k] - 0.3) < 1e-12);
        graft_model_set_drops(m, 0, 0);
        shares_of(r, graph_of(r, m), &graft_op_dropout, &with);
        assert_int_equal(with, 0);
        graft_model_close(m);
    }
}

static void features_of_a_frozen_model_are_dropped_where_asked(void **state) {
    room *r = *state;
    graft_model *m = model_of(r, GOLDEN "hf_basic", 0.3, 0.5);
    graft_graph *g = graph_of(r, m);
    graft_plan plan;
    size_t n_drops = 0;
    for (size_t v = 0; v < graft_graph_n_values(g); v++) {
        graft_value_info *info = graft_graph_value_mut(g, (graft_value)v);
        if (info->kind == GRAFT_PARAM) info->trained = graft_model_find_param(m, info->name)->head;
    }
    assert_int_equal(graft_plan_derive(&plan, r->arena, g, NULL), 0);
    assert_int_equal(plan.n_suffix, 2); /* a dropout and the classifier; no branch of the frozen part */
    for (size_t i = 0; i < graft_graph_n_nodes(g); i++)
        n_drops += !plan.prefix[i] && graft_graph_node_at(g, i)->op == &graft_op_dropout;
    assert_int_equal(n_drops, 1);
    graft_model_close(m);
}

static void without_dropout_nothing_is_left_of_either(void **state) {
    room *r = *state;
    graft_model *m = model_of(r, TEXT_GOLDEN "bert_classes", 0.3, 0.5);
    graft_graph *g = graph_of(r, m), *still = NULL;
    size_t n = 0;
    graft_err err = {0};
    assert_ok(graft_graph_without_dropout(&still, r->arena, g, &err));
    shares_of(r, still, &graft_op_drop_path, &n);
    assert_int_equal(n, 0);
    assert_int_equal(graft_graph_find(still, "seed"), GRAFT_NONE);
    graft_model_close(m);
}

/* ---- Twins ------------------------------------------------------------------------------------------------ */

static void every_sample_stands_twice_one_after_the_other(void **state) {
    (void)state;
    const int32_t ids[] = {7, 8, 9, 1, 2}, spans[] = {0, 3, 3, 2}, labels[] = {4, 6};
    const float x[] = {0.5F, 1, 2, 3}, targets[] = {0.25F, 0.75F, 1, 0};
    const graft_tensor input = {.name = "x", .shape = {2, {2, 2}}, .data = x, .size = sizeof x},
                       tokens = {.name = "ids",
                                 .dtype = GRAFT_I32,
                                 .shape = {1, {5}},
                                 .data = ids,
                                 .size = sizeof ids};
    const graft_batch b = {.n = 2,
                           .inputs = &input,
                           .n_inputs = 1,
                           .labels = labels,
                           .targets = targets,
                           .n_tokens = 5,
                           .token_inputs = &tokens,
                           .n_token_inputs = 1,
                           .spans = spans};
    static const int32_t twice_ids[] = {7, 8, 9, 7, 8, 9, 1, 2, 1, 2},
                         twice_spans[] = {0, 3, 3, 3, 6, 2, 8, 2}, twice_labels[] = {4, 4, 6, 6};
    static const float twice_x[] = {0.5F, 1, 0.5F, 1, 2, 3, 2, 3},
                       twice_targets[] = {0.25F, 0.75F, 0.25F, 0.75F, 1, 0, 1, 0};
    graft_twins t = {0};
    for (int again = 0; again < 2; again++) {
        graft_batch out;
        graft_err err = {0};
        assert_ok(graft_twins_put(&t, &out, &b, 2, &err));
        assert_int_equal(out.n, 4);
        assert_int_equal(out.n_tokens, 10);
        assert_int_equal(out.inputs[0].shape.dims[0], 4);
        assert_int_equal(out.token_inputs[0].shape.dims[0], 10);
        assert_memory_equal(out.inputs[0].data, twice_x, sizeof twice_x);
        assert_memory_equal(out.token_inputs[0].data, twice_ids, sizeof twice_ids);
        assert_memory_equal(out.spans, twice_spans, sizeof twice_spans);
        assert_memory_equal(out.labels, twice_labels, sizeof twice_labels);
        assert_memory_equal(out.targets, twice_targets, sizeof twice_targets);
    }
    graft_twins_done(&t);
}

static graft_param_group alike(void *user, const char *param) {
    (void)user;
    (void)param;
    return (graft_param_group){1.0, 0.0};
}

/* The batch 0 of tests/parity/text/train as classes. */
static graft_batch text_batch(room *r) {
    graft_tensors *ts = graft_arena_alloc(r->arena, sizeof *ts);
    graft_err err = {0};
    assert_ok(graft_safetensors_open(ts, r->arena, TEXT_GOLDEN "train/batches.safetensors", &err));
    const graft_feed f = feed_of(r, ts, "0.");
    int32_t *labels = graft_arena_array(r->arena, (size_t)f.n, sizeof *labels);
    for (int64_t i = 0; i < f.n; i++) labels[i] = (int32_t)(i % 3);
    return (graft_batch){.n = f.n,
                         .n_tokens = f.n_tokens,
                         .token_inputs = f.token_inputs,
                         .n_token_inputs = f.n_token_inputs,
                         .spans = f.spans,
                         .labels = labels};
}

/* Three updates of bert_classes; losses[i] before each. */
static int three_updates(room *r, double dropout, double r_drop, int64_t micro_batch, double losses[3],
                         size_t *memory, graft_err *err) {
    graft_model *m = model_of(r, TEXT_GOLDEN "bert_classes", dropout, 0.2);
    if (!(dropout > 0)) graft_model_set_drops(m, 0, 0);
    graft_graph *g = graph_of(r, m);
    const graft_batch b = text_batch(r);
    graft_state *state = NULL;
    graft_stepper s = {0};
    size_t k = 0;
    for (size_t v = 0; v < graft_graph_n_values(g); v++) {
        graft_value_info *info = graft_graph_value_mut(g, (graft_value)v);
        info->trained = info->kind == GRAFT_PARAM;
    }
    graft_model_labels(m, &k);
    const graft_recipe recipe = {.loss = graft_loss_find("cross_entropy"),
                                 .optimiser = graft_optimiser_find("adamw"),
                                 .schedule = graft_schedule_find("constant"),
                                 .lr = 1e-3,
                                 .beta1 = 0.9,
                                 .beta2 = 0.999,
                                 .eps = 1e-6,
                                 .epochs = 1,
                                 .n_classes = (int64_t)k,
                                 .tokens = b.n_tokens,
                                 .batch = b.n,
                                 .micro_batch = micro_batch ? micro_batch : b.n,
                                 .r_drop = r_drop,
                                 .dtype = GRAFT_PRECISION_FP32,
                                 .seed = 5,
                                 .group = alike};
    int rc = graft_state_new(&state, r->env, err);
    if (rc == 0) rc = graft_learn_memory(memory, r->env, g, &recipe, err);
    if (rc == 0) rc = graft_stepper_init(&s, g, state, &recipe, err);
    for (int64_t i = 0; i < 3 && rc == 0; i++) {
        rc = graft_stepper_run(&s, &b, i, 3, err);
        losses[i] = s.loss;
    }
    if (s.arena) graft_stepper_done(&s);
    graft_state_free(state);
    graft_model_close(m);
    return rc;
}

static void two_dropouts_of_a_sample_are_compared(void **state) {
    room *r = *state;
    graft_err err = {0};
    double plain[3], twins[3], again[3], parts[3];
    size_t memory = 0, twice = 0;
    assert_ok(three_updates(r, 0.2, 1e-9, 0, plain, &memory, &err));
    assert_ok(three_updates(r, 0.2, 5, 0, twins, &twice, &err));
    assert_ok(three_updates(r, 0.2, 5, 0, again, &twice, &err));
    assert_memory_equal(twins, again, sizeof twins);
    assert_true(twins[0] > plain[0] + 1e-3); /* the two differ, and that costs */
    assert_ok(three_updates(r, 0.2, 5, 2, parts, &twice, &err));
    for (int i = 0; i < 3; i++) assert_true(isfinite(parts[i]) && parts[i] > 0);
    assert_ok(three_updates(r, 0.2, 0, 0, plain, &memory, &err));
    assert_ok(three_updates(r, 0.2, 5, 0, again, &twice, &err));
    assert_true(twice > memory);
}

static void without_dropout_there_is_nothing_to_compare(void **state) {
    graft_err err = {0};
    double losses[3];
    size_t memory = 0;
    assert_error(three_updates(*state, 0, 1, 0, losses, &memory, &err), GRAFT_EUSAGE, "--dropout");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        room_test(stochastic_depth_grows_evenly_to_the_last_branch),
        room_test(a_dropout_of_ones_own_holds_everywhere_and_before_the_head),
        room_test(features_of_a_frozen_model_are_dropped_where_asked),
        room_test(without_dropout_nothing_is_left_of_either),
        room_test(every_sample_stands_twice_one_after_the_other),
        room_test(two_dropouts_of_a_sample_are_compared),
        room_test(without_dropout_there_is_nothing_to_compare),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
