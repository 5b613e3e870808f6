/* NumPy's .npy: magic, version, a header that is a Python dict literal with 'descr', 'fortran_order' and
 * 'shape', then the elements. (NumPy Enhancement Proposal 1.) */
#include "tensor/npy.h"

#include "tensor/tensors.h"
#include <inttypes.h>
#include <string.h>

enum { MAX_HEADER = 65536 };

typedef struct scan {
    const char *at, *end;
    const char *origin;
    graft_err *err;
} scan;

typedef struct header {
    graft_dtype dtype;
    bool is_big, is_fortran, has_descr, has_order, has_shape;
    graft_shape shape;
} header;

static int bad_header(const scan *s, const char *why) {
    return graft_err_set(s->err, GRAFT_EFORMAT, "%s: the .npy header is not valid: %s", s->origin, why);
}

static void skip_space(scan *s) {
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\t')) s->at++;
}

static bool take(scan *s, char c) {
    skip_space(s);
    if (s->at >= s->end || *s->at != c) return false;
    s->at++;
    return true;
}

static bool take_word(scan *s, const char *word) {
    size_t size = strlen(word);
    skip_space(s);
    if ((size_t)(s->end - s->at) < size || memcmp(s->at, word, size) != 0) return false;
    s->at += size;
    return true;
}

/* A quoted text without escapes, which NumPy never writes here. */
static bool take_text(scan *s, char *out, size_t out_size) {
    skip_space(s);
    if (s->at >= s->end || (*s->at != '\'' && *s->at != '"')) return false;
    char quote = *s->at++;
    size_t n = 0;
    while (s->at < s->end && *s->at != quote) {
        if (*s->at == '\\' || n + 1 >= out_size) return false;
        out[n++] = *s->at++;
    }
    out[n] = '\0';
    return take(s, quote);
}

static int read_descr(scan *s, header *h) {
    static const struct {
        char code[3];
        graft_dtype dtype;
    } types[] = {{"f4", GRAFT_F32}, {"f8", GRAFT_F64}, {"f2", GRAFT_F16}, {"i8", GRAFT_I64},
                 {"i4", GRAFT_I32}, {"i2", GRAFT_I16}, {"i1", GRAFT_I8},  {"u8", GRAFT_U64},
                 {"u4", GRAFT_U32}, {"u2", GRAFT_U16}, {"u1", GRAFT_U8},  {"b1", GRAFT_BOOL}};
    char text[32];
    if (take(s, '[')) {
        return graft_err_set(s->err, GRAFT_EUNSUPPORTED,
                             "%s: an array of records (structured dtype); save its fields as plain arrays",
                             s->origin);
    }
    if (!take_text(s, text, sizeof text)) return bad_header(s, "'descr' is not a text");
    const char *code = strchr("<>|=", text[0]) && text[0] ? text + 1 : text;
    for (size_t i = 0; i < GRAFT_COUNT(types); i++) {
        if (strcmp(code, types[i].code) != 0) continue;
        h->dtype = types[i].dtype;
        h->is_big = text[0] == '>';
        return 0;
    }
    return graft_err_set(s->err, GRAFT_EUNSUPPORTED, "%s: elements of NumPy type '%s' are not read%s",
                         s->origin, text, code[0] == 'O' ? " (they are pickled Python objects)" : "");
}

static int read_shape(scan *s, header *h) {
    if (!take(s, '(')) return bad_header(s, "'shape' is not a tuple");
    while (!take(s, ')')) {
        int64_t d = 0;
        skip_space(s);
        const char *first = s->at;
        for (; s->at < s->end && *s->at >= '0' && *s->at <= '9'; s->at++) {
            if (__builtin_mul_overflow(d, 10, &d) || __builtin_add_overflow(d, *s->at - '0', &d)) {
                return bad_header(s, "a dimension is too large");
            }
        }
        if (s->at == first) return bad_header(s, "a dimension is not a number");
        if (s->at < s->end && *s->at == 'L') s->at++; /* Python 2 wrote long integers so */
        if (h->shape.rank == GRAFT_MAX_RANK) {
            return graft_err_set(s->err, GRAFT_EUNSUPPORTED, "%s: an array of more than %d dimensions",
                                 s->origin, GRAFT_MAX_RANK);
        }
        h->shape.dims[h->shape.rank++] = d;
        if (!take(s, ',')) {
            if (take(s, ')')) break;
            return bad_header(s, "'shape' is not closed");
        }
    }
    return 0;
}

