#include "transfer/prefix.h"

#include <string.h>

/* One for all runs: a row's bits are the same in every cache. Pictures, and texts with their tokens. */
enum { PICTURES = 32, TEXTS = 64, TOKENS = 1024 };

/* Adds value `v` of g to those of a row. */
static int add_value(graft_prefix *p, const graft_graph *g, graft_value value, graft_err *err) {
    graft_boundary *v = &p->values[p->n_values];
    v->name = graft_arena_printf(p->arena, "boundary.%zu", p->n_values);
    v->shape = graft_graph_value(g, value)->shape;
    v->by_token = v->shape.dims[0] == GRAFT_DIM_TOKENS;
    graft_shape one = v->shape;
    int64_t count = 0;
    one.dims[0] = 1;
    if (!v->name || !graft_shape_count(&one, &count)) return graft_err_nomem(err);
    v->count = (size_t)count;
    p->by_token |= v->by_token;
    p->n_values++;
    return 0;
}

/* Values that nodes compute cross the boundary; inputs are read on both sides. */
static int name_boundary(graft_prefix *p, const graft_graph *g, const graft_plan *plan, graft_err *err) {
    p->values = graft_arena_array(p->arena, plan->n_boundary + 1, sizeof *p->values);
    if (!p->values) return graft_err_nomem(err);
    for (size_t i = 0; i < plan->n_boundary; i++) {
        const graft_value_info *info = graft_graph_value(g, plan->boundary[i]);
        if (info->kind == GRAFT_INPUT) continue;
        int rc = add_value(p, g, plan->boundary[i], err);
        if (rc < 0) return rc;
    }
    return 0;
}

static graft_value *boundary_values(const graft_prefix *p, const graft_graph *g, const graft_plan *plan) {
    graft_value *values = graft_arena_array(p->arena, plan->n_boundary + 1, sizeof *values);
    size_t n = 0;
    for (size_t i = 0; values && i < plan->n_boundary; i++)
        if (graft_graph_value(g, plan->boundary[i])->kind != GRAFT_INPUT) values[n++] = plan->boundary[i];
    return values;
}

/* Bytes of the program, without making it. */
static int plan_memory(graft_prefix *p, graft_err *err) {
    const graft_compile_options options = {.batch = p->batch, .tokens = p->tokens, .dry = true};
    graft_state *state = NULL;
    graft_program *program = NULL;
    int rc = graft_state_new(&state, p->env, err);
    if (rc == 0) rc = graft_program_compile(&program, p->graph, state, &options, err);
    if (rc == 0) {
        graft_program_memory m = graft_program_needs(program);
        p->memory = m.arena + m.state + m.weights;
    }
    graft_program_free(program);
    graft_state_free(state);
    return rc;
}

/* Everything but the program. */
static int prepare(graft_prefix *p, const graft_env *env, const graft_graph *g, const graft_value *boundary,
                   graft_precision dtype, graft_err *err) {
    graft_output *outputs = graft_arena_array(p->arena, p->n_values + 1, sizeof *outputs);
    graft_graph *part = NULL, *still = NULL, *chosen = NULL, *folded = NULL;
    if (!outputs) return graft_err_nomem(err);
    for (size_t i = 0; i < p->n_values; i++) outputs[i] = (graft_output){p->values[i].name, boundary[i]};
    int rc = graft_graph_extract(&part, p->arena, g, NULL, NULL, 0, outputs, p->n_values, err);
    if (rc == 0) rc = graft_graph_without_dropout(&still, p->arena, part, err);
    if (rc == 0) rc = graft_graph_choose_rows(&chosen, p->arena, still, err);
    /* rows of caches are those that this form computes: of all tokens' they differ in the last bits */
    if (rc == 0) rc = graft_graph_hash(chosen, &p->hash, err);
    if (rc == 0) rc = graft_graph_fold(&folded, p->arena, chosen, err);
    if (rc == 0) rc = graft_graph_fuse(&p->graph, p->arena, folded, err);
    if (rc == 0) rc = graft_graph_precision(p->graph, dtype, err);
    p->env = env;
    return rc < 0 ? rc : plan_memory(p, err);
}

