/* ViT by timm's names (blocks.N.attn.qkv, head): vit_base_patch16_224 and its like, and DeiT without its
 * token of distillation, which is the same there. */
#include "model/family/timm.h"
#include "model/family/vit.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void layer_names(graft_transformer_names *n, int i) {
    const size_t size = GRAFT_TRANSFORMER_NAME;
    snprintf(n->query, size, "blocks.%d.attn.qkv", i);
    snprintf(n->out, size, "blocks.%d.attn.proj", i);
    snprintf(n->attention_norm, size, "blocks.%d.norm1", i);
    snprintf(n->up, size, "blocks.%d.mlp.fc1", i);
    snprintf(n->down, size, "blocks.%d.mlp.fc2", i);
    snprintf(n->norm, size, "blocks.%d.norm2", i);
}

static const graft_vit_kind kind = {.type = "",
                                    .conv = "patch_embed.proj",
                                    .embeddings = "",
                                    .norm = "norm",
                                    .positions = "pos_embed",
                                    .layer = layer_names};

static const struct size {
    const char *name;
    int width, n_layers, n_heads;
} sizes[] = {{"vit_tiny", 192, 12, 3},    {"vit_small", 384, 12, 6}, {"vit_base", 768, 12, 12},
             {"vit_large", 1024, 24, 16}, {"deit_tiny", 192, 12, 3}, {"deit_small", 384, 12, 6},
             {"deit_base", 768, 12, 12}};

/* "vit_base_patch16_224.augreg_in1k" names weights of vit_base_patch16_224; what has more in it, such as
 * another norm, is another architecture. NULL: not one of these. */
static const struct size *read_architecture(const char *name, int64_t *patch, int64_t *image) {
    static const char middle[] = "_patch";
    for (size_t i = 0; i < GRAFT_COUNT(sizes); i++) {
        const size_t n = strlen(sizes[i].name);
        if (strncmp(name, sizes[i].name, n) != 0 || strncmp(name + n, middle, strlen(middle)) != 0) continue;
        char *end = NULL;
        const char *at = name + n + strlen(middle);
        *patch = *at >= '1' && *at <= '9' ? strtol(at, &end, 10) : 0;
        if (!end || *end != '_' || end[1] < '1' || end[1] > '9') return NULL;
        *image = strtol(end + 1, &end, 10);
        bool known = *patch <= GRAFT_MAX_PICTURE_SIDE && *image <= GRAFT_MAX_PICTURE_SIDE;
        return known && (*end == '\0' || *end == '.') ? &sizes[i] : NULL;
    }
    return NULL;
}

static int recognise(const json_t *config, const graft_tensors *tensors) {
    /* what the plain ones have, then what makes another of them */
    static const char *const have[] = {"cls_token", "pos_embed", "blocks.0.attn.qkv.weight",
                                       "blocks.0.norm1.weight", "norm.weight"},
                             *const more[] = {"dist_token", "reg_token", "blocks.0.ls1.gamma",
                                              "blocks.0.attn.q_norm.weight", "norm_pre.weight"};
    size_t n_have = 0;
    if (config) {
        int64_t patch, image;
        const char *type = json_string_value(json_object_get(config, "model_type")),
                   *name = graft_timm_architecture(config);
        if (type && strcmp(type, "timm_wrapper") != 0) return 0;
        return name && read_architecture(name, &patch, &image) ? 100 : 0;
    }
    for (size_t i = 0; i < tensors->n_items; i++) {
        const char *name = graft_timm_name(tensors->items[i].name);
        for (size_t k = 0; k < GRAFT_COUNT(have); k++) n_have += !strcmp(name, have[k]);
        for (size_t k = 0; k < GRAFT_COUNT(more); k++)
            if (!strcmp(name, more[k])) return 0;
    }
    return n_have == GRAFT_COUNT(have) ? 90 : 0;
}

