/* Initial values of new layers, as PyTorch's torch.nn.init has them. Every parameter draws from a stream of
 * its own, keyed by seed and name, so that neither order nor other layers change what it gets. */
#ifndef GRAFT_MODEL_INIT_H
#define GRAFT_MODEL_INIT_H

#include "model/model.h"

/** The stream of one parameter. */
graft_rng graft_init_stream(uint64_t seed, const char *name);

/** fan_in = I * receptive field, fan_out = O * receptive field of a weight (O, I, ...). */
typedef enum graft_fan { GRAFT_FAN_IN, GRAFT_FAN_OUT } graft_fan;

/** Normal with std sqrt(2 / fan): for layers before a ReLU (He et al. 2015). */
void graft_init_kaiming_normal(float *w, const graft_shape *s, graft_fan fan, graft_rng *r);
/** Uniform in +-sqrt(6 / ((1 + a^2) fan)): a is the leaky ReLU's slope, 0 for ReLU. */
void graft_init_kaiming_uniform(float *w, const graft_shape *s, graft_fan fan, double a, graft_rng *r);
/** Normal with std gain sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio 2010). */
void graft_init_xavier_normal(float *w, const graft_shape *s, double gain, graft_rng *r);
/** Uniform in +-gain sqrt(6 / (fan_in + fan_out)). */
void graft_init_xavier_uniform(float *w, const graft_shape *s, double gain, graft_rng *r);
/** Normal(mean, std) kept within [low, high] by drawing anew. low < high. */
void graft_init_truncated_normal(float *w, size_t n, double mean, double std, double low, double high,
                                 graft_rng *r);
void graft_init_uniform(float *w, size_t n, double low, double high, graft_rng *r);
void graft_init_constant(float *w, size_t n, double value);
/** Norms and statistics at rest: scale and variance 1, shift and mean 0. */
void graft_init_norm(const graft_param *p, float *out);
/** What torch.nn.Linear does: weight Kaiming uniform with a = sqrt(5), bias uniform in +-1/sqrt(fan_in). */
void graft_init_linear(const graft_param *p, int64_t fan_in, float *out, graft_rng *r);

/** Elements of a shape that is known to fit. */
size_t graft_init_count(const graft_shape *s);

#endif
