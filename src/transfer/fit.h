/* What the files of the fit driver share. Private to transfer/. */
#ifndef GRAFT_TRANSFER_FIT_H
#define GRAFT_TRANSFER_FIT_H

#include "transfer/decision.h"
#include "transfer/prefix.h"

/** What one part of the data says of the model. */
typedef struct graft_measures {
    int64_t n; /* 0: the part is empty */
    graft_answers answers;
    graft_score score;
    json_t *all; /* every metric */
} graft_measures;

/** How one phase is trained, where phases differ. */
typedef struct graft_phase_choice {
    int64_t epochs;
    double lr, warmup;
    bool head_only, augments;
    bool statistics;  /* those of batch norms train with them */
    bool use_cache;   /* rows are kept; else the prefix runs in front of each batch */
    int64_t variants; /* of cached rows; 0: none */
} graft_phase_choice;

/** What one phase was. */
typedef struct graft_phase_record {
    int64_t first_epoch, n_epochs, n_steps; /* epochs of the whole run, from 1 */
    int64_t best_epoch;                     /* of the whole run; 0: none was evaluated */
    graft_score best;
    bool stopped;                            /* early: the next phase began at its best epoch */
    int64_t norm_batches, best_norm_batches; /* that its norms saw until its end, until its best epoch */
} graft_phase_record;

/** Statistics of fewer samples at a time are noise, and the pretrained ones better. */
enum { GRAFT_LEAST_FOR_STATISTICS = 8 };

/** Where the relay lies in the folder of resume points. */
#define GRAFT_RELAY_FILE "phases.safetensors"

/** What phases hand to each other. relay.c */
typedef struct graft_relay {
    size_t next;          /* the phase to run */
    size_t best_phase;    /* of those that were run */
    graft_shelf *best;    /* values at the best epoch so far, but those that still are the file's */
    graft_shelf *moments; /* of the optimiser, as the last phase that had them left them */
    bool *touched;        /* [n_params] trained so far */
    int64_t *steps;       /* [n_params] updates so far; NULL: there is one phase */
    int64_t epochs, updates, events;
} graft_relay;

/** What is measured beside the validation and test parts. */
typedef struct graft_extras {
    bool train;      /* the training part as the kept weights answer it */
    bool unlabelled; /* answers to samples without a class */
} graft_extras;

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
    json_t *advice;   /* by what the plan was chosen; NULL: it was given, or there was no evidence */
    graft_phase *phases;
    size_t n_phases;
    graft_phase_choice *choices; /* [n_phases] */
    graft_phase_record *records; /* [n_phases] */
    graft_relay relay;
    bool head_only;      /* nothing below the head trains in any phase */
    bool settled;        /* the data: every sample was seen */
    bool looked;         /* evidence.is_foreign is known: nothing is looked at again */
    graft_hash source;   /* of the model as it was before training */
    graft_recipe recipe; /* of the phase under way */
    float *class_weights;
    float *adjust; /* [K] what the loss adds to the logits; NULL: nothing */
    graft_order order;
    graft_runlog *log;
    int lock; /* of the folder `out`; -1: none */
    graft_training training;
    json_t *rate_search;             /* of --lr find; NULL: the rate was given or chosen */
    graft_err diverged;              /* how the last phase ended too soon; code 0: it did not */
    graft_measures validation, test; /* their answers are as the model gave them */
    graft_decision decision;         /* what the scores and metrics of both go by */
    graft_extras extras;
    graft_measures train;     /* n 0: not asked for, or too much of it to be kept */
    graft_answers unlabelled; /* n 0: not asked for, or there are none */
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
/** Whether --encoder asks for training as fastText does it. averaged_fit.c */
bool graft_is_averaged(const char *encoder);
/** Where it does: what its options left open; EUSAGE for what does not go with it. */
int graft_job_averaged_defaults(graft_job *j, graft_err *err);
/** In place of phases: trains rows and head on the training part, gives them to the model and measures it. */
int graft_job_averaged(graft_job *j, graft_err *err);
/** Names of the classes for the new head: the model's own order when it has the same names, else the data's;
 * replaces the head unless it is the same. labels.c */
int graft_job_head(graft_job *j, graft_err *err);
/** Warns, where the head is a conditional random field, of training sentences whose tags break their scheme:
 * how many, and where the first does. tag_check.c */
int graft_job_check_tags(const graft_job *j, graft_err *err);
/** Whether layers learn as new ones do: those of a new model, and those that see foreign pictures. defaults.c
 */
bool graft_job_learns_anew(const graft_job *j);
/** Whether epochs of phase i are compared by their refined loss. defaults.c */
bool graft_phase_is_refined(const graft_job *j, size_t i);
/** Trains phase i: split, rows, recipe, trainer, metrics, values back into the model. phase.c */
int graft_job_phase(graft_job *j, size_t i, graft_err *err);
/** Makes what phases hand on, and takes up a run of several phases that was stopped: j->relay.next says where
 * it goes on. */
int graft_relay_open(graft_job *j, graft_err *err);
void graft_relay_close(graft_relay *r);
/** Bytes on the host beside phase i: the best so far, moments of earlier phases, its own last weights. */
size_t graft_relay_size(const graft_job *j, size_t i);
/** Updates that a parameter had so far. */
double graft_relay_steps(const graft_relay *r, const graft_model *m, const char *name);
/** The relay in the run's folder: written after a phase, and taken up where one is there and whole and this
 * run's. relay_file.c */
