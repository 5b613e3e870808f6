/* The door of model/: files become a model, a model becomes a graph, a model becomes files again.
 *
 * A family lays out the nodes with the parameter names of the published files; parameters are bound to the
 * mapped file by name, nothing is copied. A value that training changed, or that had to be initialised, is
 * the model's own; everything else is written back byte for byte. The head is replaced by graft_model_head.
 *
 *     open → (head) → graph → … training … → set → save → verify */
#ifndef GRAFT_MODEL_H
#define GRAFT_MODEL_H

#include "backend/backend.h"
#include "graph/graph.h"
#include "model/preprocess.h"
#include "model/tags.h"
#include "model/text.h"
#include "model/tokenizer.h"
#include "model/vectors.h"

typedef struct graft_model graft_model;

/** What a model reads. */
typedef enum graft_modality { GRAFT_PICTURES, GRAFT_TEXTS } graft_modality;

/** What a head answers. */
typedef enum graft_task {
    GRAFT_TASK_CLASSES,    /* one class of several */
    GRAFT_TASK_MULTILABEL, /* any number of classes */
    GRAFT_TASK_REGRESSION, /* a number */
    GRAFT_TASK_TAGGING,    /* one class a word */
} graft_task;

/* ---- Opening ----------------------------------------------------------------------------------------------
 */

typedef struct graft_model_options {
    const char *family;        /* a family's name; NULL: recognised */
    const char *const *labels; /* class names in the order of the head's rows; NULL: what the files say */
    size_t n_labels;
    const char *labels_file;  /* the same, one name a line; NULL: none */
    uint64_t seed;            /* of what has to be initialised */
    const char *pooling;      /* texts: "first", "last", "mean", "max"; NULL: what the files say */
    const char *else_pooling; /* texts: where `pooling` is NULL and no file says one; NULL: the family's */
    int64_t max_length;       /* texts: tokens; 0: what the files say */
    int64_t
        stride; /* texts: tokens that windows share; 0: what the files say; negative: none, texts are cut */
    bool needs_head;   /* EDATA where a head would have to be initialised: its answers mean nothing (predict,
                          eval) */
    bool from_scratch; /* weights that are there tell the architecture alone, all is initialised */
    const char *adapter; /* folder of a peft adapter over the model at the path; NULL: none, or the path is
                            such a folder itself */
} graft_model_options;
#define GRAFT_MODEL_OPTIONS_INIT                                                                             \
    { .family = NULL }

/** Opens a folder (Transformers' or timm's), a config.json (a new model), or a bare checkpoint. Without
 * weights the model is initialised; a head that is missing or that does not fit is initialised, with a line
 * in env's log, as are tensors that the model does not use. `options` may be NULL. `env` has to outlive *out.
 *  Errors: EIO, EFORMAT, EDATA (a tensor is missing), ESHAPE (has another shape), EDTYPE, EUNSUPPORTED,
 * EUSAGE. */
int graft_model_open(graft_model **out, const graft_env *env, const char *path,
                     const graft_model_options *options, graft_err *err);
void graft_model_close(graft_model *m); /* NULL allowed */

/* ---- Looking ----------------------------------------------------------------------------------------------
 */

/** The path that was opened. */
const char *graft_model_path(const graft_model *m);
/** Family row's name: "resnet", "resnet_timm", "resnet_cifar". */
const char *graft_model_family(const graft_model *m);
/** What it is, one line: "ResNet of 50 layers (bottleneck), Transformers' names". */
const char *graft_model_description(const graft_model *m);
/** No weights came with it: all is initialised. */
bool graft_model_is_scratch(const graft_model *m);
/** The head was initialised, not read. */
bool graft_model_head_is_new(const graft_model *m);
graft_modality graft_model_modality(const graft_model *m);
/** What its head answers: as the files say, or as graft_model_set_task set it. */
graft_task graft_model_task(const graft_model *m);
/** Prepares a text model for another task; graft_model_head has to follow. EUSAGE for a model of pictures and
 * a task other than classes, EUNSUPPORTED where the family has no head for it. */
int graft_model_set_task(graft_model *m, graft_task task, graft_err *err);
/** Graphs made from now on drop what the config says (true: for training), or nothing. */
void graft_model_set_dropout(graft_model *m, bool drops);
/** What such graphs drop: `dropout` wherever the config has a share of its own, and of what the head reads
 * (negative: as the config says); `drop_path` of the residual branches of whole samples, growing evenly from
 * the first to the last, which has that share (0: none). */
