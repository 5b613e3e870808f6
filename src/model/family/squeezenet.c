/* SqueezeNet 1.0 and 1.1 (Iandola et al. 2016, "SqueezeNet: AlexNet-level accuracy with 50x fewer
 * parameters") by torchvision's names: features.0, then fire modules at features.N, a pooling where N leaves
 * a number out, classifier.1. Checkpoints and state dicts of torchvision are opened as they are; the folders
 * written are graft's own, with torchvision's names. */
#include "model/family.h"
#include "model/init.h"

#include <stdio.h>
#include <string.h>

enum { MOST_FIRES = 32, WIDEST = 1 << 14, LARGEST_KERNEL = 15, FIRST_FIRE = 3, NAME = 64 };

typedef struct squeezenet {
    int channels, n_fires;
    int64_t stem, kernel;
    int64_t squeeze[MOST_FIRES], ones[MOST_FIRES], threes[MOST_FIRES]; /* widths within a fire module */
    bool pools[MOST_FIRES]; /* before it; the one behind the stem is always there */
} squeezenet;

static int64_t width_of(const squeezenet *s, int fire) {
    return s->ones[fire] + s->threes[fire];
}

/* The published ones. */
static squeezenet version(int minor) {
    squeezenet s = {.channels = 3, .n_fires = 8, .stem = minor ? 64 : 96, .kernel = minor ? 3 : 7};
    for (int i = 0; i < s.n_fires; i++) {
        s.squeeze[i] = 16 * (i / 2 + 1);
        s.ones[i] = s.threes[i] = 4 * s.squeeze[i];
    }
    s.pools[minor ? 2 : 3] = s.pools[minor ? 4 : 7] = true;
    return s;
}

/* 0, 1, or -1: another one. */
static int version_of(const squeezenet *s) {
    for (int minor = 0; minor < 2; minor++) {
        const squeezenet v = version(minor);
        bool equal = s->n_fires == v.n_fires && s->stem == v.stem && s->kernel == v.kernel;
        for (int i = 0; i < v.n_fires && equal; i++)
            equal = s->squeeze[i] == v.squeeze[i] && s->ones[i] == v.ones[i] && s->threes[i] == v.threes[i] &&
                    s->pools[i] == v.pools[i];
        if (equal) return minor;
    }
    return -1;
}

/* ---- Reading ---------------------------------------------------------------------------------------------- */

static const char *published_name(graft_arena *arena, const char *name) {
    (void)arena;
    return name;
}

static const graft_tensor *conv_weight(const graft_tensors *tensors, int at, const char *part) {
    char name[NAME];
    snprintf(name, sizeof name, "features.%d%s.weight", at, part);
    const graft_tensor *t = graft_tensors_find(tensors, name);
    return t && t->shape.rank == 4 ? t : NULL;
}

static int recognise(const json_t *config, const graft_tensors *tensors) {
    if (config) {
        const char *type = json_string_value(json_object_get(config, "model_type"));
        return type && !strcmp(type, "squeezenet") ? 100 : 0;
    }
    return conv_weight(tensors, 0, "") && conv_weight(tensors, FIRST_FIRE, ".squeeze") ? 90 : 0;
}

static bool is_width(int64_t n) {
    return n >= 1 && n <= WIDEST;
}

