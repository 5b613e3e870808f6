/* A peft folder becomes part of a model: its head and other whole tensors stand in the place of the base's,
 * its low-rank pairs become adapters. What no graph of the model holds, DoRA (Liu et al. 2024) and adapters
 * of embeddings, is merged into the weights at once. */
#include "model/lora.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/** What a module of the base has in the file. */
typedef struct pair {
    const char *weight; /* the base's parameter, as published */
    const graft_tensor *a, *b, *magnitude;
    bool embedding;
} pair;

struct graft_adapter_files {
    graft_adapter_config config;
    const char *config_path, *weights_path;
    graft_tensors tensors;
    pair *pairs;
    size_t n_pairs;
    graft_map *index; /* weight → pair */
};

/* ---- Files
 * ---------------------------------------------------------------------------------------------------- */

static int open_weights(graft_adapter_files *f, graft_model *m, graft_err *err) {
    static const char *const names[] = {"adapter_model.safetensors", "adapter_model.bin"};
    for (size_t i = 0; i < GRAFT_COUNT(names); i++) {
        f->weights_path = graft_path_join(m->arena, m->adapter, names[i]);
        if (!f->weights_path) return graft_err_nomem(err);
        if (graft_path_is_file(f->weights_path))
            return graft_tensors_open(&f->tensors, m->arena, f->weights_path, err);
    }
    return graft_err_set(err, GRAFT_EDATA, "%s: it has no adapter_model.safetensors", m->adapter);
}

/* Whether a folder is peft's. */
static const char *config_in(graft_arena *arena, const char *folder) {
    const char *path =
        graft_path_is_dir(folder) ? graft_path_join(arena, folder, "adapter_config.json") : NULL;
    return path && graft_path_is_file(path) ? path : NULL;
}

int graft_adapter_find(graft_model *m, const graft_model_options *o, graft_err *err) {
    const char *folder = o->adapter ? o->adapter : m->path, *config = config_in(m->arena, folder);
    json_t *json = NULL;
    m->base = m->path;
    if (!config && !o->adapter) return 0;
    if (!config)
        return graft_err_set(err, GRAFT_EDATA,
                             "%s: it has no adapter_config.json; is it an adapter's folder?", folder);
    graft_adapter_files *f = graft_arena_alloc(m->arena, sizeof *f);
    m->adapter = graft_arena_strdup(m->arena, folder);
    if (!f || !m->adapter) return graft_err_nomem(err);
    f->config_path = config;
    m->adapter_files = f;
    int rc = graft_json_read(&json, m->arena, config, err);
    if (rc == 0) rc = graft_adapter_config_read(&f->config, json, config, err);
    if (rc == 0) rc = open_weights(f, m, err);
    if (rc == 0 && !o->adapter) rc = graft_adapter_base(&m->base, m->arena, m->adapter, f->config.base, err);
    if (rc < 0) return rc;
    m->base_name = o->adapter ? m->path : f->config.base;
    if (!config_in(m->arena, m->base)) return 0;
    return graft_err_set(err, GRAFT_EUNSUPPORTED,
                         "%s stands on %s, which is an adapter itself: merge that one", m->adapter, m->base);
}

/* ---- Tensors
 * -------------------------------------------------------------------------------------------------- */

/* Cuts `end` off a name of `n` bytes when it ends so. */
static bool cut(const char *name, size_t *n, const char *end) {
    size_t k = strlen(end);
    if (*n <= k || memcmp(name + *n - k, end, k) != 0) return false;
    *n -= k;
    return true;
}

static pair *pair_of(graft_adapter_files *f, const graft_model *m, const char *module, size_t n) {
    const char *weight = graft_arena_printf(m->arena, "%.*s.weight", (int)n, module);
    if (!weight || !(weight = m->family->rename(m->arena, weight))) return NULL;
    int64_t at = graft_map_get_str(f->index, weight);
    if (at >= 0) return &f->pairs[at];
    if (graft_map_put_str(f->index, weight, (int64_t)f->n_pairs) < 0) return NULL;
    f->pairs[f->n_pairs] = (pair){.weight = weight};
    return &f->pairs[f->n_pairs++];
}

static bool is_same(const graft_tensor *a, const graft_tensor *b) {
    return a->dtype == b->dtype && graft_shape_equal(&a->shape, &b->shape) && a->size == b->size &&
           memcmp(a->data, b->data, a->size) == 0;
}

/* A second tensor of the same place: a folder may hold both versions' names, with the same values. */
static int take_twin(const graft_adapter_files *f, const graft_model *m, const graft_tensor *first,
                     const graft_tensor *second, graft_err *err) {
    if (!m->family->twins)
        return graft_err_set(err, GRAFT_EDATA, "%s: '%.200s' is there twice", f->weights_path, second->name);
    if (is_same(first, second)) return 0;
    return graft_err_set(err, GRAFT_EDATA, "%s: '%.150s' and '%.150s' are the same layer's and differ",
                         f->weights_path, first->name, second->name);
}

