/* The first pass: every sample is read, hashed and decoded once, on all threads, before anything is trained.
 * And its end: what was bad, which samples are whose twins, the validation part, the balance of the classes.
 */
#include "data/data_impl.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { LISTED = 5, FEW = 5, UNEVEN = 3 };

typedef struct pass {
    graft_data *d;
    graft_eye *eyes; /* one a thread */
    graft_err *errs;
    size_t *failed;         /* the sample that each thread failed at */
    const int64_t *samples; /* NULL: all */
    int64_t n;
    bool decode;
    atomic_llong done;
    double began, told;
    const char *phase;
} pass;

static void tell(pass *p, bool last) {
    double now = graft_now();
    if (!last && now - p->told < 0.1) return;
    p->told = now;
    graft_progress g = {
        .phase = p->phase, .done = atomic_load(&p->done), .total = p->n, .seconds = now - p->began};
    graft_env_progress(p->d->env, &g);
}

static int see_one(void *user, size_t at, int thread) {
    pass *p = user;
    size_t i = p->samples ? (size_t)p->samples[at] : at;
    graft_err *err = &p->errs[thread];
    const graft_sample *s = &p->d->samples[i];
    bool hashed = s->content.lo || s->content.hi;
    int rc = graft_env_check(p->d->env, err);
    if (rc == 0 && s->state == GRAFT_UNSEEN && (p->decode || !hashed))
        rc = graft_data_see(p->d, (int64_t)i, p->decode, &p->eyes[thread], err);
    if (rc < 0) p->failed[thread] = at;
    atomic_fetch_add(&p->done, 1);
    if (thread == 0) tell(p, false);
    return rc;
}

/* The error of the first sample in order, among those that failed before the rest was stopped. */
static void take_first_error(const pass *p, int threads, graft_err *err) {
    int first = -1;
    for (int t = 0; t < threads; t++)
        if (p->errs[t].code && (first < 0 || p->failed[t] < p->failed[first])) first = t;
    if (first >= 0 && err) *err = p->errs[first];
}

static int run_pass(graft_data *d, const int64_t *samples, int64_t n_samples, bool decode, const char *phase,
                    graft_err *err) {
    int threads = graft_env_threads(d->env), rc;
    size_t n = (size_t)threads;
    pass p = {.d = d,
              .samples = samples,
              .n = samples ? n_samples : d->n,
              .decode = decode,
              .began = graft_now(),
              .phase = phase};
    p.eyes = calloc(n, sizeof *p.eyes);
    p.errs = calloc(n, sizeof *p.errs);
    p.failed = calloc(n, sizeof *p.failed);
    if (!p.eyes || !p.errs || !p.failed) {
        rc = graft_err_nomem(err);
        goto done;
    }
    rc = graft_parallel_for(threads, (size_t)p.n, see_one, &p);
    if (rc < 0)
        take_first_error(&p, threads, err);
    else
        tell(&p, true);
done:
    for (size_t t = 0; p.eyes && t < n; t++) graft_eye_done(&p.eyes[t]);
    free(p.eyes);
    free(p.errs);
    free(p.failed);
    return rc;
}

int graft_data_check(graft_data *d, graft_err *err) {
    int rc = run_pass(d, NULL, 0, true, d->texts ? "checking texts" : "checking pictures", err);
    return rc < 0 ? rc : graft_data_settle(d, err);
}

int graft_data_hash(graft_data *d, graft_err *err) {
    return graft_data_hash_some(d, NULL, 0, err);
}

int graft_data_hash_some(graft_data *d, const int64_t *samples, int64_t n, graft_err *err) {
    return run_pass(d, samples, n, false, d->texts ? "reading texts" : "reading pictures", err);
}

/* ---- Settling ---- */