/* The program is made when the first row is: where a cache has them all its weights are not even read. */
static int compile(graft_prefix *p, graft_err *err) {
    const graft_compile_options options = {.batch = p->batch, .tokens = p->tokens};
    int rc = p->state ? 0 : graft_state_new(&p->state, p->env, err);
    return rc < 0 ? rc : graft_program_compile(&p->program, p->graph, p->state, &options, err);
}

/* All outputs but what only looks back (the pooled features beside the logits), which does not cross. */
static size_t forward_outputs(graft_output *out, const graft_graph *g) {
    const graft_output *all;
    size_t n = graft_graph_outputs(g, &all), kept = 0;
    for (size_t i = 0; i < n; i++)
        if (strcmp(all[i].name, "features") != 0) out[kept++] = all[i];
    return kept;
}

static int split(graft_prefix *p, graft_graph **suffix, graft_arena *arena, const graft_env *env,
                 const graft_graph *whole, graft_precision dtype, graft_err *err) {
    graft_plan plan;
    int rc = graft_plan_derive(&plan, p->arena, whole, err);
    if (rc == 0) rc = name_boundary(p, whole, &plan, err);
    if (rc < 0) return rc;
    graft_value *values = boundary_values(p, whole, &plan);
    const char **names = graft_arena_array(p->arena, p->n_values + 1, sizeof *names);
    if (!values || !names) return graft_err_nomem(err);
    for (size_t i = 0; i < p->n_values; i++) names[i] = p->values[i].name;
    if ((rc = prepare(p, env, whole, values, dtype, err)) < 0) return rc;
    const graft_output *outputs;
    size_t n = graft_graph_outputs(whole, &outputs);
    return graft_graph_extract(suffix, arena, whole, values, names, p->n_values, outputs, n, err);
}

/* An empty prefix for `batch` samples, 0: as many as in all runs. NULL: out of memory. */
static graft_prefix *make_prefix(int64_t batch, int64_t longest) {
    graft_arena *own = graft_arena_new(NULL);
    graft_prefix *p = own ? graft_arena_alloc(own, sizeof *p) : NULL;
    if (!p) {
        graft_arena_free(own);
        return NULL;
    }
    *p = (graft_prefix){.arena = own, .batch = batch ? batch : longest ? TEXTS : PICTURES};
    if (longest) p->tokens = longest > TOKENS ? graft_tokens_room(longest) : TOKENS;
    return p;
}

bool graft_prefix_pays(const graft_graph *graph, graft_arena *arena) {
    const double least = 1.0 / 16;
    graft_plan plan;
    if (graft_plan_derive(&plan, arena, graph, NULL) < 0) return true; /* the split will say what is wrong */
    graft_cost c = graft_graph_cost(graph, &plan);
    return c.frozen >= least * (c.frozen + c.forward);
}

int graft_prefix_none(graft_graph **suffix, graft_arena *arena, const graft_graph *graph, graft_err *err) {
    const graft_output *all;
    graft_output *outputs = graft_arena_array(arena, graft_graph_outputs(graph, &all) + 1, sizeof *outputs);
    if (!outputs) return graft_err_nomem(err);
    return graft_graph_extract(suffix, arena, graph, NULL, NULL, 0, outputs, forward_outputs(outputs, graph),
                               err);
}

/* Whether the suffix reads samples themselves, as an adapter beside the first layer does; the seed of what is
 * dropped is none. */
static bool reads_inputs(const graft_graph *g, const graft_plan *plan) {
    for (size_t i = 0; i < plan->n_boundary; i++) {
        const graft_value_info *v = graft_graph_value(g, plan->boundary[i]);
        if (v->kind == GRAFT_INPUT && v->shape.rank > 0 && v->shape.dims[0] == GRAFT_DIM_BATCH) return true;
    }
    return false;
}

