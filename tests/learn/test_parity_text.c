/* Fine-tuning steps of text models against PyTorch's in double precision (tests/parity/README.md): ten
 * losses, and every tensor that the first step changes; the same in micro-batches. */
#include "learn/run.h"
#include "model/text_room.h"

#define TRAIN TEXT_GOLDEN "train/"

typedef struct golden_case {
    room *r;
    const char *name;
    json_t *json;
    graft_tensors batches, gold;
    graft_model *model;
    graft_graph *graph;
    graft_recipe recipe;
    double weight_decay;
    const char *task;
    size_t n_trained;
    int64_t n_batches;
} golden_case;

static double number(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : 0.0;
}

static graft_param_group same_for_all(void *user, const char *param) {
    (void)param;
    return (graft_param_group){1.0, ((const golden_case *)user)->weight_decay};
}

/* Everything, or adapters and head where the model has adapters. */
static void mark(golden_case *c) {
    for (size_t v = 0; v < graft_graph_n_values(c->graph); v++) {
        graft_value_info *info = graft_graph_value_mut(c->graph, (graft_value)v);
        if (info->kind != GRAFT_PARAM) continue;
        const graft_param *p = graft_model_find_param(c->model, info->name);
        bool own = p->adapter || (p->head && !p->joins);
        info->trained = own || !graft_model_n_adapted(c->model);
        c->n_trained += info->trained;
    }
}

static const char *loss_of(graft_task task) {
    static const char *const losses[] = {[GRAFT_TASK_CLASSES] = "cross_entropy",
                                         [GRAFT_TASK_MULTILABEL] = "bce",
                                         [GRAFT_TASK_REGRESSION] = "mse",
                                         [GRAFT_TASK_TAGGING] = "cross_entropy"};
    return losses[task];
}

static const graft_tensor *of_batch(const golden_case *c, int64_t b, const char *name) {
    char prefix[24];
    snprintf(prefix, sizeof prefix, "%d.", (int)b);
    return tensor_or_null(&c->batches, prefix, name);
}

static void read_recipe(golden_case *c) {
    const json_t *o = json_object_get(c->json, "optimizer"), *betas = json_object_get(o, "betas");
    size_t k = 0;
    graft_model_labels(c->model, &k);
    int64_t n = of_batch(c, 0, "spans")->shape.dims[0];
    c->weight_decay = number(o, "weight_decay");
    c->recipe = (graft_recipe){
        .loss = graft_loss_find(loss_of(graft_model_task(c->model))),
        .optimiser = graft_optimiser_find(json_string_value(json_object_get(o, "kind"))),
        .schedule = graft_schedule_find("constant"),
        .lr = number(o, "lr"),
        .beta1 = json_number_value(json_array_get(betas, 0)),
        .beta2 = json_number_value(json_array_get(betas, 1)),
        .eps = number(o, "eps"),
        .clip_norm = number(c->json, "clip_norm"),
        .epochs = 1,
        .task = graft_model_task(c->model),
        .n_classes = (int64_t)k,
        .tokens = 64,
        .batch = n,
        .micro_batch = n,
        .dtype = GRAFT_PRECISION_FP32,
        .group = same_for_all,
        .user = c,
    };
    assert_non_null(c->recipe.optimiser);
}

static void open_case(golden_case *c, room *r, const char *name) {
    graft_err err = {0};
    const char *json = graft_arena_printf(r->arena, TRAIN "%s.json", name),
               *gold = graft_arena_printf(r->arena, TRAIN "%s.safetensors", name);
    *c = (golden_case){.r = r, .name = name, .json = read_json(r, json)};
    const char *batches = json_string_value(json_object_get(c->json, "batches"));
    assert_ok(graft_safetensors_open(&c->batches, r->arena, file_of(r, TRAIN, batches), &err));
    assert_ok(graft_safetensors_open(&c->gold, r->arena, gold, &err));
    c->task = json_string_value(json_object_get(c->json, "task"));
    c->model = open_model(r, text_golden(r, json_string_value(json_object_get(c->json, "model"))), NULL);
    assert_ok(graft_model_graph(&c->graph, r->arena, c->model, 0, 0, &err));
    while (of_batch(c, c->n_batches, "spans")) c->n_batches++;
    mark(c);
    read_recipe(c);
}

static int32_t *labels_of(const golden_case *c, int64_t b) {
    const graft_tensor *t = of_batch(c, b, c->task);
    int32_t *out = graft_arena_array(c->r->arena, (size_t)t->shape.dims[0], sizeof *out);
    for (int64_t i = 0; i < t->shape.dims[0]; i++) {
        int64_t label;
        memcpy(&label, (const char *)t->data + (size_t)i * sizeof label, sizeof label);
        out[i] = (int32_t)label;
    }
    return out;
}

