/* The validation and test parts, when the data bring none: a fraction of the training samples of every class,
 * in whole sets, so that neither a group nor a sample nor its near-duplicate stands on both sides. The sets
 * are taken in an order that is a function of the seed and of their contents, so that neither names nor
 * folders nor their order matter; a set goes to the part when that brings the classes closer to their
 * numbers. */
#include "data/data_impl.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct member {
    uint64_t set_key; /* random, equal within a set */
    int64_t set, sample;
} member;

static int by_set(const void *x, const void *y) {
    const member *a = x, *b = y;
    if (a->set_key != b->set_key) return a->set_key < b->set_key ? -1 : 1;
    if (a->set != b->set) return a->set < b->set ? -1 : 1;
    return a->sample < b->sample ? -1 : a->sample > b->sample;
}

/* A test part is the same whatever the seed, so that runs of several seeds are judged by the same samples. */
static uint64_t random_key(const graft_data *d, int64_t i, graft_part part) {
    const graft_sample *s = &d->samples[i];
    uint64_t id = s->content.lo ^ (s->content.hi << 1 | s->content.hi >> 63);
    if (!id) id = graft_hash_bytes(s->origin, strlen(s->origin)).lo; /* never read: then its name has to do */
    graft_rng r = graft_rng_at(part == GRAFT_TEST ? 0 : d->seed, part == GRAFT_TEST, id, GRAFT_RNG_SPLIT);
    uint64_t high = graft_rng_u32(&r);
    return high << 32 | graft_rng_u32(&r);
}

typedef struct split {
    graft_data *d;
    graft_part part; /* to be made */
    double fraction;
    member *members; /* the train samples, sets side by side */
    int64_t n;
    int32_t n_classes; /* 1 for tasks without one class a sample */
    int64_t *all, *wanted, *taken,
        *add; /* by class: in train at first, wanted in the part, in it by now, in one set */
} split;

static int gather(split *s, graft_err *err) {
    graft_data *d = s->d;
    int64_t *set = calloc((size_t)d->n + 1, sizeof *set);
    uint64_t *key = calloc((size_t)d->n + 1, sizeof *key);
    int rc = set && key ? graft_duplicate_sets(d, set, true, err) : graft_err_nomem(err);
    if (rc == 0) {
        const int64_t *train = d->members[GRAFT_TRAIN];
        s->n = d->n_members[GRAFT_TRAIN];
        memset(key, 0xFF, (size_t)d->n * sizeof *key);
        for (int64_t i = 0; i < s->n; i++) {
            uint64_t k = random_key(d, train[i], s->part), *least = &key[set[train[i]]];
            if (k < *least) *least = k;
        }
        for (int64_t i = 0; i < s->n; i++)
            s->members[i] = (member){key[set[train[i]]], set[train[i]], train[i]};
        qsort(s->members, (size_t)s->n, sizeof *s->members, by_set);
    }
    free(set);
    free(key);
    return rc;
}

static void want(split *s) {
    graft_data *d = s->d;
    for (int64_t i = 0; i < s->n; i++) s->all[graft_data_stratum(d, s->members[i].sample)]++;
    for (int32_t c = 0; c < s->n_classes; c++) {
        int64_t n = s->all[c], w = (int64_t)floor(s->fraction * (double)n + 0.5);
        s->wanted[c] = n < 2 ? 0 : w < 1 ? 1 : w > n - 1 ? n - 1 : w;
    }
}

static int64_t set_end(const split *s, int64_t from) {
    int64_t to = from + 1;
    while (to < s->n && s->members[to].set == s->members[from].set) to++;
    return to;
}

/* Would the part be closer to what is wanted with members [from, to)? No class may lose its last training
 * sample.
 */
static bool helps(split *s, int64_t from, int64_t to, bool even_if_worse) {
    double gain = 0;
    bool allowed = true;
    for (int64_t i = from; i < to; i++) s->add[graft_data_stratum(s->d, s->members[i].sample)]++;
    for (int64_t i = from; i < to; i++) {
        int32_t c = graft_data_stratum(s->d, s->members[i].sample);
        if (s->add[c] == 0) continue; /* counted already */
        int64_t before = s->wanted[c] - s->taken[c], after = before - s->add[c];
        gain += (double)(llabs(before) - llabs(after)) / (double)s->all[c];
        allowed = allowed && s->taken[c] + s->add[c] < s->all[c];
        s->add[c] = 0;
    }
    return allowed && (gain > 0 || even_if_worse);
}

static void take(split *s, int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i++) {
        int64_t sample = s->members[i].sample;
        s->d->samples[sample].part = s->part;
        s->taken[graft_data_stratum(s->d, sample)]++;
    }
}

/* When every set is too large for its share, the smallest one is still better than none. */
static int64_t take_smallest(split *s) {
    int64_t best = -1, best_size = INT64_MAX;
    for (int64_t from = 0, to; from < s->n; from = to) {
        to = set_end(s, from);
        if (to - from >= best_size || !helps(s, from, to, true)) continue;
        best = from;
        best_size = to - from;
    }
    if (best < 0) return 0;
    take(s, best, best + best_size);
    return best_size;
}

