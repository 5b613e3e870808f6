/* Shared by the ViTs: patches become tokens, tokens run through layers with the norms before each part,
 * and the first of them speaks for the picture (Dosovitskiy et al. 2021). */
#include "model/family/vit.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_TOKENS = 1 << 16 /* of a picture: 256 x 256 patches */ };

/* The longer ones first: each is a part of none before it. */
const graft_twin graft_vit_twins[] = {{"encoder.layer", "layers"},
                                      {"attention.attention.query", "attention.q_proj"},
                                      {"attention.attention.key", "attention.k_proj"},
                                      {"attention.attention.value", "attention.v_proj"},
                                      {"attention.output.dense", "attention.o_proj"},
                                      {"intermediate.dense", "mlp.fc1"},
                                      {"output.dense", "mlp.fc2"},
                                      {NULL, NULL}};

static int64_t n_first(const graft_vit *v) {
    return v->kind->distilled ? 2 : 1;
}

static int64_t n_tokens(const graft_vit *v) {
    return n_first(v) + v->image[0] / v->patch[0] * (v->image[1] / v->patch[1]);
}

/* ---- Configs ---------------------------------------------------------------------------------------------- */

/* Height and width: an integer for both, or a list of the two. */
int graft_vit_read_sides(int64_t *sides, const json_t *config, const char *key, int64_t absent,
                         const char *origin, graft_err *err) {
    int n = 0;
    if (!json_is_array(json_object_get(config, key))) {
        int rc = graft_config_size(config, key, absent, &sides[0], GRAFT_MAX_PICTURE_SIDE, origin, err);
        sides[1] = sides[0];
        return rc;
    }
    int rc = graft_config_sizes(config, key, sides, 2, &n, GRAFT_MAX_PICTURE_SIDE, origin, err);
    if (rc == 0 && n == 1) sides[1] = sides[0];
    return rc;
}

/* A share of what is dropped in training. */
static int read_share(double *out, const json_t *config, const char *key, const char *origin,
                      graft_err *err) {
    int rc = graft_json_real(config, key, 0, out, origin, err);
    if (rc < 0 || (*out >= 0 && *out < 1)) return rc;
    return graft_err_set(err, GRAFT_EFORMAT, "%s: %s is %g, not in 0 <= p < 1", origin, key, *out);
}

/* Patches that do not cover the right and lower border leave it out, as Transformers' do. */
int graft_vit_check(const graft_vit *v, const char *origin, graft_err *err) {
    if (v->patch[0] > v->image[0] || v->patch[1] > v->image[1])
        return graft_err_set(
            err, GRAFT_EFORMAT, "%s: no patch of %lld x %lld fits into a picture of %lld x %lld", origin,
            (long long)v->patch[0], (long long)v->patch[1], (long long)v->image[0], (long long)v->image[1]);
    if (n_tokens(v) > MOST_TOKENS)
        return graft_err_set(
            err, GRAFT_EUNSUPPORTED,
            "%s: patches of %lld x %lld make %lld tokens of a picture of %lld x %lld; at most %d are "
            "supported",
            origin, (long long)v->patch[0], (long long)v->patch[1], (long long)n_tokens(v),
            (long long)v->image[0], (long long)v->image[1], (int)MOST_TOKENS);
    return graft_transformer_check(&v->t, origin, err);
}

static int read_config(graft_vit *v, const json_t *config, const char *origin, graft_err *err) {
    graft_transformer *t = &v->t;
    const char *act = NULL;
    int64_t layers = 0, heads = 0;
    bool bias = true;
    int rc = graft_config_size(config, "hidden_size", 768, &t->width, GRAFT_TRANSFORMER_WIDTH, origin, err);
    if (rc == 0)
        rc = graft_config_size(config, "num_hidden_layers", 12, &layers, GRAFT_TRANSFORMER_LAYERS, origin,
                               err);
    if (rc == 0)
        rc = graft_config_size(config, "num_attention_heads", 12, &heads, GRAFT_TRANSFORMER_WIDTH, origin,
                               err);
    if (rc == 0)
        rc = graft_config_size(config, "intermediate_size", 3072, &t->inner, GRAFT_TRANSFORMER_WIDTH, origin,
                               err);
    if (rc == 0)
        rc = graft_config_size(config, "num_channels", 3, &v->channels, GRAFT_MAX_CHANNELS, origin, err);
    if (rc == 0) rc = graft_vit_read_sides(v->image, config, "image_size", 224, origin, err);
    if (rc == 0) rc = graft_vit_read_sides(v->patch, config, "patch_size", 16, origin, err);
    if (rc == 0) rc = graft_json_real(config, "layer_norm_eps", 1e-12, &t->eps, origin, err);
    if (rc == 0 && !(t->eps > 0))
        rc = graft_err_set(err, GRAFT_EFORMAT, "%s: layer_norm_eps is %g, not above 0", origin, t->eps);
    if (rc == 0) rc = read_share(&t->dropout, config, "hidden_dropout_prob", origin, err);
    if (rc == 0) rc = read_share(&t->attention_dropout, config, "attention_probs_dropout_prob", origin, err);
    if (rc == 0) rc = graft_json_real(config, "initializer_range", 0.02, &v->range, origin, err);
    if (rc == 0) rc = graft_json_bool(config, "qkv_bias", true, &bias, origin, err);
    if (rc == 0) rc = graft_json_text(config, "hidden_act", "gelu", &act, origin, err);
    if (rc == 0) rc = graft_transformer_activation(&t->activation, act, "hidden_act", origin, err);
    if (rc < 0) return rc;
    t->n_layers = (int)layers;
    t->n_heads = (int)heads;
    t->bare_attention = !bias;
    return graft_vit_check(v, origin, err);
}

