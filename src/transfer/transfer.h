/* The door of transfer/: what is frozen and when (strategies), the bottleneck cache, and the driver that fits
 * a model to data. Mechanism lies to the left (graph/plan.c derives, learn/ trains); here is policy.
 *
 *     graft_fit: open → head → strategy's phases → for each: plan → prefix program → cache → trainer → save →
 * verify */
#ifndef GRAFT_TRANSFER_H
#define GRAFT_TRANSFER_H

#include "data/data.h"
#include "learn/learn.h"
#include "model/model.h"

/* ---- Strategies
 * ----------------------------------------------------------------------------------------------- */

/** What is known before choosing: strategies are functions of it. */
typedef struct graft_evidence {
    int64_t n_train, n_classes;
    bool is_scratch;      /* the model has no pretrained weights */
    bool is_foreign;      /* its features say hardly more of the data than the pixels do; false: not asked */
    bool shapes_features; /* an option asks for it, so that the head alone is no plan */
} graft_evidence;

/** One phase: which parameters train. */
typedef struct graft_phase {
    bool *trains; /* [n_params], by index in the model's table. Running statistics: those of norms whose gain
                     trains */
    const char *plan; /* what it does, as a plan of one phase: "head", "top:1" */
    int64_t epochs;   /* as the plan says; 0: its share of those that are left */
    double share;     /* against the other phases without a number of epochs */
} graft_phase;

/** The phases of a plan while its strategy makes them. */
typedef struct graft_phases {
    graft_arena *arena;
    const graft_model *model;
    const graft_evidence *evidence;
    graft_phase *items;
    size_t n, room;
} graft_phases;

typedef struct graft_strategy {
    const char *name, *usage, *help; /* "top", "top:N", "the last N stages and the head" */
    const char *alias;               /* a shorter name; NULL: none */
    /** Adds the phases for `argument` (what follows the colon; NULL when nothing does). Statistics need no
     * mark. Arrays in p->arena; EUSAGE names what would have been possible. */
    int (*phases)(graft_phases *p, const char *argument, graft_err *err);
    /** What the model has to have before there are phases. NULL: layers as they are, so that adapters are
     * merged. */
    int (*prepare)(graft_model *m, const char *argument, uint64_t seed, graft_err *err);
    /** Is this one of several settings that its argument may have, parted by commas? NULL: it has none. */
    bool (*is_setting)(const char *text);
    bool nests; /* what follows the colon is a plan itself, which may want something of the model too */
} graft_strategy;

/** Makes a model ready for graft_strategy_phases of the same plan (NULL: one that will be chosen): adapters
 * are put beside its layers, or merged into them. It comes after the head is there. */
int graft_strategy_prepare(graft_model *m, const char *plan, uint64_t seed, graft_err *err);

/** In a list of plans parted by commas: does `part` go on with the plan before it? So do settings of an
 * argument
 * ("lora:r=8" and "rslora"), a pattern that takes away, and the phase after one that ends at an epoch
 * ("head@3" and "full"). */
bool graft_strategy_goes_on(const char *before, const char *part);

/** Phases of a plan text; NULL: chosen from the evidence. *chosen is the plan's text in the arena.
 *
 *     plan     = phases { "@" epochs "," phases } [ "@" epochs ]      head@3,top:1@5,full
 *     phases   = name [ ":" argument ]                                a row of strategy/
 *              | pattern { "," pattern }                              row "params", its name left out
 *
 * Every phase trains something (EUSAGE), and a head that nothing has trained yet is trained in some phase. */
int graft_strategy_phases(graft_phase **out, size_t *n_phases, const char **chosen, graft_arena *arena,
                          const graft_model *m, const char *plan, const graft_evidence *evidence,
                          graft_err *err);

/** Sets the `trained` marks of a graph of `m`; those of running statistics only when `train_statistics` (else
 * every batch norm keeps frozen statistics). */
int graft_mark_trained(graft_graph *g, const graft_model *m, const graft_phase *phase, bool train_statistics,
                       graft_err *err);
/** Values of a stage's parameters that train, running statistics apart. */
int64_t graft_phase_trained_in(const graft_phase *phase, const graft_model *m, size_t stage);
/** Whether nothing below the last stage trains. */
bool graft_phase_is_head_only(const graft_phase *phase, const graft_model *m);

/* ---- Bottleneck cache
 * ---------------------------------------------------------------------------------------------- */

/** Boundary values of samples, kept in a folder across runs: memory-mapped, append-only, checksummed, safe
 * for several processes and for a kill at any moment, bounded with least recently used eviction. */
typedef struct graft_cache graft_cache;

