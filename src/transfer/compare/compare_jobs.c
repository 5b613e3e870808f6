/* How many runs go side by side. Threads of one run wait for each other at every kernel: of a small network's
 * kernels two threads make hardly more than one, while two runs keep both busy; a large network's kernels are
 * worth all threads, and one long run that is left alone at the end would keep the others idle. So the time
 * that all would take is reckoned for each number, from planned multiply-adds. */
#include "transfer/compare/compare.h"

#include <math.h>
#include <sys/sysinfo.h>

/* Multiply-adds of an update of which a second thread takes over half of what it could: measured on two Xeon
 * cores, where two threads were 0.8 to 1.0, 1.4 and 1.8 times as fast as one with 0.14, 1.9 and 13e9. */
static const double GRAIN = 2e9;

/* What so many threads make of an update, in threads. */
static double speed(double update, int threads) {
    return pow((double)threads, update / (update + GRAIN));
}

/* Planned seconds, to a factor: runs with fewer labels are shorter by as much. */
static double work_of(const graft_comparison *c, graft_compare_place at) {
    int64_t all = graft_data_n_samples(c->facts.data), per_class = c->sizes[at.size].per_class;
    double share = per_class ? (double)per_class * (double)c->n_classes / (double)(all ? all : 1) : 1.0;
    return c->plans[at.plan].work * fmin(share, 1.0);
}

/* The runs in their order, each by the worker that is free first. `busy` [jobs]. */
static double time_of(const graft_comparison *c, const graft_compare_place *places, size_t n, double *busy,
                      size_t jobs, int threads) {
    double end = 0.0;
    for (size_t k = 0; k < jobs; k++) busy[k] = 0.0;
    for (size_t i = 0; i < n; i++) {
        size_t first = 0;
        for (size_t k = 1; k < jobs; k++)
            if (busy[k] < busy[first]) first = k;
        busy[first] += work_of(c, places[i]) / speed(c->plans[places[i].plan].update, threads);
        end = fmax(end, busy[first]);
    }
    return end;
}

/* What is free now would make the number, and with it the bits of the runs, a matter of chance: half of what
 * the machine has, unless a limit was given. */
static size_t fitting(const graft_comparison *c) {
    struct sysinfo info;
    size_t most = 1, memory = SIZE_MAX;
    for (size_t p = 0; p < c->n_plans; p++) most = c->plans[p].memory > most ? c->plans[p].memory : most;
    if (c->options.fit.memory)
        memory = (size_t)c->options.fit.memory;
    else if (sysinfo(&info) == 0)
        memory = (size_t)info.totalram * info.mem_unit / 2;
    return memory / most > 1 ? memory / most : 1;
}

int graft_comparison_jobs(size_t *out, const graft_comparison *c, const graft_compare_place *places, size_t n,
                          graft_err *err) {
    int threads = graft_env_threads(c->env);
    size_t most = c->options.jobs > 0 ? (size_t)c->options.jobs : (size_t)threads, room = fitting(c);
    if (most > n) most = n > 1 ? n : 1;
    *out = most;
    if (c->options.jobs > 0) return 0;
    if (most > room) most = room;
    double *busy = graft_arena_array(c->arena, most, sizeof *busy), best = INFINITY;
    if (!busy) return graft_err_nomem(err);
    for (size_t jobs = 1; jobs <= most; jobs = jobs * 2 > most && jobs < most ? most : jobs * 2) {
        double time = time_of(c, places, n, busy, jobs, threads / (int)jobs);
        if (time < best) *out = jobs;
        best = fmin(best, time);
    }
    return 0;
}
