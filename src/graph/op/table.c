/* Shared by all that read the op table: the rows in the order of list.h. */
/* Shared by the rows: the table of them all. */
#include "graph/op.h"

#define GRAFT_OP(name) &graft_op_##name,
static const graft_op *const rows[] = {
#include "graph/op/list.h"
    NULL,
};
#undef GRAFT_OP

const graft_op *const *graft_ops(void) {
    return rows;
}