static void say(const split *s, int64_t n_taken) {
    const graft_data *d = s->d;
    const char *name = s->part == GRAFT_VAL ? "validation" : "test";
    int32_t n_without = 0;
    for (int32_t c = 0; c < s->n_classes; c++) n_without += s->all[c] > 0 && s->taken[c] == 0;
    if (n_taken == 0) {
        graft_env_log(d->env, GRAFT_LOG_WARNING,
                      "no %s part can be made: all %s of each class belong together", name,
                      graft_data_noun(d));
        return;
    }
    graft_env_log(d->env, GRAFT_LOG_INFO, "%lld of %lld training %s are set apart for %s (seed %llu)",
                  (long long)n_taken, (long long)s->n, graft_data_noun(d), name,
                  s->part == GRAFT_VAL ? (unsigned long long)d->seed : 0);
    if (n_without)
        graft_env_log(d->env, GRAFT_LOG_WARNING,
                      "%d classes have too few %s, or groups, to be in the %s part", n_without,
                      graft_data_noun(d), name);
}

int graft_split_make(graft_data *d, graft_part part, double fraction, graft_err *err) {
    split s = {.d = d, .part = part, .fraction = fraction};
    s.n_classes = d->task == GRAFT_TASK_CLASSES ? d->n_classes : 1;
    size_t k = (size_t)s.n_classes;
    s.members = calloc((size_t)d->n_members[GRAFT_TRAIN] + 1, sizeof *s.members);
    s.all = calloc(4 * k + 1, sizeof *s.all);
    int rc = s.members && s.all ? 0 : graft_err_nomem(err);
    if (rc < 0) goto done;
    s.wanted = s.all + k;
    s.taken = s.all + 2 * k;
    s.add = s.all + 3 * k;
    if ((rc = gather(&s, err)) < 0) goto done;
    want(&s);
    int64_t n_taken = 0;
    for (int64_t from = 0, to; from < s.n; from = to) {
        to = set_end(&s, from);
        if (!helps(&s, from, to, false)) continue;
        take(&s, from, to);
        n_taken += to - from;
    }
    if (n_taken == 0) n_taken = take_smallest(&s);
    say(&s, n_taken);
    graft_members_rebuild(d);
done:
    free(s.members);
    free(s.all);
    return rc;
}

static int by_key(const void *x, const void *y) {
    const member *a = x, *b = y;
    if (a->set_key != b->set_key) return a->set_key < b->set_key ? -1 : 1;
    return a->sample < b->sample ? -1 : a->sample > b->sample;
}

bool graft_data_leaves_out(const graft_data *d) {
    if (d->settled || d->per_class == 0 || !d->has_labels) return false;
    int64_t *n = calloc(d->task == GRAFT_TASK_CLASSES ? (size_t)d->n_classes + 1 : 1, sizeof *n);
    bool more = !n; /* without memory for a count: there may be */
    for (int64_t i = 0; i < d->n_members[GRAFT_TRAIN] && !more; i++)
        more = ++n[graft_data_stratum(d, d->members[GRAFT_TRAIN][i])] > d->per_class;
    free(n);
    return more;
}

int graft_split_limit(graft_data *d, graft_err *err) {
    size_t k = d->task == GRAFT_TASK_CLASSES ? (size_t)d->n_classes : 1;
    int64_t n = d->n_members[GRAFT_TRAIN], n_spare = 0, n_short = 0;
    member *members = calloc((size_t)n + 1, sizeof *members);
    int64_t *kept = calloc(k + 1, sizeof *kept);
    int rc = members && kept ? 0 : graft_err_nomem(err);
    for (int64_t i = 0; i < n && rc == 0; i++) {
        int64_t sample = d->members[GRAFT_TRAIN][i];
        members[i] = (member){random_key(d, sample, GRAFT_SPARE), 0, sample};
    }
    if (rc == 0) qsort(members, (size_t)n, sizeof *members, by_key);
    for (int64_t i = 0; i < n && rc == 0; i++) {
        int32_t c = graft_data_stratum(d, members[i].sample);
        if (kept[c]++ < d->per_class) continue;
        d->samples[members[i].sample].part = GRAFT_SPARE;
        n_spare++;
    }
    if (rc == 0) {
        for (size_t c = 0; c < k; c++) n_short += kept[c] < d->per_class;
        graft_members_rebuild(d);
        graft_env_log(d->env, GRAFT_LOG_INFO, "%lld training %s are used, %lld a class; %lld are left out",
                      (long long)(n - n_spare), graft_data_noun(d), (long long)d->per_class,
                      (long long)n_spare);
        if (n_short)
            graft_env_log(d->env, GRAFT_LOG_WARNING, "%lld classes have fewer than %lld training %s",
                          (long long)n_short, (long long)d->per_class, graft_data_noun(d));
    }
    free(members);
    free(kept);
    return rc;
}
