/* A small residual network with every shape of a larger one: stem, max pool, an identity block, a block with
 * a projection, global pooling, a linear head. For tests of what graphs are made to do. */
#ifndef GRAFT_TESTS_SMALL_NET_H
#define GRAFT_TESTS_SMALL_NET_H

#include "evaluate.h"
#include "graph/graph.h"

enum { SMALL_NET_CLASSES = 3, SMALL_NET_CHANNELS = 2, SMALL_NET_SIDE = 8 };

/** Writes x (N,2,8,8) -> outputs "features" (N,6) and "logits" (N,3) into a new graph; random parameters
 * named as ResNets' are ("layer1.0.conv1.weight"). Returns the graph; fails the running test when it cannot
 * be built. */
graft_graph *small_net_new(graft_arena *arena);
/** Adds inputs "target" (N,3) and "weight" (N,) and the output "loss"; returns the loss. */
graft_value small_net_loss(graft_graph *g);
/** Marks the parameters whose names start with `prefix` as trained (all statistics too when with_statistics).
 */
void small_net_mark(graft_graph *g, const char *prefix, bool with_statistics);
/** `count` doubles, uniform in [low, high), a function of `stream`. */
double *small_net_random(graft_arena *arena, int64_t count, double low, double high, uint64_t stream);
/** Values of "x", "target" and "weight" for a batch: three bindings. */
size_t small_net_bind(graft_arena *arena, int64_t batch, evaluate_binding *out);
/** Fails the running test unless the gradients of the output "loss" with respect to the n parameters of wrt
 * are what central differences along a fixed random direction of all of them say. */
void small_net_check_slope(graft_arena *arena, const graft_graph *g, int64_t batch, const graft_value *wrt,
                           const graft_value *gradients, size_t n);

#endif
