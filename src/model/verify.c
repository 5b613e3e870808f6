/* Does a saved folder still answer as it did? Its probe inputs are run again and held against the logits
 * kept. */
#include "model/model_impl.h"
#include <math.h>
#include <string.h>

static int find_probe(const graft_tensor **inputs, const graft_tensor **logits, const graft_tensors *probe,
                      const graft_model *m, const char *path, graft_err *err) {
    const graft_tensor *x = graft_tensors_find(probe, "inputs"), *z = graft_tensors_find(probe, "logits");
    int64_t count = 0;
    if (!x || !z)
        return graft_err_set(err, GRAFT_EDATA, "%s: the tensor '%s' is missing", path,
                             x ? "logits" : "inputs");
    bool good = x->shape.rank == 4 && x->shape.dims[1] == m->hyper.channels && z->shape.rank == 2 &&
                z->shape.dims[0] == x->shape.dims[0] && x->shape.dims[0] > 0 &&
                graft_shape_count(&x->shape, &count) && x->dtype == GRAFT_F32 && z->dtype == GRAFT_F32;
    if (!good) {
        char a[96], b[96];
        return graft_err_set(err, GRAFT_EDATA, "%s: inputs %s and logits %s are no probe of this model", path,
                             graft_shape_print(&x->shape, a, sizeof a),
                             graft_shape_print(&z->shape, b, sizeof b));
    }
    if (z->shape.dims[1] != (int64_t)m->n_labels)
        return graft_err_set(err, GRAFT_EDATA, "%s: its logits are of %lld classes, the model has %zu", path,
                             (long long)z->shape.dims[1], m->n_labels);
    *inputs = x;
    *logits = z;
    return 0;
}

static size_t largest(const float *x, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

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

static int replay(graft_verification *out, const graft_env *env, const graft_model *m, const char *path,
                  graft_arena *scratch, graft_err *err) {
    const graft_tensor *x = NULL, *z = NULL;
    graft_tensors probe;
    int rc;
    if (!graft_path_is_file(path))
        return graft_err_set(err, GRAFT_EDATA,
                             "%s: there is no such file; a folder that graft saved holds its probes there",
                             path);
    if ((rc = graft_safetensors_open(&probe, scratch, path, err)) < 0) return rc;
    if ((rc = find_probe(&x, &z, &probe, m, path, err)) < 0) return rc;
    size_t n = (size_t)x->shape.dims[0], k = m->n_labels;
    float *pixels = graft_arena_array(scratch, graft_init_count(&x->shape), sizeof *pixels);
    float *now = graft_arena_array(scratch, n * k, sizeof *now),
          *then = graft_arena_array(scratch, n * k, sizeof *then);
    if (!pixels || !now || !then) return graft_err_nomem(err);
    graft_tensor_to_f32(x, pixels);
    graft_tensor_to_f32(z, then);
    graft_infer_options o = {x->shape.dims[2], x->shape.dims[3], GRAFT_F32};
    graft_infer *f = NULL;
    rc = graft_infer_new(&f, env, m, &o, err);
    if (rc == 0) rc = graft_infer_run(f, pixels, (int64_t)n, NULL, now, err);
    graft_infer_free(f);
    if (rc == 0) compare(out, now, then, n, k);
    return rc;
}

int graft_model_verify(graft_verification *out, const graft_env *env, const char *dir, graft_err *err) {
    graft_arena *scratch = graft_arena_new(NULL);
    const char *path = scratch ? graft_path_join(scratch, dir, "graft_probe.safetensors") : NULL;
    graft_model *m = NULL;
    graft_model_options o = GRAFT_MODEL_OPTIONS_INIT;
    o.needs_head = true;
    int rc = path ? graft_model_open(&m, env, dir, &o, err) : graft_err_nomem(err);
    if (rc == 0) rc = replay(out, env, m, path, scratch, err);
    graft_model_close(m);
    graft_arena_free(scratch);
    return rc;
}
