/* NumPy arrays: an .npz, a folder of .npy files, or one .npy with its labels beside. An array is known by the
 * words of its name: x_train, train_images, labels, y_test. Pictures are [N, H, W], [N, H, W, C] or [N, C, H,
 * W]; their values become 0..255, from 0..1, 0..16 (the UCI digits), 0..255 or 0..65535, whichever their
 * largest asks for. */
#include "data/reader.h"
#include <math.h>
#include <string.h>
#include <strings.h>

enum { MAX_ARRAYS = 64, CHUNK = 1024 };

typedef enum role { NO_ROLE, PICTURES, LABELS } role;

typedef struct named {
    const graft_tensor *tensor;
    const char *path;
    role role;
    graft_part part;
    bool has_part;
} named;

typedef struct arrays {
    named items[MAX_ARRAYS];
    size_t n;
} arrays;

/* Reads the words of an array's name. */
static void understand(named *a, const char *name) {
    static const char *const pictures[] = {"x", "images", "image", "data", "pictures", "pixels"};
    static const char *const labels[] = {"y", "labels", "label", "targets", "target"};
    a->part = GRAFT_TRAIN;
    if (strcmp(name, "arr_0") == 0 || !*name) a->role = PICTURES; /* a lone .npy has no name */
    if (strcmp(name, "arr_1") == 0) a->role = LABELS;
    while (*name) {
        size_t n = strcspn(name, "_-. ");
        for (size_t i = 0; i < GRAFT_COUNT(pictures); i++)
            if (strlen(pictures[i]) == n && strncasecmp(name, pictures[i], n) == 0) a->role = PICTURES;
        for (size_t i = 0; i < GRAFT_COUNT(labels); i++)
            if (strlen(labels[i]) == n && strncasecmp(name, labels[i], n) == 0) a->role = LABELS;
        if (graft_part_from_name(name, n, &a->part)) a->has_part = true;
        name += n + (name[n] != '\0');
    }
}

static int add(arrays *all, const graft_tensor *t, const char *name, const char *path, graft_err *err) {
    named a = {.tensor = t, .path = path};
    understand(&a, name);
    if (a.role == NO_ROLE) return 0;
    if (all->n == MAX_ARRAYS)
        return graft_err_set(err, GRAFT_EUNSUPPORTED, "%s: more than %d arrays", path, MAX_ARRAYS);
    all->items[all->n++] = a;
    return 0;
}

/* Adds the array of one .npy under the name that its file has. */
static int add_npy(arrays *all, graft_arena *arena, const char *path, graft_err *err) {
    graft_tensors *ts = graft_arena_alloc(arena, sizeof *ts);
    const char *name = graft_path_name(path);
    char *stem = graft_arena_strndup(arena, name, strlen(name) - strlen(".npy"));
    if (!ts || !stem) return graft_err_nomem(err);
    int rc = graft_npy_open(ts, arena, path, err);
    if (rc < 0) return rc;
    return ts->n_items ? add(all, &ts->items[0], stem, path, err) : 0;
}

/* The .npy files of a folder that have a role; with `only` set, that one and the labels of its part. */
static int add_folder(arrays *all, graft_listing *l, const char *dir, const char *only, graft_err *err) {
    char **names;
    size_t n;
    named want = {0}, other;
    int rc = graft_dir_list(&names, &n, l->arena, dir, err);
    if (only) understand(&want, only);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (!graft_has_extension(names[i], "npy")) continue;
        other = (named){0};
        understand(&other, names[i]);
        bool beside = other.role == LABELS && other.has_part == want.has_part && other.part == want.part;
        if (only && strcmp(names[i], only) != 0 && !beside) continue;
        char *full = graft_path_join(l->arena, dir, names[i]);
        rc = full ? add_npy(all, l->arena, full, err) : graft_err_nomem(err);
    }
    return rc;
}

