/* Regularised fine-tuning steps against PyTorch's in double precision (tests/parity/regular/make.py):
 * layer-wise decayed rates, L2-SP, and the averages of the weights, statistics of batch norms included. */
#include "learn/golden_steps.h"
#include "support/evaluate.h"
#include "transfer/fit.h"

#define REGULAR "tests/parity/regular/"

typedef struct golden_set {
    json_t *all;
    graft_tensors batches, values;
} golden_set;

typedef struct golden_case {
    room *r;
    const golden_set *gold;
    const json_t *json;
    const char *name;
    graft_model *model;
    graft_graph *graph;
    graft_recipe recipe;
    double weight_decay, layer_decay;
    int64_t micro_batch;
} golden_case;

static graft_param_group group_of(void *user, const char *param) {
    const golden_case *c = user;
    int stage = graft_model_find_param(c->model, param)->stage;
    return (graft_param_group){graft_layer_factor(c->layer_decay, graft_model_n_stages(c->model), stage),
                               c->weight_decay};
}

static const graft_tensor *start_of(void *user, const char *param) {
    const golden_case *c = user;
    return graft_model_find_param(c->model, param)->head ? NULL : graft_model_pretrained(c->model, param);
}

static void read_recipe(golden_case *c) {
    const graft_tensor *soft = tensor_named(&c->gold->batches, "soft");
    c->weight_decay = golden_decay(c->json);
    c->layer_decay = golden_number(c->json, "layer_decay");
    c->recipe = golden_recipe(c->json, soft->shape.dims[1]);
    if (c->micro_batch) c->recipe.micro_batch = c->micro_batch;
    c->recipe.n_classes = soft->shape.dims[2];
    c->recipe.l2_sp = golden_number(c->json, "l2_sp");
    c->recipe.ema = golden_number(c->json, "ema");
    c->recipe.delta = golden_number(c->json, "delta");
    c->recipe.bss = golden_number(c->json, "bss");
    c->recipe.group = group_of;
    c->recipe.start = start_of;
    c->recipe.user = c;
}

static void open_case(golden_case *c, room *r, const golden_set *gold, const json_t *json,
                      int64_t micro_batch) {
    graft_err err = {0};
    *c = (golden_case){.r = r, .gold = gold, .json = json, .micro_batch = micro_batch};
    c->name = json_string_value(json_object_get(json, "name"));
    bool statistics = !strcmp(json_string_value(json_object_get(json, "batch_norm")), "train");
    const char *model = json_string_value(json_object_get(json, "model"));
    c->model = open_model(r, file_of(r, GOLDEN, model), NULL);
    const graft_tensor *x = tensor_named(&gold->batches, "inputs");
    assert_ok(graft_model_graph(&c->graph, r->arena, c->model, x->shape.dims[3], x->shape.dims[4], &err));
    for (size_t v = 0; v < graft_graph_n_values(c->graph); v++) {
        graft_value_info *info = graft_graph_value_mut(c->graph, (graft_value)v);
        if (info->kind == GRAFT_PARAM)
            info->trained =
                statistics || graft_model_find_param(c->model, info->name)->kind != GRAFT_PARAM_STATISTIC;
    }
    read_recipe(c);
}

/* The golden batches as a source: one epoch is all of them. */
typedef struct source {
    room *r;
    const graft_tensors *batches;
    int64_t at;
} source;

static int source_begin(void *self, int64_t epoch, int64_t first_batch, graft_err *err) {
    (void)epoch;
    (void)err;
    ((source *)self)->at = first_batch;
    return 0;
}

static int source_next(void *self, graft_batch *out, graft_err *err) {
    source *s = self;
    (void)err;
    if (s->at >= tensor_named(s->batches, "inputs")->shape.dims[0]) return 0;
    *out = golden_pictures(s->r, s->batches, s->at++);
    return 1;
}