static int measure(squeezenet *s, const graft_tensors *tensors, const char *origin, graft_err *err) {
    const graft_tensor *stem = conv_weight(tensors, 0, "");
    bool good = stem && is_width(stem->shape.dims[0]) && is_width(stem->shape.dims[1]) &&
                stem->shape.dims[2] <= LARGEST_KERNEL && stem->shape.dims[2] == stem->shape.dims[3];
    *s = (squeezenet){.channels = good ? (int)stem->shape.dims[1] : 0,
                      .stem = good ? stem->shape.dims[0] : 0,
                      .kernel = good ? stem->shape.dims[2] : 0};
    int at = FIRST_FIRE;
    for (; good && s->n_fires < MOST_FIRES; s->n_fires++, at++) {
        const int i = s->n_fires;
        s->pools[i] = i > 0 && !conv_weight(tensors, at, ".squeeze");
        if (s->pools[i]) at++;
        const graft_tensor *squeeze = conv_weight(tensors, at, ".squeeze"),
                           *ones = conv_weight(tensors, at, ".expand1x1"),
                           *threes = conv_weight(tensors, at, ".expand3x3");
        if (!squeeze) break;
        good = ones && threes && is_width(squeeze->shape.dims[0]) && is_width(ones->shape.dims[0]) &&
               is_width(threes->shape.dims[0]);
        if (!good) break;
        s->squeeze[i] = squeeze->shape.dims[0];
        s->ones[i] = ones->shape.dims[0];
        s->threes[i] = threes->shape.dims[0];
    }
    if (good && s->n_fires > 0) return 0;
    return graft_err_set(err, GRAFT_EFORMAT, "%s: its tensors do not make a SqueezeNet's fire modules",
                         origin);
}

/* One of the lists that has an entry a fire module; absent: it stays as it is. */
static int read_widths(int64_t *out, int *n_fires, const json_t *config, const char *key, const char *origin,
                       graft_err *err) {
    int64_t given[MOST_FIRES];
    int n = 0, rc = graft_config_sizes(config, key, given, MOST_FIRES, &n, WIDEST, origin, err);
    if (rc < 0 || n == 0) return rc;
    if (*n_fires == 0) *n_fires = n;
    if (n != *n_fires)
        return graft_err_set(err, GRAFT_EFORMAT, "%s: %s is of %d fire modules, the lists before it of %d",
                             origin, key, n, *n_fires);
    memcpy(out, given, (size_t)n * sizeof *out);
    return 0;
}

/* The numbers of fire modules that a pooling stands before, the first module being 2 as in the paper. */
static int read_pools(squeezenet *s, const json_t *config, const char *origin, graft_err *err) {
    int64_t fires[MOST_FIRES];
    int n = 0;
    if (!json_object_get(config, "pools_before")) return 0;
    memset(s->pools, 0, sizeof s->pools);
    if (json_array_size(json_object_get(config, "pools_before")) == 0) return 0;
    int rc = graft_config_sizes(config, "pools_before", fires, MOST_FIRES, &n, s->n_fires + 1, origin, err);
    for (int i = 0; i < n && rc == 0; i++) {
        if (fires[i] < 3)
            return graft_err_set(err, GRAFT_EFORMAT,
                                 "%s: pools_before names fire module %lld; 3 to %d are possible", origin,
                                 (long long)fires[i], s->n_fires + 1);
        s->pools[fires[i] - 2] = true;
    }
    return rc;
}

/* What a config leaves out is as in version 1.1. */
static int read_config(squeezenet *s, const json_t *config, const char *origin, graft_err *err) {
    int64_t channels = 3;
    int n_fires = 0, rc;
    *s = version(1);
    if ((rc = graft_config_size(config, "num_channels", 3, &channels, GRAFT_MAX_CHANNELS, origin, err)) < 0 ||
        (rc = graft_config_size(config, "stem_size", s->stem, &s->stem, WIDEST, origin, err)) < 0 ||
        (rc = graft_config_size(config, "stem_kernel", s->kernel, &s->kernel, LARGEST_KERNEL, origin, err)) <
            0 ||
        (rc = read_widths(s->squeeze, &n_fires, config, "squeeze_sizes", origin, err)) < 0 ||
        (rc = read_widths(s->ones, &n_fires, config, "expand1_sizes", origin, err)) < 0 ||
        (rc = read_widths(s->threes, &n_fires, config, "expand3_sizes", origin, err)) < 0)
        return rc;
    if (n_fires > 8)
        for (int i = 8; i < n_fires; i++)
            if (!s->squeeze[i] || !s->ones[i] || !s->threes[i])
                return graft_err_set(err, GRAFT_EFORMAT,
                                     "%s: more than 8 fire modules need squeeze_sizes, expand1_sizes and "
                                     "expand3_sizes",
                                     origin);
    if (n_fires) s->n_fires = n_fires;
    s->channels = (int)channels;
    return read_pools(s, config, origin, err);
}