static int collect(arrays *all, graft_listing *l, const char *path, graft_err *err) {
    if (graft_path_is_dir(path)) return add_folder(all, l, path, NULL, err);
    if (graft_has_extension(path, "npy")) {
        const char *name = graft_path_name(path);
        named self = {0};
        understand(&self, name);
        size_t dir = (size_t)(name - path);
        char *folder = dir ? graft_arena_strndup(l->arena, path, dir) : graft_arena_strdup(l->arena, ".");
        if (!folder) return graft_err_nomem(err);
        if (self.role == PICTURES) return add_folder(all, l, folder, name, err);
        int rc = add_npy(all, l->arena, path, err); /* no telling name: then it is the pictures */
        if (rc < 0 || all->n) return rc;
        graft_tensors *ts = graft_arena_alloc(l->arena, sizeof *ts);
        if (!ts) return graft_err_nomem(err);
        if ((rc = graft_npy_open(ts, l->arena, path, err)) < 0 || !ts->n_items) return rc;
        all->items[all->n++] = (named){&ts->items[0], path, PICTURES, GRAFT_TRAIN, false};
        return 0;
    }
    graft_tensors *ts = graft_arena_alloc(l->arena, sizeof *ts);
    if (!ts) return graft_err_nomem(err);
    int rc = graft_npy_open(ts, l->arena, path, err);
    for (size_t i = 0; rc == 0 && i < ts->n_items; i++)
        rc = add(all, &ts->items[i], ts->items[i].name ? ts->items[i].name : "", path, err);
    return rc;
}

static int shape_of(graft_pixels *p, const graft_tensor *t, const char *path, graft_err *err) {
    const int64_t *d = t->shape.dims;
    int rank = t->shape.rank;
    bool last = rank == 4 && (d[3] == 1 || d[3] == 3), first = rank == 4 && (d[1] == 1 || d[1] == 3);
    char text[96];
    *p = (graft_pixels){.data = t->data, .dtype = t->dtype, .planar = first && !last};
    int64_t h = p->planar ? d[2] : d[1], w = p->planar ? d[3] : d[2];
    if ((rank != 3 && !last && !first) || d[0] < 1 || h < 1 || w < 1 || h > GRAFT_MAX_PICTURE_SIDE ||
        w > GRAFT_MAX_PICTURE_SIDE)
        return graft_err_set(
            err, GRAFT_EDATA,
            "%s: an array of shape %s; pictures are [N, H, W], [N, H, W, C] or [N, C, H, W] with one or "
            "three channels",
            path, graft_shape_print(&t->shape, text, sizeof text));
    p->n = d[0];
    p->height = (int)h;
    p->width = (int)w;
    p->channels = rank == 3 ? 1 : (int)(p->planar ? d[1] : d[3]);
    return 0;
}

typedef struct range {
    double low, high;
    bool whole; /* every value is a whole number */
} range;

static void widen(range *r, const graft_tensor *t) {
    float v[CHUNK];
    size_t element = graft_dtype_size(t->dtype), n = t->size / element;
    for (size_t start = 0; start < n; start += CHUNK) {
        size_t k = n - start < CHUNK ? n - start : CHUNK;
        graft_tensor part = {
            NULL, t->dtype, {1, {(int64_t)k}}, (const char *)t->data + start * element, k * element};
        graft_tensor_to_f32(&part, v);
        for (size_t i = 0; i < k; i++) {
            double x = (double)v[i];
            if (isnan(x)) {
                r->low = x;
                return;
            }
            if (x < r->low) r->low = x;
            if (x > r->high) r->high = x;
            if (x != floor(x)) r->whole = false;
        }
    }
}

/* What a value is multiplied by to be 0..255; 0 when the range is that of no picture. */
static double scale_of(const range *r) {
    if (!(r->low >= 0)) return 0; /* NaN too */
    if (r->high <= 1) return 255;
    if (r->whole && r->high <= 16) return 255.0 / 16;
    if (r->high <= 255) return 1;
    return r->whole && r->high <= 65535 ? 255.0 / 65535 : 0;
}