static int judge_bad(const graft_data *d, graft_err *err) {
    int64_t listed = 0, first = -1;
    for (int64_t i = 0; i < d->n && listed < LISTED; i++) {
        const graft_sample *s = &d->samples[i];
        if (s->state != GRAFT_BAD) continue;
        if (listed++ == 0) first = i;
        graft_env_log(d->env, GRAFT_LOG_WARNING, "%s: %s: left out", s->origin, s->reason);
    }
    if (d->n_bad > listed)
        graft_env_log(d->env, GRAFT_LOG_WARNING, "and %lld more", (long long)(d->n_bad - listed));
    if (d->n_bad)
        graft_env_log(d->env, GRAFT_LOG_WARNING, "%lld of %lld %s cannot be used", (long long)d->n_bad,
                      (long long)d->n, graft_data_noun(d));
    if (d->n_bad <= graft_data_bad_allowed(d)) return 0;
    return graft_err_set(
        err, GRAFT_EDATA,
        "%lld of %lld %s cannot be used, more than the %.3g%% of --max-bad; the first: %s: %s",
        (long long)d->n_bad, (long long)d->n, graft_data_noun(d), d->max_bad * 100, d->samples[first].origin,
        d->samples[first].reason);
}

static void warn_twins(const graft_data *d, const int64_t (*pairs)[2], int64_t n, const char *what) {
    if (n == 0) return;
    graft_env_log(d->env, GRAFT_LOG_WARNING,
                  "%lld val or test %s %s one of train or val: scores on them are better than they should be",
                  (long long)n, graft_data_noun(d), what);
    for (int64_t i = 0; i < n && i < LISTED; i++)
        graft_env_log(d->env, GRAFT_LOG_WARNING, "  %s and %s", d->samples[pairs[i][0]].origin,
                      d->samples[pairs[i][1]].origin);
}

/* Groups that stand on both sides of a given split. */
static int warn_groups(const graft_data *d, graft_err *err) {
    int64_t n_groups = 0, n_shared = 0;
    for (int64_t i = 0; i < d->n; i++)
        if (d->samples[i].group >= n_groups) n_groups = d->samples[i].group + 1;
    if (n_groups == 0) return 0;
    unsigned char *parts = calloc((size_t)n_groups, 1);
    if (!parts) return graft_err_nomem(err);
    for (int64_t i = 0; i < d->n; i++)
        if (d->samples[i].group >= 0 && d->samples[i].part != GRAFT_SPARE)
            parts[d->samples[i].group] |= (unsigned char)(1u << d->samples[i].part);
    for (int64_t g = 0; g < n_groups; g++) n_shared += (parts[g] & 1) && (parts[g] & ~1);
    free(parts);
    if (n_shared)
        graft_env_log(d->env, GRAFT_LOG_WARNING,
                      "%lld of %lld groups have samples in train and in val or test: scores are better than "
                      "they should be",
                      (long long)n_shared, (long long)n_groups);
    return 0;
}

/* The same content under two labels: one of them is wrong. */
static int warn_conflicts(const graft_data *d, graft_err *err) {
    graft_arena *scratch = graft_arena_new(NULL);
    graft_map *seen = scratch ? graft_map_new(scratch) : NULL;
    int rc = seen ? 0 : graft_err_nomem(err);
    int64_t n = 0;
    for (int64_t i = 0; rc == 0 && i < d->n; i++) {
        const graft_sample *s = &d->samples[i];
        if (s->label < 0 || s->state == GRAFT_BAD || !(s->content.lo || s->content.hi)) continue;
        int64_t first = graft_map_get(seen, (const char *)&s->content, sizeof s->content);
        if (first < 0) {
            if (graft_map_put(seen, (const char *)&s->content, sizeof s->content, i) < 0)
                rc = graft_err_nomem(err);
        } else if (d->samples[first].label != s->label && n++ < LISTED)
            graft_env_log(d->env, GRAFT_LOG_WARNING, "the same %s is '%s' in %s and '%s' in %s",
                          d->texts ? "text" : "picture", d->classes[d->samples[first].label],
                          d->samples[first].origin, d->classes[s->label], s->origin);
    }
    if (rc == 0 && n > LISTED)
        graft_env_log(d->env, GRAFT_LOG_WARNING, "%lld %s in all have two labels", (long long)n,
                      graft_data_noun(d));
    graft_arena_free(scratch);
    return rc;
}

