/* What every long-running function is handed: threads, log, progress, cancel. */
#ifndef GRAFT_BASE_ENV_H
#define GRAFT_BASE_ENV_H

#include "graft.h"

/** An env for work within work, cancelled with its parent too (which outlives it; NULL: none). Freed with
 * graft_env_free. */
int graft_env_new_within(graft_env **out, const graft_env *parent, const graft_env_options *options,
                         graft_err *err);
/** The same with the parent's threads, but without log or progress. */
int graft_env_new_silent(graft_env **out, const graft_env *parent, graft_err *err);
/** Threads to compute with, at least 1. */
int graft_env_threads(const graft_env *env);
bool graft_env_is_cancelled(const graft_env *env);
/** EINTERRUPTED when cancelled, else 0. */
int graft_env_check(const graft_env *env, graft_err *err);
void graft_env_log(const graft_env *env, graft_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void graft_env_progress(const graft_env *env, const graft_progress *p);
/** Seconds of a monotonic clock. */
double graft_now(void);

#endif
