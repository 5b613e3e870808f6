/* ResNet as Transformers publishes it (model_type "resnet"): microsoft/resnet-18 … 152 and their like. */
#include "model/family/resnet_blocks.h"
#include <stdio.h>
#include <string.h>

static void place(char *out, int stage, int block, int part, const char *leaf) {
    if (stage < 0)
        snprintf(out, GRAFT_RESNET_NAME, "resnet.embedder.embedder.%s", leaf);
    else if (part < 0)
        snprintf(out, GRAFT_RESNET_NAME, "resnet.encoder.stages.%d.layers.%d.shortcut.%s", stage, block,
                 leaf);
    else
        snprintf(out, GRAFT_RESNET_NAME, "resnet.encoder.stages.%d.layers.%d.layer.%d.%s", stage, block, part,
                 leaf);
}

static void conv_name(char *out, int stage, int block, int part) {
    place(out, stage, block, part, "convolution");
}

static void norm_name(char *out, int stage, int block, int part) {
    place(out, stage, block, part, "normalization");
}

static const graft_resnet_names names = {conv_name, norm_name};

/* A bare backbone (ResNetModel, ResNetBackbone) is saved without the prefix. */
static const char *published_name(graft_arena *arena, const char *name) {
    if (!strncmp(name, "embedder.", 9) || !strncmp(name, "encoder.", 8)) {
        name = graft_arena_printf(arena, "resnet.%s", name);
        if (!name) return NULL;
    }
    return graft_rename_affine(arena, name, "normalization");
}

static int recognise(const json_t *config, const graft_tensors *tensors) {
    if (config) {
        const char *type = json_string_value(json_object_get(config, "model_type"));
        return type && !strcmp(type, "resnet") ? 100 : 0;
    }
    return graft_tensors_find(tensors, "resnet.embedder.embedder.convolution.weight") ||
                   graft_tensors_find(tensors, "embedder.embedder.convolution.weight")
               ? 90
               : 0;
}

static int read_config(graft_resnet *r, const json_t *config, const char *origin, graft_err *err) {
    static const int64_t default_depths[] = {3, 4, 6, 3}, default_widths[] = {256, 512, 1024, 2048};
    int64_t depths[GRAFT_RESNET_STAGES], widths[GRAFT_RESNET_STAGES], channels = 3;
    const char *layer = NULL, *act = NULL;
    int n_depths = 0, n_widths = 0, rc;
    if ((rc = graft_config_sizes(config, "depths", depths, GRAFT_RESNET_STAGES, &n_depths, GRAFT_RESNET_DEPTH,
                                 origin, err)) < 0 ||
        (rc = graft_config_sizes(config, "hidden_sizes", widths, GRAFT_RESNET_STAGES, &n_widths,
                                 GRAFT_RESNET_WIDTH, origin, err)) < 0 ||
        (rc = graft_config_size(config, "num_channels", 3, &channels, GRAFT_MAX_CHANNELS, origin, err)) < 0 ||
        (rc = graft_config_size(config, "embedding_size", 64, &r->stem, GRAFT_RESNET_WIDTH, origin, err)) <
            0 ||
        (rc = graft_json_text(config, "layer_type", "bottleneck", &layer, origin, err)) < 0 ||
        (rc = graft_json_text(config, "hidden_act", "relu", &act, origin, err)) < 0 ||
        (rc = graft_json_bool(config, "downsample_in_first_stage", false, &r->first_stage_halves, origin,
                              err)) < 0 ||
        (rc = graft_json_bool(config, "downsample_in_bottleneck", false, &r->stride_in_reduction, origin,
                              err)) < 0)
        return rc;
    if (!n_depths) memcpy(depths, default_depths, sizeof default_depths), n_depths = 4;
    if (!n_widths) memcpy(widths, default_widths, sizeof default_widths), n_widths = 4;
    if (n_depths != n_widths)
        return graft_err_set(err, GRAFT_EFORMAT, "%s: depths has %d stages and hidden_sizes %d", origin,
                             n_depths, n_widths);
    if (strcmp(layer, "basic") != 0 && strcmp(layer, "bottleneck") != 0)
        return graft_err_set(err, GRAFT_EFORMAT, "%s: layer_type '%s' is neither basic nor bottleneck",
                             origin, layer);
    if (strcmp(act, "relu") != 0)
        return graft_err_set(err, GRAFT_EUNSUPPORTED,
                             "%s: hidden_act '%s' is not supported; ResNets use relu", origin, act);
    r->bottleneck = !strcmp(layer, "bottleneck");
    r->channels = (int)channels;
    r->n_stages = n_depths;
    for (int i = 0; i < r->n_stages; i++) {
        r->depth[i] = (int)depths[i];
        r->width[i] = widths[i];
        r->inner[i] = r->bottleneck ? widths[i] / 4 : widths[i];
        if (r->inner[i] < 1)
            return graft_err_set(err, GRAFT_EFORMAT,
                                 "%s: hidden_sizes has %lld, a bottleneck needs at least 4", origin,
                                 (long long)widths[i]);
    }
    return 0;
}

