/* The loops of update.h; included by one file an instruction set, which names the table UPDATE_TABLE and its
 * ISA. No include guard: it is a body, not a declaration. */
#include "backend/cpu/own/update.h"

#include <math.h>

static void sgd(const graft_sgd_span *s, size_t begin, size_t end) {
    float *restrict w = s->w, *restrict v = s->velocity;
    const float *restrict dw = s->dw;
    const float rate = s->rate, decay = s->decay, momentum = s->momentum, scale = s->scale;
    if (!v) {
#pragma omp simd
        for (size_t i = begin; i < end; i++) w[i] -= rate * (dw[i] * scale + decay * w[i]);
        return;
    }
    const float ahead = s->nesterov ? momentum : 0.0F, now = s->nesterov ? 0.0F : 1.0F, direct = 1.0F - now;
    /* nesterov steps along g + momentum v, plain momentum along v */
#pragma omp simd
    for (size_t i = begin; i < end; i++) {
        float g = dw[i] * scale + decay * w[i];
        float velocity = momentum * v[i] + g;
        v[i] = velocity;
        w[i] -= rate * (direct * g + (ahead + now) * velocity);
    }
}

static void adam(const graft_adam_span *s, size_t begin, size_t end) {
    float *restrict w = s->w, *restrict m = s->m, *restrict v = s->v;
    const float *restrict dw = s->dw;
    const float beta1 = s->beta1, beta2 = s->beta2, eps = s->eps, scale = s->scale, decay = s->decay;
    const float shrink = s->shrink, rate = s->rate, root = s->root_correction;
#pragma omp simd
    for (size_t i = begin; i < end; i++) {
        float old = w[i] * shrink;
        float g = dw[i] * scale + decay * old;
        m[i] = beta1 * m[i] + (1.0F - beta1) * g;
        v[i] = beta2 * v[i] + (1.0F - beta2) * g * g;
        w[i] = old - rate * m[i] / (sqrtf(v[i]) / root + eps);
    }
}

static double sum_squares(const float *x, size_t begin, size_t end) {
    double total = 0.0;
#pragma omp simd reduction(+ : total)
    for (size_t i = begin; i < end; i++) total += (double)x[i] * (double)x[i];
    return total;
}

const graft_update_kernels UPDATE_TABLE = {
    "sgd:" UPDATE_ISA, "adam:" UPDATE_ISA, "clip_scale:" UPDATE_ISA, sgd, adam, sum_squares};
