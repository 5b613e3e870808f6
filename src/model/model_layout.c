/* From a family's and a head's calls to the parameter table, and to the graph. The same calls serve both:
 * when the table is made they append to it (and the graph is thrown away), later they look it up. */
#include "model/model_impl.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct graft_layout {
    graft_graph *g;
    const graft_model *m;
    graft_model *listing; /* the model whose table is made; NULL when a graph is built */
    int stage;
    bool in_head, in_join;
    bool training;    /* what is dropped in training is dropped */
    graft_value seed; /* input of the dropouts; GRAFT_NONE until there is one */
    double depth;     /* of the residual block, as a share of all */
    graft_value map;  /* what the pooled features are the means of; GRAFT_NONE: it was not kept */
};

graft_graph *graft_layout_graph(const graft_layout *l) {
    return l->g;
}

static bool grow(graft_arena *arena, void **items, size_t n, size_t *room, size_t size) {
    if (n < *room) return true;
    size_t more = *room ? *room * 2 : 64;
    void *p = graft_arena_array(arena, more, size);
    if (!p) return false;
    if (n) memcpy(p, *items, n * size);
    *items = p;
    *room = more;
    return true;
}

void graft_layout_stage(graft_layout *l, const char *format, ...) {
    char name[64];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    l->stage = graft_model_find_stage(l->m, name);
    if (l->stage >= 0 || graft_graph_failed(l->g)) return;
    graft_model *m = l->listing;
    if (!m) {
        graft_graph_fail(l->g, GRAFT_EINTERNAL, "stage '%s' was not listed", name);
        return;
    }
    char *copy = graft_arena_strdup(m->arena, name);
    if (!copy || !grow(m->arena, (void **)&m->stages, m->n_stages, &m->stages_room, sizeof *m->stages)) {
        graft_graph_fail(l->g, GRAFT_ENOMEM, "out of memory");
        return;
    }
    l->stage = (int)m->n_stages;
    m->stages[m->n_stages++] = copy;
}

static void list_param(graft_layout *l, graft_param_kind kind, const graft_shape *shape, const char *name) {
    graft_model *m = l->listing;
    graft_param_slot *s = graft_arena_alloc(m->arena, sizeof *s);
    char *copy = graft_arena_strdup(m->arena, name);
    int64_t count = 0;
    if (!graft_shape_count(shape, &count) || count > INT64_MAX / 8) {
        graft_graph_fail(l->g, GRAFT_ESHAPE, "parameter '%s' is too large", name);
        return;
    }
    if (!s || !copy ||
        !grow(m->arena, (void **)&m->slots, m->n_slots, &m->slots_room, sizeof(graft_param_slot *)) ||
        graft_map_put_str(m->index, copy, (int64_t)m->n_slots) < 0) {
        graft_graph_fail(l->g, GRAFT_ENOMEM, "out of memory");
        return;
    }
    s->param = (graft_param){.name = copy,
                             .shape = *shape,
                             .kind = kind,
                             .stage = l->stage,
                             .head = l->in_head,
                             .joins = l->in_join};
    m->slots[m->n_slots++] = s;
}

graft_value graft_layout_param(graft_layout *l, graft_param_kind kind, graft_shape shape, const char *module,
                               const char *leaf) {
    char name[192];
    snprintf(name, sizeof name, "%s%s%s", module, *module ? "." : "", leaf);
    if (graft_graph_failed(l->g)) return GRAFT_NONE;
    if (l->listing && graft_map_get_str(l->m->index, name) < 0) list_param(l, kind, &shape, name);
    const graft_param *p = graft_model_find_param(l->m, name);
    if (!p) {
        graft_graph_fail(l->g, GRAFT_EINTERNAL, "parameter '%s' was not listed", name);
        return GRAFT_NONE;
    }
    return graft_graph_param(l->g, p->name, p->tensor.data ? &p->tensor : NULL, shape);
}