/* `module`.`leaf`, or without the prefix. */
static const graft_tensor *find(const graft_vit_kind *kind, const graft_tensors *tensors, const char *module,
                                const char *leaf) {
    char name[2 * GRAFT_TRANSFORMER_NAME];
    const size_t prefix = *kind->type ? strlen(kind->type) + 1 : 0;
    snprintf(name, sizeof name, "%s%s%s", module, *module ? "." : "", leaf);
    const graft_tensor *t = graft_tensors_find(tensors, name);
    return t || strlen(name) < prefix ? t : graft_tensors_find(tensors, name + prefix);
}

/* Layers by the matrix of their feed-forward part, under any name. */
static int count_layers(const graft_vit *v, const graft_tensors *tensors, int64_t *inner) {
    static const char *const up[][2] = {{"encoder.layer.", ".intermediate.dense.weight"},
                                        {"layers.", ".mlp.fc1.weight"},
                                        {"blocks.", ".mlp.fc1.weight"}};
    char name[GRAFT_TRANSFORMER_NAME];
    int64_t width;
    for (size_t i = 0; i < GRAFT_COUNT(up); i++) {
        snprintf(name, sizeof name, "%s0%s", up[i][0], up[i][1]);
        *inner = graft_transformer_rows(tensors, v->kind->type, name, &width);
        if (*inner) return graft_transformer_count(tensors, v->kind->type, up[i][0], up[i][1]);
    }
    return 0;
}

/* Without a config the shapes tell all but the heads, of which every published size has one for 64 columns,
 * and the picture's sides, which are taken as equal. */
int graft_vit_measure(graft_vit *v, const graft_tensors *tensors, const char *origin, graft_err *err) {
    const graft_tensor *conv = find(v->kind, tensors, v->kind->conv, "weight"),
                       *positions = find(v->kind, tensors, v->kind->embeddings, v->kind->positions);
    graft_transformer *t = &v->t;
    t->n_layers = count_layers(v, tensors, &t->inner);
    if (!conv || conv->shape.rank != 4 || !positions || positions->shape.rank != 3 || !t->n_layers ||
        conv->shape.dims[2] < 1 || conv->shape.dims[3] < 1 || conv->shape.dims[0] < 64 ||
        positions->shape.dims[1] <= n_first(v))
        return graft_err_set(err, GRAFT_EDATA,
                             "%s: its tensors are not those of a whole %s; put its config.json beside it",
                             origin, *v->kind->type ? v->kind->type : "ViT of timm");
    const int64_t places = positions->shape.dims[1] - n_first(v), side = (int64_t)sqrt((double)places);
    t->width = conv->shape.dims[0];
    t->n_heads = (int)(t->width / 64);
    v->channels = conv->shape.dims[1];
    for (int i = 0; i < 2; i++) {
        v->patch[i] = conv->shape.dims[2 + i];
        v->image[i] = v->patch[i] > GRAFT_MAX_PICTURE_SIDE / side ? 0 : v->patch[i] * side;
    }
    if (side * side != places || !v->image[0] || !v->image[1] || t->width > GRAFT_TRANSFORMER_WIDTH ||
        t->inner > GRAFT_TRANSFORMER_WIDTH || v->channels > GRAFT_MAX_CHANNELS)
        return graft_err_set(err, GRAFT_EDATA,
                             "%s: %lld patches are those of no square picture; put its config.json beside it",
                             origin, (long long)places);
    return graft_vit_check(v, origin, err);
}

graft_hyper graft_vit_hyper(const graft_vit *v) {
    return (graft_hyper){.channels = (int)v->channels,
                         .feature_width = v->t.width,
                         .own = v,
                         .height = v->image[0],
                         .width = v->image[1]};
}

