/* Training in phases against PyTorch's in double precision (tests/parity/resnet/phases.py): linear probe then
 * fine-tuning, gradual unfreezing, parameters that rest for a phase, and plans that mark parts of a stage.
 * What is handed from phase to phase goes through the fit driver's own relay. */
#include "learn/run.h"
#include "model/model_room.h"
#include "transfer/fit.h"

typedef struct golden_run {
    room *r;
    json_t *json;
    graft_tensors batches, gold;
    graft_job job;
    double weight_decay;
    int64_t step; /* of the whole run */
    double worst_loss, worst_weight;
    size_t n_compared;
} golden_run;

static double number(const json_t *o, const char *key, double absent) {
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : absent;
}

static graft_param_group group_of(void *user, const char *param) {
    const golden_run *g = user;
    return (graft_param_group){.lr_scale = 1.0,
                               .weight_decay = g->weight_decay,
                               .steps_before = graft_relay_steps(&g->job.relay, g->job.model, param)};
}

static void read_recipe(golden_run *g) {
    const json_t *o = json_object_get(g->json, "optimizer"), *betas = json_object_get(o, "betas");
    const graft_tensor *labels = tensor_named(&g->batches, "labels");
    size_t n_classes = 0;
    graft_model_labels(g->job.model, &n_classes);
    g->weight_decay = number(o, "weight_decay", 0);
    g->job.recipe = (graft_recipe){
        .loss = graft_loss_find("cross_entropy"),
        .optimiser = graft_optimiser_find(json_string_value(json_object_get(o, "kind"))),
        .schedule = graft_schedule_find("constant"),
        .lr = number(o, "lr", 0),
        .momentum = number(o, "momentum", 0),
        .nesterov = json_is_true(json_object_get(o, "nesterov")),
        .beta1 = json_number_value(json_array_get(betas, 0)),
        .beta2 = json_number_value(json_array_get(betas, 1)),
        .eps = number(o, "eps", 0),
        .clip_norm = number(g->json, "clip_norm", 0),
        .epochs = 1,
        .n_classes = (int64_t)n_classes,
        .batch = labels->shape.dims[1],
        .micro_batch = labels->shape.dims[1],
        .dtype = GRAFT_PRECISION_FP32,
        .group = group_of,
        .user = g,
    };
}

static void open_run(golden_run *g, room *r, const char *name) {
    graft_err err = {0};
    const char *root = "tests/parity/resnet", *folder = "tests/parity/resnet/phases";
    *g = (golden_run){.r = r, .job = {.env = r->env, .arena = r->arena}};
    g->json = read_json(r, graft_arena_printf(r->arena, "%s/%s.json", folder, name));
    assert_ok(
        graft_safetensors_open(&g->batches, r->arena, file_of(r, root, "train/batches.safetensors"), &err));
    assert_ok(graft_safetensors_open(&g->gold, r->arena,
                                     graft_arena_printf(r->arena, "%s/%s.safetensors", folder, name), &err));
    graft_job *j = &g->job;
    j->model = open_model(r, file_of(r, root, "hf_basic"), NULL);
    j->train_statistics = strcmp(json_string_value(json_object_get(g->json, "batch_norm")), "train") == 0;
    const json_t *phases = json_object_get(g->json, "phases");
    graft_buf plan;
    graft_buf_init(&plan, 0);
    for (size_t i = 0; i < json_array_size(phases); i++) {
        const json_t *phase = json_array_get(phases, i);
        graft_buf_printf(&plan, "%s%s@%d", i ? "," : "", json_string_value(json_array_get(phase, 0)),
                         (int)json_integer_value(json_array_get(phase, 1)));
    }
    const graft_evidence evidence = {0};
    assert_ok(graft_strategy_phases(&j->phases, &j->n_phases, &j->plan, r->arena, j->model, plan.data,
                                    &evidence, &err));
    graft_buf_done(&plan);
    j->choices = graft_arena_array(r->arena, j->n_phases, sizeof *j->choices);
    j->records = graft_arena_array(r->arena, j->n_phases, sizeof *j->records);
    for (size_t i = 0; i < j->n_phases; i++) j->choices[i].epochs = 1;
    read_recipe(g);
    assert_ok(graft_runlog_open(&j->log, NULL, &err));
    assert_ok(graft_relay_open(j, &err));
}

static graft_batch batch_at(const golden_run *g, int64_t s) {
    const graft_tensor *x = tensor_named(&g->batches, "inputs"), *l = tensor_named(&g->batches, "labels");
    int64_t n = x->shape.dims[1], at = s % x->shape.dims[0];
    size_t size = x->size / (size_t)x->shape.dims[0];
    graft_tensor *input = graft_arena_alloc(g->r->arena, sizeof *input);
    *input = (graft_tensor){.name = "pixel_values",
                            .dtype = GRAFT_F32,
                            .shape = {4, {n, x->shape.dims[2], x->shape.dims[3], x->shape.dims[4]}},
                            .data = (const char *)x->data + (size_t)at * size,
                            .size = size};
    int32_t *labels = graft_arena_array(g->r->arena, (size_t)n, sizeof *labels);
    for (int64_t i = 0; i < n; i++) {
        int64_t label;
        memcpy(&label, (const char *)l->data + (size_t)(at * n + i) * sizeof label, sizeof label);
        labels[i] = (int32_t)label;
    }
    return (graft_batch){.n = n, .inputs = input, .n_inputs = 1, .labels = labels};
}

