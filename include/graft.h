/* graft adapts a pretrained model to a user's own data.
 *
 * A model folder is opened, labelled data are opened, and one call fits the one to the other: the part of the
 * model that stays frozen is run once a sample and cached, a new head and the layers chosen are trained, and
 * a folder is written that other tools load. Functions that can fail return 0 or a negative GRAFT_E code and
 * describe the failure in one line in the graft_err that the caller passes (or NULL). What comes out through
 * a pointer named `out` is the caller's to free; what a getter returns lives as long as its parent. There is
 * no global state: any number of environments may live in one process. */
#ifndef GRAFT_H
#define GRAFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define GRAFT_API __attribute__((visibility("default")))
#else
#define GRAFT_API
#endif

/* ---- Errors -------------------------------------------------------------------------------------------- */

/** Every error: name, value, the exit status of the command line, what it means. */
#define GRAFT_ERRORS(X)                                                                                      \
    X(ENOMEM, -1, 1, "out of memory")                                                                        \
    X(EIO, -2, 1, "input or output failed")                                                                  \
    X(EFORMAT, -3, 3, "a file is not what its format asks for")                                              \
    X(EDATA, -4, 3, "the data cannot be used as they are")                                                   \
    X(ESHAPE, -5, 3, "shapes do not fit together")                                                           \
    X(EDTYPE, -6, 3, "an element type that is not possible here")                                            \
    X(EUNSUPPORTED, -7, 3, "not supported")                                                                  \
    X(EUSAGE, -8, 2, "wrong usage")                                                                          \
    X(EINTERRUPTED, -9, 1, "interrupted")                                                                    \
    X(EINTERNAL, -10, 1, "a mistake of graft's own")                                                         \
    X(EDIVERGED, -11, 1, "training ran into numbers that are not finite")

#define GRAFT_ERROR_ENUM(name, value, exit_status, text) GRAFT_##name = (value),
enum graft_error_code { GRAFT_OK = 0, GRAFT_ERRORS(GRAFT_ERROR_ENUM) };
#undef GRAFT_ERROR_ENUM

/** What went wrong, in one line: what, where (file, tensor, row, byte offset) and what to do. */
typedef struct graft_err {
    int code;          /* a GRAFT_E code, or 0 */
    char message[512]; /* UTF-8, no newline */
} graft_err;

/** The exit status that belongs to an error code (0 to 3). */
GRAFT_API int graft_error_exit(int code);
/** The code's name without prefix ("EFORMAT"); a constant string. */
GRAFT_API const char *graft_error_name(int code);

/* ---- Environment --------------------------------------------------------------------------------------- */

/** Threads, log, progress and the cancel flag of a run. Constant once made, the flag apart. */
typedef struct graft_env graft_env;

typedef enum graft_log_level { GRAFT_LOG_INFO, GRAFT_LOG_WARNING } graft_log_level;

/** What an epoch that is over adds to the curves of a run. */
typedef struct graft_progress_epoch {
    int64_t epoch, n_epochs; /* from 1, over all phases */
    double loss, accuracy;   /* of the training part; NaN: not known */
    double val_loss, score;  /* of the validation part; NaN: it was not asked */
    const char *score_name;  /* "accuracy", "f1", "spearman" */
} graft_progress_epoch;

/** Where a long piece of work stands. */
typedef struct graft_progress {
    const char *phase;                 /* "checking pictures", "filling cache", "epoch 3 of 10" */
    int64_t done, total;               /* in samples (or steps); total 0 when unknown */
    double seconds;                    /* since the phase began */
    const char *metrics;               /* "loss 0.41 accuracy 0.87", or NULL */
    const graft_progress_epoch *epoch; /* NULL: none is over */
} graft_progress;