static int read_header(scan *s, header *h) {
    if (!take(s, '{')) return bad_header(s, "it is not a dict");
    while (!take(s, '}')) {
        char key[32];
        int rc = 0;
        if (!take_text(s, key, sizeof key) || !take(s, ':')) return bad_header(s, "a key is missing");
        if (strcmp(key, "descr") == 0 && !h->has_descr) {
            h->has_descr = true;
            rc = read_descr(s, h);
        } else if (strcmp(key, "fortran_order") == 0 && !h->has_order) {
            h->has_order = true;
            h->is_fortran = take_word(s, "True");
            if (!h->is_fortran && !take_word(s, "False"))
                rc = bad_header(s, "'fortran_order' is neither True nor False");
        } else if (strcmp(key, "shape") == 0 && !h->has_shape) {
            h->has_shape = true;
            rc = read_shape(s, h);
        } else {
            rc = bad_header(s, "an unknown or repeated key");
        }
        if (rc < 0) return rc;
        if (!take(s, ',')) {
            if (take(s, '}')) break;
            return bad_header(s, "the dict is not closed");
        }
    }
    return h->has_descr && h->has_order && h->has_shape
               ? 0
               : bad_header(s, "'descr', 'fortran_order' or 'shape' is missing");
}

/* Copies into C order and little-endian. */
static int rearrange(graft_tensor *t, graft_arena *arena, const header *h, graft_err *err) {
    size_t width = graft_dtype_size(t->dtype), n = t->size / width;
    unsigned char *copy = graft_arena_alloc(arena, t->size);
    if (!copy) return graft_err_nomem(err);
    const unsigned char *in = t->data;
    int64_t at[GRAFT_MAX_RANK] = {0};
    int rank = t->shape.rank;
    for (size_t i = 0; i < n; i++) {
        size_t from = i;
        if (h->is_fortran) { /* Fortran order: the first index runs fastest */
            from = 0;
            for (int d = rank - 1; d >= 0; d--) from = from * (size_t)t->shape.dims[d] + (size_t)at[d];
            for (int d = rank - 1; d >= 0 && ++at[d] == t->shape.dims[d]; d--) at[d] = 0;
        }
        for (size_t b = 0; b < width; b++)
            copy[i * width + b] = in[from * width + (h->is_big ? width - 1 - b : b)];
    }
    t->data = copy;
    return 0;
}

bool graft_npy_is(const void *data, size_t size) {
    return size >= 6 && memcmp(data, "\x93NUMPY", 6) == 0;
}

int graft_npy_array(graft_tensor *out, graft_arena *arena, const unsigned char *data, size_t size,
                    const char *origin, graft_err *err) {
    scan s = {.origin = origin, .err = err};
    if (!graft_npy_is(data, size) || size < 12) return bad_header(&s, "it is missing or cut short");
    size_t major = data[6], header_at = major == 1 ? 10 : 12;
    if (major < 1 || major > 3) return bad_header(&s, "a version later than 3");
    size_t header_size = (size_t)data[8] | (size_t)data[9] << 8;
    if (major > 1) header_size |= (size_t)data[10] << 16 | (size_t)data[11] << 24;
    if (header_size > MAX_HEADER || header_size > size - header_at) {
        return bad_header(&s, "its length reaches past the end of the file");
    }
    s.at = (const char *)data + header_at;
    s.end = s.at + header_size;
    header h = {0};
    int rc = read_header(&s, &h);
    if (rc < 0) return rc;
    size_t need, have = size - header_at - header_size;
    char shape[128];
    graft_shape_print(&h.shape, shape, sizeof shape);
    if (!graft_tensor_bytes(h.dtype, &h.shape, &need)) {
        return graft_err_set(err, GRAFT_EFORMAT, "%s: the shape %s is too large to be", origin, shape);
    }
    if (need != have) {
        return graft_err_set(err, GRAFT_EFORMAT,
                             "%s: %s of shape %s takes %zu bytes, but %zu follow the header", origin,
                             graft_dtype_name(h.dtype), shape, need, have);
    }
    out->dtype = h.dtype;
    out->shape = h.shape;
    out->data = data + header_at + header_size;
    out->size = need;
    bool moves = (h.is_fortran && h.shape.rank > 1) || (h.is_big && graft_dtype_size(h.dtype) > 1);
    return moves && need ? rearrange(out, arena, &h, err) : 0;
}