graft_value graft_layout_conv(graft_layout *l, graft_value x, const char *module, int64_t n_in, int64_t n_out,
                              int kernel, int stride) {
    graft_shape shape = {4, {n_out, n_in, kernel, kernel}};
    graft_value w = graft_layout_param(l, GRAFT_PARAM_WEIGHT, shape, module, "weight");
    graft_graph_scope(l->g, "%s", module);
    graft_conv_attr a = {
        .stride = {stride, stride}, .pad = {kernel / 2, kernel / 2}, .dilation = {1, 1}, .groups = 1};
    return graft_conv2d(l->g, x, w, GRAFT_NONE, GRAFT_NONE, a);
}

graft_value graft_layout_norm(graft_layout *l, graft_value x, const char *module, int64_t n) {
    graft_shape shape = {1, {n}};
    graft_value gamma = graft_layout_param(l, GRAFT_PARAM_NORM, shape, module, "weight");
    graft_value beta = graft_layout_param(l, GRAFT_PARAM_NORM, shape, module, "bias");
    graft_value mean = graft_layout_param(l, GRAFT_PARAM_STATISTIC, shape, module, "running_mean");
    graft_value variance = graft_layout_param(l, GRAFT_PARAM_STATISTIC, shape, module, "running_var");
    graft_graph_scope(l->g, "%s", module);
    graft_norm_attr a = {.eps = 1e-5, .momentum = 0.1};
    return graft_batch_norm(l->g, x, gamma, beta, mean, variance, a);
}

graft_value graft_layout_linear(graft_layout *l, graft_value x, const char *module, int64_t n_in,
                                int64_t n_out) {
    graft_value w =
        graft_layout_param(l, GRAFT_PARAM_WEIGHT, (graft_shape){2, {n_out, n_in}}, module, "weight");
    graft_value b = graft_layout_param(l, GRAFT_PARAM_BIAS, (graft_shape){1, {n_out}}, module, "bias");
    graft_graph_scope(l->g, "%s", module);
    return graft_linear(l->g, x, w, b);
}

graft_value graft_layout_layer_norm(graft_layout *l, graft_value x, const char *module, int64_t n,
                                    double eps) {
    graft_value gamma = graft_layout_param(l, GRAFT_PARAM_NORM, (graft_shape){1, {n}}, module, "weight");
    graft_value beta = graft_layout_param(l, GRAFT_PARAM_NORM, (graft_shape){1, {n}}, module, "bias");
    graft_graph_scope(l->g, "%s", module);
    return graft_layer_norm(l->g, x, gamma, beta, eps);
}

graft_value graft_layout_embedding(graft_layout *l, graft_value ids, const char *module, int64_t rows,
                                   int64_t width) {
    graft_value w =
        graft_layout_param(l, GRAFT_PARAM_WEIGHT, (graft_shape){2, {rows, width}}, module, "weight");
    graft_graph_scope(l->g, "%s", module);
    return graft_embedding(l->g, w, ids);
}

/* The seed's input where a share of p is dropped. */
static double open_drop(graft_layout *l, double p, graft_value *seed) {
    if (!l->training || p <= 0) return 0;
    if (l->seed == GRAFT_NONE) l->seed = graft_graph_input(l->g, "seed", GRAFT_I32, (graft_shape){1, {2}});
    *seed = l->seed;
    return p;
}

double graft_layout_drops(graft_layout *l, double p, graft_value *seed) {
    return open_drop(l, l->m->has_dropout ? l->m->dropout : p, seed);
}

/* In the head a share that was asked for is dropped of frozen features too. */
graft_value graft_layout_dropout(graft_layout *l, graft_value x, double p) {
    graft_value seed = GRAFT_NONE;
    p = graft_layout_drops(l, p, &seed);
    if (!(p > 0)) return x;
    return l->in_head && l->m->has_dropout ? graft_dropout_lasting(l->g, x, seed, p)
                                           : graft_dropout(l->g, x, seed, p);
}

