/* An op is one row: its rules beside it, its reference in double, its cases. Kernels sit in each backend's
 * table. */
#ifndef GRAFT_GRAPH_OP_H
#define GRAFT_GRAPH_OP_H

#include "graph/graph.h"
#include "graph/op/mix.h"
#include "graph/op/span.h"

/** Shapes and dtypes going into and coming out of a node. */
typedef struct graft_op_types {
    const graft_value_info *const *in; /* NULL where an optional input is absent */
    size_t n_in;
    const void *attr;
    graft_shape *out_shape; /* preset to rank 0 */
    graft_dtype *out_dtype; /* preset to F32 */
} graft_op_types;

/** Arguments of a reference: everything as double, C order, shapes bound. */
typedef struct graft_op_call {
    const double *const *in; /* NULL where absent */
    const graft_shape *in_shape;
    size_t n_in;
    double *const *out;
    const graft_shape *out_shape;
    size_t n_out;
    const void *attr;
} graft_op_call;

/** One test of an op: input shapes and element types, attributes, the range of values. */
typedef struct graft_op_case {
    const char *name;
    const void *attr;
    size_t n_in;
    graft_shape in[12];       /* rank -1: absent */
    graft_dtype dtype[12];    /* zero: F32 */
    double low[12], high[12]; /* values are uniform in [low, high); both 0 means [-1, 1) */
    uint32_t whole;           /* bit i: values of input i are rounded down, for integers and for ties */
    const double *data[12];   /* where not NULL, the values of input i, C order, in place of drawn ones */
    double tolerance;         /* backend float32 against reference, relative to the largest value; 0: 1e-5 */
} graft_op_case;

/** The most results that a row may have. */
enum { GRAFT_MAX_RESULTS = 4 };

struct graft_op {
    const char *name;
    size_t attr_size;
    size_t n_out;
    /** Infers outputs; a description of what is wrong goes to `err`. */
    int (*shape)(const graft_op_types *t, graft_err *err);
    /** Adds nodes that compute din[i] for every i with wanted[i], from dout (GRAFT_NONE where no gradient
     * arrives). NULL: no gradient (a node on a gradient path is then an error). */
    void (*grad)(graft_graph *g, const graft_node *n, const graft_value *dout, const bool *wanted,
                 graft_value *din);
    /** Plain loops in double. */
    void (*reference)(const graft_op_call *c);
    /** Output o may take the storage of input alias[o] when nothing reads that input later and no other input
     * of the node is the same value; -1: never. */
    int8_t alias[GRAFT_MAX_RESULTS];
    uint8_t bf16; /* bit o: result o may be bf16 when a program asks for it (activations and their gradients;
                     never statistics, gradients of parameters, losses, updates); `true` is result 0 alone */
    bool view;    /* output 0 has the bytes of input 0: nothing runs */
    bool loss; /* output 0 is a loss: its gradient rule takes a missing dout[0] as 1, and input 0 stays F32 */
    /** Bit i: of input i only the shape is read, so its bytes need not be kept for this node. */
    uint32_t shape_only;
    const graft_op_case *cases;
    size_t n_cases;
};

#define GRAFT_OP(name) extern const graft_op graft_op_##name;
#include "graph/op/list.h"
#undef GRAFT_OP

/** All rows, NULL-terminated, in list order. */
const graft_op *const *graft_ops(void);

#endif