int graft_relay_save(const graft_job *j, graft_err *err);
int graft_relay_load(graft_job *j, graft_err *err);
/** Moments of parameters that phase i trains, into a state without programs. */
int graft_relay_moments(const graft_job *j, size_t i, graft_state *state, graft_err *err);
/** Takes over what phase i came to. `state` holds its best weights, `last` the last ones. The model then has
 * the values that the next phase begins with, or the best of all after the last one. Where to go on is kept
 * in the run's folder. */
int graft_relay_take(graft_job *j, size_t i, const graft_graph *suffix, const graft_state *state,
                     const graft_shelf *last, const graft_training *t, graft_err *err);
/** Phase i has ended without weights worth keeping: what the phases before it came to stands, as if they were
 * all. EUSAGE when there is none. */
int graft_relay_end_before(graft_job *j, size_t i, graft_err *err);
/** Index of the parameter that a state of the optimiser belongs to ("conv.weight/exp_avg"); -1: of none. */
int64_t graft_relay_owner(const graft_model *m, const char *moment);
/** Phases as JSON: plan, epochs, rates, what each came to. The caller owns one reference. */
json_t *graft_job_phases(const graft_job *j);
/** Recipe of phase i: what is the phase's own put into j->recipe. defaults.c */
void graft_job_recipe(graft_job *j, size_t i);
/** Measures the model as it is on validation and test parts, through phase i's prefix. phase.c */
int graft_job_measure(graft_job *j, size_t i, graft_err *err);
/** The folder of resume points of phase i; NULL: out of memory, or the run has no folder. */
char *graft_job_checkpoint(const graft_job *j, size_t i);
/** Everything up to the end of the last phase: opens, chooses, trains and measures. fit.c */
int graft_job_run(graft_job *j, graft_err *err);
/** Closes what a job holds but its arena. */
void graft_job_close(graft_job *j);
/** The loss that was asked for, else `usual`; EUSAGE where it does not go with the task. imbalance.c */
int graft_job_loss(graft_job *j, const char *usual, graft_err *err);
/** Prepares logit adjustment where it was asked for; EUSAGE where something else makes up for rare classes.
 */
int graft_job_adjust(graft_job *j, graft_err *err);
/** Fills it from the settled training part. */
void graft_job_prior(graft_job *j);
/** `settings` (NULL allowed) with what was asked for; NULL: out of memory. */
json_t *graft_imbalance_settings(json_t *settings, const graft_job *j);
/** EUSAGE where --lr find meets a rate that it would find. rate.c */
int graft_job_check_rate(const graft_job *j, graft_err *err);
/** Takes the rate that an interrupted run with --lr find had found. */
int graft_job_rate_load(graft_job *j, graft_err *err);
/** Looks for a rate with the first phase's suffix and batches, says it, keeps it, and uses it in all phases.
 */
int graft_job_rate_find(graft_job *j, const graft_graph *suffix, graft_batches *train, graft_err *err);
/** What decides the bits of a run, as JSON. The caller owns one reference; NULL: out of memory. finish.c */
json_t *graft_job_settings(const graft_job *j);
/** Writes the folder with its probes and replays them. finish.c */
int graft_job_finish(graft_job *j, char **result, graft_err *err);
/** What a report has to know beside the settings: adds it to the record. record.c */
int graft_job_record(const graft_job *j, json_t *record, graft_err *err);
/** A few samples of the validation part, else of the training part, as the model reads them; in the arena.
 * probes.c */
int graft_probes_make(graft_feed *out, graft_arena *arena, const graft_model *m, graft_data *data,
                      graft_err *err);
/** Holds a folder just written against its own probes: EINTERNAL when it answers otherwise. */
int graft_folder_replay(double *difference, const graft_env *env, const char *out, graft_err *err);
/** What a dry run leaves: the settings that a run would have, and its memory, as JSON. */
int graft_job_describe(const graft_job *j, char **result, graft_err *err);
/** An object as indented text into *out, the caller's to free with graft_text_free; takes `o` over (NULL: out
 * of memory). */
int graft_print_json(char **out, json_t *o, graft_err *err);
/** What options say of regularisation goes into the recipe; EUSAGE where it contradicts itself or the model.
 * regular.c */
int graft_job_regular(graft_job *j, graft_err *err);
/** Warns of those that do nothing with the plan that was settled on. */
void graft_job_regular_tell(const graft_job *j);
/** `settings` (NULL allowed) with what was asked for, and nothing more where nothing was; NULL: out of
 * memory. */
json_t *graft_regular_settings(json_t *settings, const graft_job *j);
/** The first of these options that asks for something, without its dashes; NULL: none does. */
const char *graft_regular_given(const graft_regular *o);
/** Share of the head's rate of a stage of n under layer-wise decay. */
double graft_layer_factor(double decay, size_t n_stages, int stage);
/** Identity of everything that decides phase i; n_phases: the run but for its micro-batches. */
int graft_job_identity(const graft_job *j, size_t i, graft_hash *out, graft_err *err);
/** Options of graft fit that are not left open, for a command that is told: how model and numbers are read;
 * how data are, and their parts. A blank before each. command.c */
void graft_command_reading(graft_buf *b, const graft_fit_options *o);
void graft_command_data(graft_buf *b, const graft_data_choice *c);

/** Hash of the model's structure and values into j->source. */
int graft_job_hash(graft_job *j, graft_err *err);

#endif
