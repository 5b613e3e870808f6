/* Parts of values along one axis, put beside each other, taken out, and put back among zeros: copies of runs
 * of bytes. Channels of pictures move in the layout in which they lie: whole pixels' parts in channels last,
 * whole blocks where the parts begin at blocks; all else in C order. */
#include "backend/cpu/cpu.h"

#include <string.h>

enum { CHANNELS_LAST = -1, C_ORDER = 0, PIECE = 32768 /* bytes, about */ };

/* The whole is (rows, row_size) bytes; the part has part_size of each row, from part_at on. */
typedef struct part_dims {
    size_t rows, row_size, part_at, part_size, rows_of_piece;
} part_dims;

static size_t end_of(const part_dims *d, size_t piece) {
    const size_t end = (piece + 1) * d->rows_of_piece;
    return end < d->rows ? end : d->rows;
}

static size_t n_pieces(const part_dims *d) {
    return (d->rows + d->rows_of_piece - 1) / d->rows_of_piece;
}

/* buffers of all: the whole, the part */
static void put_in(void *self, size_t i) {
    const graft_cpu_own *own = self;
    const part_dims *d = own->attr;
    for (size_t t = i * d->rows_of_piece; t < end_of(d, i); t++)
        memcpy((char *)own->data[0] + t * d->row_size + d->part_at,
               (const char *)own->data[1] + t * d->part_size, d->part_size);
}

static void take_out(void *self, size_t i) {
    const graft_cpu_own *own = self;
    const part_dims *d = own->attr;
    for (size_t t = i * d->rows_of_piece; t < end_of(d, i); t++)
        memcpy((char *)own->data[1] + t * d->part_size,
               (const char *)own->data[0] + t * d->row_size + d->part_at, d->part_size);
}

static void put_among_zeros(void *self, size_t i) {
    const graft_cpu_own *own = self;
    const part_dims *d = own->attr;
    const size_t rest_at = d->part_at + d->part_size;
    for (size_t t = i * d->rows_of_piece; t < end_of(d, i); t++) {
        char *row = (char *)own->data[0] + t * d->row_size;
        memset(row, 0, d->part_at);
        memcpy(row + d->part_at, (const char *)own->data[1] + t * d->part_size, d->part_size);
        memset(row + rest_at, 0, d->row_size - rest_at);
    }
}

static int run_in(void *self) {
    graft_cpu_parallel(self, n_pieces(((const graft_cpu_own *)self)->attr), put_in);
    return 0;
}

static int run_out(void *self) {
    graft_cpu_parallel(self, n_pieces(((const graft_cpu_own *)self)->attr), take_out);
    return 0;
}

static int run_among_zeros(void *self) {
    graft_cpu_parallel(self, n_pieces(((const graft_cpu_own *)self)->attr), put_among_zeros);
    return 0;
}

/* ---- Layouts ---------------------------------------------------------------------------------------------- */

/* How v's channels lie: 4, 8 or 16 together, CHANNELS_LAST (which one block of all is too), or C_ORDER. */
static int64_t kind_of(const graft_lowering *l, graft_value v, graft_dtype dtype) {
    const_dnnl_memory_desc_t md = graft_cpu_md_of(l, v, dtype);
    const int64_t channels = graft_lower_shape(l, v)->dims[1], block = md ? graft_cpu_block(md) : 0;
    if (block == channels) return channels == 1 ? C_ORDER : CHANNELS_LAST;
    return block == 4 || block == 8 || block == 16 ? block : C_ORDER;
}

/* What the inputs' layouts speak for: blocks where one has them and `cuts`, the channels at which parts
 * begin, are at blocks; else channels last where one has that. */
static int64_t choose_kind(const graft_lowering *l, const graft_node *n, size_t n_in, int64_t axis,
                           graft_dtype dtype, const int64_t *cuts, size_t n_cuts) {
    int64_t block = 0;
    bool is_last = false;
    if (axis != 1 || graft_lower_shape(l, n->in[0])->rank != 4) return C_ORDER;
    for (size_t i = 0; i < n_in; i++) {
        const int64_t kind = kind_of(l, n->in[i], dtype);
        if (kind == CHANNELS_LAST) is_last = true;
        if (kind > 0 && block == 0) block = kind;
    }
    for (size_t i = 0; i < n_cuts && block; i++)
        if (cuts[i] % block != 0) block = 0;
    return block ? block : is_last ? CHANNELS_LAST : C_ORDER;
}

/* The descriptor of v in that kind; its own where it lies so already. */
static int md_in(const_dnnl_memory_desc_t *out, graft_lowering *l, graft_value v, graft_dtype dtype,
                 int64_t kind, graft_err *err) {
    const graft_shape *shape = graft_lower_shape(l, v);
    dnnl_memory_desc_t md = NULL;
    int rc;
    if (kind == C_ORDER) {
        rc = graft_cpu_md(&md, graft_lower_arena(l), dtype, shape, false, err);
    } else {
        const int64_t block = kind == CHANNELS_LAST ? shape->dims[1] : kind;
        *out = graft_cpu_md_of(l, v, dtype);
        if (*out && graft_cpu_block(*out) == block) return 0;
        rc = graft_cpu_md_blocked(&md, l, shape, block, dtype, err);
    }
    *out = md;
    return rc;
}

