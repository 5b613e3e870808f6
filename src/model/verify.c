/* Does a saved folder still answer as it did? Its probe inputs are run again and held against the logits
 * kept. */
#include "model/model_impl.h"
#include <math.h>
#include <string.h>

static size_t largest(const float *x, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

/* Rows of input i: its own, or those of its tokens where each is answered for. */
static void rows_of(const graft_feed *feed, size_t n_rows, size_t i, size_t *begin, size_t *end) {
    *begin = i;
    *end = i + 1;
    if (n_rows == (size_t)feed->n || !feed->spans) return;
    *begin = (size_t)feed->spans[2 * i];
    *end = *begin + (size_t)feed->spans[2 * i + 1];
}

/* Rows of k numbers; of a model of one output the class is always the same. */
static void compare(graft_verification *out, const float *now, const float *then, const graft_feed *feed,
                    size_t n_rows, size_t k) {
    *out = (graft_verification){.n_inputs = feed->n};
    for (size_t i = 0; i < (size_t)feed->n; i++) {
        size_t row, end;
        bool differs = false;
        for (rows_of(feed, n_rows, i, &row, &end); row < end && row < n_rows; row++) {
            for (size_t j = 0; j < k; j++) {
                double d = fabs((double)now[row * k + j] - (double)then[row * k + j]),
                       z = fabs((double)then[row * k + j]);
                /* A value that is no number differs beyond any measure. */
                if (!(d <= out->max_difference)) out->max_difference = isnan(d) ? INFINITY : d;
                if (z > out->max_logit) out->max_logit = z;
            }
            differs = differs || largest(now + row * k, k) != largest(then + row * k, k);
        }
        out->n_differ += differs;
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
    if (rc == 0) compare(out, now, then, &feed, n, m->n_labels);
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
