/* What ViT and DeiT have in common: patches, layers, names, configs. They differ in their prefix and in the
 * token of distillation. Private to src/model/family. */
#ifndef GRAFT_MODEL_FAMILY_VIT_H
#define GRAFT_MODEL_FAMILY_VIT_H

#include "model/family/transformer.h"

/** A family of this kind. */
typedef struct graft_vit_kind {
    const char *type; /* model_type, which is the prefix too: "vit" */
    bool distilled;   /* a second token stands after the first (Touvron et al. 2021) */
} graft_vit_kind;

typedef struct graft_vit {
    const graft_vit_kind *kind;
    graft_transformer t;
    int64_t channels, image[2], patch[2]; /* sides: height, width */
    double range;                         /* standard deviation of initial weights */
} graft_vit;

/** Names within layers as Transformers 5 has them in memory. */
extern const graft_twin graft_vit_twins[];

int graft_vit_recognise(const graft_vit_kind *kind, const json_t *config, const graft_tensors *tensors);
int graft_vit_configure(const graft_vit_kind *kind, graft_hyper *out, graft_arena *arena,
                        const json_t *config, const graft_tensors *tensors, const char *origin,
                        graft_err *err);
const char *graft_vit_rename(const graft_vit_kind *kind, graft_arena *arena, const char *name);
bool graft_vit_is_buffer(const graft_vit_kind *kind, const char *name);
/** Stages "embeddings", "layer0" …; the features are the first token's, after the last norm. */
graft_value graft_vit_layout(graft_layout *l, graft_value x, const graft_hyper *h);
void graft_vit_initialise(const graft_param *p, const graft_hyper *h, float *out, graft_rng *r);
/** Completes a config; `architecture` is Transformers' class. */
int graft_vit_write(json_t *config, const graft_model *m, const graft_hyper *h, const char *architecture,
                    graft_err *err);
/** The picture's own size, bilinear, grey levels to -1 ... 1. */
void graft_vit_preprocess(graft_preprocess *out, const graft_hyper *h);

#endif
