/* The (model, plan) pairs of one advise: ranked by evidence, then by short runs. Private to transfer/advise/.
 */
#ifndef GRAFT_TRANSFER_ADVISE_CANDIDATES_H
#define GRAFT_TRANSFER_ADVISE_CANDIDATES_H

#include "transfer/advise/advise.h"
#include "transfer/advise/plan_cost.h"

/** One model with its evidence. */
typedef struct graft_judged {
    const char *path, *description;
    graft_model_evidence evidence;
    graft_cell cell;
    const char **plans; /* [n_plans] cheapest first */
    graft_plan_cost *costs;
    size_t n_plans, chosen;
    double forward;  /* multiply-adds a sample */
    double standing; /* mean standardised score among the models, -1 to 1; 0: there is one model */
} graft_judged;

typedef struct graft_candidate {
    const graft_judged *model;
    size_t plan;
    double expected, rank; /* rank: by what they are sorted */
    /* of the short runs; n_runs 0: it took part in none */
    double measured, seconds;
    int64_t n_runs, epochs;
    const char *diverged; /* NULL, or where its numbers stopped being finite */
} graft_candidate;

typedef struct graft_candidates {
    graft_env *env, *quiet; /* quiet: for what is only planned */
    graft_arena *arena;
    const char *data_path;
    const graft_fit_options *options;
    graft_judged *models;
    size_t n_models;
    graft_candidate *items; /* best first */
    size_t n_items;
    double begun, probed; /* probed: seconds of the short runs */
} graft_candidates;

/** Makes the list. Sorted by expected accuracy, to which the scores that are comparable between models add or
 * take away at most one standard error of the probe: within what it cannot tell apart they decide. rank.c */
int graft_candidates_rank(graft_candidates *c, graft_err *err);
/** Trains the best few for a while and sorts them by what they reached: successive halving (Jamieson and
 * Talwalkar 2016). It ends within about `seconds`. One that diverges is out, and the last of all; EDIVERGED
 * when all of them are. halving.c */
int graft_candidates_probe(graft_candidates *c, double seconds, graft_err *err);
/** Everything as JSON; the caller owns one reference, NULL: out of memory. advise_json.c */
json_t *graft_candidates_json(const graft_candidates *c);

#endif