void graft_layout_depth(graft_layout *l, int at, int n) {
    l->depth = (at + 1.0) / n;
}

graft_value graft_layout_branch(graft_layout *l, graft_value x, graft_value spans) {
    graft_value seed = GRAFT_NONE;
    double p = open_drop(l, l->m->drop_path * l->depth, &seed);
    return p > 0 ? graft_drop_path(l->g, x, seed, spans, p) : x;
}

void graft_layout_keep_map(graft_layout *l, graft_value x) {
    l->map = x;
}

graft_value graft_layout_map(graft_layout *l) {
    if (l->map == GRAFT_NONE)
        graft_graph_fail(l->g, GRAFT_EINTERNAL, "family '%s' keeps no map", l->m->family->name);
    return l->map;
}

/* Pictures: to the features. */
static graft_value lay_out_pictures(graft_layout *l, int64_t height, int64_t width) {
    const graft_model *m = l->m;
    graft_shape shape = {4, {GRAFT_DIM_BATCH, m->hyper.channels, height, width}};
    return m->family->layout(l, graft_graph_input(l->g, "pixel_values", GRAFT_F32, shape), &m->hyper);
}

/* Texts: to the features, which are the tokens' own where each of them is answered for. */
static graft_value lay_out_texts(graft_layout *l) {
    const graft_model *m = l->m;
    const graft_shape tokens = {1, {GRAFT_DIM_TOKENS}}, spans = {2, {GRAFT_DIM_BATCH, 2}};
    const graft_text_values x = {.ids = graft_graph_input(l->g, "input_ids", GRAFT_I32, tokens),
                                 .types = graft_graph_input(l->g, "token_type_ids", GRAFT_I32, tokens),
                                 .positions = graft_graph_input(l->g, "position_ids", GRAFT_I32, tokens),
                                 .spans = graft_graph_input(l->g, "spans", GRAFT_I32, spans)};
    graft_value states = m->family->read(l, &x, &m->hyper);
    if (m->task == GRAFT_TASK_TAGGING) return states;
    graft_graph_scope(l->g, "pooling");
    graft_value features = graft_span_pool(l->g, states, x.spans, (int32_t)m->text.pooling);
    return m->text.unit ? graft_unit_rows(l->g, features) : features;
}

static void lay_out(graft_layout *l, int64_t height, int64_t width) {
    const graft_model *m = l->m;
    bool texts = m->family->modality == GRAFT_TEXTS, tags = m->task == GRAFT_TASK_TAGGING;
    graft_value features = texts ? lay_out_texts(l) : lay_out_pictures(l, height, width);
    graft_graph_output(l->g, "features", features);
    graft_layout_stage(l, "head");
    l->in_head = true;
    l->in_join = m->family->join && !tags && !m->text.sentence;
    if (l->in_join) features = m->family->join(l, features, &m->hyper);
    l->in_join = false;
    if (!tags && (!m->family->join || m->text.sentence)) features = graft_layout_dropout(l, features, 0);
    if (tags) features = graft_layout_dropout(l, features, m->hyper.head_dropout);
    const graft_head_place at = {.module = graft_model_head_module(m),
                                 .width = m->hyper.feature_width,
                                 .n = (int64_t)m->n_labels,
                                 .without_bias = m->family->head_without_bias && !tags && !m->text.sentence};
    graft_graph_output(l->g, "logits", m->head->layout(l, features, &at));
}

void graft_model_some_size(const graft_model *m, int64_t *height, int64_t *width) {
    enum { SIDE = 256 };
    *height = m->hyper.height ? m->hyper.height : SIDE;
    *width = m->hyper.width ? m->hyper.width : SIDE;
}

