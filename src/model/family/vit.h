/* What the ViTs have in common: patches, layers, configs. They differ in names and in DeiT's token of
 * distillation. Private to src/model/family. */
#ifndef GRAFT_MODEL_FAMILY_VIT_H
#define GRAFT_MODEL_FAMILY_VIT_H

#include "model/family/transformer.h"

/** A family of this kind. */
typedef struct graft_vit_kind {
    const char *type;       /* Transformers' model_type, which is the prefix too: "vit"; "" for timm */
    const char *conv;       /* modules: of the patches, */
    const char *embeddings; /* of the tokens and positions ("": none), */
    const char *norm;       /* and the last norm */
    const char *positions;  /* their leaf */
    void (*layer)(graft_transformer_names *n, int i);
    bool distilled; /* a second token stands after the first (Touvron et al. 2021) */
} graft_vit_kind;

typedef struct graft_vit {
    const graft_vit_kind *kind;
    graft_transformer t;
    int64_t channels, image[2], patch[2]; /* sides: height, width */
    double range;                         /* standard deviation of initial weights */
} graft_vit;

/** Names within layers as Transformers 5 has them in memory. */
extern const graft_twin graft_vit_twins[];

/** EFORMAT, EUNSUPPORTED: patches that do not fit, heads that do not divide. */
int graft_vit_check(const graft_vit *v, const char *origin, graft_err *err);
/** What the rest of the model asks of it. */
graft_hyper graft_vit_hyper(const graft_vit *v);
/** Without a config: sizes by the tensors' shapes. EDATA. */
int graft_vit_measure(graft_vit *v, const graft_tensors *tensors, const char *origin, graft_err *err);
/** An integer for height and width, or a list of the two. */
int graft_vit_read_sides(int64_t *sides, const json_t *config, const char *key, int64_t absent,
                         const char *origin, graft_err *err);
json_t *graft_vit_sides_json(const int64_t *sides);

/* Of Transformers' two. */
/** Modules of layer i under a prefix. */
void graft_vit_layer_names(graft_transformer_names *n, const char *type, int i);
int graft_vit_recognise(const graft_vit_kind *kind, const json_t *config, const graft_tensors *tensors);
int graft_vit_configure(const graft_vit_kind *kind, graft_hyper *out, graft_arena *arena,
                        const json_t *config, const graft_tensors *tensors, const char *origin,
                        graft_err *err);
const char *graft_vit_rename(const graft_vit_kind *kind, graft_arena *arena, const char *name);
bool graft_vit_is_buffer(const graft_vit_kind *kind, const char *name);

/** Stages "embeddings", "layer0" …; the features are the first token's, after the last norm. */
graft_value graft_vit_layout(graft_layout *l, graft_value x, const graft_hyper *h);
void graft_vit_initialise(const graft_param *p, const graft_hyper *h, float *out, graft_rng *r);
/** "ViT of 12 layers, ...": `what` it is, and what is to be said `more`. */
char *graft_vit_describe(graft_arena *arena, const graft_hyper *h, const char *what, const char *more);
/** Completes a config; `architecture` is Transformers' class. */
int graft_vit_write(json_t *config, const graft_model *m, const graft_hyper *h, const char *architecture,
                    graft_err *err);
/** The picture's own size, bilinear, grey levels to -1 ... 1. */
void graft_vit_preprocess(graft_preprocess *out, const graft_hyper *h);

#endif