/* Elements that `channels` of s take in blocks, filled up. */
static int64_t filled(int64_t channels, int64_t block) {
    return (channels + block - 1) / block * block;
}

static part_dims dims_of(const graft_shape *whole, const graft_shape *part, int64_t axis, int64_t first,
                         int64_t kind, graft_dtype dtype) {
    int64_t before = 1, behind = 1, block = kind > 0 ? kind : 1;
    for (int d = 0; d < whole->rank; d++) {
        if (d < axis) before *= whole->dims[d];
        if (d > axis) behind *= whole->dims[d];
    }
    if (kind == CHANNELS_LAST) {
        before *= behind;
        behind = 1;
    }
    const size_t step = (size_t)behind * graft_dtype_size(dtype);
    part_dims d = {.rows = (size_t)before,
                   .row_size = (size_t)filled(whole->dims[axis], block) * step,
                   .part_at = (size_t)first * step,
                   .part_size = (size_t)filled(part->dims[axis], block) * step};
    d.rows_of_piece = d.part_size < PIECE ? PIECE / d.part_size : 1;
    return d;
}

/* ---- Ops -------------------------------------------------------------------------------------------------- */

static int concat_kind(int64_t *kind, graft_lowering *l, const graft_node *n, int64_t axis, graft_dtype dtype,
                       graft_err *err) {
    int64_t *cuts = graft_arena_array(graft_lower_arena(l), n->n_in, sizeof *cuts);
    if (!cuts) return graft_err_nomem(err);
    for (size_t i = 1; i < n->n_in; i++)
        cuts[i] = cuts[i - 1] + graft_lower_shape(l, n->in[i - 1])->dims[axis];
    *kind = choose_kind(l, n, n->n_in, axis, dtype, cuts, n->n_in);
    return 0;
}

int graft_cpu_concat(graft_lowering *l, const graft_node *n, graft_err *err) {
    const int64_t axis = ((const graft_concat_attr *)n->attr)->axis;
    const graft_dtype dtype = graft_lower_dtype(l, n->out[0]);
    const_dnnl_memory_desc_t md;
    graft_buffer whole;
    int64_t kind, first = 0;
    int rc = concat_kind(&kind, l, n, axis, dtype, err);
    if (rc == 0) rc = md_in(&md, l, n->out[0], dtype, kind, err);
    if (rc == 0) rc = graft_cpu_new(l, n->out[0], md, dtype, &whole, err);
    for (size_t i = 0; i < n->n_in && rc == 0; i++) {
        const graft_shape *part = graft_lower_shape(l, n->in[i]);
        part_dims d = dims_of(graft_lower_shape(l, n->out[0]), part, axis, first, kind, dtype);
        graft_cpu_own own = {.n_buffers = 2, .buffers = {whole}, .attr = &d};
        rc = md_in(&md, l, n->in[i], dtype, kind, err);
        if (rc == 0) rc = graft_cpu_want(l, n->in[i], md, dtype, &own.buffers[1], err);
        if (rc == 0) rc = graft_cpu_emit_own(l, "concat", run_in, own, sizeof d, err);
        first += part->dims[axis];
    }
    return rc;
}

/* The step between `whole` and `part`, of which one is the node's first input and the other its result. */
static int move_part(graft_lowering *l, const graft_node *n, graft_value whole, graft_value part,
                     const char *impl, int (*run)(void *self), graft_err *err) {
    const graft_slice_attr *a = n->attr;
    const graft_shape *whole_shape = graft_lower_shape(l, whole), *part_shape = graft_lower_shape(l, part);
    const graft_dtype dtype = graft_lower_dtype(l, n->out[0]);
    const int64_t end = a->first + a->count;
    const int64_t cuts[2] = {a->first, end == whole_shape->dims[a->axis] ? 0 : end};
    const int64_t kind = choose_kind(l, n, 1, a->axis, dtype, cuts, GRAFT_COUNT(cuts));
    part_dims d = dims_of(whole_shape, part_shape, a->axis, a->first, kind, dtype);
    graft_cpu_own own = {.n_buffers = 2, .attr = &d};
    const size_t in = whole == n->in[0] ? 0 : 1;
    const_dnnl_memory_desc_t from, to;
    int rc = md_in(&from, l, n->in[0], dtype, kind, err);
    if (rc == 0) rc = graft_cpu_want(l, n->in[0], from, dtype, &own.buffers[in], err);
    if (rc == 0) rc = md_in(&to, l, n->out[0], dtype, kind, err);
    if (rc == 0) rc = graft_cpu_new(l, n->out[0], to, dtype, &own.buffers[1 - in], err);
    return rc < 0 ? rc : graft_cpu_emit_own(l, impl, run, own, sizeof d, err);
}

int graft_cpu_slice(graft_lowering *l, const graft_node *n, graft_err *err) {
    return move_part(l, n, n->in[0], n->out[0], "slice", run_out, err);
}

int graft_cpu_slice_grad(graft_lowering *l, const graft_node *n, graft_err *err) {
    return move_part(l, n, n->out[0], n->in[0], "slice_grad", run_among_zeros, err);
}
