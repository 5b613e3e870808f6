/* Trials in one SQLite file. Private to transfer/. */
#ifndef GRAFT_TRANSFER_TUNE_RUNS_H
#define GRAFT_TRANSFER_TUNE_RUNS_H

#include "base/base.h"

#include <jansson.h>

typedef struct graft_runs graft_runs;

/** One trial. `number` and `rung` within `study` name it. Texts are borrowed. */
typedef struct graft_run_row {
    const char *study; /* hash of model, data and everything that all trials share */
    int64_t number, rung;
    const char *model, *data, *settings; /* JSON of what was searched */
    const char *plan;
    const char *state;                /* "done" or "failed" */
    const char *score_name, *message; /* of a failure; may be NULL */
    int64_t epochs, memory;
    double score, loss, seconds;
} graft_run_row;

/** Opens the file, made where it is not there unless `read_only`. EFORMAT: it is no such file. */
int graft_runs_open(graft_runs **out, const char *path, bool read_only, graft_err *err);
void graft_runs_close(graft_runs *r); /* NULL allowed */
/** Keeps a trial at once and durably; an older one of its name is replaced. */
int graft_runs_put(graft_runs *r, const graft_run_row *row, graft_err *err);
/** 1 and the trial with its texts in the arena, or 0: it is not there. */
int graft_runs_get(graft_run_row *out, graft_arena *arena, graft_runs *r, const char *study, int64_t number,
                   int64_t rung, graft_err *err);
/** All trials, the best of the last rungs first, as an array of objects. The caller owns one reference. */
int graft_runs_list(json_t **out, graft_runs *r, graft_err *err);

#endif