/* Sorts one of the file's tensors into its pair; *is_whole when it is none of an adapter. `name` is without
 * base_model.model. */
static int sort_tensor(graft_adapter_files *f, const graft_model *m, const graft_tensor *t, const char *name,
                       bool *is_whole, graft_err *err) {
    static const struct {
        const char *end;
        size_t field;
        bool embedding;
    } kinds[] = {{".lora_A", offsetof(pair, a), false},
                 {".lora_B", offsetof(pair, b), false},
                 {".lora_embedding_A", offsetof(pair, a), true},
                 {".lora_embedding_B", offsetof(pair, b), true},
                 {".lora_magnitude_vector", offsetof(pair, magnitude), false}};
    size_t n = strlen(name);
    *is_whole = !strstr(name, ".lora_");
    if (*is_whole) return 0;
    cut(name, &n, ".weight");
    cut(name, &n, ".default");
    for (size_t i = 0; i < GRAFT_COUNT(kinds); i++) {
        if (!cut(name, &n, kinds[i].end)) continue;
        pair *p = pair_of(f, m, name, n);
        if (!p) return graft_err_nomem(err);
        const graft_tensor **field = (const graft_tensor **)((char *)p + kinds[i].field);
        if (*field) return take_twin(f, m, *field, t, err);
        *field = t;
        p->embedding = p->embedding || kinds[i].embedding;
        return 0;
    }
    return graft_err_set(err, GRAFT_EUNSUPPORTED,
                         "%s: the tensor '%.200s' is of a kind that is not supported", f->weights_path,
                         t->name);
}

/* A whole tensor's name in the base: peft keeps wrapped layers under base_layer. */
static const char *whole_name(const graft_model *m, const char *name) {
    static const char wrapper[] = ".base_layer.";
    const char *at = strstr(name, wrapper);
    if (at) {
        name = graft_arena_printf(m->arena, "%.*s.%s", (int)(at - name), name, at + strlen(wrapper));
        if (!name) return NULL;
    }
    return m->family->rename(m->arena, name);
}

static bool is_of_head(const graft_model *m, const char *published) {
    size_t n = strlen(m->family->head);
    return !strncmp(published, m->family->head, n) && published[n] == '.';
}

/* The base's tensors that the folder leaves as they are, then the folder's whole ones. A folder of
 * sentence-transformers has its head in a module of its own. */
static int join_whole(graft_model *m, const graft_tensor *whole, size_t n_whole, graft_err *err) {
    graft_map *names = graft_map_new(m->arena);
    const graft_tensors *from = &m->source;
    graft_tensors all = {.format = from->format, .index = graft_map_new(m->arena)};
    all.items = graft_arena_array(m->arena, from->n_items + n_whole + 1, sizeof *all.items);
    if (!names || !all.index || !all.items) return graft_err_nomem(err);
    for (size_t i = 0; i < n_whole; i++)
        if (graft_map_put_str(names, whole[i].name, (int64_t)i) < 0) return graft_err_nomem(err);
    for (size_t i = 0; i < from->n_items; i++) {
        const char *published = m->family->rename(m->arena, from->items[i].name);
        if (!published) return graft_err_nomem(err);
        bool gone = graft_map_get_str(names, published) >= 0 || (m->n_dense && is_of_head(m, published));
        if (!gone) all.items[all.n_items++] = from->items[i];
    }
    for (size_t i = 0; i < n_whole; i++) all.items[all.n_items++] = whole[i];
    for (size_t i = 0; i < all.n_items; i++)
        if (graft_map_put_str(all.index, all.items[i].name, (int64_t)i) < 0) return graft_err_nomem(err);
    m->source = all;
    return 0;
}

