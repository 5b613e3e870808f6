/* The door of graph/: a model, its loss, its gradient and its optimiser are one list of nodes in topological
 * order over typed values. Nothing here computes: shapes are inferred, gradients add nodes, a plan derives
 * what is frozen, passes write a new graph from an old one. A backend compiles a graph into a program. The
 * graph is its own builder: it keeps the first error together with the node's name, later calls do nothing,
 * graft_graph_end returns it. */
#ifndef GRAFT_GRAPH_H
#define GRAFT_GRAPH_H

#include "tensor/tensor.h"

typedef struct graft_graph graft_graph;

/** Index of a value in its graph. */
typedef int32_t graft_value;
enum { GRAFT_NONE = -1 };

/** Dims that are bound when a program is compiled: samples, and the tokens of all samples of a batch. Texts
 * lie one after the other, without padding between them; `spans` (BATCH, 2) I32 says where each begins and
 * how long it is. */
enum { GRAFT_DIM_BATCH = -1, GRAFT_DIM_TOKENS = -2 };
static inline bool graft_dim_is_open(int64_t dim) {
    return dim == GRAFT_DIM_BATCH || dim == GRAFT_DIM_TOKENS;
}

typedef enum graft_value_kind {
    GRAFT_INPUT,  /* set before each run, by name */
    GRAFT_PARAM,  /* a weight or a statistic, by the name it has in the model's file */
    GRAFT_STATE,  /* what training keeps beside the weights: moments, counters; starts at zero unless source
                     says */
    GRAFT_RESULT, /* what a node computes */
} graft_value_kind;

/** Where a parameter's initial value comes from. Sources are read when a program is compiled, not before. */
typedef struct graft_source {
    const graft_tensor *tensor; /* its own data; NULL: zeros */
    /* A batch norm folded into the convolution before it (fold.c): w' = w g / sqrt(v + eps) per output
     * channel, b' = beta + (b - m) g / sqrt(v + eps); without a tensor w is 1. All NULL when nothing is
     * folded. */
    const graft_tensor *gamma, *beta, *mean, *variance;
    double eps;
    bool is_bias; /* this is b', and `tensor` is b (NULL: 0) */
} graft_source;

typedef struct graft_value_info {
    graft_value_kind kind;
    graft_dtype dtype;
    graft_shape shape; /* may hold open dims */
    const char *name;  /* unique among inputs, parameters and states; NULL for most results */
    int32_t node;      /* RESULT: the node that computes it */
    bool trained; /* PARAM: updated by this graph, so never folded, packed for good or turned to bf16 for good
                   */
    graft_source source;
} graft_value_info;

typedef struct graft_op graft_op; /* a row of the op table; op.h */

typedef struct graft_node {
    const graft_op *op;
    const void *attr; /* the op's attribute struct, or NULL */
    const graft_value *in;
    size_t n_in; /* optional inputs that are absent are GRAFT_NONE */
    const graft_value *out;
    size_t n_out;
    const char *name; /* for messages and traces: the scope it was built in */
} graft_node;

/** After a run the storage of `target` (a PARAM or STATE) holds `value`. */
typedef struct graft_assign {
    graft_value target, value;
} graft_assign;

typedef struct graft_output {
    const char *name;
    graft_value value;
} graft_output;

/* ---- Building --------------------------------------------------------------------------------------------- */

/** Lives in the arena. NULL when out of memory. */
graft_graph *graft_graph_new(graft_arena *arena);
graft_arena *graft_graph_arena(const graft_graph *g);

graft_value graft_graph_input(graft_graph *g, const char *name, graft_dtype dtype, graft_shape shape);
/** `tensor` may be NULL (zeros) and must outlive the graph. */
graft_value graft_graph_param(graft_graph *g, const char *name, const graft_tensor *tensor,
                              graft_shape shape);
