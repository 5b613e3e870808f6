/* What the files of the fit driver share. Private to transfer/. */
#ifndef GRAFT_TRANSFER_FIT_H
#define GRAFT_TRANSFER_FIT_H

#include "transfer/prefix.h"

/** What one part of the data says of the model. */
typedef struct graft_measures {
    int64_t n; /* 0: the part is empty */
    graft_answers answers;
    graft_score score;
    json_t *all; /* every metric */
} graft_measures;

/** One fit from start to end. */
typedef struct graft_job {
    graft_env *env;
    const char *model_path, *data_path;
    const char *out;            /* NULL: a run that leaves no folder */
    const char *vectors_folder; /* of the model made of a file of word vectors; NULL: there is none */
    bool made_out;              /* the folder was made for it */
    graft_fit_options options;  /* as given; what was left open is in `recipe`, `augment`, `plan` */
    graft_arena *arena;
    graft_model *model;
    graft_data *data;
    graft_transform transform; /* with the training's augmentation */
    graft_evidence evidence;
    const char *plan; /* text of the plan */
    graft_phase *phases;
    size_t n_phases;
    bool train_statistics;
    int64_t variants; /* of cached rows; 0: none */
    bool use_cache;   /* rows are kept; else the prefix runs in front of each batch */
    graft_recipe recipe;
    float *class_weights;
    graft_order order;
    graft_runlog *log;
    int lock; /* of the folder `out`; -1: none */
    graft_training training;
    graft_measures validation, test;
    size_t peak_memory;
    double begun;
} graft_job;

/** Fills in what the options left open, from the model and the data, and says what was chosen. defaults.c */
int graft_job_defaults(graft_job *j, graft_err *err);
/** Where `model` is a file of word vectors: opens and checks the data, and makes a model's folder of the file
 * and their words, which is opened in its place. words_model.c */
int graft_job_vectors(graft_job *j, graft_err *err);
/** Removes that folder, once the model is closed. */
void graft_job_vectors_done(const graft_job *j);
/** Names of the classes for the new head: the model's own order when it has the same names, else the data's;
 * replaces the head unless it is the same. labels.c */
int graft_job_head(graft_job *j, graft_err *err);
/** Trains phase i: split, rows, recipe, trainer, metrics, values back into the model. phase.c */
int graft_job_phase(graft_job *j, size_t i, graft_err *err);
/** Everything up to the end of the last phase: opens, chooses, trains and measures. fit.c */
int graft_job_run(graft_job *j, graft_err *err);
/** Closes what a job holds but its arena. */
void graft_job_close(graft_job *j);
/** What decides the bits of a run, as JSON. The caller owns one reference; NULL: out of memory. finish.c */
json_t *graft_job_settings(const graft_job *j);
/** Writes the folder with its probes and replays them. finish.c */
int graft_job_finish(graft_job *j, char **result, graft_err *err);
/** What a dry run leaves: the settings that a run would have, and its memory, as JSON. */
int graft_job_describe(const graft_job *j, char **result, graft_err *err);
/** An object as indented text into *out, the caller's to free with graft_text_free; takes `o` over (NULL: out
 * of memory). */
int graft_print_json(char **out, json_t *o, graft_err *err);
/** Identity of everything that decides the run. */
int graft_job_identity(const graft_job *j, graft_hash *out, graft_err *err);

/** A task by the name that options have for it; NULL: classes. EUSAGE when there is none of that name. */
const char *graft_task_name(graft_task task);
int graft_task_find(graft_task *out, const char *name, graft_err *err);

/** Opens data as a choice says. `class_names` fixes the classes (NULL: from the data). */
int graft_data_open_choice(graft_data **out, const graft_env *env, const char *path,
                           const graft_data_choice *choice, graft_modality modality, graft_label_use labels,
                           const char *const *class_names, size_t n_class_names, uint64_t seed,
                           graft_err *err);

#endif