void graft_model_set_drops(graft_model *m, double dropout, double drop_path);
/** How texts become input and features; only of a text model. */
const graft_text_rules *graft_model_text(const graft_model *m);
/** The tokenizer that lies beside the weights; borrowed. EDATA when there is none. */
int graft_model_tokenizer(const graft_tokenizer **out, const graft_model *m, graft_err *err);
/** The id that fills; the last of the vocabulary where the files name none. */
int64_t graft_model_pad(const graft_model *m);
/** Channels of the input picture. */
int graft_model_channels(const graft_model *m);
/** Width D of the pooled features that the head joins. */
int64_t graft_model_feature_width(const graft_model *m);
/** Class names in the order of the logits. */
const char *const *graft_model_labels(const graft_model *m, size_t *n);
/** False when no file and no option named the classes: the names are then "0", "1", … */
bool graft_model_labels_are_known(const graft_model *m);
/** Names the classes; `n` must be the head's number of rows (EUSAGE). The strings are copied. */
int graft_model_set_labels(graft_model *m, const char *const *names, size_t n, graft_err *err);

/** How pictures are made into input: the folder's own, else the family's habit. */
const graft_preprocess *graft_model_preprocess(const graft_model *m);
/** Replaces it; EUSAGE when its channels are not the model's. */
int graft_model_set_preprocess(graft_model *m, const graft_preprocess *p, graft_err *err);
/** Whether it differs from what the folder (or the family's habit) said. */
bool graft_model_preprocess_is_changed(const graft_model *m);
/** Height and width of the input after preprocessing; false when they depend on the picture. */
bool graft_model_input_size(const graft_model *m, int *height, int *width);

/* ---- Stages and parameters
 * ---------------------------------------------------------------------------------- */

/** The units that freezing speaks of, from the input to the head: "stem", "stage1" … "head". */
size_t graft_model_n_stages(const graft_model *m);
const char *graft_model_stage_name(const graft_model *m, size_t i);
/** Index of the first stage that was initialised on top of weights that were read: that of the head where
 * everything below it was read or nothing at all. */
size_t graft_model_first_new(const graft_model *m);
/** Index of a stage; -1 when there is none of that name. */
int graft_model_find_stage(const graft_model *m, const char *name);

typedef enum graft_param_kind {
    GRAFT_PARAM_WEIGHT,    /* of a convolution or a linear layer: decays */
    GRAFT_PARAM_BIAS,      /* of either */
    GRAFT_PARAM_NORM,      /* scale or shift of a norm */
    GRAFT_PARAM_STATISTIC, /* running mean or variance: no gradient */
} graft_param_kind;

typedef struct graft_param {
    const char *name; /* as in the file that is written, and as in the graph */
    graft_shape shape;
    graft_param_kind kind;
    int stage;    /* index among the stages */
    bool head;    /* belongs to the head */
    bool adapter; /* of a low-rank adapter */
    bool joins;   /* of the head, but not the classifier's own: of the layers between it and the features */
    graft_tensor tensor; /* the current value: mapped, or the model's own float32 */
} graft_param;

/** In layout order. Borrowed; until graft_model_head replaces the head's. */
size_t graft_model_n_params(const graft_model *m);
const graft_param *graft_model_param(const graft_model *m, size_t i);
/** NULL when there is none of that name. */
const graft_param *graft_model_find_param(const graft_model *m, const char *name);
/** Index in the table; -1 when there is none of that name. */
int64_t graft_model_param_index(const graft_model *m, const char *name);
/** Index of the stage of a parameter; -1 when there is no such parameter. */
int graft_model_param_stage(const graft_model *m, const char *name);

/** The classes that an adapter's folder has, without its base: names in the arena, n 0 where there are none.
 * EIO, EFORMAT. */
int graft_adapter_labels(const char *const **names, size_t *n, graft_arena *arena, const char *dir,
                         graft_err *err);

/** The value that training begins with, whatever it made of it since: that of the model's file, into which
 * adapters were merged; NULL: the file has none. */
const graft_tensor *graft_model_pretrained(const graft_model *m, const char *name);
/** Replaces a parameter's value (training's result). `count` must be its element count (ESHAPE); EUSAGE when
 * there is none of that name. Graphs made before see the new value when they are compiled after. */