static int report_balance(const graft_data *d, graft_err *err) {
    int64_t *counts = calloc((size_t)d->n_classes + 1, sizeof *counts);
    if (!counts) return graft_err_nomem(err);
    int32_t least = -1, most = -1, n_empty = 0, n_few = 0;
    for (int64_t i = 0; i < d->n_members[GRAFT_TRAIN]; i++) {
        int32_t label = d->samples[d->members[GRAFT_TRAIN][i]].label;
        if (label >= 0) counts[label]++;
    }
    for (int32_t c = 0; c < d->n_classes; c++) {
        n_empty += counts[c] == 0;
        n_few += counts[c] > 0 && counts[c] < FEW;
        if (counts[c] && (least < 0 || counts[c] < counts[least])) least = c;
        if (counts[c] && (most < 0 || counts[c] > counts[most])) most = c;
    }
    if (least >= 0 && counts[most] >= UNEVEN * counts[least])
        graft_env_log(d->env, GRAFT_LOG_WARNING,
                      "the classes are uneven: '%s' has %lld training %s, '%s' %lld; --class-weights auto or "
                      "--sampler balanced make up for it, and macro F1 tells more than accuracy",
                      d->classes[most], (long long)counts[most], graft_data_noun(d), d->classes[least],
                      (long long)counts[least]);
    if (least >= 0 && n_few)
        graft_env_log(d->env, GRAFT_LOG_WARNING,
                      "%d classes have fewer than %d training %s, such as '%s' with %lld", n_few, FEW,
                      graft_data_noun(d), d->classes[least], (long long)counts[least]);
    if (least >= 0 && n_empty)
        graft_env_log(d->env, GRAFT_LOG_WARNING, "%d of %d classes have no training %s", n_empty,
                      d->n_classes, d->texts ? "text" : "picture");
    free(counts);
    return 0;
}

/* A sum does not depend on the order of its terms. */
static int take_fingerprint(graft_data *d, graft_err *err) {
    graft_hash sum = {0, 0};
    for (int64_t i = 0; i < d->n; i++) {
        const graft_sample *s = &d->samples[i];
        if (s->state == GRAFT_BAD) continue;
        struct {
            graft_hash content, label;
            uint64_t part;
        } term = {s->content, graft_data_answer(d, i), (uint64_t)s->part};
        graft_hash h = graft_hash_bytes(&term, sizeof term);
        unsigned __int128 total =
            ((unsigned __int128)sum.hi << 64 | sum.lo) + ((unsigned __int128)h.hi << 64 | h.lo);
        sum = (graft_hash){(uint64_t)total, (uint64_t)(total >> 64)};
    }
    d->fingerprint = sum;
    return d->n_bad == d->n ? graft_err_set(err, GRAFT_EDATA, "'%s': no %s can be used", d->path,
                                            d->texts ? "text" : "picture")
                            : 0;
}

int graft_data_settle(graft_data *d, graft_err *err) {
    if (d->settled) return 0;
    int rc = judge_bad(d, err);
    if (rc < 0) return rc;
    graft_members_rebuild(d);
    if ((rc = take_fingerprint(d, err)) < 0) return rc;
    bool trains = d->has_labels && d->n_members[GRAFT_TRAIN] > 0;
    if (trains && !d->part_given[GRAFT_TEST] && d->test > 0 &&
        (rc = graft_split_make(d, GRAFT_TEST, d->test, err)) < 0)
        return rc;
    if (trains && d->per_class > 0 && (rc = graft_split_limit(d, err)) < 0) return rc;
    if (trains && !d->part_given[GRAFT_VAL] && d->validation > 0) {
        if ((rc = graft_split_make(d, GRAFT_VAL, d->validation, err)) < 0) return rc;
    } else if ((rc = warn_groups(d, err)) < 0)
        return rc;
    if ((rc = graft_duplicates_across(d, err)) < 0) return rc;
    warn_twins(d, d->duplicates.pairs, d->duplicates.n_same, "are the same as");
    warn_twins(d, d->duplicates.pairs + d->duplicates.n_same, d->duplicates.n_near,
               d->texts ? "differ in case and blanks alone from" : "look the same as");
    bool has_classes = d->has_labels && d->task == GRAFT_TASK_CLASSES;
    if (has_classes && ((rc = warn_conflicts(d, err)) < 0 || (rc = report_balance(d, err)) < 0)) return rc;
    d->settled = true;
    return 0;
}