typedef struct graft_env_options {
    int threads;                                                      /* 0: one per processor allowed */
    void (*log)(void *user, graft_log_level level, const char *line); /* NULL: nothing */
    void (*progress)(void *user, const graft_progress *p);            /* NULL: nothing; one call at a time */
    void *user;
} graft_env_options;
#define GRAFT_ENV_OPTIONS_INIT                                                                               \
    { 0, NULL, NULL, NULL }

GRAFT_API int graft_env_new(graft_env **out, const graft_env_options *options, graft_err *err);
GRAFT_API void graft_env_free(graft_env *env);
/** Asks the work under way to stop after its current step. Safe in a signal handler. */
GRAFT_API void graft_env_cancel(graft_env *env);

/** The library's version, "0.1.0". */
GRAFT_API const char *graft_version(void);
/* ---- What is done with a model and data -------------------------------------------------------------------
 *
 * Each function below is one command of the program. Options are structs that zero or their initialiser fills
 * with the defaults; results are structs whose memory is freed by graft_text_free or the named function. A
 * model is named by its path (a folder of Transformers or timm, a config.json, a checkpoint), data by theirs.
 */

/** Numbers to compute with; weights stay fp32. BF16X3: all is fp32, but linear layers are sums of three
 * products of bf16, to 2^-16 of their terms. Where the processor is no faster with it, fp32 is taken. */
typedef enum graft_precision {
    GRAFT_PRECISION_FP32,
    GRAFT_PRECISION_BF16,
    GRAFT_PRECISION_BF16X3
} graft_precision;

/** How labelled data are read; shared by fit, eval, predict and embed. */
typedef struct graft_data_choice {
    const char *input_column, *label_column; /* of a table; NULL: guessed, and said */
    const char *pair_column; /* of a table: the second text of a pair; NULL: guessed with the first */
    const char *task; /* "classes", "multilabel", "regression"; NULL: classes; tagged words are tagging by
                         themselves */
    const char *group_column;  /* samples with one value stay on one side of a split */
    const char *group_pattern; /* POSIX regex on the file name; its first capture is the group */
    const char *labels_file;   /* class names in order, one a line; NULL: the model's, else the data's */
    double max_bad;            /* share of samples that may be unreadable; 0: 0.01 */
    bool strict;               /* the first unreadable sample is an error */
    double validation;         /* share made into a validation part where there is none; 0: 0.2 */
    double test;       /* share made into a test part where there is none, the same for every seed; 0: none */
    int64_t per_class; /* labelled samples of a class that training and the made validation part use, fewer a
                          subset of more; tasks without one class a sample: of all; 0: every one */
} graft_data_choice;

/** What keeps few samples from being learnt by heart, and a pretrained model from forgetting. */
typedef struct graft_regular {
    double layer_decay; /* rate of a stage as a share of the rate of the one above it, from the head's down;
                           0: 1. Times backbone_lr_scale where layers are pretrained */
    double ema;     /* decay of an exponential average of the weights, which is evaluated and kept; 0: none */
    double swa;     /* share of the epochs, the last ones, whose weights are averaged and kept; 0: none */
    double l2_sp;   /* strength of the pull of pretrained layers to their pretrained values; 0: none */
    double dropout; /* share that is dropped; 0: as the model's config says; negative: none */
    double drop_path; /* share of the last residual branch's samples that skip it, less below it; 0: none */
    double r_drop;    /* strength of the agreement of two dropouts' answers; 0: none */
    double bss;   /* strength of the penalty on the smallest singular value of a batch's features; 0: none */
    double delta; /* strength of the pull of features to those of the pretrained model; 0: none */
} graft_regular;