int graft_vit_configure(const graft_vit_kind *kind, graft_hyper *out, graft_arena *arena,
                        const json_t *config, const graft_tensors *tensors, const char *origin,
                        graft_err *err) {
    graft_vit *v = graft_arena_alloc(arena, sizeof *v);
    if (!v) return graft_err_nomem(err);
    *v = (graft_vit){.kind = kind, .t = {.eps = 1e-12, .activation = GRAFT_ACT_GELU}, .range = 0.02};
    int rc = config ? read_config(v, config, origin, err) : graft_vit_measure(v, tensors, origin, err);
    if (rc == 0) *out = graft_vit_hyper(v);
    return rc;
}

int graft_vit_recognise(const graft_vit_kind *kind, const json_t *config, const graft_tensors *tensors) {
    if (config) {
        const char *type = json_string_value(json_object_get(config, "model_type"));
        return type && !strcmp(type, kind->type) ? 100 : 0;
    }
    char layer[2][GRAFT_TRANSFORMER_NAME];
    snprintf(layer[0], sizeof layer[0], "%s.encoder.layer.0.layernorm_before", kind->type);
    snprintf(layer[1], sizeof layer[1], "%s.layers.0.layernorm_before", kind->type);
    bool distilled = find(kind, tensors, kind->embeddings, "distillation_token") != NULL;
    return find(kind, tensors, kind->embeddings, "cls_token") && distilled == kind->distilled &&
                   find(kind, tensors, kind->embeddings, kind->positions) &&
                   (find(kind, tensors, layer[0], "weight") || find(kind, tensors, layer[1], "weight"))
               ? 90
               : 0;
}

/* ---- Names ------------------------------------------------------------------------------------------------ */

static bool begins(const char *name, const char *with) {
    return strncmp(name, with, strlen(with)) == 0;
}

/* Bare backbones are saved without the prefix. */
const char *graft_vit_rename(const graft_vit_kind *kind, graft_arena *arena, const char *name) {
    static const char *const parts[] = {"embeddings.", "encoder.", "layers.", "layernorm.", "pooler."};
    for (size_t i = 0; i < GRAFT_COUNT(parts); i++) {
        if (!begins(name, parts[i])) continue;
        name = graft_arena_printf(arena, "%s.%s", kind->type, name);
        break;
    }
    return name ? graft_twin_published(arena, graft_vit_twins, name) : NULL;
}

/* The pooler of bare backbones, which the class with a head has not; what masked pictures were for. */
bool graft_vit_is_buffer(const graft_vit_kind *kind, const char *name) {
    size_t n = strlen(kind->type);
    if (begins(name, "decoder.")) return true;
    if (!begins(name, kind->type) || name[n] != '.') return false;
    return begins(name + n + 1, "pooler.") || !strcmp(name + n + 1, "embeddings.mask_token");
}

void graft_vit_layer_names(graft_transformer_names *n, const char *type, int i) {
    const size_t size = GRAFT_TRANSFORMER_NAME;
    snprintf(n->query, size, "%s.encoder.layer.%d.attention.attention.query", type, i);
    snprintf(n->key, size, "%s.encoder.layer.%d.attention.attention.key", type, i);
    snprintf(n->value, size, "%s.encoder.layer.%d.attention.attention.value", type, i);
    snprintf(n->out, size, "%s.encoder.layer.%d.attention.output.dense", type, i);
    snprintf(n->attention_norm, size, "%s.encoder.layer.%d.layernorm_before", type, i);
    snprintf(n->up, size, "%s.encoder.layer.%d.intermediate.dense", type, i);
    snprintf(n->down, size, "%s.encoder.layer.%d.output.dense", type, i);
    snprintf(n->norm, size, "%s.encoder.layer.%d.layernorm_after", type, i);
}

/* ---- Layout ----------------------------------------------------------------------------------------------- */

static graft_value token(graft_layout *l, const graft_vit *v, const char *leaf) {
    const graft_shape shape = {3, {1, 1, v->t.width}};
    return graft_layout_param(l, GRAFT_PARAM_WEIGHT, shape, v->kind->embeddings, leaf);
}

