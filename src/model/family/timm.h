/* What the families of timm have in common: config.json names an architecture, and arguments that change it.
 * Private to src/model/family. */
#ifndef GRAFT_MODEL_FAMILY_TIMM_H
#define GRAFT_MODEL_FAMILY_TIMM_H

#include "model/family.h"

/** "resnet50.a1_in1k", or NULL. */
const char *graft_timm_architecture(const json_t *config);
/** A tensor's name without what Transformers' wrapper puts before it. */
const char *graft_timm_name(const char *name);
/** model_args, an empty object where there are none; the caller owns one reference. */
int graft_timm_arguments(json_t **out, const json_t *config, const char *origin, graft_err *err);
/** EUNSUPPORTED names an argument that is none of `known`. */
int graft_timm_check_arguments(const json_t *args, const char *const *known, size_t n_known,
                               const char *origin, graft_err *err);
/** label_names, at the top or in pretrained_cfg; num_classes tells their number. */
int graft_timm_labels(graft_labels *out, graft_arena *arena, const json_t *config, const char *origin,
                      graft_err *err);
/** Completes a config that has its architecture: classes, and how pictures are prepared. */
int graft_timm_write(json_t *config, const graft_model *m, const char *first_conv, const char *classifier,
                     const char *pool, graft_err *err);

#endif
