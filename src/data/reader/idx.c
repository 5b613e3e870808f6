/* IDX pairs: pictures in one file, their labels in another whose name says "labels" where the first says
 * "images". A folder may hold several pairs; then names with train, test or t10k in them are its parts. */
#include "data/idx.h"
#include "data/reader.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

enum { HEADER_MAX = 4 + 4 * GRAFT_MAX_RANK, CHUNK = 64 << 10 };

static uint32_t big_endian(const unsigned char *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Type and shape from the first bytes; *total is the size that the whole file has to have. */
static int parse_header(graft_idx *out, const unsigned char *p, size_t size, size_t *total,
                        const char *origin, graft_err *err) {
    static const struct {
        unsigned char code;
        graft_dtype dtype;
    } types[] = {{0x08, GRAFT_U8},  {0x09, GRAFT_I8},  {0x0B, GRAFT_I16},
                 {0x0C, GRAFT_I32}, {0x0D, GRAFT_F32}, {0x0E, GRAFT_F64}};
    if (size < 4 || p[0] || p[1]) return graft_err_set(err, GRAFT_EFORMAT, "%s: not an IDX file", origin);
    size_t i = 0, rank = p[3], header = 4 + 4 * rank;
    while (i < GRAFT_COUNT(types) && types[i].code != p[2]) i++;
    if (i == GRAFT_COUNT(types))
        return graft_err_set(err, GRAFT_EFORMAT, "%s: IDX element type 0x%02x at byte 2 is unknown", origin,
                             p[2]);
    if (rank < 1 || rank > GRAFT_MAX_RANK || size < header)
        return graft_err_set(err, GRAFT_EFORMAT,
                             "%s: the IDX header of rank %zu does not fit in its %zu bytes", origin, rank,
                             size);
    out->dtype = types[i].dtype;
    out->shape.rank = (int)rank;
    *total = graft_dtype_size(out->dtype);
    bool fits = true;
    for (size_t k = 0; k < rank; k++) {
        out->shape.dims[k] = big_endian(p + 4 + 4 * k);
        fits = fits && graft_size_mul(*total, (size_t)out->shape.dims[k], total);
    }
    if (!fits || !graft_size_add(*total, header, total) || *total > INT64_MAX)
        return graft_err_set(err, GRAFT_EFORMAT, "%s: the IDX header's sizes are beyond any file", origin);
    out->data = p + header;
    return 0;
}

int graft_idx_parse(graft_idx *out, const void *bytes, size_t size, const char *origin, graft_err *err) {
    size_t total;
    int rc = parse_header(out, bytes, size, &total, origin, err);
    if (rc == 0 && total != size)
        rc = graft_err_set(err, GRAFT_EFORMAT,
                           "%s: %zu bytes, but its IDX header asks for %zu: truncated or damaged", origin,
                           size, total);
    return rc;
}

static void free_buf(void *b) {
    graft_buf_done(b);
}

/* Inflates into `b` until the stream ends; past what the header asks for, inflation stops. */
static int inflate_all(z_stream *z, graft_buf *b, unsigned char *chunk, const char *origin, graft_err *err) {
    graft_idx header;
    size_t total = HEADER_MAX;
    bool known = false;
    for (int state = Z_OK; state != Z_STREAM_END;) {
        z->next_out = chunk;
        z->avail_out = known ? CHUNK : HEADER_MAX;
        size_t room = z->avail_out;
        state = inflate(z, Z_NO_FLUSH);
        if (state == Z_MEM_ERROR) return graft_err_nomem(err);
        if (state != Z_OK && state != Z_STREAM_END)
            return graft_err_set(err, GRAFT_EFORMAT,
                                 "%s: the gzip stream is truncated or damaged after %zu bytes", origin,
                                 b->size);
        graft_buf_append(b, chunk, room - z->avail_out);
        if (b->failed) return graft_err_nomem(err);
        if (!known && (b->size >= HEADER_MAX || state == Z_STREAM_END)) {
            int rc = parse_header(&header, (const unsigned char *)b->data, b->size, &total, origin, err);
            if (rc < 0) return rc;
            known = true;
        }
        if (known && b->size > total)
            return graft_err_set(err, GRAFT_EFORMAT,
                                 "%s: inflates to more than the %zu bytes of its IDX header", origin, total);
    }
    return 0;
}

int graft_idx_inflate(graft_idx *out, graft_arena *arena, const void *bytes, size_t size, const char *origin,
                      graft_err *err) {
    graft_buf *b = graft_arena_alloc(arena, sizeof *b);
    unsigned char *chunk = malloc(CHUNK);
    z_stream z = {0};
    int rc = 0;
    if (!b || !chunk || size > UINT32_MAX) {
        free(chunk);
        return size > UINT32_MAX ? graft_err_set(err, GRAFT_EUNSUPPORTED,
                                                 "%s: gzipped and beyond 4 GiB: unpack it first", origin)
                                 : graft_err_nomem(err);
    }
    graft_buf_init(b, 0);
    rc = graft_arena_defer(arena, free_buf, b);
    if (rc == 0 && inflateInit2(&z, 15 + 16) == Z_OK) {
        z.next_in = (Bytef *)(uintptr_t)bytes;
        z.avail_in = (uInt)size;
        rc = inflate_all(&z, b, chunk, origin, err);
        inflateEnd(&z);
    } else
        rc = graft_err_nomem(err);
    free(chunk);
    return rc < 0 ? rc : graft_idx_parse(out, b->data, b->size, origin, err);
}

int graft_idx_open(graft_idx *out, graft_arena *arena, const char *path, graft_err *err) {
    graft_mapped file;
    int rc = graft_file_map(&file, arena, path, err);
    if (rc < 0) return rc;
    if (file.size >= 2 && file.data[0] == 0x1F && file.data[1] == 0x8B)
        return graft_idx_inflate(out, arena, file.data, file.size, path, err);
    return graft_idx_parse(out, file.data ? file.data : (const unsigned char *)"", file.size, path, err);
}

/* ---- Pairs ---- */

/* "a-images-idx3-ubyte" -> "a-labels-idx1-ubyte"; NULL when the name has no "images" in it. */
static char *labels_path(graft_arena *arena, const char *path, bool toggle_gz) {
    const char *name = graft_path_name(path), *at = strstr(name, "images");
    if (!at) return NULL;
    char *out = graft_arena_printf(arena, "%.*slabels%s", (int)(at - path), path, at + 6);
    if (!out) return NULL;
    char *rank = strstr(out + (at - path), "idx3");
    if (!rank) rank = strstr(out + (at - path), "idx4");
    if (rank) rank[3] = '1';
    if (!toggle_gz) return out;
    size_t n = strlen(out);
    if (graft_has_extension(out, "gz")) return graft_arena_strndup(arena, out, n - 3);
    return graft_arena_printf(arena, "%s.gz", out);
}

static int read_labels(int64_t **out, graft_listing *l, const char *path, int64_t n, graft_err *err) {
    graft_idx idx;
    int rc = graft_idx_open(&idx, l->arena, path, err);
    if (rc < 0) return rc;
    if (idx.shape.rank != 1 || idx.shape.dims[0] != n || idx.dtype == GRAFT_F32 || idx.dtype == GRAFT_F64)
        return graft_err_set(err, GRAFT_EDATA, "%s: %lld whole numbers are needed, one a picture", path,
                             (long long)n);
    if (!(*out = graft_arena_array(l->arena, (size_t)n, sizeof **out))) return graft_err_nomem(err);
    const unsigned char *p = idx.data;
    for (int64_t i = 0; i < n; i++) {
        if (idx.dtype == GRAFT_U8) (*out)[i] = p[i];
        if (idx.dtype == GRAFT_I8) (*out)[i] = p[i] < 128 ? p[i] : p[i] - 256;
        if (idx.dtype == GRAFT_I16) (*out)[i] = (int16_t)(p[2 * i] << 8 | p[2 * i + 1]);
        if (idx.dtype == GRAFT_I32) (*out)[i] = (int32_t)big_endian(p + 4 * i);
    }
    return 0;
}

static int list_pair(graft_listing *l, const char *path, graft_part part, graft_err *err) {
    graft_idx idx;
    int rc = graft_idx_open(&idx, l->arena, path, err);
    if (rc < 0) return rc;
    const int64_t *d = idx.shape.dims;
    bool deep = idx.shape.rank == 4, planar = deep && d[1] <= 3 && d[3] > 3;
    if (idx.dtype != GRAFT_U8 || idx.shape.rank < 3 || idx.shape.rank > 4)
        return graft_err_set(
            err, GRAFT_EDATA,
            "%s: IDX of rank %d; pictures are bytes of rank 3 (or 4), give the file of the images", path,
            idx.shape.rank);
    int64_t h = planar ? d[2] : d[1], w = planar ? d[3] : d[2], c = !deep ? 1 : planar ? d[1] : d[3];
    if (d[0] < 1 || h < 1 || w < 1 || h > GRAFT_MAX_PICTURE_SIDE || w > GRAFT_MAX_PICTURE_SIDE ||
        (c != 1 && c != 3)) {
        char text[96];
        return graft_err_set(err, GRAFT_EDATA, "%s: %s are no pictures", path,
                             graft_shape_print(&idx.shape, text, sizeof text));
    }
    graft_pixels p = {idx.data, GRAFT_U8, d[0], (int)h, (int)w, (int)c, planar, 1};
    int64_t *labels = NULL;
    const char *beside = labels_path(l->arena, path, false);
    if (beside && !graft_path_is_file(beside)) beside = labels_path(l->arena, path, true);
    bool labelled = beside && l->options->labels != GRAFT_LABELS_IGNORED && graft_path_is_file(beside);
    if (labelled) rc = read_labels(&labels, l, beside, p.n, err);
    if (rc < 0) return rc;
    l->labels_are_numbers = true;
    if (!l->description)
        l->description = graft_arena_printf(l->arena, "IDX pictures of %d x %d%s", p.width, p.height,
                                            labelled ? " with their labels" : " without labels");
    return l->description ? graft_listing_add_rows(l, &p, labels, path, part, err) : graft_err_nomem(err);
}

static bool is_images_name(const char *name) {
    return strstr(name, "images") && (strstr(name, "idx3") || strstr(name, "idx4"));
}

/* The part that one of the words of a file's name says. */
static graft_part part_of(const char *name, bool *said) {
    graft_part part = GRAFT_TRAIN;
    *said = false;
    while (*name && !*said) {
        size_t n = strcspn(name, "-_.");
        *said = graft_part_from_name(name, n, &part);
        if (n == 4 && strncasecmp(name, "t10k", 4) == 0) {
            part = GRAFT_TEST;
            *said = true;
        }
        name += n + (name[n] != '\0');
    }
    return part;
}

static int list(graft_listing *out, const char *path, graft_err *err) {
    if (!graft_path_is_dir(path)) return list_pair(out, path, GRAFT_TRAIN, err);
    char **names;
    size_t n, n_pairs = 0;
    int rc = graft_dir_list(&names, &n, out->arena, path, err);
    for (size_t i = 0; rc == 0 && i < n; i++) n_pairs += is_images_name(names[i]);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (!is_images_name(names[i])) continue;
        bool said = false;
        graft_part part = n_pairs > 1 ? part_of(names[i], &said) : GRAFT_TRAIN;
        char *full = graft_path_join(out->arena, path, names[i]);
        rc = full ? list_pair(out, full, part, err) : graft_err_nomem(err);
        if (said) out->part_given[part] = true;
    }
    return rc;
}

static int sniff(const graft_sniffed *s) {
    if (s->is_dir) {
        for (size_t i = 0; i < s->n_names; i++)
            if (is_images_name(s->names[i])) return 95;
        return 0;
    }
    if (s->head_size >= 4 && !s->head[0] && !s->head[1] && s->head[2] >= 8 && s->head[2] <= 14 &&
        s->head[3] <= 4 && s->head[3])
        return 90;
    bool gz = s->head_size >= 2 && s->head[0] == 0x1F && s->head[1] == 0x8B;
    return gz ? 60 : 0;
}

const graft_reader graft_reader_idx = {
    "idx", "IDX pictures (MNIST's format) with their labels beside, gzipped or not", sniff, list,
    GRAFT_READS_PICTURES};