/* One vector a patch, by a convolution whose windows lie side by side; then the tokens. */
static graft_value embed(graft_layout *l, const graft_vit *v, graft_value x) {
    graft_graph *g = graft_layout_graph(l);
    const graft_vit_kind *kind = v->kind;
    const int64_t width = v->t.width;
    const graft_shape w = {4, {width, v->channels, v->patch[0], v->patch[1]}},
                      p = {3, {1, n_tokens(v), width}};
    const graft_conv_attr a = {
        .stride = {(int32_t)v->patch[0], (int32_t)v->patch[1]}, .dilation = {1, 1}, .groups = 1};
    graft_value weight = graft_layout_param(l, GRAFT_PARAM_WEIGHT, w, kind->conv, "weight");
    graft_value bias = graft_layout_param(l, GRAFT_PARAM_BIAS, (graft_shape){1, {width}}, kind->conv, "bias");
    graft_graph_scope(g, "%s", kind->conv);
    x = graft_conv2d(g, x, weight, bias, GRAFT_NONE, a);
    graft_value first = token(l, v, "cls_token"),
                second = kind->distilled ? token(l, v, "distillation_token") : GRAFT_NONE;
    graft_value positions = graft_layout_param(l, GRAFT_PARAM_WEIGHT, p, kind->embeddings, kind->positions);
    graft_graph_scope(g, "embeddings");
    return graft_layout_dropout(l, graft_patches(g, x, positions, first, second), v->t.dropout);
}

graft_value graft_vit_layout(graft_layout *l, graft_value x, const graft_hyper *h) {
    const graft_vit *v = h->own;
    graft_transformer_names names;
    graft_layout_stage(l, "embeddings");
    graft_value y = embed(l, v, x);
    for (int i = 0; i < v->t.n_layers; i++) {
        graft_layout_stage(l, "layer%d", i);
        graft_layout_depth(l, i, v->t.n_layers);
        v->kind->layer(&names, i);
        y = graft_transformer_layer_before(l, &v->t, y, GRAFT_NONE, &names);
    }
    /* the norm is each token's own, so the others need none */
    graft_graph_scope(graft_layout_graph(l), "pooling");
    y = graft_span_pool(graft_layout_graph(l), y, GRAFT_NONE, GRAFT_SPAN_FIRST);
    return graft_layout_layer_norm(l, y, v->kind->norm, v->t.width, v->t.eps);
}

void graft_vit_preprocess(graft_preprocess *out, const graft_hyper *h) {
    graft_preprocess_plain(out, h->channels, (int)h->height, (int)h->width);
    for (int c = 0; c < h->channels; c++) out->mean[c] = out->std[c] = 0.5;
}

char *graft_vit_describe(graft_arena *arena, const graft_hyper *h, const char *what, const char *more) {
    const graft_vit *v = h->own;
    return graft_arena_printf(arena, "%s of %d layers, %lld wide, patches of %lld x %lld%s", what,
                              v->t.n_layers, (long long)v->t.width, (long long)v->patch[0],
                              (long long)v->patch[1], more);
}

void graft_vit_initialise(const graft_param *p, const graft_hyper *h, float *out, graft_rng *r) {
    graft_transformer_initialise(p, ((const graft_vit *)h->own)->range, out, r);
}

/* ---- Writing ---------------------------------------------------------------------------------------------- */

json_t *graft_vit_sides_json(const int64_t *sides) {
    return sides[0] == sides[1] ? json_integer(sides[0])
                                : json_pack("[I,I]", (json_int_t)sides[0], (json_int_t)sides[1]);
}

/* What a source without a config lacks. */
static int complete(json_t *config, const graft_vit *v) {
    const graft_transformer *t = &v->t;
    return json_object_set_new(config, "hidden_size", json_integer(t->width)) |
           json_object_set_new(config, "num_hidden_layers", json_integer(t->n_layers)) |
           json_object_set_new(config, "num_attention_heads", json_integer(t->n_heads)) |
           json_object_set_new(config, "intermediate_size", json_integer(t->inner)) |
           json_object_set_new(config, "hidden_act", json_string("gelu")) |
           json_object_set_new(config, "layer_norm_eps", json_real(t->eps)) |
           json_object_set_new(config, "num_channels", json_integer(v->channels)) |
           json_object_set_new(config, "image_size", graft_vit_sides_json(v->image)) |
           json_object_set_new(config, "patch_size", graft_vit_sides_json(v->patch));
}

int graft_vit_write(json_t *config, const graft_model *m, const graft_hyper *h, const char *architecture,
                    graft_err *err) {
    const graft_vit *v = h->own;
    int bad = json_object_get(config, "model_type") ? 0 : complete(config, v);
    bad |= json_object_set_new(config, "model_type", json_string(v->kind->type));
    bad |= json_object_set_new(config, "architectures", json_pack("[s]", architecture));
    bad |= json_object_set_new(config, "dtype", json_string("float32"));
    bad |= json_object_set_new(config, "torch_dtype", json_string("float32"));
    return bad ? graft_err_nomem(err) : graft_config_set_id2label(config, m, err);
}
