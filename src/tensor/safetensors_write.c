#include "tensor/tensors.h"

#include <stdlib.h>
#include <string.h>

/* The order of the reference writer, so that files come out byte for byte like its own: types from the widest
 * to the narrowest (which leaves every tensor aligned), each group in the order of the reference's list, then
 * names. */
static int place_of(graft_dtype t) {
    static const int places[GRAFT_N_DTYPES] = {
        [GRAFT_U64] = 0, [GRAFT_I64] = 1,  [GRAFT_F64] = 2,  [GRAFT_F32] = 3, [GRAFT_U32] = 4,
        [GRAFT_I32] = 5, [GRAFT_BF16] = 6, [GRAFT_F16] = 7,  [GRAFT_U16] = 8, [GRAFT_I16] = 9,
        [GRAFT_I8] = 10, [GRAFT_U8] = 11,  [GRAFT_BOOL] = 12};
    return places[t];
}

static int compare_for_writing(const void *a, const void *b) {
    const graft_tensor *x = *(const graft_tensor *const *)a, *y = *(const graft_tensor *const *)b;
    int difference = place_of(x->dtype) - place_of(y->dtype);
    return difference ? difference : strcmp(x->name, y->name);
}

static json_t *metadata_object(const char *const *metadata) {
    json_t *o = json_object();
    int rc = json_object_set_new(o, "format", json_string("pt"));
    for (; metadata && metadata[0] && metadata[1] && rc == 0; metadata += 2) {
        rc = json_object_set_new(o, metadata[0], json_string(metadata[1]));
    }
    if (rc == 0) return o;
    json_decref(o);
    return NULL;
}

static json_t *entry_object(const graft_tensor *t, size_t begin) {
    json_t *shape = json_array();
    for (int i = 0; i < t->shape.rank; i++) json_array_append_new(shape, json_integer(t->shape.dims[i]));
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", graft_dtype_name(t->dtype), "shape", shape,
                     "data_offsets", (json_int_t)begin, (json_int_t)(begin + t->size));
}

/* The JSON header, padded with spaces so that the data begin at a multiple of 8. */
static int make_header(graft_buf *out, const graft_tensor *const *sorted, size_t n,
                       const char *const *metadata, const char *path, graft_err *err) {
    json_t *header = json_object();
    if (json_object_set_new(header, "__metadata__", metadata_object(metadata)) < 0) {
        json_decref(header);
        return graft_err_set(err, GRAFT_EUSAGE, "cannot write '%s': metadata that are not UTF-8", path);
    }
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        const graft_tensor *t = sorted[i];
        size_t need;
        int rc = 0;
        if (!graft_tensor_bytes(t->dtype, &t->shape, &need) || need != t->size) {
            rc = graft_err_set(err, GRAFT_EINTERNAL,
                               "cannot write '%s': tensor '%s' has %zu bytes, not what its shape asks", path,
                               t->name, t->size);
        } else if (json_object_get(header, t->name)) {
            rc = graft_err_set(err, GRAFT_EUSAGE, "cannot write '%s': two tensors are named '%s'", path,
                               t->name);
        } else if (json_object_set_new(header, t->name, entry_object(t, at)) < 0) {
            rc = graft_err_set(err, GRAFT_EUSAGE, "cannot write '%s': the tensor name '%s' is not UTF-8",
                               path, t->name);
        }
        if (rc < 0) {
            json_decref(header);
            return rc;
        }
        at += need;
    }
    char *text = json_dumps(header, JSON_COMPACT);
    json_decref(header);
    if (!text) return graft_err_nomem(err);
    graft_buf_text(out, text);
    free(text);
    while (out->size % 8) graft_buf_text(out, " ");
    return out->failed ? graft_err_nomem(err) : 0;
}

int graft_safetensors_write(const char *path, const graft_tensor *items, size_t n_items,
                            const char *const *metadata, graft_err *err) {
    return graft_safetensors_stream(path, items, n_items, metadata, NULL, NULL, err);
}

/* Bytes of the largest tensor that has no data yet. */
static size_t largest_to_make(const graft_tensor *items, size_t n) {
    size_t largest = 0;
    for (size_t i = 0; i < n; i++)
        if (!items[i].data && items[i].size > largest) largest = items[i].size;
    return largest;
}

int graft_safetensors_stream(const char *path, const graft_tensor *items, size_t n_items,
                             const char *const *metadata,
                             int (*make)(void *user, const graft_tensor *t, void *out, graft_err *err),
                             void *user, graft_err *err) {
    const graft_tensor **sorted = calloc(n_items + 1, sizeof *sorted);
    void *made = make ? malloc(largest_to_make(items, n_items) + 1) : NULL;
    if (!sorted || (make && !made)) {
        free(sorted);
        free(made);
        return graft_err_nomem(err);
    }
    for (size_t i = 0; i < n_items; i++) sorted[i] = &items[i];
    qsort(sorted, n_items, sizeof *sorted, compare_for_writing);
    graft_buf header;
    graft_buf_init(&header, 0);
    graft_writer *w = NULL;
    int rc = make_header(&header, sorted, n_items, metadata, path, err);
    if (rc == 0) rc = graft_writer_open(&w, path, err);
    uint64_t header_size = header.size;
    if (rc == 0) rc = graft_writer_write(w, &header_size, sizeof header_size, err);
    if (rc == 0) rc = graft_writer_write(w, header.data, header.size, err);
    for (size_t i = 0; i < n_items && rc == 0; i++) {
        bool is_made = make && !sorted[i]->data;
        if (is_made) rc = make(user, sorted[i], made, err);
        if (rc == 0) rc = graft_writer_write(w, is_made ? made : sorted[i]->data, sorted[i]->size, err);
    }
    if (rc == 0) {
        rc = graft_writer_commit(w, err);
    } else {
        graft_writer_abort(w);
    }
    graft_buf_done(&header);
    free(sorted);
    free(made);
    return rc;
}
