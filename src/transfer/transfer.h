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
    bool is_scratch; /* the model has no pretrained weights */
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
} graft_strategy;

/** Makes a model ready for graft_strategy_phases of the same plan (NULL: one that will be chosen): adapters
 * are put beside its layers, or merged into them. It comes after the head is there. */
int graft_strategy_prepare(graft_model *m, const char *plan, uint64_t seed, graft_err *err);

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
graft_hash graft_cache_key(graft_hash prefix, graft_hash preprocessing, graft_dtype dtype, int64_t variant);

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

#endif