int graft_adapter_join(graft_model *m, graft_err *err) {
    static const char prefix[] = "base_model.model.";
    graft_adapter_files *f = m->adapter_files;
    if (!f) return 0;
    if (m->is_scratch)
        return graft_err_set(err, GRAFT_EDATA, "%s: its base model %s has no weights", m->adapter, m->base);
    size_t n_whole = 0, n = f->tensors.n_items;
    graft_tensor *whole = graft_arena_array(m->arena, n + 1, sizeof *whole);
    f->pairs = graft_arena_array(m->arena, n + 1, sizeof *f->pairs);
    f->index = graft_map_new(m->arena);
    graft_map *names = graft_map_new(m->arena); /* of whole tensors -> where they stand in the file */
    if (!whole || !f->pairs || !f->index || !names) return graft_err_nomem(err);
    for (size_t i = 0; i < n; i++) {
        const graft_tensor *t = &f->tensors.items[i];
        bool is_whole = false;
        if (strncmp(t->name, prefix, strlen(prefix)) != 0)
            return graft_err_set(err, GRAFT_EFORMAT,
                                 "%s: '%.200s' does not begin with %s: no tensor of peft's", f->weights_path,
                                 t->name, prefix);
        int rc = sort_tensor(f, m, t, t->name + strlen(prefix), &is_whole, err);
        if (rc < 0) return rc;
        if (!is_whole) continue;
        const char *name = whole_name(m, t->name + strlen(prefix));
        if (!name) return graft_err_nomem(err);
        int64_t twin = graft_map_get_str(names, name);
        if (twin >= 0) {
            if ((rc = take_twin(f, m, &f->tensors.items[twin], t, err)) < 0) return rc;
            continue;
        }
        if (graft_map_put_str(names, name, (int64_t)i) < 0) return graft_err_nomem(err);
        whole[n_whole] = *t;
        whole[n_whole++].name = name;
    }
    return join_whole(m, whole, n_whole, err);
}

/* ---- Into the model
 * ------------------------------------------------------------------------------------------- */

static bool is_float(const graft_tensor *t) {
    return t->dtype == GRAFT_F32 || t->dtype == GRAFT_F64 || t->dtype == GRAFT_F16 || t->dtype == GRAFT_BF16;
}

static int wants(const graft_adapter_files *f, const graft_tensor *t, const graft_shape *want,
                 graft_err *err) {
    char have[96], text[96];
    if (!is_float(t))
        return graft_err_set(err, GRAFT_EDTYPE, "%s: '%.200s' is %s; weights have to be floating point",
                             f->weights_path, t->name, graft_dtype_name(t->dtype));
    if (graft_shape_equal(&t->shape, want)) return 0;
    return graft_err_set(err, GRAFT_ESHAPE,
                         "%s: '%.200s' has shape %s, but the base model's layer asks for %s", f->weights_path,
                         t->name, graft_shape_print(&t->shape, have, sizeof have),
                         graft_shape_print(want, text, sizeof text));
}

/* The layer of a pair, whose shapes fit. */
static int find_site(const graft_site **out, const graft_adapter_files *f, const graft_sites *sites,
                     const pair *p, const graft_model *m, graft_err *err) {
    const graft_tensor *t = p->a ? p->a : p->b ? p->b : p->magnitude;
    if (!p->a || !p->b)
        return graft_err_set(err, GRAFT_EDATA, "%s: '%.200s' stands alone: lora_A and lora_B are a pair",
                             f->weights_path, t->name);
    const graft_site *s = graft_sites_find(sites, p->weight);
    if (!s || p->embedding != (s->kind == GRAFT_LAYER_EMBEDDING))
        return graft_err_set(err, GRAFT_EDATA, "%s: '%.200s' belongs to no layer of the base model %s",
                             f->weights_path, t->name, m->base);
    if (s->kind == GRAFT_LAYER_ODD_CONV)
        return graft_err_set(
            err, GRAFT_EUNSUPPORTED,
            "%s: '%.200s' belongs to a grouped or dilated convolution, which takes no adapter",
            f->weights_path, t->name);
    int64_t r = p->a->shape.rank > 0 ? p->a->shape.dims[0] : 0;
    const graft_shape a = graft_site_a(s, r), b = graft_site_b(s, r);
    if (r < 1)
        return graft_err_set(err, GRAFT_ESHAPE, "%s: '%.200s' has no rows", f->weights_path, p->a->name);
    int rc = wants(f, p->a, &a, err);
    if (rc == 0) rc = wants(f, p->b, &b, err);
    *out = s;
    return rc;
}

/* W' = m V / |V| a row (an output), V = W + scale B A (Liu et al. 2024, equation 5). */
static int weigh_rows(float *w, const graft_site *s, const graft_adapter_files *f,
                      const graft_tensor *magnitude, graft_arena *scratch, graft_err *err) {
    const int64_t outs = graft_site_outs(s), ins = (int64_t)graft_init_count(&s->shape) / outs;
    const bool turned = s->kind == GRAFT_LAYER_IN_OUT;
    float *m = graft_arena_array(scratch, (size_t)outs, sizeof *m);
    int64_t count = 0;
    if (!m) return graft_err_nomem(err);
    if (!graft_shape_count(&magnitude->shape, &count) || count != outs || !is_float(magnitude))
        return graft_err_set(err, GRAFT_ESHAPE, "%s: '%.200s' has not one number an output, %lld",
                             f->weights_path, magnitude->name, (long long)outs);
    graft_tensor_to_f32(magnitude, m);
    for (int64_t o = 0; o < outs; o++) {
        double squares = 0;
        for (int64_t i = 0; i < ins; i++) {
            double x = (double)w[turned ? i * outs + o : o * ins + i];
            squares += x * x;
        }
        const double factor = squares > 0 ? (double)m[o] / sqrt(squares) : 0;
        for (int64_t i = 0; i < ins; i++) {
            float *x = &w[turned ? i * outs + o : o * ins + i];
            *x = (float)(factor * (double)*x);
        }
    }
    return 0;
}