typedef struct graft_fit_options {
    graft_data_choice data;
    graft_regular regular;
    const char *family;  /* of a bare checkpoint; NULL: recognised */
    const char *head;    /* "linear", "mlp"; of tagged words "crf" too; NULL: linear, or the model's own */
    const char *encoder; /* of a file of word vectors: "mean", "cnn" or "lstm" reads them, "fasttext" trains
                            their mean by SGD as that program does; NULL: mean */
    const char
        *pooling; /* texts: "first", "last", "mean", "max" token states; NULL: what the model's files say */
    int64_t max_length; /* texts: tokens, longer ones are cut; 0: what the model's files say */
    int64_t stride;    /* texts: longer ones are read in windows that share so many tokens, each a sample with
                          the text's answer; validation and test join their answers; 0: what the model's files
                          say; negative: they are cut */
    const char *train; /* what is trained: "head", "top:N", "from:STAGE", "full", "surgical:STAGE",
                          "norm-only", "bias-only", "lp-ft:PLAN", "gradual:EPOCHS", patterns over names of
                          parameters ("layer4.*,!*.bias"), or a schedule of such plans with their epochs
                          ("head@3,full"), "lora:r=8..."; NULL, "auto": by evidence,
                          and said */
    int64_t epochs;    /* 0: chosen from the data's size */
    double epochs_share; /* of the epochs that were given or would be chosen; 0: all of them */
    int64_t batch;       /* 0: 32, less for few samples */
    double lr;           /* base rate; 0: the optimiser's for this plan; negative: found by a range test */
    double lr_scale;     /* rates as multiples of those that would be chosen; 0: 1 */
    double head_lr;      /* rate of the head; 0: lr */
    double backbone_lr_scale;  /* rate of trained backbone layers as a share of lr; 0: 0.1 for pretrained
                                  ones of texts, else 1 */
    double weight_decay;       /* negative: the optimiser's default; norms and biases never decay */
    const char *optimizer;     /* "sgd", "adam", "adamw"; NULL: chosen */
    const char *schedule;      /* "constant", "linear", "cosine", "one_cycle"; NULL: cosine */
    double warmup;             /* share of the updates; negative: chosen */
    double clip_norm;          /* negative: 1; 0: none */
    double label_smoothing;    /* negative: 0.1 from scratch and where pictures are foreign, else 0 */
    const char *augment;       /* "none", "light", "standard", "strong" or parts, see docs; NULL: chosen */
    const char *class_weights; /* "none", "auto"; NULL: none */
    const char *sampler;       /* "shuffle", "balanced"; NULL: shuffle */
    const char
        *norm; /* statistics of trained batch norms: "train", "frozen"; NULL: train from batches of 8 */
    int64_t early_stop; /* evaluations without improvement; 0: 10, of layers that learn anew 30; negative:
                           never */
    int64_t eval_every; /* epochs; 0: 1 */
    const char
        *loss; /* "focal": classes, tags or labels that are answered well weigh less; NULL: the task's */
    double focal_gamma;  /* its exponent; 0: 2 */
    double logit_adjust; /* strength of the training part's prior in the loss, so that rare classes need
                            larger logits; 1 aims at balanced accuracy; 0: none */

    /* What is chosen on the validation part after training, kept in graft.json for predict and eval.
     * "temperature": probabilities are of logits divided by what fits best; "fold": the head's weights are
     * divided by it; "none"; NULL: temperature. */
    const char *calibrate;
    /* "f1": from which probability on a class is said; "none"; NULL: f1 of several labels a sample. */
    const char *thresholds;

    uint64_t seed;
    uint64_t memory; /* bytes; 0: what the machine has */
    graft_precision precision;
    int64_t cache_variants;  /* augmented variants a sample in the bottleneck cache; 0: chosen; negative: no
                                cache */
    bool from_scratch;       /* the model's weights are not used, only its architecture */
    const char *tensorboard; /* folder for TensorBoard's event files, written as the run goes; NULL: none */
    const char *command; /* how the run was asked for, kept in graft.json for its reader; NULL: not told */
    bool restart;        /* an interrupted run in `out` is not taken up */
    bool merge;          /* of train "lora:...": adapters end in the weights; else OUT is an adapter over
                            `model` */
    bool dry_run;        /* plan, memory and schedule are said, nothing is trained */
} graft_fit_options;
#define GRAFT_FIT_OPTIONS_INIT                                                                               \
    { .weight_decay = -1, .warmup = -1, .clip_norm = -1, .label_smoothing = -1 }

