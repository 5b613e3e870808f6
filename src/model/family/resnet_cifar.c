/* The ResNets for 32 x 32 pictures (He et al. 2016, section 4.2): 20, 32, 44, 56, 110 layers, by the names of
 * the widely used checkpoints (conv1, bn1, layer1 … layer3, linear). Shortcuts take every second pixel and
 * pad with zero channels. Only graft opens the folders it writes: neither Transformers nor timm has this
 * form. */
#include "model/family/resnet_blocks.h"
#include "model/init.h"
#include <stdio.h>
#include <string.h>

static void place(char *out, int stage, int block, int part, const char *kind) {
    if (stage < 0)
        snprintf(out, GRAFT_RESNET_NAME, "%s1", kind);
    else
        snprintf(out, GRAFT_RESNET_NAME, "layer%d.%d.%s%d", stage + 1, block, kind, part + 1);
}

static void conv_name(char *out, int stage, int block, int part) {
    place(out, stage, block, part, "conv");
}

static void norm_name(char *out, int stage, int block, int part) {
    place(out, stage, block, part, "bn");
}

static const graft_resnet_names names = {conv_name, norm_name};

static const char *published_name(graft_arena *arena, const char *name) {
    return graft_rename_affine(arena, name, "bn");
}

static int recognise(const json_t *config, const graft_tensors *tensors) {
    if (config) {
        const char *type = json_string_value(json_object_get(config, "model_type"));
        return type && !strcmp(type, "resnet_cifar") ? 100 : 0;
    }
    const graft_tensor *stem = graft_tensors_find(tensors, "conv1.weight");
    if (!stem || stem->shape.rank != 4 || stem->shape.dims[2] != 3) return 0;
    for (size_t i = 0; i < tensors->n_items; i++) {
        const char *name = tensors->items[i].name;
        if (!strncmp(name, "layer4.", 7) || strstr(name, ".downsample.") || strstr(name, ".shortcut."))
            return 0;
    }
    return graft_tensors_find(tensors, "layer3.0.conv2.weight") ? 90 : 0;
}

static int read_config(graft_resnet *r, const json_t *config, const char *origin, graft_err *err) {
    int64_t depths[3], widths[3], channels = 3;
    int n_depths = 0, n_widths = 0, rc;
    if ((rc = graft_config_sizes(config, "depths", depths, 3, &n_depths, GRAFT_RESNET_DEPTH, origin, err)) <
            0 ||
        (rc = graft_config_sizes(config, "hidden_sizes", widths, 3, &n_widths, GRAFT_RESNET_WIDTH, origin,
                                 err)) < 0 ||
        (rc = graft_config_size(config, "num_channels", 3, &channels, GRAFT_MAX_CHANNELS, origin, err)) < 0)
        return rc;
    if ((n_depths && n_depths != 3) || (n_widths && n_widths != 3))
        return graft_err_set(err, GRAFT_EFORMAT, "%s: depths and hidden_sizes have to name 3 stages", origin);
    r->n_stages = 3;
    r->channels = (int)channels;
    for (int i = 0; i < 3; i++) {
        r->depth[i] = n_depths ? (int)depths[i] : 3;
        r->width[i] = r->inner[i] = n_widths ? widths[i] : (int64_t)16 << i;
    }
    r->stem = r->width[0];
    return 0;
}

/* A shortcut can add channels but not drop them, and the stem leads into the first stage unchanged. */
static int check_widths(const graft_resnet *r, const char *origin, graft_err *err) {
    bool grows = r->stem == r->width[0] && r->n_stages == 3 && !r->bottleneck;
    for (int i = 1; i < r->n_stages; i++) grows = grows && r->width[i] >= r->width[i - 1];
    return grows
               ? 0
               : graft_err_set(err, GRAFT_EFORMAT,
                               "%s: the widths of a CIFAR ResNet may not shrink from stage to stage", origin);
}

static int configure(graft_hyper *out, graft_arena *arena, const json_t *config, const graft_tensors *tensors,
                     const char *origin, graft_err *err) {
    graft_resnet *r = graft_arena_alloc(arena, sizeof *r);
    if (!r) return graft_err_nomem(err);
    r->names = &names;
    r->small = true;
    int rc = config ? read_config(r, config, origin, err)
                    : graft_resnet_measure(r, arena, tensors, published_name, origin, err);
    if (rc == 0) rc = check_widths(r, origin, err);
    if (rc < 0) return rc;
    *out = (graft_hyper){r->channels, r->width[r->n_stages - 1], r};
    return 0;
}

static graft_value layout(graft_layout *l, graft_value x, const graft_hyper *h) {
    return graft_resnet_layout(l, x, h->own);
}

/* The checkpoints were trained on 32 x 32 pictures with ImageNet's mean and standard deviation. */
static void preprocess(graft_preprocess *out, const graft_hyper *h) {
    graft_preprocess imagenet;
    graft_preprocess_plain(out, h->channels, 32, 32);
    if (h->channels != 3) return;
    graft_preprocess_imagenet(&imagenet);
    memcpy(out->mean, imagenet.mean, sizeof out->mean);
    memcpy(out->std, imagenet.std, sizeof out->std);
}

static void initialise(const graft_param *p, const graft_hyper *h, float *out, graft_rng *r) {
    if (p->kind == GRAFT_PARAM_WEIGHT)
        graft_init_kaiming_normal(out, &p->shape, GRAFT_FAN_IN, r);
    else
        graft_initialise_conv_net(p, h, out, r);
}

static char *describe(graft_arena *arena, const graft_hyper *h) {
    return graft_arena_printf(arena, "CIFAR ResNet of %d layers", graft_resnet_layers(h->own));
}

static int write_config(json_t *config, const graft_model *m, const graft_hyper *h, graft_err *err) {
    const graft_resnet *r = h->own;
    json_t *depths = json_array(), *widths = json_array();
    for (int i = 0; depths && widths && i < r->n_stages; i++) {
        json_array_append_new(depths, json_integer(r->depth[i]));
        json_array_append_new(widths, json_integer(r->width[i]));
    }
    int bad = json_object_set_new(config, "depths", depths);
    bad |= json_object_set_new(config, "hidden_sizes", widths);
    bad |= json_object_set_new(config, "num_channels", json_integer(r->channels));
    bad |= json_object_set_new(config, "model_type", json_string("resnet_cifar"));
    bad |= json_object_set_new(config, "dtype", json_string("float32"));
    return bad ? graft_err_nomem(err) : graft_config_set_id2label(config, m, err);
}

const graft_family graft_family_resnet_cifar = {
    .name = "resnet_cifar",
    .head = "linear",
    .library = "graft",
    .recognise = recognise,
    .configure = configure,
    .labels = graft_config_id2label,
    .rename = published_name,
    .layout = layout,
    .preprocess = preprocess,
    .initialise = initialise,
    .describe = describe,
    .write_config = write_config,
};
