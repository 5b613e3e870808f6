/* The probe inputs that a saved folder carries, with the answers the model gave to them:
 * graft_probe.safetensors.
 *
 *     pictures  inputs [N, C, H, W] F32
 *     texts     input_ids, token_type_ids, position_ids [T] I32, spans [N, 2] I32
 *     both      logits [N, K] F32, of a model that answers for each token [T, K] */
#include "model/model_impl.h"
#include <string.h>

static const char *const token_names[] = {"input_ids", "token_type_ids", "position_ids"};

static int64_t answers(const graft_model *m, const graft_feed *f) {
    return m->task == GRAFT_TASK_TAGGING ? f->n_tokens : f->n;
}

int graft_probe_run(float **logits, size_t *n_rows, const graft_model *m, const graft_env *env,
                    const graft_feed *feed, graft_arena *arena, graft_err *err) {
    graft_infer_options o = GRAFT_INFER_OPTIONS_INIT;
    if (feed->n_inputs) {
        o.height = feed->inputs[0].shape.dims[2];
        o.width = feed->inputs[0].shape.dims[3];
    }
    size_t n = (size_t)answers(m, feed), k = m->n_labels;
    const float *z = NULL;
    graft_infer *f = NULL;
    float *copy = graft_arena_array(arena, n * k, sizeof *copy);
    int rc = copy ? graft_infer_new(&f, env, m, &o, err) : graft_err_nomem(err);
    if (rc == 0) rc = graft_infer_feed(f, feed, 0, feed->n, feed->n, NULL, &z, err);
    if (rc == 0) memcpy(copy, z, n * k * sizeof *copy);
    graft_infer_free(f);
    *logits = copy;
    *n_rows = n;
    return rc;
}

static int check_pictures(const graft_model *m, const graft_tensor *x) {
    int64_t count = 0;
    return x->shape.rank == 4 && x->shape.dims[1] == m->hyper.channels &&
           graft_shape_count(&x->shape, &count) && count > 0 && x->dtype == GRAFT_F32;
}

int graft_model_probes(graft_feed *out, bool *found, const graft_model *m, graft_arena *arena,
                       const char *dir, graft_err *err) {
    const float *logits = NULL;
    const char *path = graft_path_join(arena, dir, "graft_probe.safetensors");
    if (!path) return graft_err_nomem(err);
    if (found && !(*found = graft_path_is_file(path))) return 0;
    return graft_probe_read(out, &logits, m, arena, path, err);
}

int graft_probe_write(const char *path, const graft_model *m, const graft_env *env, const graft_feed *feed,
                      graft_arena *scratch, graft_err *err) {
    graft_tensor items[8];
    size_t n = 0, n_rows = 0;
    float *logits = NULL;
    if (feed->n_inputs && (feed->n_inputs != 1 || !check_pictures(m, &feed->inputs[0])))
        return graft_err_set(err, GRAFT_ESHAPE, "probe inputs have to be float32 [n, %d, height, width]",
                             m->hyper.channels);
    int rc = graft_probe_run(&logits, &n_rows, m, env, feed, scratch, err);
    if (rc < 0) return rc;
    if (feed->n_inputs) {
        items[n] = feed->inputs[0];
        items[n++].name = "inputs";
    }
    for (size_t i = 0; i < feed->n_token_inputs && n < GRAFT_COUNT(items) - 2; i++)
        items[n++] = feed->token_inputs[i];
    if (feed->spans)
        items[n++] = (graft_tensor){.name = "spans",
                                    .dtype = GRAFT_I32,
                                    .shape = {2, {feed->n, 2}},
                                    .data = feed->spans,
                                    .size = 2 * (size_t)feed->n * sizeof *feed->spans};
    items[n++] = (graft_tensor){.name = "logits",
                                .dtype = GRAFT_F32,
                                .shape = {2, {(int64_t)n_rows, (int64_t)m->n_labels}},
                                .data = logits,
                                .size = n_rows * m->n_labels * sizeof *logits};
    return graft_safetensors_write(path, items, n, NULL, err);
}

static int no_probe(const char *path, graft_err *err) {
    return graft_err_set(err, GRAFT_EDATA, "%s: its tensors are no probe of this model", path);
}

/* Ids, positions and spans come from a file: an index that points outside would read foreign memory. */
static bool are_below(const graft_tensor *t, int64_t limit) {
    for (size_t i = 0; i < t->size / sizeof(int32_t); i++) {
        int32_t x;
        memcpy(&x, (const unsigned char *)t->data + i * sizeof x, sizeof x);
        if (x < 0 || x >= limit) return false;
    }
    return true;
}