/** Adapts `model` (a folder, a config, a checkpoint, or a file of word vectors) to labelled `data` and writes
 * the folder `out`, which is verified before it is called done. *result (may be NULL) is a JSON object: plan,
 * epochs, metrics of the best epoch, seconds, peak memory, out. A run that was interrupted or killed goes on
 * where it stopped when the same call is made again, and ends with the same bits. */
GRAFT_API int graft_fit(char **result, graft_env *env, const char *model, const char *data, const char *out,
                        const graft_fit_options *options, graft_err *err);

/** A search; zero or its initialiser is a sensible one. */
typedef struct graft_tune_options {
    graft_fit_options fit; /* what all trials share */
    const char
        *search;    /* "train=head|top:1 lr=1e-4..1e-2"; NULL: plan, rates, label smoothing, augmentation */
    int64_t trials; /* drawn at the first rung; 0: 18 */
    double seconds; /* no trial begins later, but for the last rung's first; 0: no limit */
} graft_tune_options;
#define GRAFT_TUNE_OPTIONS_INIT                                                                              \
    { .fit = GRAFT_FIT_OPTIONS_INIT }

/** Searches the settings of graft_fit by successive halving: every trial trains for a ninth of the epochs,
 * the better third for a third, the better third of those for all; judged by the validation part. Trials are
 * kept in `out`/runs.sqlite as they end, and read from there when the search is called again. The best
 * settings then are fitted into `out`. *result (may be NULL) is a JSON object: best, trained, reused, failed,
 * seconds, fit. Errors as graft_fit's; EDATA when every trial failed. */
GRAFT_API int graft_tune(char **result, graft_env *env, const char *model, const char *data, const char *out,
                         const graft_tune_options *options, graft_err *err);

/** Trials that a file of graft_tune holds, or that of a folder: {"n", "runs": [...]}, the best of each search
 * first. */
GRAFT_API int graft_runs_json(char **result, const char *path, graft_err *err);

/** What graft_compare repeats. */
typedef struct graft_compare_options {
    graft_fit_options fit; /* of every run; `seed` is the first one; train, from_scratch and data.per_class
                              come from the comparison, data.test is 0.2 unless given */
    const char *plans;     /* "scratch,head,top:1,full,lora", with "scratch" for the architecture without its
                              weights; NULL: those of these that the model has */
    const char *per_class; /* labels of a class, "5,10,20,50,all"; NULL: these. Fewer are a subset of more */
    int64_t seeds;         /* 0: 3 */
    double budget;         /* seconds after which no further run is begun; 0: as many as it takes */
    double reach;          /* the score whose labels are counted; 0: a point below the best */
    int64_t
        jobs; /* runs side by side, which share the threads; 0: as many as are quickest and fit the memory */
} graft_compare_options;
#define GRAFT_COMPARE_OPTIONS_INIT                                                                           \
    { .fit = GRAFT_FIT_OPTIONS_INIT }

/** Trains `model` on `data` by several plans, seeds and numbers of labels, out of one bottleneck cache, and
 * says what each was worth: scores with intervals over the seeds, McNemar's test against the best,
 * overfitting, learning curves over epochs, seconds and labels that are carried on with a band, and what to
 * label next. `out` (NULL: nowhere) is a folder that receives compare.json and runs.jsonl; runs that are
 * there already are not repeated, so that an interrupted comparison goes on and one of more seeds or plans
 * adds to what there is. *result is compare.json. */
GRAFT_API int graft_compare(char **result, graft_env *env, const char *model, const char *data,
                            const char *out, const graft_compare_options *options, graft_err *err);