static void compare(const golden_case *c, const graft_state *state, const char *ending) {
    size_t n_seen = 0, prefix = strlen(c->name);
    double largest = 0;
    graft_err err = {0};
    for (size_t i = 0; i < c->gold->values.n_items; i++) {
        const graft_tensor *t = &c->gold->values.items[i];
        if (strncmp(t->name, c->name, prefix) != 0 || t->name[prefix] != '/') continue;
        size_t n = t->size / sizeof(float);
        float *values = graft_arena_array(c->r->arena, n + 1, sizeof *values);
        const char *name = graft_arena_printf(c->r->arena, "%s%s", t->name + prefix + 1, ending);
        assert_ok(graft_state_read(state, name, values, n, &err));
        double d = room_worst(values, t->data, n);
        if (d > 1e-4) fail_msg("%s: %s differs by %.2e", c->name, name, d);
        largest = fmax(largest, d);
        n_seen++;
    }
    assert_int_equal(n_seen, (size_t)golden_number(c->json, "n_changed"));
    print_message("%-16s micro-batch %d: %zu tensors after %d steps, %.1e\n", c->name,
                  (int)c->recipe.micro_batch, n_seen, (int)golden_number(c->json, "steps"), largest);
}

static void replay(room *r, const golden_set *gold, const json_t *json, int64_t micro_batch) {
    golden_case c;
    graft_err err = {0};
    graft_state *state = NULL;
    graft_stepper s;
    graft_average average = {0};
    graft_batch b;
    source from = {.r = r, .batches = &gold->batches};
    graft_batches batches = {.self = &from, .begin = source_begin, .next = source_next};
    open_case(&c, r, gold, json, micro_batch);
    const json_t *swa_first = json_object_get(json, "swa_first");
    int64_t first = json_is_integer(swa_first) ? json_integer_value(swa_first) : -1;
    bool averages = first >= 0 || c.recipe.ema > 0;
    assert_ok(graft_state_new(&state, r->env, &err));
    assert_ok(graft_stepper_init(&s, c.graph, state, &c.recipe, &err));
    if (averages) assert_ok(graft_average_init(&average, c.graph, state, GRAFT_PRECISION_FP32, &err));
    for (int64_t i = 0; i < (int64_t)golden_number(json, "steps"); i++) {
        if (source_next(&from, &b, &err) == 0) {
            from.at = 0;
            assert_int_equal(source_next(&from, &b, &err), 1);
        }
        assert_ok(graft_stepper_run(&s, &b, i, 4, &err));
        if (c.recipe.ema > 0)
            assert_ok(graft_average_add(&average, 1 - graft_recipe_ema(&c.recipe, i), &err));
        if (first >= 0)
            assert_ok(graft_average_add(&average, i > first ? 1.0 / (double)(i - first + 1) : 1.0, &err));
    }
    if (first >= 0) assert_ok(graft_average_measure(&average, r->env, &batches, 0, c.recipe.batch, &err));
    compare(&c, state, averages ? GRAFT_AVERAGE_ENDING : "");
    if (averages) graft_average_done(&average);
    graft_stepper_done(&s);
    graft_state_free(state);
    graft_model_close(c.model);
}

static golden_set read_golden(room *r) {
    golden_set g = {.all = read_json(r, REGULAR "regular.json")};
    graft_err err = {0};
    assert_ok(graft_safetensors_open(&g.values, r->arena, REGULAR "regular.safetensors", &err));
    assert_ok(graft_safetensors_open(&g.batches, r->arena, GOLDEN "train/batches.safetensors", &err));
    return g;
}

static void regularised_steps_equal_those_of_pytorch(void **state) {
    golden_set g = read_golden(*state);
    const json_t *cases = json_object_get(g.all, "cases");
    assert_true(json_array_size(cases) >= 9);
    for (size_t i = 0; i < json_array_size(cases); i++) replay(*state, &g, json_array_get(cases, i), 0);
}

static void a_pull_joins_gathered_gradients_once(void **state) {
    golden_set g = read_golden(*state);
    const json_t *cases = json_object_get(g.all, "cases");
    for (size_t i = 0; i < json_array_size(cases); i++)
        if (golden_number(json_array_get(cases, i), "l2_sp") > 0)
            replay(*state, &g, json_array_get(cases, i), 1);
}

