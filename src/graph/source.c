/* Initial values of parameters: a tensor of a file as float32, or a batch norm folded into the convolution
 * before it. With a = gamma / sqrt(variance + eps) per output channel o (Jacob et al. 2018, section 3.2):
 *     w'[o] = a[o] w[o]        b'[o] = beta[o] + (b[o] - mean[o]) a[o]
 * and a[o] itself where there is no w. The arithmetic is in double and rounded once. */
#include "graph/graph.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* As float32 into `out`; zeros without a tensor. */
static int read_tensor(const graft_tensor *t, int64_t count, float *out, graft_err *err) {
    if (!t) {
        memset(out, 0, (size_t)count * sizeof *out);
        return 0;
    }
    int64_t have;
    if (!graft_shape_count(&t->shape, &have) || have != count)
        return graft_err_set(err, GRAFT_ESHAPE, "tensor '%s' has not the %lld elements that are needed",
                             t->name ? t->name : "", (long long)count);
    graft_tensor_to_f32(t, out);
    return 0;
}

/* out holds w or b, (channels, per_channel); `norm` has room for four arrays of `channels`. */
static int fold(const graft_source *s, int64_t channels, int64_t per_channel, float *norm, float *out,
                graft_err *err) {
    float *gamma = norm, *beta = norm + channels, *mean = norm + 2 * channels,
          *variance = norm + 3 * channels;
    int rc = read_tensor(s->gamma, channels, gamma, err);
    if (rc == 0) rc = read_tensor(s->beta, channels, beta, err);
    if (rc == 0) rc = read_tensor(s->mean, channels, mean, err);
    if (rc == 0) rc = read_tensor(s->variance, channels, variance, err);
    if (rc < 0) return rc;
    for (int64_t o = 0; o < channels; o++) {
        double a = (double)gamma[o] / sqrt((double)variance[o] + s->eps);
        if (s->is_bias) {
            out[o] = (float)((double)beta[o] + ((double)out[o] - (double)mean[o]) * a);
            continue;
        }
        for (int64_t i = 0; i < per_channel; i++) {
            float *w = &out[o * per_channel + i];
            *w = (float)(a * (double)*w);
        }
    }
    return 0;
}

int graft_source_read(const graft_source *s, const graft_shape *shape, float *out, graft_err *err) {
    int64_t count;
    if (!graft_shape_count(shape, &count))
        return graft_err_set(err, GRAFT_ESHAPE, "a parameter's shape is not bound");
    int rc = read_tensor(s->tensor, count, out, err);
    for (int64_t i = 0; i < count && s->variance && !s->is_bias && !s->tensor; i++) out[i] = 1;
    if (rc < 0 || !s->variance || count == 0) return rc;
    int64_t channels = shape->rank ? shape->dims[0] : 1;
    float *norm = malloc((size_t)channels * 4 * sizeof *norm);
    if (!norm) return graft_err_nomem(err);
    rc = fold(s, channels, count / channels, norm, out, err);
    free(norm);
    return rc;
}