/** Key of one store: the prefix (structure and weights), preprocessing, dtype, augmentation variant. */
graft_hash graft_cache_key(graft_hash prefix, graft_hash preprocessing, graft_precision dtype,
                           int64_t variant);

/** Opens or makes the store `key` whose rows are `row_size` bytes, in $GRAFT_CACHE, else
 * $XDG_CACHE_HOME/graft, else ~/.cache/graft. `limit` bytes for the whole cache; 0: what GRAFT_CACHE_LIMIT
 * says
 * ("500M", "20G"), else a tenth of what the disk has free, 20 GB at most. A store that is damaged or has rows
 * of another size is made anew; EFORMAT when that is in use. EIO when the folder cannot be written: go on
 * without. `env` (may be NULL) outlives the cache, which is used by one thread at a time. */
int graft_cache_open(graft_cache **out, const graft_env *env, graft_hash key, size_t row_size,
                     const char *description, uint64_t limit, graft_err *err);
/** Writes what is pending; NULL allowed. */
void graft_cache_close(graft_cache *c);
/** The row of a sample's content, aligned to 64 bytes; NULL when it is not there or is damaged. Valid until
 * closed. A row that was put is always there. */
const void *graft_cache_get(graft_cache *c, graft_hash content);
/** Adds a copy of the row unless it is there. While rows are put, each is written, and so seen by other
 * processes and safe from a kill, within about a second; the last ones by flush or close. When the store
 * cannot grow (limit, full disk), this is said once as a warning to the env, and this row and all later ones
 * are kept in memory until the close: the caller need not care, and the only error is ENOMEM. */
int graft_cache_put(graft_cache *c, graft_hash content, const void *row, graft_err *err);
/** Writes what is pending, makes it durable, and takes in what other processes have added. EIO when the disk
 * fails in keeping what it had taken. */
int graft_cache_flush(graft_cache *c, graft_err *err);
/** Rows that are there (damaged ones count until they are asked for). */
int64_t graft_cache_count(const graft_cache *c);

/* ---- What a run leaves to look at
 * ------------------------------------------------------------------------------------------------- */

/** Answers of the part that a run was judged by, thinned evenly where there were very many. */
typedef struct graft_kept_answers {
    graft_answers answers; /* `samples` are indices into the data, opened as the run opened them; `words` is 1
                              where words are not answered for */
    graft_task task;
    graft_part part;
    int64_t n_all;            /* samples that the part has */
    const uint8_t *parts;     /* [n_parts] graft_part of every sample of the data, GRAFT_N_PARTS: in none */
    int64_t n_parts;          /* samples of the data */
    const uint64_t *contents; /* [n_samples, 2] low and high word of each sample's content hash */
} graft_kept_answers;

/** Writes graft_answers.safetensors into the folder `dir`; at most 20,000 samples and 16 MB of logits. */
int graft_answers_keep(const char *dir, const graft_answers *a, graft_task task, const graft_data *data,
                       graft_part part, graft_err *err);
/** Removes those of an older run from a folder that is written over. */
void graft_answers_forget(const char *dir);
/** Reads it; everything lives in the arena. EIO: the folder has none; EFORMAT: it is damaged. */
int graft_answers_open(graft_kept_answers *out, graft_arena *arena, const char *dir, graft_err *err);

/** Warns where this processor does without the precision that is asked for. use_common.c */
void graft_precision_tell(const graft_env *env, graft_precision asked);

/** A task by the name that options have for it; NULL: classes. EUSAGE when there is none of that name. */
const char *graft_task_name(graft_task task);
int graft_task_find(graft_task *out, const char *name, graft_err *err);

/** Opens data as a choice says. `class_names` fixes the classes (NULL: from the data). */
int graft_data_open_choice(graft_data **out, const graft_env *env, const char *path,
                           const graft_data_choice *choice, graft_modality modality, graft_label_use labels,
                           const char *const *class_names, size_t n_class_names, uint64_t seed,
                           graft_err *err);

/** Where the model was opened with a stride: cuts longer texts of the data, just opened, into windows. */
int graft_data_cut(graft_data *d, const graft_model *m, graft_err *err);

/** Pooled features of samples [n], without repeats, as `m` makes them: *rows [n, *width], freed with free();
 * a sample that cannot be read has NaN. The bottleneck cache is used and filled unless `no_cache`; no other
 * sample is read. EUSAGE: the model answers for each word. */
int graft_rows_of(float **rows, int64_t *width, const graft_env *env, const graft_model *m, graft_data *data,
                  const int64_t *samples, int64_t n, bool no_cache, graft_err *err);
/** Multiply-adds of a sample, about (a text counts as 64 tokens); 0 when it cannot be told. */
double graft_rows_cost(const graft_model *m);

#endif
