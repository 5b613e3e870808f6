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
    X(EINTERNAL, -10, 1, "a mistake of graft's own")

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

/** Where a long piece of work stands. */
typedef struct graft_progress {
    const char *phase;   /* "checking pictures", "filling cache", "epoch 3 of 10" */
    int64_t done, total; /* in samples (or steps); total 0 when unknown */
    double seconds;      /* since the phase began */
    const char *metrics; /* "loss 0.41 accuracy 0.87", or NULL */
} graft_progress;

typedef struct graft_env_options {
    int threads;                                                      /* 0: one per processor allowed */
    void (*log)(void *user, graft_log_level level, const char *line); /* NULL: nothing */
    void (*progress)(void *user, const graft_progress *p); /* NULL: nothing; called from one thread */
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

/** A string that graft made (JSON mostly). NULL allowed. */
GRAFT_API void graft_text_free(char *text);

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
