/* Samples a second of a model's forward pass, as graft runs frozen features and prediction: folded, fused,
 * packed.
 *
 *     bench_forward MODEL [--batch N] [--length TOKENS] [--dtype fp32|bf16|bf16x3] [--seconds S] [--threads
 * T]
 * [--trace]
 *
 * Prints one JSON object: images_per_second (best, median over rounds), arena and weights in MiB, peak_mib of
 * the process; --trace prints the kernels of one pass instead. The input is noise: speed does not depend on
 * it. */
#include "bench_inputs.h"

typedef struct setup {
    graft_arena *arena;
    graft_env *env;
    graft_model *model;
    graft_infer *infer;
} setup;

static int open_setup(setup *s, bench_inputs *x, const bench_options *o, graft_err *err) {
    graft_env_options eo = GRAFT_ENV_OPTIONS_INIT;
    graft_infer_options io = GRAFT_INFER_OPTIONS_INIT;
    eo.threads = o->threads;
    io.dtype = o->dtype;
    int rc = s->arena ? graft_env_new(&s->env, &eo, err) : graft_err_nomem(err);
    if (rc == 0) rc = graft_model_open(&s->model, s->env, o->model, NULL, err);
    if (rc == 0) rc = graft_infer_new(&s->infer, s->env, s->model, &io, err);
    return rc == 0 ? bench_inputs_make(x, s->arena, s->model, o, err) : rc;
}

static int trace(const setup *s, const graft_feed *feed, graft_err *err) {
    graft_buf text;
    graft_buf_init(&text, 0);
    int rc = graft_infer_trace(s->infer, feed, &text, err);
    if (rc == 0 && !text.failed) fputs(text.data, stdout);
    graft_buf_done(&text);
    return rc;
}

static int measure(const setup *s, const graft_feed *feed, const bench_options *o, graft_err *err) {
    static bench_clock clock;
    graft_program_memory needs = {0};
    int rc = 0;
    while (rc == 0 && bench_goes_on(&clock, o)) {
        rc = graft_infer_feed(s->infer, feed, 0, feed->n, feed->n, NULL, NULL, err);
        bench_tick(&clock);
    }
    if (rc == 0) rc = graft_infer_needs(s->infer, feed->n, feed->n_tokens, &needs, err);
    if (rc == 0) bench_print("forward", o, &clock, &needs);
    return rc;
}

static int run(const bench_options *o, graft_err *err) {
    setup s = {.arena = graft_arena_new(NULL)};
    bench_inputs x;
    int rc = open_setup(&s, &x, o, err);
    if (rc == 0) {
        const graft_feed feed = graft_batch_feed(&x.batch);
        rc = o->trace ? trace(&s, &feed, err) : measure(&s, &feed, o, err);
    }
    graft_infer_free(s.infer);
    graft_model_close(s.model);
    graft_env_free(s.env);
    graft_arena_free(s.arena);
    return rc;
}

int main(int argc, char **argv) {
    return bench_main(argc, argv, run);
}
