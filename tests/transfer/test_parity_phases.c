/* Training in phases against PyTorch's in double precision (tests/parity/resnet/phases.py): linear probe then
 * fine-tuning, gradual unfreezing, parameters that rest for a phase, and plans that mark parts of a stage.
 * What is handed from phase to phase goes through the fit driver's own relay. */
#include "learn/golden_steps.h"
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

static graft_param_group group_of(void *user, const char *param) {
    const golden_run *g = user;
    return (graft_param_group){.lr_scale = 1.0,
                               .weight_decay = g->weight_decay,
                               .steps_before = graft_relay_steps(&g->job.relay, g->job.model, param)};
}

static void read_recipe(golden_run *g) {
    size_t n_classes = 0;
    graft_model_labels(g->job.model, &n_classes);
    g->weight_decay = golden_decay(g->json);
    g->job.recipe = golden_recipe(g->json, tensor_named(&g->batches, "labels")->shape.dims[1]);
    g->job.recipe.n_classes = (int64_t)n_classes;
    g->job.recipe.group = group_of;
    g->job.recipe.user = g;
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
    bool statistics = strcmp(json_string_value(json_object_get(g->json, "batch_norm")), "train") == 0;
    for (size_t i = 0; i < j->n_phases; i++)
        j->choices[i] = (graft_phase_choice){.epochs = 1, .statistics = statistics};
    read_recipe(g);
    assert_ok(graft_runlog_open(&j->log, NULL, &err));
    assert_ok(graft_relay_open(j, &err));
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
        double d = room_worst(values, gold->data, (size_t)n);
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
    assert_ok(graft_mark_trained(graph, j->model, &j->phases[i], j->choices[i].statistics, &err));
    assert_ok(graft_state_new(&state, j->env, &err));
    assert_ok(graft_relay_moments(j, i, state, &err));
    assert_ok(graft_stepper_init(&stepper, graph, state, &j->recipe, &err));
    assert_ok(graft_best_init(&trained, g->r->arena, graph, false, &err));
    for (int64_t s = 0; s < n; s++) {
        graft_batch b = golden_pictures(g->r, &g->batches, g->step);
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
        assert_int_equal(g.n_compared, golden_number(g.json, "n_changed"));
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
