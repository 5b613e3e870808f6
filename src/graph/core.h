/* What a graph is inside. Values, nodes, outputs and assigns are arrays that double within the graph's arena.
 * The builder, the verifier and the printer see it; passes go through graph.h and rewrite.h. */
#ifndef GRAFT_GRAPH_CORE_H
#define GRAFT_GRAPH_CORE_H

#include "graph/graph.h"

struct graft_graph {
    graft_arena *arena;
    graft_value_info *values;
    size_t n_values, values_capacity;
    graft_node *nodes;
    size_t n_nodes, nodes_capacity;
    graft_output *outputs;
    size_t n_outputs, outputs_capacity;
    graft_assign *assigns;
    size_t n_assigns, assigns_capacity;
    graft_map *names;        /* inputs, parameters, states -> value */
    graft_map *output_names; /* outputs -> position in outputs */
    const char *scope;
    graft_err error; /* code 0: none yet */
};

/** The scope that nodes are named by at this moment; never NULL. */
const char *graft_graph_scope_name(const graft_graph *g);

#endif