int graft_prefix_split(graft_prefix **prefix, graft_graph **suffix, graft_arena *arena, const graft_env *env,
                       const graft_graph *graph, graft_precision dtype, int64_t batch, int64_t longest,
                       graft_err *err) {
    graft_graph *whole = NULL;
    graft_plan plan;
    *prefix = NULL;
    int rc = graft_prefix_none(&whole, arena, graph, err);
    if (rc == 0) rc = graft_plan_derive(&plan, arena, whole, err);
    if (rc < 0) return rc;
    if (plan.n_prefix == 0 || (!longest && reads_inputs(whole, &plan))) {
        *suffix = whole;
        return 0;
    }
    graft_prefix *p = make_prefix(batch, longest);
    if (!p) return graft_err_nomem(err);
    rc = split(p, suffix, arena, env, whole, dtype, err);
    if (rc < 0) {
        graft_prefix_free(p);
        return rc;
    }
    *prefix = p;
    return 0;
}

int graft_prefix_of_values(graft_prefix **out, const graft_env *env, const graft_graph *graph,
                           const graft_value *values, size_t n, graft_precision dtype, int64_t longest,
                           graft_err *err) {
    graft_prefix *p = make_prefix(0, longest);
    *out = NULL;
    if (!p) return graft_err_nomem(err);
    p->values = graft_arena_array(p->arena, n + 1, sizeof *p->values);
    int rc = p->values ? 0 : graft_err_nomem(err);
    for (size_t i = 0; i < n && rc == 0; i++) rc = add_value(p, graph, values[i], err);
    if (rc == 0) rc = prepare(p, env, graph, values, dtype, err);
    if (rc < 0) {
        graft_prefix_free(p);
        return rc;
    }
    *out = p;
    return 0;
}

void graft_prefix_free(graft_prefix *p) {
    if (!p) return;
    graft_program_free(p->program);
    graft_state_free(p->state);
    graft_arena_free(p->arena);
}

size_t graft_prefix_row(const graft_prefix *p, int64_t tokens) {
    size_t n = 0;
    for (size_t v = 0; v < p->n_values; v++)
        n += p->values[v].count * (p->values[v].by_token ? (size_t)tokens : 1);
    return n;
}

/* As many samples from `first` on as the program has room for. */
static int64_t fitting(const graft_prefix *p, const graft_feed *f, int64_t first) {
    int64_t n = f->n - first < p->batch ? f->n - first : p->batch;
    while (p->tokens && n > 1 && graft_feed_tokens(f, first, n) > p->tokens) n--;
    return n;
}

/* The program's results, sample by sample. */
static void take_rows(const graft_prefix *p, const graft_feed *f, int64_t first, int64_t n,
                      float *const *rows) {
    for (int64_t i = 0; i < n; i++) {
        float *to = rows[first + i];
        for (size_t v = 0; v < p->n_values; v++) {
            const graft_boundary *b = &p->values[v];
            const float *out = graft_program_output(p->program, b->name, NULL);
            const int32_t *span = f->spans ? f->spans + 2 * (first + i) : NULL;
            size_t at = b->by_token ? (size_t)(span[0] - f->spans[2 * first]) : (size_t)i,
                   count = b->count * (b->by_token ? (size_t)span[1] : 1);
            memcpy(to, out + at * b->count, count * sizeof *to);
            to += count;
        }
    }
}

int graft_prefix_run(graft_prefix *p, const graft_batch *b, float *const *rows, graft_err *err) {
    const graft_feed feed = graft_batch_feed(b);
    int made = p->program ? 0 : compile(p, err);
    if (made < 0) return made;
    for (int64_t first = 0; first < b->n;) {
        int64_t n = fitting(p, &feed, first);
        int rc = graft_program_feed(p->program, &feed, first, n, err);
        if (rc == 0) rc = graft_program_run(p->program, err);
        if (rc < 0) return rc;
        take_rows(p, &feed, first, n, rows);
        first += n;
    }
    return 0;
}
