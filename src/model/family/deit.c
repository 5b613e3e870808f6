/* DeiT (Touvron et al. 2021, "Training data-efficient image transformers & distillation through attention"):
 * a ViT with a token of distillation, of which the classes are not read. */
#include "model/family/vit.h"

static void layer_names(graft_transformer_names *n, int i) {
    graft_vit_layer_names(n, "deit", i);
}

static const graft_vit_kind kind = {.type = "deit",
                                    .conv = "deit.embeddings.patch_embeddings.projection",
                                    .embeddings = "deit.embeddings",
                                    .norm = "deit.layernorm",
                                    .positions = "position_embeddings",
                                    .distilled = true,
                                    .layer = layer_names};

static int recognise(const json_t *config, const graft_tensors *tensors) {
    return graft_vit_recognise(&kind, config, tensors);
}

static int configure(graft_hyper *out, graft_arena *arena, const json_t *config, const graft_tensors *tensors,
                     const char *origin, graft_err *err) {
    return graft_vit_configure(&kind, out, arena, config, tensors, origin, err);
}

static const char *published_name(graft_arena *arena, const char *name) {
    return graft_vit_rename(&kind, arena, name);
}

static bool is_buffer(const char *name) {
    return graft_vit_is_buffer(&kind, name);
}

static char *describe(graft_arena *arena, const graft_hyper *h) {
    return graft_vit_describe(arena, h, "DeiT", "");
}

/* DeiTImageProcessor's habit: warped to 256 x 256, of which the middle 224 x 224 are seen. */
static void preprocess(graft_preprocess *out, const graft_hyper *h) {
    enum { SEEN = 224 };
    bool usual = h->height == SEEN && h->width == SEEN;
    if (h->channels != 3) {
        graft_vit_preprocess(out, h);
        return;
    }
    graft_preprocess_imagenet(out);
    out->mode = GRAFT_RESIZE_EXACT;
    out->resample = GRAFT_RESAMPLE_BICUBIC;
    if (usual) return;
    out->height = (int)h->height;
    out->width = (int)h->width;
    out->crop_height = out->crop_width = 0;
}

static int write_config(json_t *config, const graft_model *m, const graft_hyper *h, graft_err *err) {
    return graft_vit_write(config, m, h, "DeiTForImageClassification", err);
}

const graft_family graft_family_deit = {
    .name = "deit",
    .head = "classifier",
    .library = "transformers",
    .recognise = recognise,
    .configure = configure,
    .labels = graft_config_id2label,
    .rename = published_name,
    .twins = graft_vit_twins,
    .is_buffer = is_buffer,
    .layout = graft_vit_layout,
    .preprocess = preprocess,
    .initialise = graft_vit_initialise,
    .describe = describe,
    .write_config = write_config,
};