static int configure(graft_hyper *out, graft_arena *arena, const json_t *config, const graft_tensors *tensors,
                     const char *origin, graft_err *err) {
    squeezenet *s = graft_arena_alloc(arena, sizeof *s);
    if (!s) return graft_err_nomem(err);
    int rc = config ? read_config(s, config, origin, err) : measure(s, tensors, origin, err);
    if (rc == 0) *out = (graft_hyper){s->channels, width_of(s, s->n_fires - 1), s};
    return rc;
}

static void preprocess(graft_preprocess *out, const graft_hyper *h) {
    if (h->channels == 3)
        graft_preprocess_imagenet(out);
    else
        graft_preprocess_plain(out, h->channels, 224, 224);
    out->crop_rule = GRAFT_CROP_ROUND;
}

/* ---- Layout ----------------------------------------------------------------------------------------------- */

/* Convolution with bias and ReLU. */
static graft_value conv(graft_layout *l, graft_value x, const char *module, int64_t n_in, int64_t n_out,
                        int kernel, int stride, int pad) {
    graft_value w = graft_layout_param(l, GRAFT_PARAM_WEIGHT, (graft_shape){4, {n_out, n_in, kernel, kernel}},
                                       module, "weight");
    graft_value b = graft_layout_param(l, GRAFT_PARAM_BIAS, (graft_shape){1, {n_out}}, module, "bias");
    const graft_conv_attr a = {
        .stride = {stride, stride}, .pad = {pad, pad}, .dilation = {1, 1}, .groups = 1};
    graft_graph_scope(graft_layout_graph(l), "%s", module);
    return graft_relu(graft_layout_graph(l), graft_conv2d(graft_layout_graph(l), x, w, b, GRAFT_NONE, a));
}

static graft_value pool(graft_layout *l, graft_value x) {
    const graft_pool_attr a = {.kernel = {3, 3}, .stride = {2, 2}, .ceil = 1};
    return graft_max_pool2d(graft_layout_graph(l), x, a);
}

static graft_value fire_module(graft_layout *l, graft_value x, const squeezenet *s, int i, int at,
                               int64_t n_in) {
    char module[NAME];
    snprintf(module, sizeof module, "features.%d.squeeze", at);
    x = conv(l, x, module, n_in, s->squeeze[i], 1, 1, 0);
    snprintf(module, sizeof module, "features.%d.expand1x1", at);
    graft_value ones = conv(l, x, module, s->squeeze[i], s->ones[i], 1, 1, 0);
    snprintf(module, sizeof module, "features.%d.expand3x3", at);
    graft_value threes = conv(l, x, module, s->squeeze[i], s->threes[i], 3, 1, 1);
    graft_graph_scope(graft_layout_graph(l), "features.%d", at);
    return graft_concat(graft_layout_graph(l), (graft_value[]){ones, threes}, 2, 1);
}

/* Modules that squeeze alike are a stage, named as the paper counts them: "fire2-3". */
static void begin_stage(graft_layout *l, const squeezenet *s, int first) {
    int last = first;
    while (last + 1 < s->n_fires && s->squeeze[last + 1] == s->squeeze[first]) last++;
    if (last > first)
        graft_layout_stage(l, "fire%d-%d", first + 2, last + 2);
    else
        graft_layout_stage(l, "fire%d", first + 2);
}

static graft_value layout(graft_layout *l, graft_value x, const graft_hyper *h) {
    const squeezenet *s = h->own;
    graft_layout_stage(l, "stem");
    x = pool(l, conv(l, x, "features.0", s->channels, s->stem, (int)s->kernel, 2, 0));
    int64_t n_in = s->stem;
    for (int i = 0, at = FIRST_FIRE; i < s->n_fires; i++, at++) {
        if (i == 0 || s->squeeze[i] != s->squeeze[i - 1]) begin_stage(l, s, i);
        if (s->pools[i]) {
            x = pool(l, x);
            at++;
        }
        x = fire_module(l, x, s, i, at, n_in);
        n_in = width_of(s, i);
    }
    graft_layout_keep_map(l, x);
    graft_graph_scope(graft_layout_graph(l), "pool");
    return graft_global_avg_pool(graft_layout_graph(l), x);
}