/* Batch s of the case; everything lives in the arena. */
static graft_batch batch_at(const golden_case *c, int64_t s) {
    int64_t b = s % c->n_batches;
    char prefix[24];
    snprintf(prefix, sizeof prefix, "%d.", (int)b);
    const graft_feed f = feed_of(c->r, &c->batches, prefix);
    graft_batch out = {.n = f.n,
                       .n_tokens = f.n_tokens,
                       .token_inputs = f.token_inputs,
                       .n_token_inputs = f.n_token_inputs,
                       .spans = f.spans};
    if (c->recipe.task == GRAFT_TASK_CLASSES) {
        out.labels = labels_of(c, b);
    } else if (c->recipe.task == GRAFT_TASK_TAGGING) {
        out.token_labels = labels_of(c, b);
    } else {
        const graft_tensor *t = of_batch(c, b, c->task);
        float *targets = graft_arena_alloc(c->r->arena, t->size);
        memcpy(targets, t->data, t->size);
        out.targets = targets;
    }
    return out;
}

static float *state_values(room *r, const graft_state *state, const char *name, size_t *count) {
    graft_err err = {0};
    int64_t n = 0;
    const graft_shape *shape = graft_state_shape(state, name);
    if (!shape || !graft_shape_count(shape, &n)) fail_msg("the state has no '%s'", name);
    float *values = graft_arena_array(r->arena, (size_t)n + 1, sizeof *values);
    assert_ok(graft_state_read(state, name, values, (size_t)n, &err));
    *count = (size_t)n;
    return values;
}

/* Every tensor that the first step changed; says each that is not right and counts it in *n_bad. */
static double compare_weights(const golden_case *c, const graft_state *state, size_t *n_bad) {
    double largest = 0;
    size_t n_seen = 0;
    for (size_t i = 0; i < c->gold.n_items; i++) {
        const graft_tensor *t = &c->gold.items[i];
        if (strncmp(t->name, "after.", 6) != 0) continue;
        size_t n = 0;
        const float *values = state_values(c->r, state, t->name + 6, &n);
        assert_int_equal(n * sizeof(float), t->size);
        double d = text_worst(values, t->data, n);
        n_seen++;
        largest = fmax(largest, d);
        if (d < 1e-4) continue;
        ++*n_bad;
        print_error("%s: %s differs by %.2e\n", c->name, t->name + 6, d);
    }
    assert_int_equal(n_seen, c->n_trained); /* all that is trained was compared */
    return largest;
}

/* The number of tensors, or of loss curves, that differ. */
static size_t replay(room *r, const char *name, int64_t micro_batch) {
    golden_case c;
    graft_err err = {0};
    graft_state *state = NULL;
    graft_stepper s;
    open_case(&c, r, name);
    if (micro_batch) c.recipe.micro_batch = micro_batch;
    const graft_tensor *gold = tensor_named(&c.gold, "losses");
    int64_t n_steps = gold->shape.dims[0];
    float losses[32];
    double weights = 0;
    size_t n_bad = 0;
    assert_in_range(n_steps, 1, GRAFT_COUNT(losses));
    assert_ok(graft_state_new(&state, r->env, &err));
    assert_ok(graft_stepper_init(&s, c.graph, state, &c.recipe, &err));
    for (int64_t i = 0; i < n_steps; i++) {
        graft_batch b = batch_at(&c, i);
        assert_ok(graft_stepper_run(&s, &b, i, n_steps, &err));
        losses[i] = (float)s.loss;
        if (i == 0) weights = compare_weights(&c, state, &n_bad);
    }
    double d = text_worst(losses, gold->data, (size_t)n_steps);
    print_message("%-24s micro-batch %d: weights after a step %.1e, losses of %d steps %.1e\n", name,
                  (int)c.recipe.micro_batch, weights, (int)n_steps, d);
    graft_stepper_done(&s);
    graft_state_free(state);
    graft_model_close(c.model);
    return n_bad + (d < 1e-3 ? 0 : 1);
}

static void replay_all(room *r, int64_t micro_batch) {
    char **names;
    size_t n, n_cases = 0, n_bad = 0;
    graft_err err = {0};
    assert_ok(graft_dir_list(&names, &n, r->arena, TRAIN, &err));
    for (size_t i = 0; i < n; i++) {
        if (strcmp(graft_path_extension(names[i]), "json") != 0) continue;
        n_bad += replay(r, graft_arena_strndup(r->arena, names[i], strlen(names[i]) - strlen(".json")),
                        micro_batch);
        n_cases++;
    }
    assert_true(n_cases >= 6);
    assert_int_equal(n_bad, 0);
}

static void steps_equal_those_of_pytorch(void **state) {
    replay_all(*state, 0);
}

/* Parts of equal size, of one text, and of which the last is smaller. */
static void micro_batches_equal_those_of_pytorch(void **state) {
    replay_all(*state, 3);
    replay_all(*state, 1);
    replay_all(*state, 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        room_test(steps_equal_those_of_pytorch),
        room_test(micro_batches_equal_those_of_pytorch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