typedef struct graft_use_options {
    graft_data_choice data;
    const char *family;  /* of a bare checkpoint; NULL: recognised */
    const char *part;    /* eval: "train", "val", "test", "all"; NULL: test, else val, else all */
    const char *pooling; /* texts: as in graft_fit_options; embed without either: mean */
    int64_t max_length;  /* texts: tokens; 0: what the model's files say */
    int64_t stride; /* texts: longer ones are read in windows that share so many tokens, whose answers (or
                       features) are averaged; a word's is that of the window with the most context; 0: what
                       the model's files say; negative: they are cut */
    int64_t batch;  /* 0: 32 */
    graft_precision precision;
    double min_confidence;       /* predict: below it the answer is no class */
    int64_t top;                 /* predict: classes told; 0: 5 at most */
    const char *const *adapters; /* folders of peft adapters over the model; predict answers once for each,
                                    eval and embed take one */
    size_t n_adapters;
    bool inputs_are_texts; /* predict, embed: inputs are texts themselves, not paths */
    bool no_cache;         /* embed, eval: do not read or fill the bottleneck cache */
    bool uncalibrated;     /* predict, eval: without the temperature and the thresholds of its graft.json */
} graft_use_options;
#define GRAFT_USE_OPTIONS_INIT                                                                               \
    { .part = NULL }

/** Metrics of a model on labelled data: a JSON object with `accuracy`, `n` and every metric at the top level.
 */
GRAFT_API int graft_eval(char **result, graft_env *env, const char *model, const char *data,
                         const graft_use_options *options, graft_err *err);

/** The answer to one word of a sentence, where the model tags words. */
typedef struct graft_tagged_word {
    const char *text; /* not ended by a NUL */
    size_t size;
    const char *label; /* NULL: the sentence was cut before it */
    double confidence;
} graft_tagged_word;

/** How models are averaged. */
typedef struct graft_blend_options {
    graft_data_choice data;
    const char *data_path; /* labelled data on whose validation part shares are chosen; NULL: none */
    const char *alpha;     /* two models: share of the second, "0.5", or several with commas between, of which
                              the data choose; NULL: 0.5, with data 0, 0.1 … 1 */
    const char *soup; /* "uniform", "greedy"; NULL: of more than two models greedy with data, else uniform */
    uint64_t seed;    /* of the data's split */
} graft_blend_options;
#define GRAFT_BLEND_OPTIONS_INIT                                                                             \
    { .data_path = NULL }

/** The average of models of one architecture, weight by weight, written into `out` and verified: from a
 * pretrained to an adapted one (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models"), or of
 * several runs ("Model soups"). The last one gives classes, preprocessing and, where the others have other
 * classes, the head. *result (may be NULL): out, folders, shares, tried, head, metrics of the parts where
 * data were given. */
GRAFT_API int graft_blend_models(char **result, graft_env *env, const char *const *folders, size_t n_folders,
                                 const char *out, const graft_blend_options *options, graft_err *err);

/** One answer. Everything is borrowed for the duration of the call. */
typedef struct graft_prediction {
    const char *input; /* path, or path and row */
    const char *label; /* NULL: abstained, not readable, or the task is none with one class */
    double confidence; /* of the likeliest class */
    size_t n_top;      /* multi-label: the classes that apply (of 0.5 and more, or its thresholds) */
    const char *const *top_labels;
    const double *top_confidences;
    const char *problem; /* why an input could not be read; NULL otherwise */
    const char *task;    /* "classes", "multilabel", "regression", "tagging" */
    double value;        /* regression */
    const char *adapter; /* whose answer it is, where graft_use_options names adapters; else NULL */
    size_t n_words;      /* tagging */
    const graft_tagged_word *words;
} graft_prediction;

/** Predicts pictures (files, folders, arrays) or texts (files with a text a line, folders, tables, or the
 * texts themselves), in input order; `each` is called once an input and may stop by a negative return, which
 * is returned. */
GRAFT_API int graft_predict(graft_env *env, const char *model, const char *const *inputs, size_t n_inputs,
                            const graft_use_options *options,
                            int (*each)(void *user, const graft_prediction *p), void *user, graft_err *err);