/* d(loss)/d(x) as the graph has it, with `weight` for every row; both against the golden term's. */
static void check_term(room *r, golden_set *g, const char *name, const char *x_name, bool twins) {
    const graft_tensor *x = tensor_named(&g->values, graft_arena_printf(r->arena, "%s/%s", name, x_name)),
                       *loss = tensor_named(&g->values, graft_arena_printf(r->arena, "%s/loss", name)),
                       *dx = tensor_named(&g->values, graft_arena_printf(r->arena, "%s/d%s", name, x_name));
    int64_t n = x->shape.dims[0], count = n * x->shape.dims[1];
    graft_graph *graph = graft_graph_new(r->arena);
    graft_value v = graft_graph_param(graph, "x", x, x->shape), d = GRAFT_NONE, part = GRAFT_NONE;
    graft_value weight = graft_graph_input(graph, "weight", GRAFT_F32, (graft_shape){1, {n}});
    if (!twins) part = graft_graph_input(graph, "part", GRAFT_F32, (graft_shape){1, {1}});
    graft_value term =
        twins ? graft_twin_kl(graph, v, weight) : graft_spectral_tail(graph, v, weight, part, 2);
    graft_err err = {0};
    assert_ok(graft_graph_grad(graph, term, &v, 1, &d, &err));
    double *weights = graft_arena_array(r->arena, (size_t)n, sizeof *weights), one = 1;
    for (int64_t i = 0; i < n; i++) weights[i] = 1.0 / (double)n;
    const evaluate_binding bindings[] = {{"weight", weights}, {"part", &one}};
    evaluation e = evaluate(r->arena, graph, 1, bindings, twins ? 1 : 2);
    float gold, *gradient = graft_arena_array(r->arena, (size_t)count, sizeof *gradient);
    memcpy(&gold, loss->data, sizeof gold);
    assert_true(fabs(e.values[term][0] - (double)gold) < 1e-6 * fabs((double)gold));
    for (int64_t i = 0; i < count; i++) gradient[i] = (float)e.values[d][i];
    assert_true(room_worst(gradient, dx->data, (size_t)count) < 1e-6);
}

static void terms_equal_those_of_pytorch(void **state) {
    golden_set g = read_golden(*state);
    check_term(*state, &g, "twin_kl", "logits", true);
    check_term(*state, &g, "tail_wide", "x", false);
    check_term(*state, &g, "tail_tall", "x", false);
}

static void rates_fall_with_the_distance_to_the_head(void **state) {
    (void)state;
    assert_true(fabs(graft_layer_factor(0.9, 6, 5) - 1) < 1e-12);
    assert_true(fabs(graft_layer_factor(0.9, 6, 4) - 0.9) < 1e-12);
    assert_true(fabs(graft_layer_factor(0.9, 6, 0) - 0.59049) < 1e-12);
    assert_true(fabs(graft_layer_factor(0, 6, 0) - 1) < 1e-12); /* not asked for */
}

static void the_average_is_young_while_the_run_is(void **state) {
    const graft_recipe r = {.ema = 0.999};
    (void)state;
    assert_true(fabs(graft_recipe_ema(&r, 0) - 0.1) < 1e-12);
    assert_true(fabs(graft_recipe_ema(&r, 90) - 0.91) < 1e-12);
    assert_true(fabs(graft_recipe_ema(&r, 1000000) - 0.999) < 1e-12);
}

static void the_last_epochs_are_averaged_at_the_rate_they_begin_with(void **state) {
    graft_recipe r = {.epochs = 10, .swa = 0.25, .lr = 1, .schedule = graft_schedule_find("cosine")};
    (void)state;
    assert_int_equal(graft_recipe_first_averaged(&r), 7);
    assert_true(graft_recipe_rate(&r, 60, 100) > graft_recipe_rate(&r, 70, 100));
    for (int64_t u = 71; u < 100; u++)
        assert_true(!(graft_recipe_rate(&r, u, 100) < graft_recipe_rate(&r, 70, 100)));
    r.swa = 1;
    r.warmup = 0.1;
    assert_int_equal(graft_recipe_first_averaged(&r), 0);
    assert_true(fabs(graft_recipe_rate(&r, 99, 100) - 1) <
                1e-12); /* all of them: the warm-up is gone through */
    r.swa = 0;
    assert_int_equal(graft_recipe_first_averaged(&r), 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        room_test(regularised_steps_equal_those_of_pytorch),
        room_test(a_pull_joins_gathered_gradients_once),
        room_test(terms_equal_those_of_pytorch),
        room_test(rates_fall_with_the_distance_to_the_head),
        room_test(the_average_is_young_while_the_run_is),
        room_test(the_last_epochs_are_averaged_at_the_rate_they_begin_with),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
