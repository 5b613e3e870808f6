/* A family is one file: it reads a config (or only tensors), lays out the nodes under the published parameter
 * names, declares its stages by calls while it does so, and says how its pictures are prepared and its config
 * is written. The same layout call lists the parameters when a model is opened and builds the graph later. */
#ifndef GRAFT_MODEL_FAMILY_H
#define GRAFT_MODEL_FAMILY_H

#include "model/model.h"

/** What a family read out of a config or out of tensors. */
typedef struct graft_hyper {
    int channels;            /* of the input picture */
    int64_t feature_width;   /* D */
    const void *own;         /* the family's own struct */
    int64_t height, width;   /* pictures: of the only size that it takes; 0: any */
    int64_t vocabulary;      /* texts: rows of the embedding matrix */
    int64_t longest;         /* texts: tokens of the longest sequence */
    int64_t position_offset; /* texts: the position of the first token */
    int64_t n_types;         /* texts: token types; 0: the family has none */
    double head_dropout;     /* texts: of what the classifier of tokens reads */
    int64_t pad;             /* texts: the id that fills, -1 when there is none */
} graft_hyper;

/** The inputs of a text model, packed: T tokens of N texts, one text after the other. */
typedef struct graft_text_values {
    graft_value ids, types, positions; /* (T) I32 */
    graft_value spans;                 /* (N, 2) I32: where each text begins, and how many tokens it has */
} graft_text_values;

/** Class names that a config gives. */
typedef struct graft_labels {
    const char *const *names; /* NULL: the config does not name them */
    size_t n;                 /* 0: nor does it say how many */
} graft_labels;

/** A part of published names, and what stands for it in names that a newer version of the same library has in
 * memory: adapters go by those. Parts begin and end with whole words between dots. */
typedef struct graft_twin {
    const char *published, *other;
} graft_twin;

/* ---- Layout
 * ------------------------------------------------------------------------------------------------ */

/** Where a family builds: a graph, and the parameters met so far. */
typedef struct graft_layout graft_layout;