/** Pooled features of pictures or texts, [n, features] float32 in input order, into `out` (.npy or
 * .safetensors). *result as above: n, width, cached. */
GRAFT_API int graft_embed(char **result, graft_env *env, const char *model, const char *const *inputs,
                          size_t n_inputs, const char *out, const graft_use_options *options, graft_err *err);

typedef struct graft_advise_options {
    graft_data_choice data;
    const char *family;     /* of bare checkpoints; NULL: recognised */
    const char *boundaries; /* plans parted by commas, whose boundaries are judged; NULL: head and the three
                               stages below it */
    int64_t most;           /* samples that are judged by; 0: 1000 */
    double probe_seconds;   /* short real runs of the best candidates, about so long in all; 0: none */
    uint64_t seed;          /* of the split, as in a fit */
    graft_precision precision;
    bool no_cache; /* neither read nor fill the bottleneck cache */
} graft_advise_options;
#define GRAFT_ADVISE_OPTIONS_INIT                                                                            \
    { .family = NULL }

/** Which of `models` (n) suits labelled data of one class a sample, and what of it to train, without
 * training: one forward pass over the samples, then scores of transferability (LogME, H-score, TransRate,
 * GBC, LEEP, NCE), nearest neighbours and cross-validated linear probes at several boundaries. *result:
 * verdict, model and plan to take, `models` with their evidence and their cell of the size x similarity
 * table, and `ranking` of (model, plan) with expected accuracy, gain over the head alone, standard error,
 * seconds, memory, and the command to run. */
GRAFT_API int graft_advise(char **result, graft_env *env, const char *const *models, size_t n,
                           const char *data, const graft_advise_options *options, graft_err *err);

/** What a model is: family, stages, parameters, features, preprocessing, labels, as a JSON object. With
 * `train` also what each phase of that plan freezes, trains and keeps, which norms train, and what a step
 * costs in multiply-adds a sample of convolutions and linear layers (its memory: graft_fit with dry_run). */
GRAFT_API int graft_inspect(char **result, graft_env *env, const char *model, const char *family,
                            const char *train, graft_err *err);

/** Adapters become part of the weights: `model` is an adapter's folder (of graft or peft), or the model under
 * the folder `adapter` (NULL: none); `out` an ordinary model's. *result: out, base, layers, verified (the
 * folder had probe inputs, which answer as before) and verify_difference. */
GRAFT_API int graft_merge_adapter(char **result, graft_env *env, const char *model, const char *adapter,
                                  const char *out, graft_err *err);

/** Replays the probe inputs of a folder that graft wrote: a JSON object with the largest difference. EDATA
 * when the outputs differ. */
GRAFT_API int graft_verify(char **result, graft_env *env, const char *out, graft_err *err);

typedef struct graft_report_options {
    int64_t samples;  /* whose features are drawn and looked at, at most 2,000; 0: 800, fewer where the model
                         is  slow */
    bool no_cache;    /* the bottleneck cache is neither read nor filled */
    bool no_pictures; /* no sample is shown: neither picture nor text leaves the data */
} graft_report_options;
#define GRAFT_REPORT_OPTIONS_INIT                                                                            \
    { .samples = 0 }

/** Writes a page about a run's folder, about that of graft compare, or one that sets several runs side by
 * side: one HTML file that asks for nothing else. What it shows of samples is read from the data that
 * graft.json names, the picture of the features before training from the base model; where these are gone,
 * the page says so. `options` may be NULL. *result (may be NULL): out, runs, bytes, and missing, a list of
 * what was left out and why. Errors: EIO, EFORMAT: a folder is none that graft_fit wrote. */
GRAFT_API int graft_report(char **result, graft_env *env, const char *const *runs, size_t n_runs,
                           const char *out, const graft_report_options *options, graft_err *err);

/** A string that graft made (JSON mostly). NULL allowed. */
GRAFT_API void graft_text_free(char *text);