int graft_model_list(graft_model *m, graft_err *err) {
    size_t kept = 0;
    graft_map *index = graft_map_new(m->arena);
    graft_arena *scratch = graft_arena_new(NULL);
    graft_graph *g = scratch ? graft_graph_new(scratch) : NULL;
    int rc = index && g ? 0 : graft_err_nomem(err);
    if (rc < 0) goto done;
    for (size_t i = 0; i < m->n_slots; i++) {
        graft_param_slot *s = m->slots[i];
        if (s->param.head) continue;
        m->slots[kept] = s;
        if (graft_map_put_str(index, s->param.name, (int64_t)kept++) < 0) rc = graft_err_nomem(err);
    }
    m->n_slots = kept;
    m->index = index;
    if (rc < 0) goto done;
    graft_layout l = {.g = g, .m = m, .listing = m, .seed = GRAFT_NONE, .map = GRAFT_NONE};
    int64_t height = 0, width = 0;
    graft_model_some_size(m, &height, &width);
    lay_out(&l, height, width);
    rc = graft_graph_end(g, err);
done:
    graft_arena_free(scratch);
    return rc;
}

int graft_model_plain_graph(graft_graph **out, graft_arena *arena, const graft_model *m, int64_t height,
                            int64_t width, graft_err *err) {
    int h = 0, w = 0;
    bool pictures = m->family->modality == GRAFT_PICTURES;
    if (pictures && (height <= 0 || width <= 0) && !graft_model_input_size(m, &h, &w))
        return graft_err_set(err, GRAFT_EUSAGE,
                             "%s: its preprocessing keeps each picture's size; name a size", m->path);
    if (height <= 0) height = h;
    if (width <= 0) width = w;
    if (m->hyper.height && (height != m->hyper.height || width != m->hyper.width))
        return graft_err_set(err, GRAFT_EUSAGE, "%s takes pictures of %lld x %lld, not of %lld x %lld",
                             m->path, (long long)m->hyper.height, (long long)m->hyper.width,
                             (long long)height, (long long)width);
    graft_graph *g = graft_graph_new(arena);
    if (!g) return graft_err_nomem(err);
    graft_layout l = {.g = g, .m = m, .training = m->drops, .seed = GRAFT_NONE, .map = GRAFT_NONE};
    lay_out(&l, height, width);
    int rc = graft_graph_end(g, err);
    if (rc == 0) *out = g;
    return rc;
}

int graft_model_graph(graft_graph **out, graft_arena *arena, const graft_model *m, int64_t height,
                      int64_t width, graft_err *err) {
    int rc = graft_model_plain_graph(out, arena, m, height, width, err);
    return rc < 0 ? rc : graft_model_add_adapters(out, arena, m, err);
}

size_t graft_model_n_stages(const graft_model *m) {
    return m->n_stages;
}

const char *graft_model_stage_name(const graft_model *m, size_t i) {
    return i < m->n_stages ? m->stages[i] : NULL;
}

size_t graft_model_first_new(const graft_model *m) {
    return m->first_new ? (size_t)m->first_new : m->n_stages - 1;
}

int graft_model_find_stage(const graft_model *m, const char *name) {
    for (size_t i = 0; i < m->n_stages; i++)
        if (!strcmp(m->stages[i], name)) return (int)i;
    return -1;
}

size_t graft_model_n_params(const graft_model *m) {
    return m->n_slots;
}

const graft_param *graft_model_param(const graft_model *m, size_t i) {
    return i < m->n_slots ? &m->slots[i]->param : NULL;
}

int64_t graft_model_param_index(const graft_model *m, const char *name) {
    return graft_map_get_str(m->index, name);
}

const graft_param *graft_model_find_param(const graft_model *m, const char *name) {
    int64_t i = graft_model_param_index(m, name);
    return i < 0 ? NULL : &m->slots[i]->param;
}

int graft_model_param_stage(const graft_model *m, const char *name) {
    const graft_param *p = graft_model_find_param(m, name);
    return p ? p->stage : -1;
}
