#include "model/init.h"
#include "model/family.h"
#include <math.h>
#include <string.h>

graft_rng graft_init_stream(uint64_t seed, const char *name) {
    return graft_rng_at(seed, 0, graft_hash_bytes(name, strlen(name)).lo, GRAFT_RNG_INIT);
}

size_t graft_init_count(const graft_shape *s) {
    int64_t n = 0;
    return graft_shape_count(s, &n) ? (size_t)n : 0;
}

static double fan_of(const graft_shape *s, graft_fan fan) {
    double field = 1;
    for (int i = 2; i < s->rank; i++) field *= (double)s->dims[i];
    int64_t n = s->rank < 2 ? 1 : s->dims[fan == GRAFT_FAN_IN ? 1 : 0];
    double f = (double)n * field;
    return f > 1 ? f : 1;
}

static void fill_normal(float *w, size_t n, double std, graft_rng *r) {
    for (size_t i = 0; i < n; i++) w[i] = (float)(std * graft_rng_normal(r));
}

void graft_init_uniform(float *w, size_t n, double low, double high, graft_rng *r) {
    for (size_t i = 0; i < n; i++) w[i] = (float)(low + (high - low) * graft_rng_uniform(r));
}

void graft_init_constant(float *w, size_t n, double value) {
    for (size_t i = 0; i < n; i++) w[i] = (float)value;
}

void graft_init_kaiming_normal(float *w, const graft_shape *s, graft_fan fan, graft_rng *r) {
    fill_normal(w, graft_init_count(s), sqrt(2.0 / fan_of(s, fan)), r);
}

void graft_init_kaiming_uniform(float *w, const graft_shape *s, graft_fan fan, double a, graft_rng *r) {
    double bound = sqrt(6.0 / ((1 + a * a) * fan_of(s, fan)));
    graft_init_uniform(w, graft_init_count(s), -bound, bound, r);
}

void graft_init_xavier_normal(float *w, const graft_shape *s, double gain, graft_rng *r) {
    double fans = fan_of(s, GRAFT_FAN_IN) + fan_of(s, GRAFT_FAN_OUT);
    fill_normal(w, graft_init_count(s), gain * sqrt(2.0 / fans), r);
}

void graft_init_xavier_uniform(float *w, const graft_shape *s, double gain, graft_rng *r) {
    double fans = fan_of(s, GRAFT_FAN_IN) + fan_of(s, GRAFT_FAN_OUT);
    double bound = gain * sqrt(6.0 / fans);
    graft_init_uniform(w, graft_init_count(s), -bound, bound, r);
}

/* Drawing anew ends soon unless the interval lies far out in a tail; after many misses the nearest bound is
 * taken. */
void graft_init_truncated_normal(float *w, size_t n, double mean, double std, double low, double high,
                                 graft_rng *r) {
    for (size_t i = 0; i < n; i++) {
        double x = mean + std * graft_rng_normal(r);
        for (int k = 0; k < 1000 && (x < low || x > high); k++) x = mean + std * graft_rng_normal(r);
        w[i] = (float)fmin(fmax(x, low), high);
    }
}

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), k = strlen(end);
    return n >= k && memcmp(s + n - k, end, k) == 0;
}

void graft_init_norm(const graft_param *p, float *out) {
    bool one = ends_with(p->name, p->kind == GRAFT_PARAM_STATISTIC ? ".running_var" : ".weight");
    graft_init_constant(out, graft_init_count(&p->shape), one ? 1 : 0);
}

void graft_init_linear(const graft_param *p, int64_t fan_in, float *out, graft_rng *r) {
    double bound = 1 / sqrt(fan_in > 0 ? (double)fan_in : 1);
    if (p->kind == GRAFT_PARAM_BIAS)
        graft_init_uniform(out, graft_init_count(&p->shape), -bound, bound, r);
    else
        graft_init_kaiming_uniform(out, &p->shape, GRAFT_FAN_IN, sqrt(5), r);
}

void graft_initialise_conv_net(const graft_param *p, const graft_hyper *h, float *out, graft_rng *r) {
    (void)h;
    if (p->kind == GRAFT_PARAM_WEIGHT)
        graft_init_kaiming_normal(out, &p->shape, GRAFT_FAN_OUT, r);
    else if (p->kind == GRAFT_PARAM_BIAS)
        graft_init_constant(out, graft_init_count(&p->shape), 0);
    else
        graft_init_norm(p, out);
}
