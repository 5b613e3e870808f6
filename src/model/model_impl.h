/* What a model is inside; private to src/model. */
#ifndef GRAFT_MODEL_IMPL_H
#define GRAFT_MODEL_IMPL_H

#include "model/family.h"
#include "model/init.h"

/** A parameter and, where its value is not the file's, the model's own copy. */
typedef struct graft_param_slot {
    graft_param param;
    float *own;        /* in the model's arena; NULL: param.tensor is mapped or has no data yet */
    graft_tensor read; /* the value that training began with, where `own` took its place: the file's, with
                          adapters merged into it */
    bool merged;       /* adapters were merged into its value, which is none of the file */
    int64_t batches;   /* of a running mean: seen since the model was opened */
} graft_param_slot;

/** A layer with a low-rank adapter. */
typedef struct graft_adapted {
    const char *weight, *a, *b; /* names of parameters */
    int64_t r;
    double alpha, scale;
} graft_adapted;

/** A peft folder that was found, until its tensors are the model's. */
typedef struct graft_adapter_files graft_adapter_files;

struct graft_model {
    const graft_env *env;
    graft_arena *arena;
    const char *path;      /* as opened */
    const char *base;      /* where the weights are looked for: path, or what an adapter stands on */
    const char *base_name; /* as an adapter's file names it; NULL: none was opened */
    const char *adapter;   /* its folder */
    graft_adapter_files *adapter_files;
    graft_lora lora; /* of the adapted layers */
    graft_adapted *adapted;
    size_t n_adapted;
    const char *folder;      /* where its side files lie; NULL for a bare checkpoint */
    const char *modules;     /* where modules.json and the folders that it names lie: `folder`, or above it */
    const char *config_path; /* for messages; NULL without a config */
    const char *weights_path;
    const char *weights_folder; /* that is opened whole; NULL: weights_path alone */
    json_t *config;             /* NULL without one */
    json_t *preprocess_source;
    graft_preprocess preprocess; /* pictures */
    bool preprocess_changed;
    graft_text_rules text; /* texts */
    graft_tokenizer *tokenizer;
    graft_task task;
    int first_new; /* stage from which on a backbone was initialised though it has weights; 0: none */
    const char *dense_folders[2]; /* modules of a sentence-transformers folder that are the head */
    size_t n_dense;
    bool repooled;             /* the caller wants other features than the file's head was trained on */
    bool drops;                /* graphs are made for training, with dropout */
    bool has_dropout;          /* `dropout` holds in place of the config's */
    double dropout, drop_path; /* the share that is dropped; of the last residual branch */
    const char *description;
    const graft_family *family;
    const graft_head *head;
    graft_hyper hyper;
    graft_tensors source;    /* of the file; n_items 0 without weights */
    const char **published;  /* per source tensor: its name in this family */
    graft_map *source_index; /* published name -> source tensor */
    bool is_scratch, head_is_new, labels_known;
    const char *const *labels;
    size_t n_labels;
    const char **stages;
    size_t n_stages, stages_room;
    graft_param_slot **slots;
    size_t n_slots, slots_room;
    graft_map *index; /* parameter name -> slot */
    /* Not parameters, but kept and written back: counters of batch norms. */
    graft_tensor *extras;
    size_t n_extras;
};

/* text.c */
/** Where the model itself lies: m->folder, or the folder within it that an old modules.json names, which
 * m->folder is from then on. */
int graft_model_find_transformer(graft_model *m, graft_err *err);
/** How texts become features, by modules.json and its like, else by the family; the tokenizer where there is
 * one. */
int graft_model_read_text(graft_model *m, const graft_model_options *o, graft_err *err);
/** Adds the head that a sentence-transformers folder keeps in a module of its own to the source. */
int graft_model_read_dense(graft_model *m, graft_err *err);

/* model_layout.c */
/** Fills stages and slots (without values); the head has n_labels rows. Slots of the backbone are reused when
 * it is called again for another head. */
int graft_model_list(graft_model *m, graft_err *err);

/** A size of pictures that will do where any does: no parameter's shape depends on it. */
void graft_model_some_size(const graft_model *m, int64_t *height, int64_t *width);

/** The graph without the adapters; as graft_model_graph. */
int graft_model_plain_graph(graft_graph **out, graft_arena *arena, const graft_model *m, int64_t height,
                            int64_t width, graft_err *err);

/* lora.c */
/** Replaces *g by one with the model's adapters, where it has any. */
int graft_model_add_adapters(graft_graph **g, graft_arena *arena, const graft_model *m, graft_err *err);

/* weights.c */
/** Binds the slots to m->source, and decides which tensors are unused. *head_fits is false, and the head's
 * slots are left without a value, when the head is missing or has another shape. */
int graft_model_bind(graft_model *m, bool *head_fits, graft_err *err);
/** Published names of the source's tensors. */
int graft_model_publish(graft_model *m, graft_err *err);
/** Module of the classifier. */
const char *graft_model_head_module(const graft_model *m);
/** Decides which row the file's head is of. */
void graft_model_find_head(graft_model *m);
/** Whether what rides along, a tensor of m->extras, is written back with the class that the model is now. */
bool graft_model_keeps(const graft_model *m, const char *extra);
/** The source's tensor of a published name, or NULL. */
const graft_tensor *graft_model_source(const graft_model *m, const char *published);
/** Makes (or finds) the model's own copy of a slot's value, for writing. NULL: out of memory. */
float *graft_slot_own(const graft_model *m, graft_param_slot *s);
/** As graft_model_set; from here on the value is what training begins with, as if it had been read. */
int graft_model_begin_at(graft_model *m, const char *name, const float *values, size_t count, graft_err *err);
/** Initialises the slots without a value. */
int graft_model_initialise(graft_model *m, uint64_t seed, graft_err *err);

/* model_labels.c */
/** Decides how many classes there are and what they are called, from options, config and the head in the
 * file. */
int graft_model_decide_labels(graft_model *m, const graft_model_options *o, graft_err *err);
/** EDATA when a name is not UTF-8, which a config could not hold. */
int graft_check_labels(const char *const *names, size_t n, graft_err *err);

/* probe.c */
/** The model's answers to a feed: [n_rows, n_labels], in the arena. */
int graft_probe_run(float **logits, size_t *n_rows, const graft_model *m, const graft_env *env,
                    const graft_feed *feed, graft_arena *arena, graft_err *err);
int graft_probe_write(const char *path, const graft_model *m, const graft_env *env, const graft_feed *feed,
                      graft_arena *scratch, graft_err *err);
/** EDATA when the file is no probe of this model. */
int graft_probe_read(graft_feed *out, const float **logits, const graft_model *m, graft_arena *arena,
                     const char *path, graft_err *err);

/* save_text.c */
/** The files of a sentence-transformers folder that are not Transformers': modules.json, pooling, the head.
 */
int graft_save_modules(const graft_model *m, const char *dir, graft_err *err);

/* model_card.c */
/** README.md's text. */
int graft_model_card(graft_buf *out, const graft_model *m, const graft_save_info *info, const char *dir,
                     graft_err *err);

#endif