graft_graph *graft_layout_graph(const graft_layout *l);
/** What is laid out from here on belongs to this stage; the first call with a name makes it. */
void graft_layout_stage(graft_layout *l, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** Parameter `module`.`leaf`, or `leaf` where `module` is "". */
graft_value graft_layout_param(graft_layout *l, graft_param_kind kind, graft_shape shape, const char *module,
                               const char *leaf);
/** Square convolution without bias, `module`.weight (n_out, n_in, kernel, kernel), padding kernel / 2. */
graft_value graft_layout_conv(graft_layout *l, graft_value x, const char *module, int64_t n_in, int64_t n_out,
                              int kernel, int stride);
/** Batch norm, eps 1e-5, momentum 0.1: `module`.weight .bias .running_mean .running_var. */
graft_value graft_layout_norm(graft_layout *l, graft_value x, const char *module, int64_t n);
/** Linear layer with bias: `module`.weight (n_out, n_in) .bias. */
graft_value graft_layout_linear(graft_layout *l, graft_value x, const char *module, int64_t n_in,
                                int64_t n_out);
/** Layer norm over the last dim: `module`.weight .bias. */
graft_value graft_layout_layer_norm(graft_layout *l, graft_value x, const char *module, int64_t n,
                                    double eps);
/** Rows `ids` of `module`.weight (rows, width). */
graft_value graft_layout_embedding(graft_layout *l, graft_value ids, const char *module, int64_t rows,
                                   int64_t width);
/** x with a share of p dropped where the graph is made for training; else x. */
graft_value graft_layout_dropout(graft_layout *l, graft_value x, double p);
/** What is laid out from here on is residual block `at` (from 0) of `n`. */
void graft_layout_depth(graft_layout *l, int at, int n);
/** A residual branch of the block, which stochastic depth may drop for whole samples where the graph is made
 * for training: those of `spans` where x is of tokens, else GRAFT_NONE. */
graft_value graft_layout_branch(graft_layout *l, graft_value x, graft_value spans);
/** Keeps x (N,C,H,W), of which the pooled features are the means, for heads that read it. */
void graft_layout_keep_map(graft_layout *l, graft_value x);
/** What was kept; the graph fails where nothing was. */
graft_value graft_layout_map(graft_layout *l);
/** The share p where the graph is made for training, else 0; *seed is the input that goes with it. For ops
 * that drop by themselves. */
double graft_layout_drops(graft_layout *l, double p, graft_value *seed);

/* ---- Family row
 * -------------------------------------------------------------------------------------------- */

typedef struct graft_family {
    const char *name;
    graft_modality modality;
    const char *head;       /* module of the linear head: "fc" */
    bool keeps_map;         /* pictures: its layout calls graft_layout_keep_map */
    bool head_without_bias; /* texts: of the head for whole texts */
    const char *tag_head;   /* texts: of the head that answers for each token; NULL: there is none */
    const char *library;    /* that loads what is written: "transformers", "timm", "torchvision", "graft" */
    /** 0: not mine; 100: surely. Either of config and tensors may be NULL, not both; a config decides alone.
     */
    int (*recognise)(const json_t *config, const graft_tensors *tensors);
    /** From the config, or where it is NULL from the tensors. Tensors may be NULL when a config is given. */
    int (*configure)(graft_hyper *out, graft_arena *arena, const json_t *config, const graft_tensors *tensors,
                     const char *origin, graft_err *err);
    int (*labels)(graft_labels *out, graft_arena *arena, const json_t *config, const char *origin,
                  graft_err *err);
    /** The published name of a tensor that a file calls `name`; mostly `name` itself. NULL: out of memory. */
    const char *(*rename)(graft_arena *arena, const char *name);
    /** Parts that are called otherwise in memory, up to one without names; NULL: none. `rename` takes both.
     */
    const graft_twin *twins;
    /** Whether a tensor of this published name says nothing that the model needs: buffers of old files. NULL:
     * none does. */
    bool (*is_buffer)(const char *name);
    /** Pictures: from the picture to the pooled features (N, D). */
    graft_value (*layout)(graft_layout *l, graft_value x, const graft_hyper *h);
    void (*preprocess)(graft_preprocess *out, const graft_hyper *h);
    /** Texts: from the tokens to their hidden states (T, D). */
    graft_value (*read)(graft_layout *l, const graft_text_values *x, const graft_hyper *h);
    /** Texts: which token speaks for the text in the published classes for whole texts, and the layers
     * between it and the classifier, which belong to the head. `join` NULL: none. */
    graft_span_kind pooling;
    /** Texts: the same where the config decides, which then also keeps another choice. NULL: `pooling`. */
    graft_span_kind (*pooling_of)(const graft_hyper *h);
    /** Texts: weights may be of the first stage alone; the layers above it are then initialised, and the head
     * with them. */
    bool grows;
    graft_value (*join)(graft_layout *l, graft_value features, const graft_hyper *h);
    /** Initial value of a parameter of the backbone; out has its element count, r is its own stream. */
    void (*initialise)(const graft_param *p, const graft_hyper *h, float *out, graft_rng *r);
    char *(*describe)(graft_arena *arena, const graft_hyper *h);
    /** Pictures: how other programs open the folder, as Markdown for its card. NULL: the library's usual way.
     */
    void (*usage)(graft_buf *out, const graft_model *m, const graft_hyper *h);
    /** Completes `config`, a copy of the source's or an empty object, for the model as it is now. */
    int (*write_config)(json_t *config, const graft_model *m, const graft_hyper *h, graft_err *err);
} graft_family;

#define GRAFT_FAMILY(name) extern const graft_family graft_family_##name;
#include "model/family/list.h"
#undef GRAFT_FAMILY

/** All rows, NULL-terminated. */
const graft_family *const *graft_families(void);
/** "resnet, resnet_timm, resnet_cifar" in `out`. */
char *graft_family_names(char *out, size_t out_size);

/* ---- Head row
 * ---------------------------------------------------------------------------------------------- */

/** What a head is laid out for. */
typedef struct graft_head_place {
    const char *module;
    int64_t width, n; /* of the features; classes */
    bool without_bias;
} graft_head_place;

typedef struct graft_head {
    const char *name;
    const char *mark; /* a tensor that only a file with this head has, %s its module; NULL: none tells it */
    int mark_rank;    /* that it has then; 0: any */
    bool reads_map;   /* only of families that keep one */
    bool rows_are_classes; /* row i of every parameter is class i's, and nothing else is */
    /** From the features (N, width), or (T, width) where each token is answered for, to the logits (N, n). */
    graft_value (*layout)(graft_layout *l, graft_value features, const graft_head_place *at);
    void (*initialise)(const graft_param *p, int64_t width, float *out, graft_rng *r);
} graft_head;

#define GRAFT_HEAD(name) extern const graft_head graft_head_##name;
#include "model/head/list.h"
#undef GRAFT_HEAD

/** NULL when there is none of that name. */
const graft_head *graft_head_find(const char *name);

/* ---- Configs
 * ----------------------------------------------------------------------------------------------- */

/** The `n` positive integers of an array member, each at most `most`; *n is 0 when the key is absent. EFORMAT
 * names the key. `out` has `room`. */
int graft_config_sizes(const json_t *config, const char *key, int64_t *out, int room, int *n, int64_t most,
                       const char *origin, graft_err *err);
/** A positive integer member of at most `most`. */
int graft_config_size(const json_t *config, const char *key, int64_t absent, int64_t *out, int64_t most,
                      const char *origin, graft_err *err);
/** Transformers' id2label (keys "0" … without a gap), else num_labels. */
int graft_config_id2label(graft_labels *out, graft_arena *arena, const json_t *config, const char *origin,
                          graft_err *err);
/** Sets id2label and label2id from the model's labels and removes what would contradict them (num_labels). */
int graft_config_set_id2label(json_t *config, const graft_model *m, graft_err *err);
/** Initial values of a convolutional backbone as Transformers' and torchvision's ResNets draw them:
 * convolutions Kaiming normal by fan_out, norms at rest, biases 0. */
void graft_initialise_conv_net(const graft_param *p, const graft_hyper *h, float *out, graft_rng *r);
/** The other name that `name`, a published one, has by the twins; itself where it is the same or `twins` is
 * NULL. NULL: out of memory. */
const char *graft_twin_other(graft_arena *arena, const graft_twin *twins, const char *name);
/** The reverse. */
const char *graft_twin_published(graft_arena *arena, const graft_twin *twins, const char *name);
/** The old names of a norm's affine, gamma and beta, as weight and bias, where the module's last
 *  part begins with `norm`; other names unchanged. */
const char *graft_rename_affine(graft_arena *arena, const char *name, const char *norm);

#endif