int graft_model_set(graft_model *m, const char *name, const float *values, size_t count, graft_err *err);
/** Whether the value is that of the file, byte for byte, in the file's own element type; or that with
 * adapters merged into it. */
bool graft_model_is_read(const graft_model *m, const char *name);
/** Takes the file's value again; false when the file has none. */
bool graft_model_restore(graft_model *m, const char *name);
/** Counts `batches` more for the running mean `name`: its norm's num_batches_tracked, where the file has one
 * or the model is new, is that much higher when it is saved. Any other name counts nothing. */
void graft_model_count_batches(graft_model *m, const char *name, int64_t batches);
/** The current value as float32, C order. */
int graft_model_get(const graft_model *m, const char *name, float *values, size_t count, graft_err *err);

/* ---- Head -------------------------------------------------------------------------------------------------
 */

/** Name of the head's row: "linear", "crf", "mlp". */
const char *graft_model_head_name(const graft_model *m);
/** Names of the head rows, NULL-terminated. */
const char *const *graft_model_heads(void);
/** Replaces the head by one of row `head` ("linear") for n classes. Rows of classes whose name the old head
 * has too are kept; the others are initialised from `seed`. *n_kept (may be NULL) counts the kept. Names are
 * copied. Errors: EUSAGE (unknown head, no class, a name twice), ENOMEM. */
int graft_model_head(graft_model *m, const char *head, const char *const *names, size_t n, uint64_t seed,
                     size_t *n_kept, graft_err *err);

/* ---- Adapters ---------------------------------------------------------------------------------------------
 */

/** Low-rank adapters (Hu et al. 2022, "LoRA"): beside W x + b a layer gives scale B (A x). */
typedef struct graft_lora {
    int64_t r;           /* rank */
    double alpha;        /* scale is alpha / r */
    double dropout;      /* of what A reads, in training */
    bool rslora;         /* scale is alpha / sqrt(r) (Kalajdzievski 2023) */
    const char *targets; /* layers, joined by '+': query, key, value or out of attention, "attention" (all
                            four), "all-linear", "all-conv", the last parts of modules' names, or globs over
                            whole names; NULL: query+value, of models without attention all-conv */
} graft_lora;

/** Puts adapters beside the layers that `lora` names, the head's apart; A drawn from `seed` (Kaiming
 * uniform), B zero, so that the answers stay. Their parameters end the table. EUSAGE: a target names no
 * layer, numbers that are none, a model without weights, or one that has adapters. */
int graft_model_adapt(graft_model *m, const graft_lora *lora, uint64_t seed, graft_err *err);
/** What the adapters are; NULL when the model has none. `targets` is NULL where they came from a file. */
const graft_lora *graft_model_lora(const graft_model *m);
/** Number of adapted layers. */
size_t graft_model_n_adapted(const graft_model *m);
/** Adds every adapter to its layer's weight, W' = W + scale B A; the model has none any more, and answers as
 * it did. */
int graft_model_merge(graft_model *m, graft_err *err);
/** The path of the model that the adapters stand on; graft_model_path where it has none. */
const char *graft_model_base(const graft_model *m);

/* ---- Graph ------------------------------------------------------------------------------------------------
 */

/** Forward graph in inference form: input "pixel_values" [BATCH, C, height, width] F32; outputs "features"
 * [BATCH, D] (pooled) and "logits" [BATCH, K]; batch norms as graft_batch_norm over parameters named as in
 * the model's table, whose values are borrowed from the model. height or width 0: the preprocessing's. Lives
 * in `arena`. Errors: EUSAGE (no size known), ESHAPE (too small a picture). */
int graft_model_graph(graft_graph **out, graft_arena *arena, const graft_model *m, int64_t height,
                      int64_t width, graft_err *err);

/* ---- Saving -----------------------------------------------------------------------------------------------
 */

/** What a saved folder says beside the model itself; every field may be zero. */
typedef struct graft_save_info {
    const char *name;        /* for the card; NULL: the folder's name */
    const char *base_model;  /* hub name or path of the source; NULL: not named */
    const char *license;     /* NULL: the source card's */
    const char *dataset;     /* name of the data */
    const char *notes;       /* Markdown paragraphs for the card: plan, command, evidence */
    const json_t *metrics;   /* object of numbers, {"accuracy": 0.93} */
    const json_t *record;    /* object: graft.json (plan, data fingerprint, seeds, versions) */
    const graft_feed *probe; /* inputs kept for graft_model_verify; NULL: none */

    const graft_tensor *reference; /* [n_reference] of graft_reference.safetensors */
    size_t n_reference;            /* 0: none */
} graft_save_info;

