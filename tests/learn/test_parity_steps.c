/* Fine-tuning steps against PyTorch's in double precision (tests/parity/README.md): ten losses, and every
 * tensor that the first step changes; the same in micro-batches and with activations computed again. */
#include "golden_steps.h"

typedef struct golden_case {
    room *r;
    const char *name;
    json_t *json;
    graft_tensors batches, gold;
    graft_model *model;
    graft_graph *graph;
    graft_recipe recipe;
    double weight_decay;
    const char *targets;
    size_t n_trained;
} golden_case;

static graft_param_group same_for_all(void *user, const char *param) {
    (void)param;
    return (graft_param_group){1.0, ((const golden_case *)user)->weight_decay};
}

static void mark(golden_case *c, bool with_statistics) {
    for (size_t v = 0; v < graft_graph_n_values(c->graph); v++) {
        graft_value_info *info = graft_graph_value_mut(c->graph, (graft_value)v);
        if (info->kind != GRAFT_PARAM) continue;
        const graft_param *p = graft_model_find_param(c->model, info->name);
        info->trained = with_statistics || p->kind != GRAFT_PARAM_STATISTIC;
        c->n_trained += info->trained;
    }
}

static void read_recipe(golden_case *c) {
    const json_t *weights = json_object_get(c->json, "class_weights");
    const graft_tensor *soft = tensor_named(&c->batches, "soft");
    size_t k = (size_t)soft->shape.dims[2];
    c->weight_decay = golden_decay(c->json);
    c->recipe = golden_recipe(c->json, soft->shape.dims[1]);
    c->recipe.n_classes = (int64_t)k;
    c->recipe.group = same_for_all;
    c->recipe.user = c;
    if (!json_is_array(weights)) return;
    float *w = graft_arena_array(c->r->arena, k, sizeof *w);
    for (size_t i = 0; i < k; i++) w[i] = (float)json_number_value(json_array_get(weights, i));
    c->recipe.class_weights = w;
}

static void open_case(golden_case *c, room *r, const char *root, const char *name) {
    graft_err err = {0};
    const char *train = file_of(r, root, "train"), *json = graft_arena_printf(r->arena, "%s.json", name),
               *gold = graft_arena_printf(r->arena, "%s.safetensors", name);
    *c = (golden_case){.r = r, .name = name, .json = read_json(r, file_of(r, train, json))};
    const char *batches = json_string_value(json_object_get(c->json, "batches"));
    assert_ok(graft_safetensors_open(&c->batches, r->arena, file_of(r, train, batches), &err));
    assert_ok(graft_safetensors_open(&c->gold, r->arena, file_of(r, train, gold), &err));
    const char *model = json_string_value(json_object_get(c->json, "model"));
    c->targets = json_string_value(json_object_get(c->json, "targets"));
    c->model = open_model(r, file_of(r, root, model), NULL);
    const graft_tensor *x = tensor_named(&c->batches, "inputs");
    assert_ok(graft_model_graph(&c->graph, r->arena, c->model, x->shape.dims[3], x->shape.dims[4], &err));
    mark(c, !strcmp(json_string_value(json_object_get(c->json, "batch_norm")), "train"));
    read_recipe(c);
}

/* Batch s of the case; everything lives in the arena. */
static graft_batch batch_at(const golden_case *c, int64_t s) {
    const graft_tensor *soft = tensor_named(&c->batches, "soft");
    int64_t n = soft->shape.dims[1], k = soft->shape.dims[2], at = s % soft->shape.dims[0];
    graft_batch b = golden_pictures(c->r, &c->batches, s);
    if (strcmp(c->targets, "soft") != 0) return b;
    float *targets = graft_arena_array(c->r->arena, (size_t)(n * k), sizeof *targets);
    memcpy(targets, (const char *)soft->data + (size_t)(at * n * k) * sizeof *targets,
           (size_t)(n * k) * sizeof *targets);
    b.targets = targets;
    return b;
}

static void compare_unchanged(const golden_case *c, const graft_state *state) {
    const json_t *unchanged = json_object_get(c->json, "unchanged");
    for (size_t i = 0; i < json_array_size(unchanged); i++)
        assert_null(graft_state_shape(state, json_string_value(json_array_get(unchanged, i))));
}

/* The number of tensors, or of loss curves, that differ. */
static size_t replay(room *r, const char *root, const char *name) {
    golden_case c;
    graft_err err = {0};
    graft_state *state = NULL;
    graft_stepper s;
    open_case(&c, r, root, name);
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
    compare_unchanged(&c, state);
    double d = room_worst(losses, gold->data, (size_t)n_steps);
    print_message("%-28s weights after a step %.1e, losses of %lld steps %.1e\n", name, weights,
                  (long long)n_steps, d);
    graft_stepper_done(&s);
    graft_state_free(state);
    graft_model_close(c.model);
    return n_bad + (d < 1e-3 ? 0 : 1);
}

static void replay_folder(room *r, const char *root) {
    char **names;
    size_t n, n_cases = 0, n_bad = 0;
    graft_err err = {0};
    assert_ok(graft_dir_list(&names, &n, r->arena, file_of(r, root, "train"), &err));
    for (size_t i = 0; i < n; i++) {
        if (strcmp(graft_path_extension(names[i]), "json") != 0) continue;
        n_bad += replay(r, root, graft_arena_strndup(r->arena, names[i], strlen(names[i]) - strlen(".json")));
        n_cases++;
    }
    assert_true(n_cases >= 3);
    assert_int_equal(n_bad, 0);
}

static void steps_equal_those_of_pytorch(void **state) {
    replay_folder(*state, "tests/parity/resnet");
    replay_folder(*state, "tests/parity/squeezenet");
    replay_folder(*state, "tests/parity/vit");
}

