/* Low-rank adapters inside a model: which layers can have one, what a peft folder says. Private to src/model.
 *
 *     lora_sites.c     layers of the graph, and those that a text of targets means
 *     lora.c           slots of the adapters' parameters, their graph, merging
 *     adapter_config.c adapter_config.json, read and written
 *     adapter_base.c   where the base model of such a folder lies
 *     adapter_read.c   a peft folder's tensors → head and adapters of the model
 *     adapter_save.c   the reverse */
#ifndef GRAFT_MODEL_LORA_H
#define GRAFT_MODEL_LORA_H

#include "model/model_impl.h"

/** What config.json is to a whole model: class, classes, sizes. It has a name of its own, for a folder with a
 * config.json is to Transformers a whole model, whose weights would be missing. */
#define GRAFT_ADAPTER_CONFIG "graft_config.json"

/** A layer that an adapter may stand beside. */
typedef struct graft_site {
    const char *weight, *module; /* "….query.weight", "….query" */
    graft_layer_kind kind;
    graft_shape shape; /* of the weight */
    unsigned roles;    /* GRAFT_LAYER_QUERY … */
    bool head;
} graft_site;

typedef struct graft_sites {
    graft_site *items;
    size_t n;
} graft_sites;

/** All layers of the model's graph, in its order, each weight once. In `arena`. */
int graft_sites_list(graft_sites *out, graft_arena *arena, const graft_model *m, graft_err *err);
const graft_site *graft_sites_find(const graft_sites *s, const char *weight);
/** chosen[i]: `targets` (NULL: the default) means layer i. EUSAGE when a part of it means none. */
int graft_sites_choose(bool *chosen, const graft_sites *s, const char *targets, graft_err *err);
/** Outputs O and inputs I of a layer. */
int64_t graft_site_outs(const graft_site *s);
int64_t graft_site_ins(const graft_site *s);
/** Shapes of A and B of rank r. */
graft_shape graft_site_a(const graft_site *s, int64_t r);
graft_shape graft_site_b(const graft_site *s, int64_t r);

/** Adds the adapter's two parameters, without values, and *out among m's adapted layers. */
int graft_lora_add(graft_adapted *out, graft_model *m, const graft_site *s, int64_t r, double alpha,
                   graft_err *err);
double graft_lora_scale(const graft_lora *lora, int64_t r, double alpha);
/** W += scale B A, in C order of the layer's kind: w of the site's shape, a and b of graft_site_a and _b. */
void graft_lora_merge(float *w, const graft_site *s, const float *a, const float *b, int64_t r, double scale);

/** What adapter_config.json says. Texts are borrowed from its JSON. */
typedef struct graft_adapter_config {
    const char *base; /* base_model_name_or_path; NULL: not said */
    graft_lora lora;
    bool dora;
    const json_t *alpha_pattern; /* regular expression on a module's name → alpha; NULL: none */
} graft_adapter_config;

/** EFORMAT, or EUNSUPPORTED where it is no LoRA or of a kind that cannot be computed here. */
int graft_adapter_config_read(graft_adapter_config *out, const json_t *config, const char *origin,
                              graft_err *err);
/** alpha of a module, by the first pattern that fits the end of its name, as peft chooses, or of its other
 * name (graft_twin_other). */
int graft_adapter_alpha(double *out, const graft_adapter_config *c, const char *module, const char *other,
                        const char *origin, graft_err *err);
/** The config of the model's adapters; the caller owns one reference. */
int graft_adapter_config_make(json_t **out, graft_arena *arena, const graft_model *m, graft_err *err);
/** What peft calls a parameter of the model, under its own or its other name: in the class that its folder is
 * opened as. NULL: out of memory.
 */
const char *graft_adapter_name(graft_arena *arena, const graft_model *m, const char *name);

/** The folder of the model that an adapter's file names: as it stands, beside the adapter, or in the local
 * cache of the hub. EDATA when there is none. */
int graft_adapter_base(const char **out, graft_arena *arena, const char *folder, const char *name,
                       graft_err *err);

/** Where m->path (or options->adapter) is a peft folder: reads its config, sets adapter and base. */
int graft_adapter_find(graft_model *m, const graft_model_options *o, graft_err *err);
/** Puts the folder's head and other whole tensors in the place of the base's in m->source. */
int graft_adapter_join(graft_model *m, graft_err *err);
/** Adapters of the folder become the model's; those that no graph holds (DoRA, embeddings) are merged. */
int graft_adapter_attach(graft_model *m, graft_err *err);
/** Writes adapter_config.json and adapter_model.safetensors into `dir`. */
int graft_adapter_save(const graft_model *m, const char *dir, graft_err *err);

#endif
