/* graft_answers.safetensors: what a model answered to the part that it was judged by, beside the model, so
 * that whoever looks at the run need not run it again. A large part is thinned evenly. */
#include "transfer/transfer.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAME "graft_answers.safetensors"

/* Samples and bytes of logits that are kept. */
enum { MOST_SAMPLES = 20000 };
static const int64_t most_floats = (int64_t)1 << 22;

/* Samples and rows that are kept of the answers. */
typedef struct keep {
    const graft_answers *a;
    graft_arena *arena;
    int64_t n, rows;
    int64_t *samples;
    float *logits, *targets;
    int32_t *labels, *predicted, *words;
    uint64_t *contents; /* [n, 2] */
} keep;

static int64_t rows_of(const graft_answers *a, graft_task task, int64_t i) {
    return task == GRAFT_TASK_TAGGING ? a->words[i] : 1;
}

static int make_arrays(keep *k, graft_task task, graft_err *err) {
    const graft_answers *a = k->a;
    int64_t most = a->n_samples < MOST_SAMPLES ? a->n_samples : MOST_SAMPLES;
    double floats = (double)a->n * (double)a->k;
    if (floats > (double)most_floats && (double)most > (double)most_floats / floats * (double)a->n_samples)
        most = (int64_t)((double)most_floats / floats * (double)a->n_samples);
    k->n = most < 1 && a->n_samples > 0 ? 1 : most;
    for (int64_t i = 0; i < k->n; i++) k->rows += rows_of(a, task, i * a->n_samples / k->n);
    size_t n = (size_t)k->n + 1, rows = (size_t)k->rows + 1, wide = (size_t)a->k;
    k->samples = graft_arena_array(k->arena, n, sizeof *k->samples);
    k->words = graft_arena_array(k->arena, n, sizeof *k->words);
    k->contents = graft_arena_array(k->arena, n, 2 * sizeof *k->contents);
    k->labels = graft_arena_array(k->arena, rows, sizeof *k->labels);
    k->predicted = graft_arena_array(k->arena, rows, sizeof *k->predicted);
    k->logits = graft_arena_array(k->arena, rows, wide * sizeof *k->logits);
    k->targets = graft_arena_array(k->arena, rows, wide * sizeof *k->targets);
    bool ok = k->samples && k->words && k->contents && k->labels && k->predicted && k->logits && k->targets;
    return ok ? 0 : graft_err_nomem(err);
}

static void thin(keep *k, graft_task task, const graft_data *data) {
    const graft_answers *a = k->a;
    bool tags = task == GRAFT_TASK_TAGGING;
    bool has_targets = task == GRAFT_TASK_MULTILABEL || task == GRAFT_TASK_REGRESSION;
    int64_t row = 0, to = 0, seen = 0;
    size_t wide = (size_t)a->k;
    for (int64_t i = 0; i < k->n; i++) {
        int64_t from = i * a->n_samples / k->n;
        for (; seen < from; seen++) row += rows_of(a, task, seen);
        size_t n = (size_t)rows_of(a, task, from);
        k->samples[i] = a->samples[from];
        k->words[i] = tags ? a->words[from] : 1;
        const graft_sample *s = graft_data_sample(data, a->samples[from]);
        k->contents[2 * i] = s->content.lo;
        k->contents[2 * i + 1] = s->content.hi;
        memcpy(k->logits + (size_t)to * wide, a->logits + (size_t)row * wide, n * wide * sizeof *k->logits);
        if (task != GRAFT_TASK_REGRESSION) memcpy(k->labels + to, a->labels + row, n * sizeof *k->labels);
        if (tags) memcpy(k->predicted + to, a->predicted + row, n * sizeof *k->predicted);
        if (has_targets)
            memcpy(k->targets + (size_t)to * wide, a->targets + (size_t)row * wide,
                   n * wide * sizeof *k->targets);
        to += (int64_t)n;
    }
}

/* The part of each sample; GRAFT_N_PARTS: in none. */
static uint8_t *parts_of(graft_arena *arena, const graft_data *data) {
    size_t n = (size_t)graft_data_n_samples(data);
    uint8_t *parts = graft_arena_alloc(arena, n + 1);
    if (!parts) return NULL;
    memset(parts, GRAFT_N_PARTS, n);
    for (int p = 0; p < GRAFT_N_PARTS; p++) {
        int64_t count = 0;
        const int64_t *members = graft_data_members(data, (graft_part)p, &count);
        for (int64_t i = 0; i < count; i++) parts[members[i]] = (uint8_t)p;
    }
    return parts;
}

#define TENSOR(what, type, pointer, rank, ...)                                                               \
    (graft_tensor) {                                                                                         \
        .name = (what), .dtype = (type), .shape = {(rank), {__VA_ARGS__}}, .data = (pointer)                 \
    }

