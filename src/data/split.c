/* The validation part, when the data bring none: a fraction of the training samples of every class, in whole
 * sets, so that neither a group nor a sample nor its near-duplicate stands on both sides. The sets are taken
 * in an order that is a function of the seed and of their contents, so that neither names nor folders nor
 * their order matter; a set goes to val when that brings the classes closer to their numbers. */
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

static uint64_t random_key(const graft_data *d, int64_t i) {
    const graft_sample *s = &d->samples[i];
    uint64_t id = s->content.lo ^ (s->content.hi << 1 | s->content.hi >> 63);
    if (!id) id = graft_hash_bytes(s->origin, strlen(s->origin)).lo; /* never read: then its name has to do */
    graft_rng r = graft_rng_at(d->seed, 0, id, GRAFT_RNG_SPLIT);
    uint64_t high = graft_rng_u32(&r);
    return high << 32 | graft_rng_u32(&r);
}

typedef struct split {
    graft_data *d;
    member *members; /* the train samples, sets side by side */
    int64_t n;
    int32_t n_classes; /* 1 for tasks without one class a sample */
    int64_t *all, *wanted, *taken,
        *add; /* by class: in train at first, wanted in val, in val by now, in one set */
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
            uint64_t k = random_key(d, train[i]), *least = &key[set[train[i]]];
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
        int64_t n = s->all[c], w = (int64_t)floor(d->validation * (double)n + 0.5);
        s->wanted[c] = n < 2 ? 0 : w < 1 ? 1 : w > n - 1 ? n - 1 : w;
    }
}

static int64_t set_end(const split *s, int64_t from) {
    int64_t to = from + 1;
    while (to < s->n && s->members[to].set == s->members[from].set) to++;
    return to;
}

/* Would val be closer to what is wanted with members [from, to)? No class may lose its last training sample.
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
        s->d->samples[sample].part = GRAFT_VAL;
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

static void say(const split *s, int64_t n_val) {
    const graft_data *d = s->d;
    int32_t n_without = 0;
    for (int32_t c = 0; c < s->n_classes; c++) n_without += s->all[c] > 0 && s->taken[c] == 0;
    if (n_val == 0) {
        graft_env_log(d->env, GRAFT_LOG_WARNING,
                      "no validation part can be made: all %s of each class belong together",
                      graft_data_noun(d));
        return;
    }
    graft_env_log(d->env, GRAFT_LOG_INFO, "%lld of %lld training %s are set apart for validation (seed %llu)",
                  (long long)n_val, (long long)s->n, graft_data_noun(d), (unsigned long long)d->seed);
    if (n_without)
        graft_env_log(d->env, GRAFT_LOG_WARNING,
                      "%d classes have too few %s, or groups, to be in the validation part", n_without,
                      graft_data_noun(d));
}

int graft_split_make(graft_data *d, graft_err *err) {
    split s = {.d = d};
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
    int64_t n_val = 0;
    for (int64_t from = 0, to; from < s.n; from = to) {
        to = set_end(&s, from);
        if (!helps(&s, from, to, false)) continue;
        take(&s, from, to);
        n_val += to - from;
    }
    if (n_val == 0) n_val = take_smallest(&s);
    say(&s, n_val);
done:
    free(s.members);
    free(s.all);
    return rc;
}