static int read_arguments(graft_vit *v, const json_t *args, const char *origin, graft_err *err) {
    static const char *const known[] = {"embed_dim",      "depth",          "num_heads",      "img_size",
                                        "patch_size",     "in_chans",       "mlp_ratio",      "qkv_bias",
                                        "num_classes",    "global_pool",    "drop_rate",      "pos_drop_rate",
                                        "proj_drop_rate", "attn_drop_rate", "drop_path_rate", "pretrained"};
    graft_transformer *t = &v->t;
    int64_t layers = 0, heads = 0;
    double ratio = 0;
    bool bias = true;
    const char *pool = NULL;
    int rc = graft_timm_check_arguments(args, known, GRAFT_COUNT(known), origin, err);
    if (rc == 0)
        rc = graft_config_size(args, "embed_dim", t->width, &t->width, GRAFT_TRANSFORMER_WIDTH, origin, err);
    if (rc == 0)
        rc = graft_config_size(args, "depth", t->n_layers, &layers, GRAFT_TRANSFORMER_LAYERS, origin, err);
    if (rc == 0)
        rc = graft_config_size(args, "num_heads", t->n_heads, &heads, GRAFT_TRANSFORMER_WIDTH, origin, err);
    if (rc == 0) rc = graft_config_size(args, "in_chans", 3, &v->channels, GRAFT_MAX_CHANNELS, origin, err);
    if (rc == 0) rc = graft_vit_read_sides(v->image, args, "img_size", v->image[0], origin, err);
    if (rc == 0) rc = graft_vit_read_sides(v->patch, args, "patch_size", v->patch[0], origin, err);
    if (rc == 0) rc = graft_json_real(args, "mlp_ratio", 4, &ratio, origin, err);
    if (rc == 0) rc = graft_json_bool(args, "qkv_bias", true, &bias, origin, err);
    if (rc == 0) rc = graft_json_text(args, "global_pool", "token", &pool, origin, err);
    if (rc < 0) return rc;
    if (strcmp(pool, "token") != 0)
        return graft_err_set(err, GRAFT_EUNSUPPORTED, "%s: global_pool '%s' is not supported, only token",
                             origin, pool);
    if (!(ratio * (double)t->width >= 1 && ratio * (double)t->width <= GRAFT_TRANSFORMER_WIDTH))
        return graft_err_set(err, GRAFT_EFORMAT, "%s: mlp_ratio %g makes no layer of a width of %lld", origin,
                             ratio, (long long)t->width);
    t->inner = (int64_t)(ratio * (double)t->width);
    t->n_layers = (int)layers;
    t->n_heads = (int)heads;
    t->bare_attention = !bias;
    return graft_vit_check(v, origin, err);
}

static int read_config(graft_vit *v, const json_t *config, const char *origin, graft_err *err) {
    const char *name = graft_timm_architecture(config);
    const struct size *s = name ? read_architecture(name, &v->patch[0], &v->image[0]) : NULL;
    if (!s)
        return graft_err_set(err, GRAFT_EUNSUPPORTED, "%s: architecture '%s' is not supported", origin,
                             name ? name : "(none)");
    v->t.width = s->width;
    v->t.n_layers = s->n_layers;
    v->t.n_heads = s->n_heads;
    json_t *args = NULL;
    int rc = graft_timm_arguments(&args, config, origin, err);
    if (rc == 0) rc = read_arguments(v, args, origin, err);
    json_decref(args);
    return rc;
}

static int configure(graft_hyper *out, graft_arena *arena, const json_t *config, const graft_tensors *tensors,
                     const char *origin, graft_err *err) {
    graft_vit *v = graft_arena_alloc(arena, sizeof *v);
    if (!v) return graft_err_nomem(err);
    *v = (graft_vit){
        .kind = &kind, .t = {.eps = 1e-6, .activation = GRAFT_ACT_GELU, .fused = true}, .range = 0.02};
    int rc = config ? read_config(v, config, origin, err) : graft_vit_measure(v, tensors, origin, err);
    if (rc == 0) *out = graft_vit_hyper(v);
    return rc;
}

static const char *published_name(graft_arena *arena, const char *name) {
    (void)arena;
    return graft_timm_name(name);
}

static char *describe(graft_arena *arena, const graft_hyper *h) {
    return graft_vit_describe(arena, h, "ViT", ", timm's names");
}

/* timm cuts the product of width and ratio to an integer. */
static double ratio_of(const graft_vit *v) {
    const double width = (double)v->t.width, ratio = (double)v->t.inner / width;
    return (int64_t)(ratio * width) == v->t.inner ? ratio : ((double)v->t.inner + 0.5) / width;
}

/* For a bare checkpoint: an architecture, and all that may differ from it as arguments. */
static int name_architecture(json_t *config, const graft_vit *v) {
    json_t *args = json_object();
    int bad = json_object_set_new(config, "architecture", json_string("vit_base_patch16_224")) |
              json_object_set_new(config, "model_args", args);
    return bad | json_object_set_new(args, "embed_dim", json_integer(v->t.width)) |
           json_object_set_new(args, "depth", json_integer(v->t.n_layers)) |
           json_object_set_new(args, "num_heads", json_integer(v->t.n_heads)) |
           json_object_set_new(args, "mlp_ratio", json_real(ratio_of(v))) |
           json_object_set_new(args, "in_chans", json_integer(v->channels)) |
           json_object_set_new(args, "img_size", graft_vit_sides_json(v->image)) |
           json_object_set_new(args, "patch_size", graft_vit_sides_json(v->patch));
}

static int write_config(json_t *config, const graft_model *m, const graft_hyper *h, graft_err *err) {
    if (!graft_timm_architecture(config) && name_architecture(config, h->own)) return graft_err_nomem(err);
    return graft_timm_write(config, m, "patch_embed.proj", "head", "token", err);
}

const graft_family graft_family_vit_timm = {
    .name = "vit_timm",
    .head = "head",
    .library = "timm",
    .recognise = recognise,
    .configure = configure,
    .labels = graft_timm_labels,
    .rename = published_name,
    .layout = graft_vit_layout,
    .preprocess = graft_vit_preprocess,
    .initialise = graft_vit_initialise,
    .describe = describe,
    .write_config = write_config,
};