static bool are_spans(const int32_t *spans, int64_t n, int64_t n_tokens) {
    int64_t at = 0;
    for (int64_t i = 0; i < n; i++) {
        if (spans[2 * i] != at || spans[2 * i + 1] < 1) return false;
        at += spans[2 * i + 1];
    }
    return at == n_tokens;
}

static int read_texts(graft_feed *out, const graft_tensors *probe, const graft_model *m, graft_arena *arena,
                      const char *path, graft_err *err) {
    const int64_t limits[] = {m->hyper.vocabulary, m->hyper.n_types ? m->hyper.n_types : 1 << 10,
                              m->hyper.longest + m->hyper.position_offset};
    const graft_tensor *spans = graft_tensors_find(probe, "spans");
    graft_tensor *items = graft_arena_array(arena, GRAFT_COUNT(token_names), sizeof *items);
    if (!items) return graft_err_nomem(err);
    for (size_t i = 0; i < GRAFT_COUNT(token_names); i++) {
        const graft_tensor *t = graft_tensors_find(probe, token_names[i]);
        if (!t || t->dtype != GRAFT_I32 || t->shape.rank != 1 || t->shape.dims[0] < 1 ||
            !are_below(t, limits[i]) || (i && t->shape.dims[0] != items[0].shape.dims[0]))
            return no_probe(path, err);
        items[i] = *t;
    }
    if (!spans || spans->dtype != GRAFT_I32 || spans->shape.rank != 2 || spans->shape.dims[1] != 2)
        return no_probe(path, err);
    int32_t *copy = graft_arena_array(arena, spans->size / sizeof *copy + 1, sizeof *copy);
    if (!copy) return graft_err_nomem(err);
    memcpy(copy, spans->data, spans->size);
    *out = (graft_feed){.n = spans->shape.dims[0],
                        .n_tokens = items[0].shape.dims[0],
                        .token_inputs = items,
                        .n_token_inputs = GRAFT_COUNT(token_names),
                        .spans = copy};
    return out->n > 0 && are_spans(copy, out->n, out->n_tokens) ? 0 : no_probe(path, err);
}

static int read_pictures(graft_feed *out, const graft_tensors *probe, const graft_model *m,
                         graft_arena *arena, const char *path, graft_err *err) {
    const graft_tensor *x = graft_tensors_find(probe, "inputs");
    graft_tensor *item = graft_arena_alloc(arena, sizeof *item);
    if (!item) return graft_err_nomem(err);
    if (!x) return graft_err_set(err, GRAFT_EDATA, "%s: the tensor 'inputs' is missing", path);
    if (!check_pictures(m, x)) {
        char shape[96];
        return graft_err_set(err, GRAFT_EDATA, "%s: inputs %s are no probe of this model", path,
                             graft_shape_print(&x->shape, shape, sizeof shape));
    }
    *item = *x;
    item->name = "pixel_values";
    *out = (graft_feed){.n = x->shape.dims[0], .inputs = item, .n_inputs = 1};
    return 0;
}

int graft_probe_read(graft_feed *out, const float **logits, const graft_model *m, graft_arena *arena,
                     const char *path, graft_err *err) {
    graft_tensors probe;
    if (!graft_path_is_file(path))
        return graft_err_set(err, GRAFT_EDATA,
                             "%s: there is no such file; a folder that graft saved holds its probes there",
                             path);
    int rc = graft_safetensors_open(&probe, arena, path, err);
    if (rc == 0)
        rc = m->family->modality == GRAFT_TEXTS ? read_texts(out, &probe, m, arena, path, err)
                                                : read_pictures(out, &probe, m, arena, path, err);
    if (rc < 0) return rc;
    const graft_tensor *z = graft_tensors_find(&probe, "logits");
    if (!z) return graft_err_set(err, GRAFT_EDATA, "%s: the tensor 'logits' is missing", path);
    if (z->shape.rank != 2 || z->dtype != GRAFT_F32 || z->shape.dims[0] != answers(m, out))
        return no_probe(path, err);
    if (z->shape.dims[1] != (int64_t)m->n_labels)
        return graft_err_set(err, GRAFT_EDATA, "%s: its logits are of %lld classes, the model has %zu", path,
                             (long long)z->shape.dims[1], m->n_labels);
    float *copy = graft_arena_array(arena, z->size / sizeof *copy, sizeof *copy);
    if (!copy) return graft_err_nomem(err);
    graft_tensor_to_f32(z, copy);
    *logits = copy;
    return 0;
}