/* As torchvision begins: Kaiming uniform by what goes in, biases 0. */
static void initialise(const graft_param *p, const graft_hyper *h, float *out, graft_rng *r) {
    if (p->kind == GRAFT_PARAM_WEIGHT)
        graft_init_kaiming_uniform(out, &p->shape, GRAFT_FAN_IN, 0, r);
    else
        graft_initialise_conv_net(p, h, out, r);
}

/* ---- Writing ---------------------------------------------------------------------------------------------- */

static char *describe(graft_arena *arena, const graft_hyper *h) {
    const squeezenet *s = h->own;
    const int minor = version_of(s);
    if (minor >= 0) return graft_arena_printf(arena, "SqueezeNet 1.%d, torchvision's names", minor);
    return graft_arena_printf(arena, "SqueezeNet of %d fire modules, torchvision's names", s->n_fires);
}

static json_t *sizes_json(const int64_t *sizes, int n) {
    json_t *list = json_array();
    for (int i = 0; list && i < n; i++) json_array_append_new(list, json_integer(sizes[i]));
    return list;
}

static int write_config(json_t *config, const graft_model *m, const graft_hyper *h, graft_err *err) {
    const squeezenet *s = h->own;
    json_t *pools = json_array();
    for (int i = 0; pools && i < s->n_fires; i++)
        if (s->pools[i]) json_array_append_new(pools, json_integer(i + 2));
    int bad = json_object_set_new(config, "pools_before", pools);
    bad |= json_object_set_new(config, "squeeze_sizes", sizes_json(s->squeeze, s->n_fires));
    bad |= json_object_set_new(config, "expand1_sizes", sizes_json(s->ones, s->n_fires));
    bad |= json_object_set_new(config, "expand3_sizes", sizes_json(s->threes, s->n_fires));
    bad |= json_object_set_new(config, "stem_size", json_integer(s->stem));
    bad |= json_object_set_new(config, "stem_kernel", json_integer(s->kernel));
    bad |= json_object_set_new(config, "num_channels", json_integer(s->channels));
    bad |= json_object_set_new(config, "model_type", json_string("squeezenet"));
    bad |= json_object_set_new(config, "dtype", json_string("float32"));
    return bad ? graft_err_nomem(err) : graft_config_set_id2label(config, m, err);
}

/* A linear head stands on the pooled features: torchvision's form of it is a convolution without the ReLU. */
static void usage(graft_buf *out, const graft_model *m, const graft_hyper *h) {
    const int minor = version_of(h->own);
    size_t n = 0;
    graft_model_labels(m, &n);
    const bool is_conv = !strcmp(graft_model_head_name(m), "conv"),
               is_linear = !strcmp(graft_model_head_name(m), "linear");
    if (minor < 0 || h->channels != 3 || !(is_conv || is_linear)) {
        graft_buf_text(out,
                       "Only graft opens this folder; its tensors are named as torchvision names them.\n");
        return;
    }
    graft_buf_printf(out,
                     "    import torch, torchvision\n"
                     "    from safetensors.torch import load_file\n"
                     "    net = torchvision.models.squeezenet1_%d(num_classes=%zu)\n"
                     "    weights = load_file(\"THIS_FOLDER/model.safetensors\")\n",
                     minor, n);
    if (is_linear)
        graft_buf_text(out,
                       "    net.classifier[2] = torch.nn.Identity()  # this head has no ReLU\n"
                       "    weights[\"classifier.1.weight\"] = weights[\"classifier.1.weight\"][:, :, None, "
                       "None]\n");
    graft_buf_text(out, "    net.load_state_dict(weights)\n    net.eval()\n");
}

const graft_family graft_family_squeezenet = {
    .name = "squeezenet",
    .head = "classifier.1",
    .library = "torchvision",
    .keeps_map = true,
    .recognise = recognise,
    .configure = configure,
    .labels = graft_config_id2label,
    .rename = published_name,
    .layout = layout,
    .preprocess = preprocess,
    .initialise = initialise,
    .describe = describe,
    .usage = usage,
    .write_config = write_config,
};
