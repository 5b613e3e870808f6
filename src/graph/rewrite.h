/* Writing a new graph from an old one: values of the old graph are mapped to values of the new. A pass walks
 * the old nodes in order, copies most and adds its own in place of the others. */
#ifndef GRAFT_GRAPH_REWRITE_H
#define GRAFT_GRAPH_REWRITE_H

#include "graph/graph.h"

typedef struct graft_rewrite {
    const graft_graph *from;
    graft_graph *to;
    graft_value *map; /* per value of `from`: its value in `to`, or GRAFT_NONE while it has none */
    graft_arena *scratch;
} graft_rewrite;

/** Starts a new graph in `arena`. After success graft_rewrite_end must follow. */
int graft_rewrite_begin(graft_rewrite *r, graft_arena *arena, const graft_graph *from, graft_err *err);
/** The value that stands for v; an input, parameter or state is copied with its marks and source when first
 * asked for. A result without one fails the new graph. GRAFT_NONE stays so. */
graft_value graft_rewrite_value(graft_rewrite *r, graft_value v);
/** Adds a node in place of n: op, attr and the inputs of n with `in` (values of the new graph) where it is
 * not NULL; maps n's results, which keep their types. */
void graft_rewrite_node(graft_rewrite *r, const graft_node *n, const void *attr, const graft_value *in);
/** Copies node n as it is. */
void graft_rewrite_copy(graft_rewrite *r, const graft_node *n);
/** Makes `new_value` stand for v from here on, in v's type (F32 or BF16, as precision.c chose). */
void graft_rewrite_map(graft_rewrite *r, graft_value v, graft_value new_value);
/** Copies outputs and assigns. */
void graft_rewrite_ends(graft_rewrite *r);
/** Releases the map, verifies the new graph and gives it out when `rc` is 0. Returns rc, or what was wrong.
 */
int graft_rewrite_end(graft_rewrite *r, graft_graph **out, int rc, graft_err *err);

/** Whether v is a parameter whose value is its source for good: neither marked trained nor assigned
 * (`assigned` from graft_graph_assigned). */
bool graft_value_is_constant(const graft_graph *g, graft_value v, const bool *assigned);
/** assigned[v]: some assignment has v as target; n_values entries in `arena`, NULL when out of memory. */
bool *graft_graph_assigned(const graft_graph *g, graft_arena *arena);

#endif
