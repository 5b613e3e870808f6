/* ViT as Transformers publishes it (Dosovitskiy et al. 2021): google/vit-base-patch16-224 and its like. */
#include "model/family/vit.h"

static void layer_names(graft_transformer_names *n, int i) {
    graft_vit_layer_names(n, "vit", i);
}

static const graft_vit_kind kind = {.type = "vit",
                                    .conv = "vit.embeddings.patch_embeddings.projection",
                                    .embeddings = "vit.embeddings",
                                    .norm = "vit.layernorm",
                                    .positions = "position_embeddings",
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
    return graft_vit_describe(arena, h, "ViT", "");
}

static int write_config(json_t *config, const graft_model *m, const graft_hyper *h, graft_err *err) {
    return graft_vit_write(config, m, h, "ViTForImageClassification", err);
}

const graft_family graft_family_vit = {
    .name = "vit",
    .head = "classifier",
    .library = "transformers",
    .recognise = recognise,
    .configure = configure,
    .labels = graft_config_id2label,
    .rename = published_name,
    .twins = graft_vit_twins,
    .is_buffer = is_buffer,
    .layout = graft_vit_layout,
    .preprocess = graft_vit_preprocess,
    .initialise = graft_vit_initialise,
    .describe = describe,
    .write_config = write_config,
};
