/* ResNet by the names of timm and torchvision (conv1, bn1, layer1 … layer4, fc): timm folders, whose
 * config.json names an architecture, and bare checkpoints of either. */
#include "model/family/resnet_blocks.h"
#include "model/family/timm.h"
#include "model/init.h"
#include <stdio.h>
#include <string.h>

/* The architectures of timm whose stem, shortcut and norm are the plain ones. */
static const struct architecture {
    const char *name;
    bool bottleneck;
    int depth[4];
} architectures[] = {
    {"resnet18", false, {2, 2, 2, 2}},   {"resnet34", false, {3, 4, 6, 3}},
    {"resnet26", true, {2, 2, 2, 2}},    {"resnet50", true, {3, 4, 6, 3}},
    {"resnet101", true, {3, 4, 23, 3}},  {"resnet152", true, {3, 8, 36, 3}},
    {"resnet200", true, {3, 24, 36, 3}},
};

static void conv_name(char *out, int stage, int block, int part) {
    if (stage < 0)
        snprintf(out, GRAFT_RESNET_NAME, "conv1");
    else if (part < 0)
        snprintf(out, GRAFT_RESNET_NAME, "layer%d.%d.downsample.0", stage + 1, block);
    else
        snprintf(out, GRAFT_RESNET_NAME, "layer%d.%d.conv%d", stage + 1, block, part + 1);
}

static void norm_name(char *out, int stage, int block, int part) {
    if (stage < 0)
        snprintf(out, GRAFT_RESNET_NAME, "bn1");
    else if (part < 0)
        snprintf(out, GRAFT_RESNET_NAME, "layer%d.%d.downsample.1", stage + 1, block);
    else
        snprintf(out, GRAFT_RESNET_NAME, "layer%d.%d.bn%d", stage + 1, block, part + 1);
}

static const graft_resnet_names names = {conv_name, norm_name};

/* Transformers' wrapper around timm saves the same names with a prefix. */
static const char *published_name(graft_arena *arena, const char *name) {
    return graft_rename_affine(arena, graft_timm_name(name), "bn");
}

/* "resnet50.a1_in1k" names weights of resnet50. */
static const struct architecture *find_architecture(const char *name) {
    size_t n = strcspn(name, ".");
    for (size_t i = 0; i < GRAFT_COUNT(architectures); i++)
        if (strlen(architectures[i].name) == n && !strncmp(architectures[i].name, name, n))
            return &architectures[i];
    return NULL;
}

/* Variants (squeeze-and-excitation, other stems, groups) add modules inside the blocks or change the stem. */
static bool is_plain(const char *name) {
    static const char *const parts[] = {"conv1", "conv2", "conv3", "bn1", "bn2", "bn3", "downsample"};
    if (strncmp(name, "layer", 5) != 0) return true;
    const char *part = strchr(name, '.');
    part = part ? strchr(part + 1, '.') : NULL;
    if (!part) return false;
    size_t n = strcspn(++part, ".");
    for (size_t i = 0; i < GRAFT_COUNT(parts); i++)
        if (strlen(parts[i]) == n && !strncmp(parts[i], part, n)) return true;
    return false;
}

static int recognise(const json_t *config, const graft_tensors *tensors) {
    if (config) {
        const char *type = json_string_value(json_object_get(config, "model_type")),
                   *name = graft_timm_architecture(config);
        if (type && strcmp(type, "timm_wrapper") != 0) return 0;
        return name && find_architecture(name) ? 100 : 0;
    }
    const graft_tensor *stem = NULL, *last = NULL;
    for (size_t i = 0; i < tensors->n_items; i++) {
        const char *name = graft_timm_name(tensors->items[i].name);
        if (!is_plain(name)) return 0;
        if (!strcmp(name, "conv1.weight")) stem = &tensors->items[i];
        if (!strcmp(name, "layer4.0.conv1.weight")) last = &tensors->items[i];
    }
    return stem && last && stem->shape.rank == 4 && stem->shape.dims[2] == 7 ? 90 : 0;
}

/* Arguments that change nothing at inference are let pass; of the others those that are understood are read.
 */
static int read_arguments(graft_resnet *r, const json_t *args, const char *origin, graft_err *err) {
    static const char *const known[] = {"layers",      "channels",       "in_chans",       "num_classes",
                                        "global_pool", "drop_rate",      "zero_init_last", "pretrained",
                                        "block",       "drop_path_rate", "drop_block_rate"};
    int64_t layers[GRAFT_RESNET_STAGES], planes[GRAFT_RESNET_STAGES], channels = 3;
    int n_layers = 0, n_planes = 0, rc;
    const char *pool = NULL;
    if ((rc = graft_timm_check_arguments(args, known, GRAFT_COUNT(known), origin, err)) < 0 ||
        (rc = graft_config_sizes(args, "layers", layers, 4, &n_layers, GRAFT_RESNET_DEPTH, origin, err)) <
            0 ||
        (rc = graft_config_sizes(args, "channels", planes, 4, &n_planes, GRAFT_RESNET_WIDTH / 4, origin,
                                 err)) < 0 ||
        (rc = graft_config_size(args, "in_chans", 3, &channels, GRAFT_MAX_CHANNELS, origin, err)) < 0 ||
        (rc = graft_json_text(args, "global_pool", "avg", &pool, origin, err)) < 0)
        return rc;
    if (strcmp(pool, "avg") != 0)
        return graft_err_set(err, GRAFT_EUNSUPPORTED, "%s: global_pool '%s' is not supported, only avg",
                             origin, pool);
    if ((n_layers && n_layers != 4) || (n_planes && n_planes != 4))
        return graft_err_set(err, GRAFT_EFORMAT, "%s: model_args names %d stages; a ResNet of timm has 4",
                             origin, n_layers && n_layers != 4 ? n_layers : n_planes);
    for (int i = 0; i < 4; i++) {
        if (n_layers) r->depth[i] = (int)layers[i];
        if (n_planes) r->inner[i] = planes[i];
        r->width[i] = r->inner[i] * (r->bottleneck ? 4 : 1);
    }
    r->channels = (int)channels;
    return 0;
}

