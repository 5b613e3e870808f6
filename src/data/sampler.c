/* In which order an epoch takes its samples: a function of seed and epoch, never of what was drawn before. */
#include "data/data_impl.h"
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_BATCH = 32 };

int64_t graft_loader_batch(const graft_loader_options *o, int64_t n) {
    int64_t batch = o->batch > 0 ? o->batch : DEFAULT_BATCH;
    return batch < n ? batch : n;
}

int graft_loader_members(int64_t **members, int64_t *n, graft_arena *arena, const graft_data *d,
                         const graft_loader_options *o, graft_err *err) {
    *n = o->n_samples;
    const int64_t *from = o->samples ? o->samples : graft_data_members(d, o->part, n);
    if (*n <= 0)
        return graft_err_set(err, GRAFT_EDATA, "%s: there are no samples in the part '%s'", d->path,
                             o->samples ? "given" : graft_part_name(o->part));
    int64_t *own = graft_arena_array(arena, (size_t)*n, sizeof *own);
    if (!own) return graft_err_nomem(err);
    for (int64_t i = 0; i < *n; i++) {
        if (from[i] < 0 || from[i] >= d->n)
            return graft_err_set(err, GRAFT_EUSAGE, "sample %lld of %lld", (long long)from[i],
                                 (long long)d->n);
        own[i] = from[i];
    }
    *members = own;
    return 0;
}

/* Members sorted by class, each class's own shuffled: begin[c]..begin[c + 1]. */
typedef struct shelves {
    int64_t *begin, *items;
    int64_t *classes; /* those that have members */
    int64_t n_classes;
} shelves;

static void fill_shelves(shelves *s, const graft_data *d, const int64_t *members, int64_t n) {
    for (int64_t i = 0; i < n; i++) s->begin[d->samples[members[i]].label + 1]++;
    for (int32_t c = 0; c < d->n_classes; c++) {
        if (s->begin[c + 1]) s->classes[s->n_classes++] = c;
        s->begin[c + 1] += s->begin[c];
    }
    for (int64_t i = n; i-- > 0;) {
        int32_t c = d->samples[members[i]].label;
        s->items[--s->begin[c + 1]] = members[i];
    }
    /* begin[c + 1] is now where class c starts; shift back */
    for (int32_t c = 0; c < d->n_classes; c++) s->begin[c] = s->begin[c + 1];
    s->begin[d->n_classes] = n;
}

/* Every class gets n / classes draws; the rest goes to classes drawn by lot. */
static void draw_balanced(int64_t *out, shelves *s, int64_t n, uint64_t seed, int64_t epoch, graft_rng *r) {
    graft_rng_shuffle(r, s->classes, (size_t)s->n_classes);
    int64_t k = 0;
    for (int64_t i = 0; i < s->n_classes; i++) {
        int64_t c = s->classes[i], quota = n / s->n_classes + (i < n % s->n_classes);
        int64_t *own = s->items + s->begin[c], n_own = s->begin[c + 1] - s->begin[c];
        graft_rng own_order = graft_rng_at(seed, (uint64_t)epoch, 1 + (uint64_t)c, GRAFT_RNG_ORDER);
        for (int64_t taken = 0; taken < quota;) {
            graft_rng_shuffle(&own_order, own, (size_t)n_own);
            for (int64_t j = 0; j < n_own && taken < quota; j++, taken++) out[k++] = own[j];
        }
    }
    graft_rng_shuffle(r, out, (size_t)n);
}

int graft_sampler_epoch(int64_t *out, const graft_data *d, const int64_t *members, int64_t n,
                        graft_order order, uint64_t seed, int64_t epoch, graft_err *err) {
    graft_rng r = graft_rng_at(seed, (uint64_t)epoch, 0, GRAFT_RNG_ORDER);
    bool labelled = d->n_classes > 0;
    for (int64_t i = 0; i < n && labelled; i++) labelled = d->samples[members[i]].label >= 0;
    if (order != GRAFT_BALANCED || !labelled) {
        if (n > 0) memcpy(out, members, (size_t)n * sizeof *out);
        if (order != GRAFT_IN_ORDER) graft_rng_shuffle(&r, out, (size_t)n);
        return 0;
    }
    size_t k = (size_t)d->n_classes;
    int64_t *room = calloc(2 * k + 1 + (size_t)n, sizeof *room);
    if (!room) return graft_err_nomem(err);
    shelves s = {.begin = room, .classes = room + k + 1, .items = room + 2 * k + 1};
    fill_shelves(&s, d, members, n);
    if (n > 0) draw_balanced(out, &s, n, seed, epoch, &r);
    free(room);
    return 0;
}