int graft_answers_keep(const char *dir, const graft_answers *a, graft_task task, const graft_data *data,
                       graft_part part, graft_err *err) {
    keep k = {.a = a, .arena = graft_arena_new(NULL)};
    if (!k.arena) return graft_err_nomem(err);
    const int64_t facts[] = {part, task, a->n_samples};
    int rc = make_arrays(&k, task, err);
    uint8_t *parts = rc == 0 ? parts_of(k.arena, data) : NULL;
    char *path = parts ? graft_path_join(k.arena, dir, NAME) : NULL;
    if (rc == 0 && !path) rc = graft_err_nomem(err);
    if (rc == 0) {
        thin(&k, task, data);
        graft_tensor tensors[] = {
            TENSOR("facts", GRAFT_I64, facts, 1, (int64_t)GRAFT_COUNT(facts)),
            TENSOR("parts", GRAFT_U8, parts, 1, graft_data_n_samples(data)),
            TENSOR("samples", GRAFT_I64, k.samples, 1, k.n),
            TENSOR("words", GRAFT_I32, k.words, 1, k.n),
            TENSOR("contents", GRAFT_U64, k.contents, 2, k.n, 2),
            TENSOR("labels", GRAFT_I32, k.labels, 1, k.rows),
            TENSOR("logits", GRAFT_F32, k.logits, 2, k.rows, a->k),
            TENSOR("predicted", GRAFT_I32, k.predicted, 1, k.rows),
            TENSOR("targets", GRAFT_F32, k.targets, 2, k.rows, a->k),
        };
        bool has_targets = task == GRAFT_TASK_MULTILABEL || task == GRAFT_TASK_REGRESSION;
        size_t n = GRAFT_COUNT(tensors) - (has_targets ? 0 : 1);
        for (size_t i = 0; i < n; i++) {
            int64_t count = 0;
            graft_shape_count(&tensors[i].shape, &count);
            tensors[i].size = (size_t)count * graft_dtype_size(tensors[i].dtype);
        }
        rc = graft_safetensors_write(path, tensors, n, NULL, err);
    }
    graft_arena_free(k.arena);
    return rc;
}

void graft_answers_forget(const char *dir) {
    graft_arena *arena = graft_arena_new(NULL);
    const char *path = arena ? graft_path_join(arena, dir, NAME) : NULL;
    if (path) (void)unlink(path);
    graft_arena_free(arena);
}

/* ---- Reading -------------------------------------------------------------------------------------------- */

/* A copy, aligned, of a tensor that must be there; `rows` negative: as many as it has, and they are told. */
static void *take(const graft_tensors *file, graft_arena *arena, const char *name, graft_dtype dtype,
                  int64_t *rows, int64_t *width) {
    const graft_tensor *t = graft_tensors_find(file, name);
    if (!t || t->dtype != dtype || t->shape.rank < 1 || t->shape.rank > 2) return NULL;
    int64_t wide = t->shape.rank == 2 ? t->shape.dims[1] : 1;
    if ((*rows >= 0 && *rows != t->shape.dims[0]) || (*width >= 0 && *width != wide)) return NULL;
    *rows = t->shape.dims[0];
    *width = wide;
    void *copy = graft_arena_alloc(arena, t->size + 1);
    if (copy && t->size) memcpy(copy, t->data, t->size);
    return copy;
}

static bool all_in(const int32_t *values, int64_t n, int32_t least, int64_t end) {
    for (int64_t i = 0; i < n; i++)
        if (values[i] < least || values[i] >= end) return false;
    return true;
}

/* Nothing of the file is believed that would be looked up with. */
static bool is_sound(const graft_kept_answers *k) {
    const graft_answers *a = &k->answers;
    int64_t rows = 0;
    for (int64_t i = 0; i < a->n_samples; i++) {
        if (a->samples[i] < 0 || a->samples[i] >= k->n_parts || a->words[i] < 0) return false;
        if (k->task != GRAFT_TASK_TAGGING && a->words[i] != 1) return false;
        rows += a->words[i];
    }
    if (rows != a->n || a->k < 1) return false;
    bool number = k->task == GRAFT_TASK_REGRESSION;
    if (!number && !all_in(a->labels, a->n, -1, a->k)) return false;
    if (k->task == GRAFT_TASK_TAGGING && !all_in(a->predicted, a->n, 0, a->k)) return false;
    if ((number || k->task == GRAFT_TASK_MULTILABEL) && !a->targets) return false;
    return true;
}

static bool read_all(graft_kept_answers *out, const graft_tensors *file, graft_arena *arena) {
    graft_answers *a = &out->answers;
    int64_t three = 3, one = 1, n = -1, two = 2, rows = -1, wide = -1;
    const int64_t *facts = take(file, arena, "facts", GRAFT_I64, &three, &one);
    out->n_parts = -1;
    out->parts = take(file, arena, "parts", GRAFT_U8, &out->n_parts, &one);
    a->samples = take(file, arena, "samples", GRAFT_I64, &n, &one);
    a->words = take(file, arena, "words", GRAFT_I32, &n, &one);
    out->contents = take(file, arena, "contents", GRAFT_U64, &n, &two);
    a->labels = take(file, arena, "labels", GRAFT_I32, &rows, &one);
    a->logits = take(file, arena, "logits", GRAFT_F32, &rows, &wide);
    a->predicted = take(file, arena, "predicted", GRAFT_I32, &rows, &one);
    a->targets = take(file, arena, "targets", GRAFT_F32, &rows, &wide);
    bool ok = facts && out->parts && a->samples && a->words && out->contents && a->labels && a->logits &&
              a->predicted;
    if (!ok || facts[0] < 0 || facts[0] > GRAFT_N_PARTS || facts[1] < 0 || facts[1] > GRAFT_TASK_TAGGING)
        return false;
    out->part = (graft_part)facts[0];
    out->task = (graft_task)facts[1];
    out->n_all = facts[2];
    a->n = rows;
    a->k = wide;
    a->n_samples = n;
    return is_sound(out);
}

int graft_answers_open(graft_kept_answers *out, graft_arena *arena, const char *dir, graft_err *err) {
    graft_tensors file = {0};
    *out = (graft_kept_answers){0};
    char *path = graft_path_join(arena, dir, NAME);
    if (!path) return graft_err_nomem(err);
    int rc = graft_safetensors_open(&file, arena, path, err);
    if (rc < 0 || read_all(out, &file, arena)) return rc;
    *out = (graft_kept_answers){0};
    return graft_err_set(err, GRAFT_EFORMAT, "%s: these are no answers that graft kept", path);
}
