/* What is told of one run: read from its folder, and, as far as they are still there, from the data and the
 * base model that graft.json names. Private to report/. */
#ifndef GRAFT_REPORT_STORY_H
#define GRAFT_REPORT_STORY_H

#include "report/maths.h"
#include "transfer/transfer.h"

/** One epoch, with the seconds that it took itself (with those left out before it); what was not measured is
 * NaN. */
typedef struct graft_moment {
    double epoch, seconds, lr, loss, accuracy, val_loss, val_score;
} graft_moment;

/** What was left out of the page, and why. */
typedef struct graft_gap {
    const char *what, *why;
} graft_gap;

enum { GRAFT_MOST_GAPS = 8 };

/** Share of labels above which doubts say more of who doubts than of the labels; none is told then. */
#define GRAFT_MOST_DOUBTED 0.1

/** A kept answer to one sample, of whichever task. */
typedef struct graft_verdict {
    int64_t sample;           /* of the data */
    int32_t label, predicted; /* classes; -1: none */
    double confidence;        /* of the predicted class; regression: the number predicted */
    double badness;           /* the higher the more wrong: -log p(label), error, wrong words */
    double doubt;             /* the higher the less sure: 1 - (p1 - p2) */
    bool right;
} graft_verdict;

/** Which samples are shown, as indices into the verdicts: the most wrong, the least sure, and others that
 * stand for a cell of the confusion matrix. None where the data are gone, or are not to be shown. */
typedef struct graft_picks {
    int64_t *wrong, *unsure, *cells;
    int64_t n_wrong, n_unsure, n_cells;
} graft_picks;

typedef struct graft_story {
    graft_arena *arena;
    const graft_env *env; /* says nothing */
    const char *folder, *name;
    graft_report_options options;
    json_t *record; /* graft.json */
    graft_task task;
    const char *score_name;
    graft_model *model; /* NULL: its base is gone */
    const char *const *labels;
    size_t n_labels;
    graft_moment *moments; /* [n_moments] of the epochs, of very many every so many-th */
    size_t n_moments, n_epochs;
    const json_t *metrics; /* of the part that the run is judged by; NULL: none */
    const char *part;
    graft_kept_answers kept; /* n_samples 0: none */
    double *cuts;            /* [n_labels] of classes and multi-label, as graft_answers has them */
    graft_verdict *verdicts; /* [kept.answers.n_samples] */
    graft_data *data;        /* NULL: gone */
    graft_picks picks;
    /* features of some of the kept samples, [n_drawn, width]; NULL: none */
    int64_t *drawn; /* [n_drawn] indices into the verdicts */
    int64_t n_drawn, width_before, width;
    float *before, *after;
    /* training samples whose label their neighbours doubt; `row` is a sample of the data */
    graft_suspect *doubted;
    int64_t n_doubted, n_looked_at;
    graft_gap gaps[GRAFT_MOST_GAPS];
    size_t n_gaps;
} graft_story;

/** Reads the folder. Errors: EIO, EFORMAT: it is none that graft_fit wrote; ENOMEM. */
int graft_story_open(graft_story *s, const graft_env *env, const char *folder, const graft_report_options *o,
                     graft_err *err);
/** The epochs of run.jsonl, else of graft.json. Errors: ENOMEM. epochs.c */
int graft_story_epochs(graft_story *s, graft_err *err);
/** Opens the data and runs the models for features; what cannot be had becomes a gap. Errors: ENOMEM,
 * EINTERRUPTED. look.c */
int graft_story_look(graft_story *s, graft_err *err);
void graft_story_close(graft_story *s);

/** Notes that something is left out; both texts are copied. */
void graft_story_miss(graft_story *s, const char *what, const char *why);
/** Members of graft.json, or of an object in it; "" and NaN when they are not there. */
const char *graft_story_text(const json_t *o, const char *key);
double graft_story_number(const json_t *o, const char *key);
/** "validation" for val, else the part's own name. */
const char *graft_story_part(graft_part part);
/** The model's name for a class; "–" when there is none. */
const char *graft_story_label(const graft_story *s, int32_t label);
/** Softmax of one row of logits. */
void graft_story_shares(double *out, const float *logits, int64_t k);
/** The score and its 95 % interval; NaN where it cannot be told. interval.c */
double graft_story_score(const graft_story *s, double *low, double *high);

#endif
