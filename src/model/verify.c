/* Does a saved folder still answer as it did? Its probe inputs are run again and held against the logits
 * kept. */
#include "model/model_impl.h"
#include <math.h>
#include <string.h>

int graft_model_probes(graft_feed *out, bool *found, const graft_model *m, graft_arena *arena,
                       const char *dir, graft_err *err) {
    const float *logits = NULL;
    const char *path = graft_path_join(arena, dir, "graft_probe.safetensors");
    if (!path) return graft_err_nomem(err);
    *found = graft_path_is_file(path);
    return *found ? graft_probe_read(out, &logits, m, arena, path, err) : 0;
}

static size_t largest(const float *x, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

/* n rows of k; of a model of one output the class is always the same. */
static void compare(graft_verification *out, const float *now, const float *then, size_t n, size_t k) {
    *out = (graft_verification){.n_inputs = (int64_t)n};
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < k; j++) {
            double d = fabs((double)now[i * k + j] - (double)then[i * k + j]),
                   z = fabs((double)then[i * k + j]);
            /* A value that is no number differs beyond any measure. */
            if (!(d <= out->max_difference)) out->max_difference = isnan(d) ? INFINITY : d;
            if (z > out->max_logit) out->max_logit = z;
        }
        if (largest(now + i * k, k) != largest(then + i * k, k)) out->n_differ++;
    }
}

int graft_model_replay(graft_verification *out, const graft_env *env, const graft_model *m, const char *dir,
                       graft_err *err) {
    graft_arena *scratch = graft_arena_new(NULL);
    const char *path = scratch ? graft_path_join(scratch, dir, "graft_probe.safetensors") : NULL;
    graft_feed feed;
    const float *then = NULL;
    float *now = NULL;
    size_t n = 0;
    int rc = path ? graft_probe_read(&feed, &then, m, scratch, path, err) : graft_err_nomem(err);
    if (rc == 0) rc = graft_probe_run(&now, &n, m, env, &feed, scratch, err);
    if (rc == 0) compare(out, now, then, n, m->n_labels);
    graft_arena_free(scratch);
    return rc;
}

int graft_model_verify(graft_verification *out, const graft_env *env, const char *dir, graft_err *err) {
    graft_model *m = NULL;
    graft_model_options o = GRAFT_MODEL_OPTIONS_INIT;
    o.needs_head = true;
    int rc = graft_model_open(&m, env, dir, &o, err);
    if (rc == 0) rc = graft_model_replay(out, env, m, dir, err);
    graft_model_close(m);
    return rc;
}