static int labels_of(int64_t **out, graft_arena *arena, const graft_tensor *t, int64_t n, const char *path,
                     graft_err *err) {
    bool flat = t->shape.rank == 1 || (t->shape.rank == 2 && t->shape.dims[1] == 1);
    if (!flat || t->shape.dims[0] != n) {
        char text[96];
        return graft_err_set(err, GRAFT_EDATA, "%s: labels of shape %s for %lld pictures; they are to be [N]",
                             path, graft_shape_print(&t->shape, text, sizeof text), (long long)n);
    }
    if (!(*out = graft_arena_array(arena, (size_t)n, sizeof **out))) return graft_err_nomem(err);
    size_t element = graft_dtype_size(t->dtype);
    for (int64_t i = 0; i < n; i++) {
        float v;
        graft_tensor one = {NULL, t->dtype, {0, {0}}, (const char *)t->data + (size_t)i * element, element};
        graft_tensor_to_f32(&one, &v);
        if (!(fabsf(v) < 1e6f) || v != floorf(v))
            return graft_err_set(err, GRAFT_EDATA, "%s: the label of row %lld is %g, not a whole number",
                                 path, (long long)i, (double)v);
        (*out)[i] = (int64_t)v;
    }
    return 0;
}

/* The labels that belong to an array of pictures: those of its part. */
static const named *labels_for(const arrays *all, const named *a) {
    for (size_t i = 0; i < all->n; i++) {
        const named *b = &all->items[i];
        if (b->role == LABELS && b->has_part == a->has_part && b->part == a->part) return b;
    }
    return NULL;
}

static int list_array(graft_listing *l, const arrays *all, const named *a, double scale, bool parts,
                      graft_err *err) {
    graft_pixels p;
    int64_t *labels = NULL;
    int rc = shape_of(&p, a->tensor, a->path, err);
    const named *y = l->options->labels == GRAFT_LABELS_IGNORED ? NULL : labels_for(all, a);
    p.scale = scale;
    if (rc == 0 && y) rc = labels_of(&labels, l->arena, y->tensor, p.n, y->path, err);
    if (rc < 0) return rc;
    if (!l->description)
        l->description =
            graft_arena_printf(l->arena, "NumPy arrays, pictures of %d x %d (values times %.4g)%s", p.width,
                               p.height, scale, labels ? " with their labels" : " without labels");
    if (!l->description) return graft_err_nomem(err);
    if (parts && a->has_part) l->part_given[a->part] = true;
    return graft_listing_add_rows(l, &p, labels, a->path, a->part, err);
}

static int list(graft_listing *out, const char *path, graft_err *err) {
    arrays *all = graft_arena_alloc(out->arena, sizeof *all);
    if (!all) return graft_err_nomem(err);
    range r = {INFINITY, -INFINITY, true};
    size_t n_pictures = 0;
    int rc = collect(all, out, path, err);
    for (size_t i = 0; rc == 0 && i < all->n; i++) {
        if (all->items[i].role != PICTURES) continue;
        n_pictures++;
        widen(&r, all->items[i].tensor);
    }
    if (rc < 0) return rc;
    if (n_pictures == 0)
        return graft_err_set(err, GRAFT_EDATA,
                             "%s: no array is called images, x or data (x_train, test_images, ...)", path);
    double scale = scale_of(&r);
    out->labels_are_numbers = true;
    for (size_t i = 0; i < all->n; i++) {
        if (all->items[i].role != PICTURES) continue;
        graft_pixels p;
        if ((rc = shape_of(&p, all->items[i].tensor, all->items[i].path, err)) < 0) return rc;
        if (scale == 0)
            return graft_err_set(
                err, GRAFT_EDATA,
                "%s: values from %g to %g are no picture's: save them as 0..255 or 0..1, without "
                "subtracting a mean",
                all->items[i].path, r.low, r.high);
        if ((rc = list_array(out, all, &all->items[i], scale, n_pictures > 1, err)) < 0) return rc;
    }
    return 0;
}

static int sniff(const graft_sniffed *s) {
    if (!s->is_dir)
        return graft_has_extension(s->path, "npz") || graft_has_extension(s->path, "npy") ? 92
               : s->head_size >= 6 && memcmp(s->head, "\x93NUMPY", 6) == 0                ? 92
                                                                                          : 0;
    for (size_t i = 0; i < s->n_names; i++) {
        named a = {0};
        understand(&a, s->names[i]);
        if (a.role == PICTURES && graft_has_extension(s->names[i], "npy")) return 90;
    }
    return 0;
}

const graft_reader graft_reader_arrays = {"arrays",
                                          "NPZ, or NPY files: images and labels, x_train and y_train, ...",
                                          sniff, list, GRAFT_READS_PICTURES};
