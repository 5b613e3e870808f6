/* What own kernels have to know of a layout: how many channels of a pixel lie together. */
#include "backend/cpu/cpu.h"

typedef struct form {
    int rank, n_blocks;
    dnnl_dims_t *dims, *strides, *blocks, *block_dims;
    dnnl_dim_t offset;
} form;

static form form_of(const_dnnl_memory_desc_t md) {
    form f = {0};
    dnnl_memory_desc_query(md, dnnl_query_ndims_s32, &f.rank);
    dnnl_memory_desc_query(md, dnnl_query_dims, (void *)&f.dims);
    dnnl_memory_desc_query(md, dnnl_query_strides, (void *)&f.strides);
    dnnl_memory_desc_query(md, dnnl_query_inner_nblks_s32, &f.n_blocks);
    dnnl_memory_desc_query(md, dnnl_query_inner_blks, (void *)&f.blocks);
    dnnl_memory_desc_query(md, dnnl_query_inner_idxs, (void *)&f.block_dims);
    dnnl_memory_desc_query(md, dnnl_query_submemory_offset_s64, &f.offset);
    return f;
}

/* Whether dim i is `stride` elements apart, or has but one element. */
static bool has_stride(const form *f, int i, int64_t stride) {
    return (*f->dims)[i] == 1 || (*f->strides)[i] == stride;
}

int64_t graft_cpu_block(const_dnnl_memory_desc_t md) {
    form f = form_of(md);
    int64_t block = (*f.dims)[1], blocks = 1;
    if (f.rank < 2 || f.n_blocks > 1 || f.offset != 0) return 0;
    if (f.n_blocks == 1) {
        block = (*f.blocks)[0];
        if ((*f.block_dims)[0] != 1) return 0;
        blocks = ((*f.dims)[1] + block - 1) / block;
    } else if (!has_stride(&f, 1, 1)) {
        return 0;
    }
    int64_t step = block;
    for (int i = f.rank - 1; i >= 2; i--) {
        if (!has_stride(&f, i, step)) return 0;
        step *= (*f.dims)[i];
    }
    if (blocks > 1 && (*f.strides)[1] != step) return 0;
    return has_stride(&f, 0, step * blocks) ? block : 0;
}

int graft_cpu_md_blocked(dnnl_memory_desc_t *out, graft_lowering *l, const graft_shape *shape, int64_t block,
                         graft_dtype dtype, graft_err *err) {
    dnnl_dims_t dims, strides;
    dnnl_memory_desc_t md = NULL;
    dnnl_status_t status;
    int64_t step = shape->dims[1];
    for (int i = 0; i < shape->rank; i++) dims[i] = shape->dims[i];
    strides[1] = 1;
    for (int i = shape->rank - 1; i >= 2; i--) {
        strides[i] = step;
        step *= dims[i];
    }
    strides[0] = step;
    if (block == shape->dims[1]) {
        status =
            dnnl_memory_desc_create_with_strides(&md, shape->rank, dims, graft_cpu_dtype(dtype), strides);
    } else {
        dnnl_format_tag_t tag = block == 16 ? dnnl_nChw16c : block == 8 ? dnnl_nChw8c : dnnl_nChw4c;
        status = dnnl_memory_desc_create_with_tag(&md, shape->rank, dims, graft_cpu_dtype(dtype), tag);
    }
    int rc = graft_cpu_status(status, "a memory descriptor", err);
    if (rc == 0) rc = graft_cpu_md_clone(out, graft_lower_arena(l), md, err);
    if (md) dnnl_memory_desc_destroy(md);
    return rc;
}