static int read_config(graft_resnet *r, const json_t *config, const graft_tensors *tensors,
                       const char *origin, graft_err *err) {
    const char *name = graft_timm_architecture(config);
    const struct architecture *a = name ? find_architecture(name) : NULL;
    if (!a)
        return graft_err_set(err, GRAFT_EUNSUPPORTED, "%s: architecture '%s' is not supported", origin,
                             name ? name : "(none)");
    r->bottleneck = a->bottleneck;
    r->stem = 64;
    r->n_stages = 4;
    for (int i = 0; i < 4; i++) {
        r->depth[i] = a->depth[i];
        r->inner[i] = (int64_t)64 << i;
    }
    json_t *args = NULL;
    int rc = graft_timm_arguments(&args, config, origin, err);
    if (rc == 0) rc = read_arguments(r, args, origin, err);
    json_decref(args);
    /* in_chans is often left out of model_args; the stem itself knows. */
    const graft_tensor *stem = tensors ? graft_tensors_find(tensors, "conv1.weight") : NULL;
    if (rc == 0 && stem && stem->shape.rank == 4 && stem->shape.dims[1] > 0 &&
        stem->shape.dims[1] <= GRAFT_MAX_CHANNELS)
        r->channels = (int)stem->shape.dims[1];
    return rc;
}

static int configure(graft_hyper *out, graft_arena *arena, const json_t *config, const graft_tensors *tensors,
                     const char *origin, graft_err *err) {
    graft_resnet *r = graft_arena_alloc(arena, sizeof *r);
    if (!r) return graft_err_nomem(err);
    r->names = &names;
    int rc = config ? read_config(r, config, tensors, origin, err)
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
    out->crop_rule = GRAFT_CROP_ROUND;
}

/* timm begins with the last norm of each block at 0, so that every block is the identity (Goyal et al. 2017).
 */
static void initialise(const graft_param *p, const graft_hyper *h, float *out, graft_rng *r) {
    const graft_resnet *net = h->own;
    const char *last = net->bottleneck ? ".bn3.weight" : ".bn2.weight";
    size_t n = strlen(p->name), k = strlen(last);
    if (n > k && !strcmp(p->name + n - k, last))
        graft_init_constant(out, graft_init_count(&p->shape), 0);
    else
        graft_initialise_conv_net(p, h, out, r);
}

static char *describe(graft_arena *arena, const graft_hyper *h) {
    const graft_resnet *r = h->own;
    return graft_arena_printf(arena, "ResNet of %d layers (%s), timm's and torchvision's names",
                              graft_resnet_layers(r), r->bottleneck ? "bottleneck" : "basic");
}

/* ---- Writing
 * ----------------------------------------------------------------------------------------------- */

static json_t *sizes_json(const graft_resnet *r, bool depths) {
    json_t *list = json_array();
    for (int i = 0; list && i < r->n_stages; i++)
        json_array_append_new(list, json_integer(depths ? r->depth[i] : r->inner[i]));
    return list;
}

/* For a bare checkpoint: the architecture that fits, and what differs from it as arguments. */
static int name_architecture(json_t *config, const graft_resnet *r) {
    const struct architecture *best = NULL;
    bool depths_fit = false, widths_fit = true;
    for (size_t i = 0; i < GRAFT_COUNT(architectures) && !depths_fit; i++) {
        const struct architecture *a = &architectures[i];
        if (a->bottleneck != r->bottleneck) continue;
        depths_fit = true;
        for (int k = 0; k < 4; k++) depths_fit = depths_fit && a->depth[k] == r->depth[k];
        if (depths_fit || !best) best = a;
    }
    for (int k = 0; k < 4; k++) widths_fit = widths_fit && r->inner[k] == (int64_t)64 << k;
    json_t *args = json_object();
    int bad = !args || !best;
    if (!bad && !depths_fit) bad |= json_object_set_new(args, "layers", sizes_json(r, true));
    if (!bad && !widths_fit) bad |= json_object_set_new(args, "channels", sizes_json(r, false));
    if (!bad && r->channels != 3) bad |= json_object_set_new(args, "in_chans", json_integer(r->channels));
    bad |= json_object_set_new(config, "model_args", args);
    return bad | json_object_set_new(config, "architecture", json_string(best ? best->name : "resnet50"));
}

static int write_config(json_t *config, const graft_model *m, const graft_hyper *h, graft_err *err) {
    if (!graft_timm_architecture(config) && name_architecture(config, h->own)) return graft_err_nomem(err);
    return graft_timm_write(config, m, "conv1", "fc", "avg", err);
}

const graft_family graft_family_resnet_timm = {
    .name = "resnet_timm",
    .head = "fc",
    .library = "timm",
    .recognise = recognise,
    .configure = configure,
    .labels = graft_timm_labels,
    .rename = published_name,
    .layout = layout,
    .preprocess = preprocess,
    .initialise = initialise,
    .describe = describe,
    .write_config = write_config,
};