/* ---- Word vectors ----------------------------------------------------------------------------------------
 *
 * Files of word2vec (text, binary), GloVe and fastText (.vec, .bin, .ftz), mapped and never read whole. Words
 * are bytes, in whatever encoding the file has; in results a byte that is not UTF-8 stands as \xNN. */

/** The `top` (0: 10) words nearest by cosine to the mean direction of `words` (n_words, at least 1), these
 * left out, as gensim's most_similar has it; a word that is not in the file goes by its subwords where the
 * format has them. *result: file, format, n, width, words, and neighbours of word and score. EDATA: a word
 * has no vector. */
GRAFT_API int graft_words_similar(char **result, graft_env *env, const char *file, const char *const *words,
                                  size_t n_words, int64_t top, graft_err *err);
/** words[0] is to words[1] as words[2] is to what: the same for words[1] - words[0] + words[2]. */
GRAFT_API int graft_words_analogy(char **result, graft_env *env, const char *file, const char *const words[3],
                                  int64_t top, graft_err *err);
/** The same by products in place of sums, so that no single likeness decides (3CosMul, Levy and Goldberg
 * 2014); scores are gensim's most_similar_cosmul's. */
GRAFT_API int graft_words_analogy_product(char **result, graft_env *env, const char *file,
                                          const char *const words[3], int64_t top, graft_err *err);
/** Vectors of words: file, format, n, width, and vectors of word, known (false: by subwords) and values. */
GRAFT_API int graft_words_get(char **result, graft_env *env, const char *file, const char *const *words,
                              size_t n_words, graft_err *err);
/** Writes some of the words with their vectors to `out`: the first `first` of the file (0: all), or those of
 * `list`, a file with one a line (NULL: none). word2vec's binary format when `out` ends in .bin, else text.
 * *result: file, format, out, n, width, and missing: words without a vector, or with a blank in them. */
GRAFT_API int graft_words_trim(char **result, graft_env *env, const char *file, const char *out,
                               int64_t first, const char *list, graft_err *err);

/** Writes a text model over these vectors into the folder `out`, which graft_fit then trains (and does by
 * itself where it is given `file`): encoder "mean", "cnn" or "lstm" (NULL: mean). `data` (may be NULL): texts
 * whose words are taken wherever they stand in the file, or by their subwords; `choice` (may be NULL) says
 * how they are read. `first` words of the file are taken as well; 0: 50,000, without data all. *result: file,
 * out, encoder, n, by_subwords, data_words, data_words_known, split, lowercase. */
GRAFT_API int graft_words_model(char **result, graft_env *env, const char *file, const char *out,
                                const char *encoder, const char *data, const graft_data_choice *choice,
                                int64_t first, graft_err *err);

/** Writes into the folder `out` the text model in the folder `model` (of Transformers or
 * sentence-transformers) with the vectors of `file` in place of its embedding matrix and their words in place
 * of its tokens; words chosen by `data`, `choice` and `first` as above. A word that the model has as a token
 * keeps the model's vector; the others are mapped into its space by least squares over these. *result: file,
 * model, out, n, special, shared, from_width, width, mapped, cosine, data_words, data_words_known, split. */
GRAFT_API int graft_words_into(char **result, graft_env *env, const char *file, const char *model,
                               const char *out, const char *data, const graft_data_choice *choice,
                               int64_t first, graft_err *err);

/* ---- The bottleneck cache ------------------------------------------------------------------------------ */

/** What the bottleneck cache holds, as a JSON object: directory, bytes, limit, and entries, the last used
 * first, of key, rows, bytes, row_size, last_used (UTC) and description. */
GRAFT_API int graft_cache_list(char **result, graft_env *env, graft_err *err);
/** Empties it; *freed (may be NULL): bytes. Entries in use by another process stay. */
GRAFT_API int graft_cache_clear(graft_env *env, uint64_t *freed, graft_err *err);

#ifdef __cplusplus
}
#endif
#endif
