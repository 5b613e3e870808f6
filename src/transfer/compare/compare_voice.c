/* What the runs of a comparison say. Dozens of runs would say the same dozens of times: their notes are left
 * out, and a warning is told once. Of runs side by side the one that has run the longest shows its progress.
 */
#include "transfer/compare/compare.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct graft_voice {
    graft_voices *all;
    graft_env *env;
    graft_voice *other; /* made before this one */
    graft_voice *next;  /* of those under way, begun after this one */
    bool tells;
    char what[96];
};

struct graft_voices {
    graft_env *outer;
    pthread_mutex_t *guard; /* who asked for the runs hears one thread at a time */
    graft_arena *arena;
    graft_map *told;
    graft_voice *made;
    graft_voice *running; /* the one that has run the longest */
};

static void voice_log(void *user, graft_log_level level, const char *line) {
    graft_voice *v = user;
    graft_voices *all = v->all;
    if (level != GRAFT_LOG_WARNING) return;
    pthread_mutex_lock(all->guard);
    if (v->tells && graft_map_get_str(all->told, line) < 0 && graft_map_put_str(all->told, line, 1) == 0)
        graft_env_log(all->outer, level, "%s", line);
    pthread_mutex_unlock(all->guard);
}

static void voice_progress(void *user, const graft_progress *p) {
    graft_voice *v = user;
    graft_voices *all = v->all;
    char phase[192];
    graft_progress named = *p;
    snprintf(phase, sizeof phase, "%s: %s", v->what, p->phase);
    named.phase = phase;
    named.epoch = NULL; /* the curves of many runs would be drawn as one */
    pthread_mutex_lock(all->guard);
    if (all->running == v) graft_env_progress(all->outer, &named);
    pthread_mutex_unlock(all->guard);
}

int graft_voices_new(graft_voices **out, graft_env *env, pthread_mutex_t *guard, graft_err *err) {
    graft_arena *arena = graft_arena_new(NULL);
    graft_voices *all = arena ? graft_arena_alloc(arena, sizeof *all) : NULL;
    if (all)
        *all = (graft_voices){.outer = env, .guard = guard, .arena = arena, .told = graft_map_new(arena)};
    if (!all || !all->told) {
        graft_arena_free(arena);
        return graft_err_nomem(err);
    }
    *out = all;
    return 0;
}

void graft_voices_free(graft_voices *all) {
    if (all) graft_arena_free(all->arena);
}

static void free_env(void *env) {
    graft_env_free(env);
}

int graft_voice_new(graft_voice **out, graft_voices *all, int threads, graft_err *err) {
    graft_voice *v = graft_arena_alloc(all->arena, sizeof *v);
    if (!v) return graft_err_nomem(err);
    const graft_env_options o = {threads, voice_log, voice_progress, v};
    *v = (graft_voice){.all = all, .other = all->made};
    int rc = graft_env_new_within(&v->env, all->outer, &o, err);
    if (rc == 0 && graft_arena_defer(all->arena, free_env, v->env) < 0) {
        graft_env_free(v->env);
        rc = graft_err_nomem(err);
    }
    if (rc < 0) return rc;
    *out = all->made = v;
    return 0;
}

graft_env *graft_voice_env(graft_voice *v) {
    return v->env;
}

void graft_voice_begin(graft_voice *v, const char *what, bool tells) {
    graft_voice **last = &v->all->running;
    snprintf(v->what, sizeof v->what, "%s", what);
    v->tells = tells;
    v->next = NULL;
    pthread_mutex_lock(v->all->guard);
    while (*last) last = &(*last)->next;
    *last = v;
    pthread_mutex_unlock(v->all->guard);
}

void graft_voice_end(graft_voice *v) {
    graft_voice **at = &v->all->running;
    pthread_mutex_lock(v->all->guard);
    while (*at && *at != v) at = &(*at)->next;
    if (*at) *at = v->next;
    pthread_mutex_unlock(v->all->guard);
}

void graft_voices_stop(graft_voices *all) {
    for (graft_voice *v = all->made; v; v = v->other) graft_env_cancel(v->env);
}
