/* Fine-tuning steps on the CPU backend against PyTorch's, from resnet/train: losses of ten steps, and every
 * weight and running statistic after the first. */
#include "parity.h"

#include "learn/run.h"

typedef struct training {
    json_t *json;
    graft_tensors batches, golden;
    const char *name, *path;
    graft_model *model;
    graft_graph *graph;
    graft_recipe recipe;
    double decay;
} training;

static double real(const json_t *o, const char *key) {
    return json_number_value(json_object_get(o, key));
}

static graft_param_group every_parameter(void *user, const char *param) {
    (void)param;
    return (graft_param_group){.lr_scale = 1.0, .weight_decay = ((const training *)user)->decay};
}

static void read_case(training *t, parity *p, const char *folder) {
    graft_err err = {0};
    t->path = graft_arena_printf(p->arena, "%s/train/%s.json", folder, t->name);
    assert_ok(graft_json_read(&t->json, p->arena, t->path, &err));
    t->golden = tensors_of(p, graft_arena_printf(p->arena, "%s/train/%s.safetensors", folder, t->name));
    t->batches = tensors_of(p, path_in(p, folder, "train/batches.safetensors"));
    t->model = open_model(p, path_in(p, folder, json_string_value(json_object_get(t->json, "model"))));
}

/* Marks everything trained, running statistics only where the case says so. */
static void make_graph(training *t, parity *p) {
    graft_err err = {0};
    const graft_tensor *x = tensor_named(&t->batches, "inputs");
    bool statistics = !strcmp(json_string_value(json_object_get(t->json, "batch_norm")), "train");
    assert_ok(graft_model_graph(&t->graph, p->arena, t->model, x->shape.dims[3], x->shape.dims[4], &err));
    for (graft_value v = 0; v < (graft_value)graft_graph_n_values(t->graph); v++) {
        graft_value_info *info = graft_graph_value_mut(t->graph, v);
        if (info->kind != GRAFT_PARAM) continue;
        const graft_param *param = graft_model_find_param(t->model, info->name);
        if (!param) fail_msg("'%s' is not in the model", info->name);
        info->trained = statistics || param->kind != GRAFT_PARAM_STATISTIC;
    }
}

static void make_recipe(training *t, parity *p) {
    const json_t *o = json_object_get(t->json, "optimizer"), *betas = json_object_get(o, "betas");
    const json_t *weights = json_object_get(t->json, "class_weights");
    const graft_tensor *x = tensor_named(&t->batches, "inputs"), *soft = tensor_named(&t->batches, "soft");
    t->decay = real(o, "weight_decay");
    t->recipe = (graft_recipe){
        .loss = graft_loss_find("cross_entropy"),
        .optimiser = graft_optimiser_find(json_string_value(json_object_get(o, "kind"))),
        .schedule = graft_schedule_find("constant"),
        .lr = real(o, "lr"),
        .momentum = real(o, "momentum"),
        .nesterov = json_is_true(json_object_get(o, "nesterov")),
        .beta1 = json_number_value(json_array_get(betas, 0)),
        .beta2 = json_number_value(json_array_get(betas, 1)),
        .eps = real(o, "eps"),
        .clip_norm = real(t->json, "clip_norm"),
        .label_smoothing = real(t->json, "label_smoothing"),
        .epochs = 1,
        .n_classes = soft->shape.dims[2],
        .batch = x->shape.dims[1],
        .micro_batch = x->shape.dims[1],
        .dtype = GRAFT_F32,
        .group = every_parameter,
        .user = t,
    };
    assert_true(t->recipe.optimiser && t->recipe.loss && t->recipe.schedule);
    if (!json_is_array(weights)) return;
    float *w = graft_arena_array(p->arena, json_array_size(weights), sizeof *w);
    for (size_t i = 0; i < json_array_size(weights); i++)
        w[i] = (float)json_number_value(json_array_get(weights, i));
    t->recipe.class_weights = w;
}

/* Batch `step` mod their number, as the trainer would be given it. */
static graft_batch batch_of(const training *t, parity *p, size_t step) {
    const graft_tensor *x = tensor_named(&t->batches, "inputs"), *y = tensor_named(&t->batches, "labels"),
                       *soft = tensor_named(&t->batches, "soft");
    size_t n_batches = (size_t)x->shape.dims[0], i = step % n_batches, n = (size_t)x->shape.dims[1];
    size_t k = (size_t)soft->shape.dims[2];
    int32_t *labels = graft_arena_array(p->arena, n, sizeof *labels);
    graft_tensor *input = graft_arena_array(p->arena, 1, sizeof *input);
    for (size_t j = 0; j < n; j++) labels[j] = (int32_t)((const int64_t *)y->data)[i * n + j];
    *input = *x;
    input->name = "pixel_values";
    input->shape = (graft_shape){4, {x->shape.dims[1], x->shape.dims[2], x->shape.dims[3], x->shape.dims[4]}};
    input->size = x->size / n_batches;
    input->data = (const unsigned char *)x->data + i * input->size;
    bool is_soft = !strcmp(json_string_value(json_object_get(t->json, "targets")), "soft");
    return (graft_batch){.n = (int64_t)n,
                         .inputs = input,
                         .n_inputs = 1,
                         .labels = labels,
                         .targets = is_soft ? (const float *)soft->data + i * n * k : NULL};
}