static int configure(graft_hyper *out, graft_arena *arena, const json_t *config, const graft_tensors *tensors,
                     const char *origin, graft_err *err) {
    graft_resnet *r = graft_arena_alloc(arena, sizeof *r);
    if (!r) return graft_err_nomem(err);
    r->names = &names;
    int rc = config ? read_config(r, config, origin, err)
                    : graft_resnet_measure(r, arena, tensors, published_name, origin, err);
    if (rc < 0) return rc;
    *out = (graft_hyper){r->channels, r->width[r->n_stages - 1], r};
    return 0;
}

static graft_value layout(graft_layout *l, graft_value x, const graft_hyper *h) {
    return graft_resnet_layout(l, x, h->own);
}

static void preprocess(graft_preprocess *out, const graft_hyper *h) {
    if (h->channels == 3)
        graft_preprocess_imagenet(out);
    else
        graft_preprocess_plain(out, h->channels, 224, 224);
}

static char *describe(graft_arena *arena, const graft_hyper *h) {
    const graft_resnet *r = h->own;
    return graft_arena_printf(arena, "ResNet of %d layers (%s), Transformers' names", graft_resnet_layers(r),
                              r->bottleneck ? "bottleneck" : "basic");
}

static json_t *sizes_json(const int64_t *a, int n) {
    json_t *list = json_array();
    for (int i = 0; list && i < n; i++) json_array_append_new(list, json_integer(a[i]));
    return list;
}

/* What a source without a config lacks; of the others every key is already there and stays. */
static int complete(json_t *config, const graft_resnet *r) {
    int64_t depths[GRAFT_RESNET_STAGES];
    for (int i = 0; i < r->n_stages; i++) depths[i] = r->depth[i];
    return json_object_set_new(config, "depths", sizes_json(depths, r->n_stages)) |
           json_object_set_new(config, "hidden_sizes", sizes_json(r->width, r->n_stages)) |
           json_object_set_new(config, "embedding_size", json_integer(r->stem)) |
           json_object_set_new(config, "num_channels", json_integer(r->channels)) |
           json_object_set_new(config, "layer_type", json_string(r->bottleneck ? "bottleneck" : "basic")) |
           json_object_set_new(config, "hidden_act", json_string("relu")) |
           json_object_set_new(config, "downsample_in_first_stage", json_boolean(r->first_stage_halves)) |
           json_object_set_new(config, "downsample_in_bottleneck", json_boolean(r->stride_in_reduction));
}

static int write_config(json_t *config, const graft_model *m, const graft_hyper *h, graft_err *err) {
    int bad = json_object_get(config, "model_type") ? 0 : complete(config, h->own);
    bad |= json_object_set_new(config, "model_type", json_string("resnet"));
    bad |= json_object_set_new(config, "architectures", json_pack("[s]", "ResNetForImageClassification"));
    bad |= json_object_set_new(config, "dtype", json_string("float32"));
    bad |= json_object_set_new(config, "torch_dtype", json_string("float32"));
    return bad ? graft_err_nomem(err) : graft_config_set_id2label(config, m, err);
}

const graft_family graft_family_resnet = {
    .name = "resnet",
    .head = "classifier.1",
    .library = "transformers",
    .recognise = recognise,
    .configure = configure,
    .labels = graft_config_id2label,
    .rename = published_name,
    .layout = layout,
    .preprocess = preprocess,
    .initialise = graft_initialise_conv_net,
    .describe = describe,
    .write_config = write_config,
};
