/* The door of backend/: a graph becomes a static program. Compiling binds the batch, chooses kernels and
 * layouts, packs frozen weights once, and gives every buffer of a step its place in one arena; a run then
 * looks nothing up and allocates nothing. Programs of several shapes share one state: weights, moments,
 * statistics, counters. */
#ifndef GRAFT_BACKEND_H
#define GRAFT_BACKEND_H

#include "graph/graph.h"

/* ---- State ----------------------------------------------------------------------------------------------
 */

/** Storage of parameters and states, by name, in the layout that the first program chose. */
typedef struct graft_state graft_state;

int graft_state_new(graft_state **out, const graft_env *env, graft_err *err);
void graft_state_free(graft_state *s);
/** The current value of a trained parameter or state as float32, C order; `count` must be its element count.
 * ESHAPE when not; EUSAGE when no program has made it. */
int graft_state_read(const graft_state *s, const char *name, float *out, size_t count, graft_err *err);
/** Replaces it. Before any program made it, the value is kept and used instead of the parameter's source. */
int graft_state_write(graft_state *s, const char *name, const graft_shape *shape, const float *in,
                      graft_err *err);
/** Names of everything that changes (trained parameters and states), in the order of creation. */
size_t graft_state_names(const graft_state *s, const char *const **names);
/** Shape of a named value; NULL when unknown. */
const graft_shape *graft_state_shape(const graft_state *s, const char *name);
/** Sets everything of kind STATE to zero. */
void graft_state_zero(graft_state *s, const char *name);
/** Bytes held: trained values and packed frozen weights. */
size_t graft_state_size(const graft_state *s);

/* ---- Program --------------------------------------------------------------------------------------------
 */

typedef struct graft_program graft_program;

typedef struct graft_compile_options {
    int64_t batch;  /* what GRAFT_DIM_BATCH is bound to; at least 1 where the graph has it */
    int64_t tokens; /* what GRAFT_DIM_TOKENS is bound to; likewise */
    bool dry;       /* plan only: memory is known, nothing is allocated, run is an error */
} graft_compile_options;

/** What a program needs, in bytes. */
typedef struct graft_program_memory {
    size_t arena;                            /* activations, gradients, scratch: the peak of a step */
    size_t weights;                          /* packed frozen weights that this program added to the state */
    size_t state;                            /* trained parameters, moments, statistics that it added */
    size_t n_steps, n_reorders, n_reference; /* kernels run in a step; layout changes; ops without a kernel */
} graft_program_memory;

/** Compiles g, which is read only here: it may be freed afterwards, but tensors behind its sources may not
 * while the state lives. Element types are those of the graph's values (graft_graph_precision). Errors:
 * ESHAPE, EUNSUPPORTED, ENOMEM, EINTERNAL. */
int graft_program_compile(graft_program **out, const graft_graph *g, graft_state *state,
                          const graft_compile_options *options, graft_err *err);
void graft_program_free(graft_program *p);
/** Where to write an input before a run: C order, its own dtype. Programs of one state share the memory of
 * their steps, so every input is written before every run, and the pointer holds until another program of the
 * state is compiled or run. NULL when unknown. */
void *graft_program_input(const graft_program *p, const char *name, size_t *size);

/** What programs read: rows of samples and, of texts, rows of tokens, sample after sample. All borrowed. */
typedef struct graft_feed {
    int64_t n, n_tokens;        /* samples; tokens of all of them, 0: these are no texts */
    const graft_tensor *inputs; /* first dim n */
    size_t n_inputs;
    const graft_tensor *token_inputs; /* first dim n_tokens */
    size_t n_token_inputs;
    const int32_t *spans; /* [n, 2] first token and number of tokens; NULL without tokens */
} graft_feed;

/** Tokens of samples [first, first + n). */
int64_t graft_feed_tokens(const graft_feed *f, int64_t first, int64_t n);
/** Tokens that a program is made for so that n of them fit: few sizes serve all batches, and little is
 * wasted. */
int64_t graft_tokens_room(int64_t n);
/** Writes samples [first, first + n) into the inputs of their names; "spans" count from the first token
 * written. Rows that the program has beyond them are zero: spans without tokens. Token inputs that the
 * program does not read are passed over. EINTERNAL when it does not read another, ESHAPE when rows do not
 * fit. */
int graft_program_feed(const graft_program *p, const graft_feed *f, int64_t first, int64_t n, graft_err *err);
/** Where an output lies after a run, float32 in C order; until another run or compilation on the state. NULL
 * when unknown. */
const float *graft_program_output(const graft_program *p, const char *name, size_t *count);
/** One step. */
int graft_program_run(graft_program *p, graft_err *err);
graft_program_memory graft_program_needs(const graft_program *p);
/** Runs once and writes one line a kernel: op, name, shapes, dtypes, implementation, microseconds. */
int graft_program_trace(graft_program *p, graft_buf *out, graft_err *err);

/** What is asked for, or FP32 where this processor is no faster with it. */
graft_precision graft_backend_precision(graft_precision asked);
/** Whether this machine computes bf16 faster than float32. */
bool graft_backend_has_bf16(void);

#endif