graft_value graft_graph_state(graft_graph *g, const char *name, graft_shape shape);
void graft_graph_output(graft_graph *g, const char *name, graft_value v);
void graft_graph_assign(graft_graph *g, graft_value target, graft_value value);
/** Name given to the nodes built from here on; the string is copied. */
void graft_graph_scope(graft_graph *g, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** Adds a node of `op`; results are written to out[0 .. op's n_out), GRAFT_NONE each after an error. */
void graft_graph_node(graft_graph *g, const graft_op *op, const void *attr, const graft_value *in,
                      size_t n_in, graft_value *out);
/** Records an error unless there is one already. */
void graft_graph_fail(graft_graph *g, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool graft_graph_failed(const graft_graph *g);
/** The first error met while building, or 0. */
int graft_graph_end(const graft_graph *g, graft_err *err);

/* ---- Looking ---------------------------------------------------------------------------------------------- */

size_t graft_graph_n_values(const graft_graph *g);
size_t graft_graph_n_nodes(const graft_graph *g);
/** Borrowed, valid until the next value is added. */
const graft_value_info *graft_graph_value(const graft_graph *g, graft_value v);
graft_value_info *graft_graph_value_mut(graft_graph *g, graft_value v);
const graft_node *graft_graph_node_at(const graft_graph *g, size_t i);
/** Replaces the attributes of node i by a copy of `attr`. */
int graft_graph_node_set(graft_graph *g, size_t i, const void *attr, graft_err *err);
size_t graft_graph_outputs(const graft_graph *g, const graft_output **out);
size_t graft_graph_assigns(const graft_graph *g, const graft_assign **out);
/** By name among inputs, parameters, states and outputs; GRAFT_NONE when there is none. */
graft_value graft_graph_find(const graft_graph *g, const char *name);
/** What the node that computes v reads first, before dropouts; v where no node computes it. still.c */
graft_value graft_graph_operand(const graft_graph *g, graft_value v);
/** uses[v] = how many node inputs, outputs and assigns read v; `uses` has n_values entries. */
void graft_graph_count_uses(const graft_graph *g, int32_t *uses);
/** Text of the whole graph, one node a line. */
void graft_graph_print(const graft_graph *g, graft_buf *out);
/** Verifies everything a graph promises (order, shapes, names, assigns); EINTERNAL when not so. check.c */
int graft_graph_check(const graft_graph *g, graft_err *err);
/** Hash of structure and of the parameters' sources (contents included): the key of a frozen prefix. */
int graft_graph_hash(const graft_graph *g, graft_hash *out, graft_err *err);

/** A source's values as float32, C order. `count` elements. */
int graft_source_read(const graft_source *s, const graft_shape *shape, float *out, graft_err *err);

/* ---- Passes: each writes a new graph in `arena` -------------------------------------------------------------- */

/** The part of g between `inputs` (any values; they become INPUTs named `input_names[i]`) and `outputs`.
 * Values that are INPUT, PARAM or STATE in g keep kind and name. extract.c */
int graft_graph_extract(graft_graph **out, graft_arena *arena, const graft_graph *g,
                        const graft_value *inputs, const char *const *input_names, size_t n_inputs,
                        const graft_output *outputs, size_t n_outputs, graft_err *err);
/** Frozen batch norms folded into the convolution before them. fold.c */
int graft_graph_fold(graft_graph **out, graft_arena *arena, const graft_graph *g, graft_err *err);
/** conv + relu, conv + add + relu, linear + add + activation, batch norm + relu, add + relu joined where
 * nothing else reads the value between. fuse.c */
int graft_graph_fuse(graft_graph **out, graft_arena *arena, const graft_graph *g, graft_err *err);
/** Before the gradient is added: relu joined only with ops whose gradient rule knows of it (convolution,
 * batch norm in both forms, add), and sums with linear layers and with batch norms of the batch's statistics,
 * so that the backward pass has fewer nodes. fuse.c */
int graft_graph_fuse_training(graft_graph **out, graft_arena *arena, const graft_graph *g, graft_err *err);
/** Every dropout replaced by its input, attention's too, for inference; the seeds are no inputs any more. g
 * has no gradients yet (EINTERNAL when it has one of a dropout). still.c */
int graft_graph_without_dropout(graft_graph **out, graft_arena *arena, const graft_graph *g, graft_err *err);
/** Every batch norm whose running mean is marked trained uses the batch's statistics and assigns the running
 * ones; the others keep theirs. norms.c */
int graft_graph_train_norms(graft_graph **out, graft_arena *arena, const graft_graph *g, graft_err *err);
/** The same with momentum 1: the running statistics become those of the last batch. norms.c */
int graft_graph_measure_norms(graft_graph **out, graft_arena *arena, const graft_graph *g, graft_err *err);
/** Parameters marked trained go by `<name><ending>`, and so by other storage of a state, which begins as
 * their source says. rename.c */
int graft_graph_rename_trained(graft_graph **out, graft_arena *arena, const graft_graph *g,
                               const char *ending, graft_err *err);
/** Adds the nodes of `from` to `to`; inputs, parameters and states of one name are one value. map[v],
 * n_values of `from`, is what stands for v there, GRAFT_NONE where nothing reads it. Outputs and assigns are
 * left. append.c */
int graft_graph_append(graft_graph *to, const graft_graph *from, graft_value *map, graft_err *err);
/** Marks in place what is computed in another precision than float32: results of ops whose row allows bf16;
 * bf16x3: the products of linear layers. precision.c */
int graft_graph_precision(graft_graph *g, graft_precision precision, graft_err *err);
/** Adds the nodes that compute d(loss)/d(wrt[i]) into grads[i] (GRAFT_NONE when loss does not depend on it).
 * Reverse accumulation over the ops' gradient rules. grad.c */
int graft_graph_grad(graft_graph *g, graft_value loss, const graft_value *wrt, size_t n_wrt,
                     graft_value *grads, graft_err *err);
/** A low-rank addition to one layer (Hu et al. 2022, "LoRA"): its parameters a and b, by name and value. */
typedef struct graft_adapter {
    const char *weight; /* the parameter of the layer that it is added to */
    const char *a, *b;  /* names: (r, I) and (O, r); of a convolution (r, I, KH, KW) and (O, r, 1, 1) */
    graft_shape a_shape, b_shape;
    const graft_tensor *a_value, *b_value;
    double scale;   /* of the addition */
    double dropout; /* of what `a` reads; 0: none */
} graft_adapter;
/** Every linear layer W x + b and every convolution whose weight an adapter names gives W x + b + scale B (A
 * x), a convolution's A having its kernel, stride and padding; a small one is computed with W + scale B A.
 * g is neither fused nor has it a gradient;
 * EINTERNAL where an adapter finds no such layer. low_rank.c */
int graft_graph_adapt(graft_graph **out, graft_arena *arena, const graft_graph *g,
                      const graft_adapter *adapters, size_t n, graft_err *err);
/** Before the gradient is added and anything is fused: where one token of each text is read in the end, the
 * layers before that are computed for it alone. Dropouts go first where they go (without_dropout).
 * chosen_rows.c */
int graft_graph_choose_rows(graft_graph **out, graft_arena *arena, const graft_graph *g, graft_err *err);
/** Before the gradient is added: 1x1 convolutions with a stride read a subsampled x. subsample.c */
int graft_graph_subsample(graft_graph **out, graft_arena *arena, const graft_graph *g, graft_err *err);
/** After the gradient is added: sums of gradients joined with the batch norm's gradient that alone reads
 * them. fuse_gradient.c */
int graft_graph_fuse_gradient(graft_graph **out, graft_arena *arena, const graft_graph *g, graft_err *err);
/** Forward values that the backward part reads are computed again from the values that cross `keep` segments
 * (about equal in bytes), so that fewer are alive at once (Chen et al. 2016, "Training deep nets with
 * sublinear memory cost"). `n_forward` = nodes before the gradient's. recompute.c */
int graft_graph_recompute(graft_graph **out, graft_arena *arena, const graft_graph *g, size_t n_forward,
                          int n_segments, graft_err *err);

/* ---- Layers ----------------------------------------------------------------------------------------------- */

typedef enum graft_layer_kind {
    GRAFT_LAYER_LINEAR,   /* W (O,I) */
    GRAFT_LAYER_IN_OUT,   /* W (I,O) */
    GRAFT_LAYER_CONV,     /* W (O,I,KH,KW), one group, dense */
    GRAFT_LAYER_ODD_CONV, /* of groups, or dilated */
    GRAFT_LAYER_EMBEDDING /* W (V,D) */
} graft_layer_kind;

/** What attention does with a linear layer's output, or the layer with attention's. */
enum { GRAFT_LAYER_QUERY = 1, GRAFT_LAYER_KEY = 2, GRAFT_LAYER_VALUE = 4, GRAFT_LAYER_OUT = 8 };

/** A layer, by the parameter that is its weight. */
typedef struct graft_layer {
    graft_value weight;
    graft_layer_kind kind;
    unsigned roles;
} graft_layer;

typedef struct graft_layers {
    graft_layer *items;
    size_t n;
} graft_layers;

/** The layers of a graph in its order, each weight once. In `arena`. layers.c */
int graft_graph_layers(graft_layers *out, graft_arena *arena, const graft_graph *g, graft_err *err);

/* ---- Plan ------------------------------------------------------------------------------------------------- */

/** What a set of marks means: the frozen prefix (nodes without a path from a trained parameter) and the
 * boundary (what the suffix reads of it). Derived by graft_plan_derive; policy (which parameters) is not made
 * here. */
typedef struct graft_plan {
    bool *prefix; /* per node of the graph */
    graft_value
        *boundary; /* results of prefix nodes, or INPUTs, read by suffix nodes or outputs; in value order */
    size_t n_boundary;
    size_t n_prefix, n_suffix; /* nodes */
} graft_plan;

/** Reads the `trained` marks of g's parameters. Arrays live in the arena. */
int graft_plan_derive(graft_plan *out, graft_arena *arena, const graft_graph *g, graft_err *err);

/** Multiply-adds a sample (a token, in dims of tokens) of convolutions and linear layers. */
typedef struct graft_cost {
    double frozen;            /* of the prefix: once a sample, where its values are kept */
    double forward, backward; /* of the suffix: in every step */
} graft_cost;

/** What a step of g under the plan costs. g has no gradient yet. cost.c */
graft_cost graft_graph_cost(const graft_graph *g, const graft_plan *plan);

#include "graph/op/ops.h"

#endif
