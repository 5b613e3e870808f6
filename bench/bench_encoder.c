/* Where the time of a transformer's layer goes: one layer as BERT has it, traced kernel by kernel.
 *
 *     bench_encoder [--texts N] [--length L] [--width D] [--heads H] [--dtype fp32|bf16|bf16x3] [--threads T]
 *
 * Prints for each kernel its microseconds in the quietest of many runs, and their sum. */
#include "bench.h"

enum { RUNS = 60, MOST_LINES = 64 };

typedef struct options {
    int64_t texts, length, width, heads;
    int threads;
    graft_precision dtype;
} options;

static graft_value dense(graft_graph *g, const char *name, graft_value x, int64_t in, int64_t out) {
    char weight[32], bias[32];
    snprintf(weight, sizeof weight, "%s.weight", name);
    snprintf(bias, sizeof bias, "%s.bias", name);
    graft_value w = graft_graph_param(g, weight, NULL, (graft_shape){2, {out, in}});
    return graft_linear(g, x, w, graft_graph_param(g, bias, NULL, (graft_shape){1, {out}}));
}

static graft_value norm(graft_graph *g, const char *name, graft_value x, int64_t width) {
    char gamma[32], beta[32];
    snprintf(gamma, sizeof gamma, "%s.weight", name);
    snprintf(beta, sizeof beta, "%s.bias", name);
    graft_value a = graft_graph_param(g, gamma, NULL, (graft_shape){1, {width}});
    return graft_layer_norm(g, x, a, graft_graph_param(g, beta, NULL, (graft_shape){1, {width}}), 1e-12);
}

static graft_graph *layer(graft_arena *arena, const options *o) {
    graft_graph *g = graft_graph_new(arena);
    int64_t d = o->width;
    graft_value in = graft_graph_input(g, "x", GRAFT_F32, (graft_shape){2, {GRAFT_DIM_TOKENS, d}});
    graft_value spans = graft_graph_input(g, "spans", GRAFT_I32, (graft_shape){2, {GRAFT_DIM_BATCH, 2}});
    graft_value x = norm(g, "embeddings", in, d);
    graft_attention_attr a = {.heads = o->heads, .scale = 1 / sqrt((double)d / (double)o->heads)};
    graft_value q = dense(g, "query", x, d, d), k = dense(g, "key", x, d, d), v = dense(g, "value", x, d, d);
    graft_value y = dense(g, "output", graft_attention(g, q, k, v, spans, GRAFT_NONE, a), d, d);
    x = norm(g, "attention", graft_add(g, y, x, 0), d);
    y = dense(g, "down", graft_gelu(g, dense(g, "up", x, d, 4 * d)), 4 * d, d);
    graft_graph_output(g, "y", norm(g, "layer", graft_add(g, y, x, 0), d));
    return g;
}

static int fill(graft_program *p, const options *o) {
    size_t size = 0;
    float *x = graft_program_input(p, "x", &size);
    int32_t *spans = graft_program_input(p, "spans", NULL);
    if (!x || !spans) return GRAFT_EINTERNAL;
    graft_rng r = graft_rng_at(1, 0, 0, GRAFT_RNG_TEST);
    for (size_t i = 0; i < size / sizeof *x; i++) x[i] = (float)graft_rng_uniform(&r);
    for (int32_t i = 0; i < (int32_t)o->texts; i++) {
        spans[2 * i] = i * (int32_t)o->length;
        spans[2 * i + 1] = (int32_t)o->length;
    }
    return 0;
}

/* Keeps of each of the trace's lines the run with the fewest microseconds, its first word. */
static size_t take_lines(char *text, char *lines[MOST_LINES], double *best) {
    size_t n = 0;
    for (char *line = strtok(text, "\n"); line && n < MOST_LINES; line = strtok(NULL, "\n"), n++) {
        double us = strtod(line, NULL);
        if (lines[n] && us >= best[n]) continue;
        free(lines[n]);
        lines[n] = strdup(line);
        best[n] = us;
    }
    return n;
}

static int trace(graft_program *p, const options *o, graft_err *err) {
    char *lines[MOST_LINES] = {0};
    double best[MOST_LINES], sum = 0;
    size_t n = 0;
    int rc = 0;
    for (int i = 0; i < RUNS && rc == 0; i++) {
        graft_buf buf = {0};
        rc = fill(p, o);
        if (rc < 0) graft_err_set(err, rc, "the program has no inputs");
        if (rc == 0) rc = graft_program_trace(p, &buf, err);
        if (rc == 0) n = take_lines(buf.data, lines, best);
        graft_buf_done(&buf);
    }
    for (size_t i = 0; i < n; i++) {
        if (rc == 0) printf("%s\n", lines[i]);
        sum += best[i];
        free(lines[i]);
    }
    if (rc == 0) printf("sum %.1f us\n", sum);
    return rc;
}

static int run(const options *o, graft_err *err) {
    graft_arena *arena = graft_arena_new(NULL);
    graft_env *env = NULL;
    graft_state *state = NULL;
    graft_program *p = NULL;
    graft_graph *fused = NULL;
    graft_env_options eo = GRAFT_ENV_OPTIONS_INIT;
    graft_compile_options co = {.batch = o->texts, .tokens = o->texts * o->length};
    eo.threads = o->threads;
    if (!arena) return graft_err_nomem(err);
    int rc = graft_env_new(&env, &eo, err);
    if (rc == 0) rc = graft_state_new(&state, env, err);
    if (rc == 0) rc = graft_graph_fuse(&fused, arena, layer(arena, o), err);
    if (rc == 0) rc = graft_graph_precision(fused, o->dtype, err);
    if (rc == 0) rc = graft_program_compile(&p, fused, state, &co, err);
    if (rc == 0) rc = trace(p, o, err);
    graft_program_free(p);
    graft_state_free(state);
    graft_env_free(env);
    graft_arena_free(arena);
    return rc;
}

int main(int argc, char **argv) {
    options o = {.texts = 32, .length = 32, .width = 384, .heads = 12, .threads = 1};
    graft_err err = {0};
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--texts") == 0) o.texts = strtoll(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--length") == 0) o.length = strtoll(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--width") == 0) o.width = strtoll(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--heads") == 0) o.heads = strtoll(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--threads") == 0) o.threads = (int)strtol(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--dtype") == 0) o.dtype = bench_dtype(argv[i + 1]);
    }
    if (run(&o, &err) < 0) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    return 0;
}
