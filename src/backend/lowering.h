/* The inside of a lowering, for lower.c and program.c only. */
#ifndef GRAFT_BACKEND_LOWERING_H
#define GRAFT_BACKEND_LOWERING_H

#include "backend/lower.h"
#include "backend/memory.h"

typedef struct graft_repr {
    const graft_layout *layout;
    graft_buffer buffer;
    struct graft_repr *next;
} graft_repr;

typedef struct graft_low_value {
    graft_value_info info; /* shape bound */
    int32_t last_use;  /* node index; n_nodes when an output or an assign reads it; -1 when nothing does */
    graft_repr *reprs; /* the first is the one it was made in */
} graft_low_value;

typedef struct graft_low_buffer {
    graft_span span;
    graft_slot *slot; /* lies in the state, not in the arena */
    int32_t last_use; /* of all values in it: several where one is a view of another */
} graft_low_buffer;

struct graft_lowering {
    graft_arena *arena;   /* the program's */
    graft_arena *scratch; /* gone after compiling */
    const graft_graph *graph;
    graft_state *state;
    const graft_backend *backend;
    graft_low_value *values;
    graft_low_buffer *buffers;
    size_t n_buffers, buffers_capacity;
    graft_step *steps;
    size_t n_steps, steps_capacity;
    int32_t node; /* the one being lowered */
    graft_program_memory needs;
};

#endif