static float *floats_of(graft_arena *arena, const graft_tensor *t) {
    float *x = graft_arena_array(arena, graft_init_count(&t->shape) + 1, sizeof *x);
    if (x) graft_tensor_to_f32(t, x);
    return x;
}

static int merge_pair(graft_model *m, const graft_site *s, const pair *p, double scale, graft_err *err) {
    graft_arena *scratch = graft_arena_new(NULL);
    const graft_param *param = graft_model_find_param(m, s->weight);
    float *w = scratch ? floats_of(scratch, &param->tensor) : NULL,
          *a = scratch ? floats_of(scratch, p->a) : NULL, *b = scratch ? floats_of(scratch, p->b) : NULL;
    int rc = w && a && b ? 0 : graft_err_nomem(err);
    if (rc == 0) {
        graft_lora_merge(w, s, a, b, p->a->shape.dims[0], scale);
        if (p->magnitude) rc = weigh_rows(w, s, m->adapter_files, p->magnitude, scratch, err);
    }
    if (rc == 0) rc = graft_model_begin_at(m, s->weight, w, graft_init_count(&s->shape), err);
    graft_arena_free(scratch);
    return rc;
}

static void bind_adapter(const graft_model *m, const char *name, const graft_tensor *t) {
    graft_param *p = &m->slots[graft_map_get_str(m->index, name)]->param;
    p->tensor = *t;
    p->tensor.name = p->name;
}

static int attach_pair(graft_model *m, const graft_sites *sites, const pair *p, bool merges, graft_err *err) {
    const graft_adapter_files *f = m->adapter_files;
    const graft_site *s = NULL;
    double alpha = 0;
    int rc = find_site(&s, f, sites, p, m, err);
    if (rc == 0 && p->magnitude && !f->config.dora)
        rc = graft_err_set(err, GRAFT_EDATA, "%s: '%.200s' is of DoRA, which %s does not say",
                           f->weights_path, p->magnitude->name, f->config_path);
    if (rc == 0 && f->config.dora && !p->magnitude && !p->embedding)
        rc = graft_err_set(err, GRAFT_EDATA, "%s: '%.200s' has no lora_magnitude_vector, and %s says DoRA",
                           f->weights_path, p->a->name, f->config_path);
    const char *other = rc == 0 ? graft_twin_other(m->arena, m->family->twins, s->module) : NULL;
    if (rc == 0 && !other) rc = graft_err_nomem(err);
    if (rc == 0) rc = graft_adapter_alpha(&alpha, &f->config, s->module, other, f->config_path, err);
    if (rc < 0) return rc;
    int64_t r = p->a->shape.dims[0];
    if (merges) return merge_pair(m, s, p, graft_lora_scale(&m->lora, r, alpha), err);
    graft_adapted *ad = &m->adapted[m->n_adapted];
    if ((rc = graft_lora_add(ad, m, s, r, alpha, err)) < 0) return rc;
    bind_adapter(m, ad->a, p->a);
    bind_adapter(m, ad->b, p->b);
    m->n_adapted++;
    return 0;
}

int graft_adapter_attach(graft_model *m, graft_err *err) {
    const graft_adapter_files *f = m->adapter_files;
    graft_sites sites;
    if (!f) return 0;
    bool merges = f->config.dora;
    for (size_t i = 0; i < f->n_pairs; i++) merges = merges || f->pairs[i].embedding;
    m->lora = f->config.lora;
    m->adapted = graft_arena_array(m->arena, f->n_pairs + 1, sizeof *m->adapted);
    int rc = m->adapted ? graft_sites_list(&sites, m->arena, m, err) : graft_err_nomem(err);
    if (rc == 0 && f->n_pairs == 0)
        rc = graft_err_set(err, GRAFT_EDATA, "%s: it holds no adapter", f->weights_path);
    for (size_t i = 0; i < f->n_pairs && rc == 0; i++) rc = attach_pair(m, &sites, &f->pairs[i], merges, err);
    if (rc == 0)
        graft_env_log(m->env, GRAFT_LOG_INFO, "%s: adapters of %zu layers on %s%s", m->adapter, f->n_pairs,
                      m->base, merges ? ", merged into its weights" : "");
    return rc;
}