/* The worst difference of what the first step changed; *worst_name says where it is. */
static double compare_weights(const training *t, parity *p, const graft_state *state,
                              const char **worst_name) {
    static const char prefix[] = "after.", counter[] = "num_batches_tracked";
    graft_err err = {0};
    double worst = 0.0;
    size_t n_compared = 0;
    for (size_t i = 0; i < t->golden.n_items; i++) {
        const graft_tensor *want = &t->golden.items[i];
        size_t length = strlen(want->name);
        if (strncmp(want->name, prefix, strlen(prefix)) != 0) continue;
        if (length > strlen(counter) && !strcmp(want->name + length - strlen(counter), counter)) continue;
        size_t count = want->size / sizeof(float);
        float *got = graft_arena_array(p->arena, count, sizeof *got);
        assert_ok(graft_state_read(state, want->name + strlen(prefix), got, count, &err));
        double d = difference(got, want);
        if (!(d <= worst)) {
            worst = d;
            *worst_name = want->name + strlen(prefix);
        }
        n_compared++;
    }
    assert_true(n_compared > 10);
    return worst;
}

/* How a step is computed, which must not change what it gives. */
typedef struct variation {
    int64_t micro_batch; /* 0: the batch at once */
    int segments;        /* of recomputation; 0: none */
} variation;

static void run_case(parity *p, const char *folder, const char *name, variation v) {
    training t = {.name = name};
    graft_err err = {0};
    graft_state *state = NULL;
    graft_stepper stepper;
    const char *where = "";
    double weights = 0.0, drift = 0.0, logits = 0.0;
    read_case(&t, p, folder);
    make_graph(&t, p);
    make_recipe(&t, p);
    if (v.micro_batch) t.recipe.micro_batch = v.micro_batch;
    t.recipe.segments = v.segments;
    assert_ok(graft_state_new(&state, p->env, &err));
    assert_ok(graft_stepper_init(&stepper, t.graph, state, &t.recipe, &err));
    const float *losses = tensor_named(&t.golden, "losses")->data;
    size_t n_steps = (size_t)json_integer_value(json_object_get(t.json, "steps"));
    for (size_t step = 0; step < n_steps; step++) {
        graft_batch batch = batch_of(&t, p, step);
        assert_ok(graft_stepper_run(&stepper, &batch, (int64_t)step, (int64_t)n_steps, &err));
        drift = fmax(drift, fabs(stepper.loss - (double)losses[step]) / fabs((double)losses[step]));
        if (step > 0) continue;
        size_t count = 0;
        const float *z = graft_program_output(stepper.step.programs[0], "logits", &count);
        if (!v.micro_batch) logits = difference(z, tensor_named(&t.golden, "logits"));
        weights = compare_weights(&t, p, state, &where);
    }
    print_message("%-28s logits %.1e  weights after one step %.1e (%s)  losses of %zu steps %.1e\n", name,
                  logits, weights, where, n_steps, drift);
    assert_true(logits <= 1e-4);
    assert_true(weights <= 1e-4);
    assert_true(drift <= 1e-3);
    graft_stepper_done(&stepper);
    graft_state_free(state);
    graft_model_close(t.model);
}

static void run_folder(parity *p, const char *folder) {
    char **names = names_in(p, path_in(p, folder, "train"), ".json");
    if (!names[0]) fail_msg("%s/train holds no case", folder);
    for (; *names; names++) run_case(p, folder, *names, (variation){0});
}

static void ten_steps_are_those_of_pytorch(void **state) {
    run_folder(*state, GOLDEN);
}

static void gathered_gradients_are_those_of_the_whole_batch(void **state) {
    static const char *const cases[] = {"sgd_frozen_bn", "adamw_frozen_bn_clip"}; /* no batch statistics */
    for (size_t i = 0; i < GRAFT_COUNT(cases); i++)
        for (int64_t micro = 1; micro <= 3; micro++)
            run_case(*state, GOLDEN, cases[i], (variation){micro, 0});
}

static void recomputed_activations_change_nothing(void **state) {
    for (int segments = 2; segments <= 4; segments++)
        run_case(*state, GOLDEN, "sgd_nesterov", (variation){0, segments});
}

static void ten_steps_at_full_size_are_those_of_pytorch(void **state) {
    if (!full_size()) {
        print_message(
            "skipped: GRAFT_PARITY_DIR names no folder made by tests/parity/resnet/make.py --full\n");
        skip();
    }
    run_folder(*state, full_size());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        parity_test(ten_steps_are_those_of_pytorch),
        parity_test(gathered_gradients_are_those_of_the_whole_batch),
        parity_test(recomputed_activations_change_nothing),
        parity_test(ten_steps_at_full_size_are_those_of_pytorch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