int graft_npy_parse(graft_tensors *out, graft_arena *arena, const void *data, size_t size, const char *origin,
                    graft_err *err) {
    *out = (graft_tensors){0};
    if (!graft_npy_is(data, size)) return graft_npz_parse(out, arena, data, size, origin, err);
    graft_tensor t = {.name = ""};
    graft_tensors made;
    int rc = graft_npy_array(&t, arena, data, size, origin, err);
    if (rc == 0) rc = graft_tensors_init(&made, arena, 1, "npy", err);
    if (rc == 0) rc = graft_tensors_add(&made, &t, origin, err);
    if (rc == 0) *out = made;
    return rc;
}

int graft_npy_open(graft_tensors *out, graft_arena *arena, const char *path, graft_err *err) {
    graft_mapped map;
    *out = (graft_tensors){0};
    int rc = graft_file_map(&map, arena, path, err);
    return rc < 0 ? rc : graft_npy_parse(out, arena, map.data, map.size, path, err);
}

int graft_npy_write(const char *path, const graft_tensor *t, graft_err *err) {
    static const char *const codes[] = {
        [GRAFT_F32] = "<f4", [GRAFT_F64] = "<f8", [GRAFT_F16] = "<f2", [GRAFT_I64] = "<i8",
        [GRAFT_I32] = "<i4", [GRAFT_I16] = "<i2", [GRAFT_I8] = "|i1",  [GRAFT_U64] = "<u8",
        [GRAFT_U32] = "<u4", [GRAFT_U16] = "<u2", [GRAFT_U8] = "|u1",  [GRAFT_BOOL] = "|b1",
        [GRAFT_BF16] = NULL};
    const char *code = (size_t)t->dtype < GRAFT_COUNT(codes) ? codes[t->dtype] : NULL;
    if (!code) {
        return graft_err_set(err, GRAFT_EDTYPE, "cannot write '%s': .npy has no type for %s; write F32", path,
                             graft_dtype_name(t->dtype));
    }
    graft_buf b;
    graft_buf_init(&b, 0);
    graft_buf_printf(&b, "{'descr': '%s', 'fortran_order': False, 'shape': (", code);
    for (int i = 0; i < t->shape.rank; i++)
        graft_buf_printf(&b, i ? ", %" PRId64 : "%" PRId64, t->shape.dims[i]);
    graft_buf_text(&b, t->shape.rank == 1 ? ",), }" : "), }");
    while ((b.size + 11) % 64) graft_buf_text(&b, " ");
    graft_buf_text(&b, "\n");
    const unsigned char start[10] = {
        0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)(b.size & 0xff), (unsigned char)(b.size >> 8)};
    graft_writer *w = NULL;
    int rc = b.failed ? graft_err_nomem(err) : graft_writer_open(&w, path, err);
    if (rc == 0) rc = graft_writer_write(w, start, sizeof start, err);
    if (rc == 0) rc = graft_writer_write(w, b.data, b.size, err);
    if (rc == 0) rc = graft_writer_write(w, t->data, t->size, err);
    if (rc == 0) {
        rc = graft_writer_commit(w, err);
    } else {
        graft_writer_abort(w);
    }
    graft_buf_done(&b);
    return rc;
}
