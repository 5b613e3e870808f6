/* Fine-tuning steps of text models against PyTorch's in double precision (tests/parity/README.md): ten
 * losses, and every tensor that the first step changes; the same in micro-batches. */
#include "golden_steps.h"
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
    size_t k = 0;
    graft_model_labels(c->model, &k);
    c->weight_decay = golden_decay(c->json);
    c->recipe = golden_recipe(c->json, of_batch(c, 0, "spans")->shape.dims[0]);
    c->recipe.task = graft_model_task(c->model);
    c->recipe.loss = graft_loss_find(loss_of(c->recipe.task));
    c->recipe.n_classes = (int64_t)k;
    c->recipe.tokens = 64;
    c->recipe.group = same_for_all;
    c->recipe.user = c;
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
    return golden_labels(c->r, t, 0, t->shape.dims[0]);
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
        if (i == 0) weights = golden_compare(r, name, &c.gold, state, c.n_trained, &n_bad);
    }
    double d = room_worst(losses, gold->data, (size_t)n_steps);
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
