#include "base/env.h"

#include "base/base.h"
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct graft_env {
    graft_env_options options;
    int threads;
    const graft_env *parent; /* whose cancelling is meant too; NULL: none */
    atomic_bool cancelled;
};

static int processors_allowed(void) {
    cpu_set_t set;
    int n = 1;
    if (sched_getaffinity(0, sizeof set, &set) == 0) n = CPU_COUNT(&set);
    return n > 0 ? n : 1;
}

/* The first line of a small system file; false when there is none. */
static bool first_line(const char *path, char *out, size_t out_size) {
    FILE *f = fopen(path, "re");
    if (!f) return false;
    bool ok = fgets(out, (int)out_size, f) != NULL;
    fclose(f);
    return ok;
}

/* Whole processors that a quota of `quota` µs in each `period` µs pays for. */
static int processors_of(long long quota, long long period) {
    if (quota <= 0 || period <= 0) return INT32_MAX;
    long long n = (quota + period - 1) / period;
    return n < INT32_MAX ? (int)n : INT32_MAX;
}

/* The smallest cpu.max on the way from this process's control group (version 2) up to the root. */
static int quota_v2(void) {
    char line[512], path[640];
    int least = INT32_MAX;
    if (!first_line("/proc/self/cgroup", line, sizeof line) || strncmp(line, "0::", 3) != 0) return least;
    char *group = line + 3;
    group[strcspn(group, "\n")] = '\0';
    for (;;) {
        char value[64];
        long long quota, period;
        snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", strcmp(group, "/") == 0 ? "" : group);
        if (first_line(path, value, sizeof value) && sscanf(value, "%lld %lld", &quota, &period) == 2) {
            int n = processors_of(quota, period);
            if (n < least) least = n;
        }
        char *slash = strrchr(group, '/');
        if (!slash) return least;
        *slash = '\0';
    }
}

static int quota_v1(void) {
    char quota[32], period[32];
    if (!first_line("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", quota, sizeof quota)) return INT32_MAX;
    if (!first_line("/sys/fs/cgroup/cpu/cpu.cfs_period_us", period, sizeof period)) return INT32_MAX;
    return processors_of(strtoll(quota, NULL, 10), strtoll(period, NULL, 10));
}

static int default_threads(void) {
    int n = processors_allowed(), v2 = quota_v2(), v1 = quota_v1();
    if (v2 < n) n = v2;
    if (v1 < n) n = v1;
    return n > 0 ? n : 1;
}

int graft_env_new(graft_env **out, const graft_env_options *options, graft_err *err) {
    *out = NULL;
    const graft_env_options none = GRAFT_ENV_OPTIONS_INIT;
    if (!options) options = &none;
    if (options->threads < 0 || options->threads > 4096) {
        return graft_err_set(err, GRAFT_EUSAGE,
                             "%d threads are not possible; give 1 to 4096, or 0 for one a processor",
                             options->threads);
    }
    graft_env *env = calloc(1, sizeof *env);
    if (!env) return graft_err_nomem(err);
    env->options = *options;
    env->threads = options->threads ? options->threads : default_threads();
    *out = env;
    return 0;
}

int graft_env_new_within(graft_env **out, const graft_env *parent, const graft_env_options *options,
                         graft_err *err) {
    int rc = graft_env_new(out, options, err);
    if (rc == 0) (*out)->parent = parent;
    return rc;
}

int graft_env_new_silent(graft_env **out, const graft_env *parent, graft_err *err) {
    return graft_env_new_within(out, parent, &(graft_env_options){.threads = graft_env_threads(parent)}, err);
}

void graft_env_free(graft_env *env) {
    free(env);
}

void graft_env_cancel(graft_env *env) {
    atomic_store(&env->cancelled, true);
}

int graft_env_threads(const graft_env *env) {
    return env ? env->threads : default_threads();
}

bool graft_env_is_cancelled(const graft_env *env) {
    for (; env; env = env->parent)
        if (atomic_load_explicit(&env->cancelled, memory_order_relaxed)) return true;
    return false;
}

int graft_env_check(const graft_env *env, graft_err *err) {
    return graft_env_is_cancelled(env) ? graft_err_set(err, GRAFT_EINTERRUPTED, "interrupted") : 0;
}

void graft_env_log(const graft_env *env, graft_log_level level, const char *format, ...) {
    if (!env || !env->options.log) return;
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    env->options.log(env->options.user, level, line);
}

void graft_env_progress(const graft_env *env, const graft_progress *p) {
    if (env && env->options.progress) env->options.progress(env->options.user, p);
}

double graft_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

const char *graft_version(void) {
    return GRAFT_VERSION;
}