/** Writes the folder: config.json, model.safetensors (of a model with adapters in its place
 * adapter_config.json and adapter_model.safetensors, with the head, as peft reads them),
 * preprocessor_config.json, README.md, graft.json, graft_probe.safetensors, graft_reference.safetensors.
 * Everything is first written beside its place, then renamed, the weights last: after a full disk the old
 * folder is whole. Other files of the folder stay. `info` may be NULL. */
int graft_model_save(const graft_model *m, const graft_env *env, const char *dir, const graft_save_info *info,
                     graft_err *err);

/* ---- Inference --------------------------------------------------------------------------------------------
 */

typedef struct graft_infer_options {
    int64_t height, width; /* 0: the preprocessing's */
    graft_precision dtype; /* taken where the processor has it */
} graft_infer_options;
#define GRAFT_INFER_OPTIONS_INIT                                                                             \
    { 0, 0, GRAFT_PRECISION_FP32 }

/** A model folded, fused and compiled, one program a batch size, weights packed once. */
typedef struct graft_infer graft_infer;

/** `m` has to outlive *out, and its head and values have to stay as they are. `options` may be NULL. */
int graft_infer_new(graft_infer **out, const graft_env *env, const graft_model *m,
                    const graft_infer_options *options, graft_err *err);
void graft_infer_free(graft_infer *f); /* NULL allowed */
/** Where to write n pictures [n, C, H, W] F32 for graft_infer_run_input; borrowed until the next call on f.
 */
int graft_infer_input(float **out, graft_infer *f, int64_t n, graft_err *err);
/** Runs what lies in graft_infer_input(f, n). *features [n, D] and *logits [n, K] (either may be NULL) are
 * borrowed until the next call on f. */
int graft_infer_run_input(graft_infer *f, int64_t n, const float **features, const float **logits,
                          graft_err *err);
/** Samples [first, first + n) of a feed, by the program that has room for `rows` of them (at least n; what is
 * missing is zero, so that the others' bits do not depend on it): *features [n, D] and *logits [n, K], of a
 * model that answers for each token [tokens of them, D] and [.., K]; either may be NULL, borrowed until the
 * next call on f. */
int graft_infer_feed(graft_infer *f, const graft_feed *feed, int64_t first, int64_t n, int64_t rows,
                     const float **features, const float **logits, graft_err *err);
/** What else the model gave in the last graft_infer_feed, as a conditional random field's "crf.transitions";
 * NULL: there is none of that name. */
const float *graft_infer_output(const graft_infer *f, const char *name);
/** The two above with copies: pixels [n, C, H, W] → features [n, D] and logits [n, K], either may be NULL. */
int graft_infer_run(graft_infer *f, const float *pixels, int64_t n, float *features, float *logits,
                    graft_err *err);
/** Bytes that the program of n samples with so many tokens (0: pictures) needs, the weights included;
 * compiles it if need be. */
int graft_infer_needs(graft_infer *f, int64_t n, int64_t tokens, graft_program_memory *out, graft_err *err);
/** Runs a feed once and writes a line a kernel, as graft_program_trace does. */
int graft_infer_trace(graft_infer *f, const graft_feed *feed, graft_buf *out, graft_err *err);

/** The probe inputs that a folder carries, for another save, in the arena. *found is false when it has none;
 * where `found` is NULL that is EDATA, as it is when they are of another model. */
int graft_model_probes(graft_feed *out, bool *found, const graft_model *m, graft_arena *arena,
                       const char *dir, graft_err *err);

/** What the replay of a folder's probe inputs gave. */
typedef struct graft_verification {
    int64_t n_inputs, n_differ; /* n_differ: inputs whose first class changed */
    double max_difference;      /* largest |logit - kept logit| */
    double max_logit;           /* largest |kept logit|, for scale */
} graft_verification;

/** Replays a folder's graft_probe.safetensors through a model. Judging the difference is the caller's.
 *  Errors: EDATA when the folder has no probes or they do not fit. */
int graft_model_replay(graft_verification *out, const graft_env *env, const graft_model *m, const char *dir,
                       graft_err *err);
/** The same through the folder's own model. */
int graft_model_verify(graft_verification *out, const graft_env *env, const char *dir, graft_err *err);

#endif