/* Largest difference in units of the golden tensor's largest magnitude. */
static double difference(const float *a, const void *golden, size_t n) {
    double far = 0, scale = 0;
    for (size_t i = 0; i < n; i++) {
        float b;
        memcpy(&b, (const char *)golden + i * sizeof b, sizeof b);
        far = fmax(far, fabs((double)a[i] - (double)b));
        scale = fmax(scale, fabs((double)b));
    }
    return scale > 0 ? far / scale : far;
}

/* Every parameter, trained in this phase or in another or never, against PyTorch's after the same step. */
static void compare_weights(golden_run *g, const graft_graph *graph, const graft_state *state) {
    graft_err err = {0};
    for (size_t i = 0; i < graft_model_n_params(g->job.model); i++) {
        const graft_param *p = graft_model_param(g->job.model, i);
        const graft_value_info *info = graft_graph_value(graph, graft_graph_find(graph, p->name));
        const graft_tensor *gold =
            graft_tensors_find(&g->gold, graft_arena_printf(g->r->arena, "after.%s", p->name));
        int64_t n = 0;
        assert_true(graft_shape_count(&p->shape, &n));
        float *values = graft_arena_array(g->r->arena, (size_t)n + 1, sizeof *values);
        if (info->trained) {
            if (!gold) fail_msg("%s trains, and PyTorch's has not moved", p->name);
            assert_ok(graft_state_read(state, p->name, values, (size_t)n, &err));
        } else {
            assert_null(graft_state_shape(state, p->name));
            assert_ok(graft_model_get(g->job.model, p->name, values, (size_t)n, &err));
        }
        if (!gold && !graft_model_is_read(g->job.model, p->name))
            fail_msg("%s is not the file's any more, PyTorch's is", p->name);
        if (!gold) continue;
        double d = difference(values, gold->data, (size_t)n);
        if (d > g->worst_weight) g->worst_weight = d;
        if (d > 1e-5) fail_msg("%s differs by %g", p->name, d);
        g->n_compared++;
    }
}

static void run_phase(golden_run *g, size_t i) {
    graft_err err = {0};
    graft_job *j = &g->job;
    graft_graph *graph = NULL;
    graft_state *state = NULL;
    graft_stepper stepper;
    graft_best trained;
    graft_shelf *last = NULL;
    const graft_tensor *x = tensor_named(&g->batches, "inputs"), *losses = tensor_named(&g->gold, "losses");
    int64_t n = j->phases[i].epochs; /* an epoch is a step here */
    assert_ok(graft_model_graph(&graph, g->r->arena, j->model, x->shape.dims[3], x->shape.dims[4], &err));
    assert_ok(graft_mark_trained(graph, j->model, &j->phases[i], j->train_statistics, &err));
    assert_ok(graft_state_new(&state, j->env, &err));
    assert_ok(graft_relay_moments(j, i, state, &err));
    assert_ok(graft_stepper_init(&stepper, graph, state, &j->recipe, &err));
    assert_ok(graft_best_init(&trained, g->r->arena, graph, false, &err));
    for (int64_t s = 0; s < n; s++) {
        graft_batch b = batch_at(g, g->step);
        assert_ok(graft_stepper_run(&stepper, &b, s, n, &err));
        float gold;
        memcpy(&gold, (const float *)losses->data + g->step++, sizeof gold);
        double d = fabs(stepper.loss - (double)gold) / fabs((double)gold);
        if (d > g->worst_loss) g->worst_loss = d;
        if (d > 1e-5)
            fail_msg("step %d: loss %.8g, PyTorch's is %.8g", (int)g->step, stepper.loss, (double)gold);
        if (s == 0 && i + 1 == j->n_phases) compare_weights(g, graph, state);
    }
    assert_ok(graft_shelf_new(&last, &err));
    assert_ok(graft_best_shelve(&trained, last, state, &err));
    graft_epoch history = {.epoch = 1};
    const graft_training done = {.history = &history, .n_epochs = 1, .n_steps = n};
    assert_ok(graft_relay_take(j, i, graph, state, last, &done, &err));
    graft_shelf_free(last);
    graft_stepper_done(&stepper);
    graft_state_free(state);
}

static void phases_are_pytorch_s(void **state) {
    static const char *const names[] = {"lp_ft_adamw", "lp_ft_sgd",     "gradual_adamw", "gradual_sgd",
                                        "norm_only",   "resting_adamw", "bias_only",     "surgical"};
    for (size_t i = 0; i < GRAFT_COUNT(names); i++) {
        golden_run g;
        open_run(&g, *state, names[i]);
        for (size_t k = 0; k < g.job.n_phases; k++) run_phase(&g, k);
        assert_int_equal(g.n_compared, number(g.json, "n_changed", 0));
        print_message("%-14s losses within %.1e, weights within %.1e\n", names[i], g.worst_loss,
                      g.worst_weight);
        graft_relay_close(&g.job.relay);
        graft_runlog_close(g.job.log);
        graft_model_close(g.job.model);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {room_test(phases_are_pytorch_s)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