static void full_size_steps_equal_those_of_pytorch(void **state) {
    const char *root = getenv("GRAFT_PARITY_DIR");
    if (!root) {
        print_message("GRAFT_PARITY_DIR names no folder of full-size golden files\n");
        skip();
    }
    replay_folder(*state, root);
}

/* ---- The same update by other ways ------------------------------------------------------------------------ */

typedef struct outcome {
    double losses[3];
    const char *const *names;
    float **values;
    size_t *counts, n;
} outcome;

static bool is_gathered(const char *name) {
    const char *end = strrchr(name, '/');
    return end && !strcmp(end, "/gradient");
}

/* Three updates of a case; names, values and counts of all that changes but gathered gradients. */
static outcome three_updates(room *r, const char *name, int64_t micro_batch, int segments) {
    golden_case c;
    graft_err err = {0};
    graft_state *state = NULL;
    graft_stepper s;
    outcome o = {.n = 0};
    open_case(&c, r, "tests/parity/resnet", name);
    c.recipe.micro_batch = micro_batch ? micro_batch : c.recipe.batch;
    c.recipe.segments = segments;
    assert_ok(graft_state_new(&state, r->env, &err));
    assert_ok(graft_stepper_init(&s, c.graph, state, &c.recipe, &err));
    for (int64_t i = 0; i < 3; i++) {
        graft_batch b = batch_at(&c, i);
        assert_ok(graft_stepper_run(&s, &b, i, 3, &err));
        o.losses[i] = s.loss;
    }
    const char *const *names;
    size_t n = graft_state_names(state, &names);
    char **kept = graft_arena_array(r->arena, n, sizeof *kept);
    o.values = graft_arena_array(r->arena, n, sizeof *o.values);
    o.counts = graft_arena_array(r->arena, n, sizeof *o.counts);
    for (size_t i = 0; i < n; i++) {
        if (is_gathered(names[i])) continue;
        kept[o.n] = graft_arena_strdup(r->arena, names[i]);
        o.values[o.n] = golden_state(r, state, names[i], &o.counts[o.n]);
        o.n++;
    }
    o.names = (const char *const *)kept;
    graft_stepper_done(&s);
    graft_state_free(state);
    graft_model_close(c.model);
    return o;
}

static const float *value_named(const outcome *o, const char *name, size_t count) {
    for (size_t i = 0; i < o->n; i++) {
        if (strcmp(o->names[i], name) != 0) continue;
        assert_int_equal(o->counts[i], count);
        return o->values[i];
    }
    fail_msg("no '%s' in the other run", name);
    return NULL;
}

static void micro_batches_gather_to_the_whole_batch(void **state) {
    static const char *const cases[] = {"sgd_frozen_bn", "adamw_frozen_bn_clip"};
    room *r = *state;
    for (size_t k = 0; k < GRAFT_COUNT(cases); k++) {
        outcome whole = three_updates(r, cases[k], 0, 0);
        for (int64_t micro = 1; micro <= 3; micro++) {
            outcome parts = three_updates(r, cases[k], micro, 0);
            double largest = 0;
            assert_int_equal(parts.n, whole.n);
            for (int i = 0; i < 3; i++)
                assert_true(fabs(parts.losses[i] - whole.losses[i]) <= 1e-5 * fabs(whole.losses[i]));
            for (size_t i = 0; i < whole.n; i++) {
                const float *v = value_named(&parts, whole.names[i], whole.counts[i]);
                double d = room_worst(v, whole.values[i], whole.counts[i]);
                if (d > 1e-5)
                    fail_msg("%s: micro-batch %d: %s %.2e", cases[k], (int)micro, whole.names[i], d);
                largest = fmax(largest, d);
            }
            print_message("%-28s micro-batch %d: %.1e\n", cases[k], (int)micro, largest);
        }
    }
}

static void recomputation_changes_no_bit(void **state) {
    static const char *const cases[] = {"sgd_momentum", "sgd_nesterov", "adamw_frozen_bn_clip"};
    static const int segments[] = {2, 3, 8};
    room *r = *state;
    for (size_t k = 0; k < GRAFT_COUNT(cases); k++) {
        outcome kept = three_updates(r, cases[k], 0, 0);
        for (size_t s = 0; s < GRAFT_COUNT(segments); s++) {
            outcome again = three_updates(r, cases[k], 0, segments[s]);
            assert_int_equal(again.n, kept.n);
            assert_memory_equal(again.losses, kept.losses, sizeof kept.losses);
            for (size_t i = 0; i < kept.n; i++) {
                const float *v = value_named(&again, kept.names[i], kept.counts[i]);
                if (memcmp(v, kept.values[i], kept.counts[i] * sizeof *v) != 0)
                    fail_msg("%s, %d segments: %s differs", cases[k], segments[s], kept.names[i]);
            }
        }
    }
}

static void a_run_gives_the_same_bits_again(void **state) {
    room *r = *state;
    outcome one = three_updates(r, "adamw", 0, 0), two = three_updates(r, "adamw", 0, 0);
    assert_memory_equal(one.losses, two.losses, sizeof one.losses);
    for (size_t i = 0; i < one.n; i++)
        assert_memory_equal(value_named(&two, one.names[i], one.counts[i]), one.values[i],
                            one.counts[i] * sizeof(float));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        room_test(steps_equal_those_of_pytorch),
        room_test(full_size_steps_equal_those_of_pytorch),
        room_test(micro_batches_gather_to_the_whole_batch),
        room_test(recomputation_changes_no_bit),
        room_test(a_run_gives_the_same_bits_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
