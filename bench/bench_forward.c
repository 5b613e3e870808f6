/* Pictures a second of a model's forward pass, as graft runs frozen features and prediction: folded, fused,
 * packed.
 *
 *     bench_forward MODEL [--batch N] [--dtype fp32|bf16] [--seconds S] [--threads T] [--trace]
 *
 * Prints one JSON object: images_per_second (best, median over rounds), arena and weights in MiB, peak_mib of
 * the process. The input is noise: speed does not depend on it. */
#include "bench.h"

#include "model/model.h"

static int run(const bench_options *o, graft_err *err) {
    graft_env *env = NULL;
    graft_model *model = NULL;
    graft_infer *infer = NULL;
    graft_env_options eo = GRAFT_ENV_OPTIONS_INIT;
    graft_infer_options io = GRAFT_INFER_OPTIONS_INIT;
    eo.threads = o->threads;
    io.dtype = o->bf16 ? GRAFT_BF16 : GRAFT_F32;
    int rc = graft_env_new(&env, &eo, err);
    if (rc == 0) rc = graft_model_open(&model, env, o->model, NULL, err);
    if (rc == 0) rc = graft_infer_new(&infer, env, model, &io, err);
    float *x = NULL;
    int h = 0, w = 0;
    if (rc == 0) rc = graft_infer_input(&x, infer, o->batch, err);
    if (rc == 0) {
        graft_model_input_size(model, &h, &w);
        bench_noise(x, (size_t)o->batch * (size_t)graft_model_channels(model) * (size_t)h * (size_t)w);
    }
    bench_clock clock = {0};
    while (rc == 0 && bench_goes_on(&clock, o)) {
        rc = graft_infer_run_input(infer, o->batch, NULL, NULL, err);
        bench_tick(&clock);
    }
    graft_program_memory needs = {0};
    if (rc == 0) rc = graft_infer_needs(infer, o->batch, &needs, err);
    if (rc == 0) bench_print("forward", o, &clock, &needs);
    graft_infer_free(infer);
    graft_model_close(model);
    graft_env_free(env);
    return rc;
}

int main(int argc, char **argv) {
    return bench_main(argc, argv, run);
}
