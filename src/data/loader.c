/* Pictures decoded ahead. Threads take the places of an epoch one by one (a ticket: batch and position) and
 * decode straight into the batch's slot; slots form a ring, so that no more than `prefetch` batches are ready
 * ahead of the one that the consumer holds. What a place gets depends on seed, epoch and content alone, never
 * on the thread.
 *
 *     consumer:  begin → next, next, ... (each gives back the batch before)
 *     worker:    wait for a free place → read, decode, augment → the last one of a batch mixes it and rings
 */
#include "data/data_impl.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { MAX_THREADS = 256, DEFAULT_PREFETCH = 2, POLL_MS = 50 };
static const double stall_seconds = 30;

typedef struct slot {
    float *pixels, *targets; /* [batch, C, H, W]; [batch, classes] or NULL */
    int64_t *samples;
    int32_t *labels;
    bool *bad;         /* positions that the checking pass leaves out */
    int64_t batch;     /* which batch of the epoch lies here, -1: none */
    int64_t n, n_done; /* positions in it, and how many are decoded */
    bool ready;
    graft_err error; /* of the lowest position that failed */
    int64_t error_at;
    graft_tensor tensor; /* [n, C, H, W] over pixels */
} slot;

typedef struct loader loader;

typedef struct worker {
    loader *l;
    pthread_t id;
    graft_eye eye;
    graft_image_scratch *scratch; /* the transform's; the eye has its own */
    int64_t sample;               /* under way, -1: none; guarded by the lock */
} worker;

struct loader {
    graft_arena *arena;
    graft_data *d;
    const graft_transform *transform;
    graft_loader_options o;
    size_t count; /* floats of a picture */
    int32_t n_classes;
    bool mixes;
    int64_t n, batch, n_batches;
    int64_t *members, *order; /* [n] */
    int32_t *draw;            /* [n] how often the epoch drew the same sample before; NULL: never */
    int32_t *drawn;           /* [samples of the data], for `draw` */
    slot *slots;
    int64_t n_slots;
    worker *workers;
    int n_workers;
    pthread_mutex_t lock; /* guards all below, and the slots' counters */
    pthread_cond_t work, ready;
    bool locks_made, quit, active;
    int64_t epoch, ticket, next, released; /* batches below `released` have been given back */
    int busy;
};

/* ---- Workers ---- */

static uint64_t draw_epoch(const loader *l, int64_t place) {
    return (uint64_t)l->epoch | (l->draw ? (uint64_t)l->draw[place] << 40 : 0);
}

/* Raw sample to its place. The augmentation's numbers belong to the content, so that the same picture under
 * another index (another folder, a cache) gets the same ones. */
static int transform_raw(const loader *l, worker *w, int64_t sample, int64_t place, float *out,
                         graft_err *err) {
    const graft_raw *raw = &w->eye.raw;
    const graft_sample *s = &l->d->samples[sample];
    graft_hash content = s->content;
    if (!content.lo && !content.hi && l->o.augment) content = graft_raw_content(raw);
    graft_rng rng = graft_rng_at(l->o.seed, draw_epoch(l, place), content.lo, GRAFT_RNG_AUGMENT);
    if (raw->bytes)
        return graft_transform_run(l->transform, raw->bytes, raw->size, s->origin, l->o.augment ? &rng : NULL,
                                   out, w->scratch, err);
    graft_image image = {raw->pixels, raw->width, raw->height, raw->channels,
                         (size_t)raw->width * (size_t)raw->channels};
    return graft_transform_image(l->transform, &image, l->o.augment ? &rng : NULL, out, w->scratch, err);
}

static bool is_bad(loader *l, int64_t sample) {
    pthread_mutex_lock(&l->d->lock);
    bool bad = l->d->samples[sample].state == GRAFT_BAD;
    pthread_mutex_unlock(&l->d->lock);
    return bad;
}

/* Decodes the picture of one place. In a checking pass its own faults make it bad instead of failing. */
static int make_place(loader *l, worker *w, slot *s, int64_t i, int64_t place, graft_err *err) {
    int64_t sample = l->order[place];
    float *out = s->pixels + (size_t)i * l->count;
    s->samples[i] = sample;
    s->labels[i] = l->d->samples[sample].label;
    s->bad[i] = false;
    if (!l->o.check) {
        int rc = graft_data_read(l->d, sample, &w->eye.raw, err);
        return rc < 0 ? rc : transform_raw(l, w, sample, place, out, err);
    }
    bool unseen = l->d->samples[sample].state == GRAFT_UNSEEN;
    graft_err own = {0};
    int rc = unseen ? graft_data_see(l->d, sample, true, &w->eye, err)
                    : graft_data_read(l->d, sample, &w->eye.raw, err);
    if (rc < 0) return rc;
    s->bad[i] = is_bad(l, sample);
    if (s->bad[i] || transform_raw(l, w, sample, place, out, &own) == 0) return 0;
    s->bad[i] = true;
    return graft_data_note_bad(l->d, sample, &own, err);
}

/* Moves the good places of a checked batch together. */
static void drop_bad(loader *l, slot *s) {
    int64_t kept = 0;
    for (int64_t i = 0; i < s->n; i++) {
        if (s->bad[i]) continue;
        if (kept != i) {
            memcpy(s->pixels + (size_t)kept * l->count, s->pixels + (size_t)i * l->count,
                   l->count * sizeof(float));
            s->samples[kept] = s->samples[i];
            s->labels[kept] = s->labels[i];
        }
        kept++;
    }
    s->n = kept;
}

static void mix(loader *l, slot *s) {
    size_t k = (size_t)l->n_classes;
    memset(s->targets, 0, (size_t)s->n * k * sizeof(float));
    for (int64_t i = 0; i < s->n; i++)
        if (s->labels[i] >= 0) s->targets[(size_t)i * k + (size_t)s->labels[i]] = 1;
    graft_rng rng = graft_rng_at(l->o.seed, (uint64_t)l->epoch, (uint64_t)s->batch, GRAFT_RNG_MIX);
    const graft_transform *t = l->transform;
    if (s->n > 1)
        graft_mix_batch(&t->augment, s->pixels, s->targets, (int)s->n, t->channels, t->height, t->width,
                        l->n_classes, &rng);
}

/* Is there a place to fill, in a slot that is free? */
static bool has_work(const loader *l) {
    return l->active && l->ticket < l->n && l->ticket / l->batch < l->released + l->n_slots;
}

static slot *open_slot(loader *l, int64_t batch) {
    slot *s = &l->slots[batch % l->n_slots];
    if (s->batch == batch) return s;
    int64_t left = l->n - batch * l->batch;
    s->batch = batch;
    s->n = left < l->batch ? left : l->batch;
    s->n_done = 0;
    s->ready = false;
    s->error_at = -1;
    return s;
}

/* One ticket; the lock is held on entry and on return. */
static void work_once(loader *l, worker *w) {
    int64_t place = l->ticket++, i = place % l->batch;
    slot *s = open_slot(l, place / l->batch);
    graft_err err = {0};
    w->sample = l->order[place];
    l->busy++;
    pthread_mutex_unlock(&l->lock);
    int rc = make_place(l, w, s, i, place, &err);
    pthread_mutex_lock(&l->lock);
    w->sample = -1;
    if (rc < 0 && (s->error_at < 0 || i < s->error_at)) {
        s->error = err;
        s->error.code = rc;
        s->error_at = i;
    }
    bool last = ++s->n_done == s->n;
    if (last && s->error_at < 0) {
        pthread_mutex_unlock(&l->lock);
        if (l->o.check) drop_bad(l, s);
        if (l->mixes) mix(l, s);
        pthread_mutex_lock(&l->lock);
    }
    if (last) s->ready = true;
    l->busy--;
    if (last || (!l->active && l->busy == 0)) pthread_cond_broadcast(&l->ready);
}

static void *run_worker(void *arg) {
    worker *w = arg;
    loader *l = w->l;
    /* Kernels wait for each other many times a step: a decoding thread that takes a processor from one of
     * them stops all. Below them in priority, it runs while they wait for its batches. (Linux keeps a
     * priority a thread.) */
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), getpriority(PRIO_PROCESS, 0) + 5);
    pthread_mutex_lock(&l->lock);
    while (!l->quit) {
        if (has_work(l))
            work_once(l, w);
        else
            pthread_cond_wait(&l->work, &l->lock);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* ---- The consumer's side ---- */

/* Waits for a bell, at most POLL_MS: the cancel flag rings none. */
static void wait_ready(loader *l) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)POLL_MS * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_cond_timedwait(&l->ready, &l->lock, &until);
}

/* No worker holds a ticket afterwards. */
static void stop_work(loader *l) {
    l->active = false;
    while (l->busy > 0) wait_ready(l);
}

static void count_draws(loader *l) {
    memset(l->drawn, 0, (size_t)l->d->n * sizeof *l->drawn);
    for (int64_t i = 0; i < l->n; i++) l->draw[i] = l->drawn[l->order[i]]++;
}

static int begin(void *self, int64_t epoch, int64_t first_batch, graft_err *err) {
    loader *l = self;
    if (epoch < 0 || first_batch < 0 || first_batch > l->n_batches)
        return graft_err_set(err, GRAFT_EUSAGE, "batch %lld of epoch %lld: the epoch has %lld",
                             (long long)first_batch, (long long)epoch, (long long)l->n_batches);
    pthread_mutex_lock(&l->lock);
    stop_work(l);
    int rc = graft_sampler_epoch(l->order, l->d, l->members, l->n, l->o.order, l->o.seed, epoch, err);
    if (rc == 0) {
        if (l->draw) count_draws(l);
        for (int64_t i = 0; i < l->n_slots; i++) l->slots[i].batch = -1;
        l->epoch = epoch;
        l->next = l->released = first_batch;
        l->ticket = first_batch < l->n_batches ? first_batch * l->batch : l->n;
        l->active = true;
        pthread_cond_broadcast(&l->work);
    }
    pthread_mutex_unlock(&l->lock);
    return rc;
}

static void report_stall(const loader *l, double waited) {
    for (int t = 0; t < l->n_workers; t++)
        if (l->workers[t].sample >= 0)
            graft_env_log(l->d->env, GRAFT_LOG_WARNING, "no batch for %.0f seconds: still reading %s", waited,
                          l->d->samples[l->workers[t].sample].origin);
}

/* In a checking pass, bad pictures beyond the limit end it at once rather than hours later. Which one the
 * message names is looked up when no worker notes any. */
static int judge_count(loader *l, graft_err *err) {
    if (!l->o.check || !graft_data_is_too_bad(l->d)) return 0;
    stop_work(l);
    return graft_data_judge_so_far(l->d, err);
}

static int await(loader *l, slot *s, graft_err *err) {
    double began = graft_now(), patience = stall_seconds;
    while (!(s->batch == l->next && s->ready)) {
        int rc = graft_env_check(l->d->env, err);
        if (rc < 0) {
            l->active = false;
            return rc;
        }
        wait_ready(l);
        double waited = graft_now() - began;
        if (waited < patience) continue;
        report_stall(l, waited);
        patience *= 2;
    }
    if (s->error_at < 0) return judge_count(l, err);
    l->active = false;
    return graft_err_set(err, s->error.code, "%s", s->error.message);
}

static int next(void *self, graft_batch *out, graft_err *err) {
    loader *l = self;
    pthread_mutex_lock(&l->lock);
    int rc = l->active ? graft_env_check(l->d->env, err)
                       : graft_err_set(err, GRAFT_EUSAGE, "next without begin, or after an error");
    if (rc == 0 && l->released != l->next) {
        l->released = l->next;
        pthread_cond_broadcast(&l->work);
    }
    slot *s = &l->slots[l->next % l->n_slots];
    if (rc == 0 && l->next < l->n_batches) {
        rc = await(l, s, err);
        if (rc == 0) {
            l->next++;
            rc = 1;
        }
    }
    pthread_mutex_unlock(&l->lock);
    if (rc != 1) return rc;
    s->tensor.shape.dims[0] = s->n;
    s->tensor.size = (size_t)s->n * l->count * sizeof(float);
    *out = (graft_batch){.n = s->n,
                         .inputs = &s->tensor,
                         .n_inputs = 1,
                         .samples = s->samples,
                         .labels = s->labels,
                         .targets = l->mixes ? s->targets : NULL};
    return 1;
}

static void close_loader(void *self) {
    loader *l = self;
    if (l->locks_made) {
        pthread_mutex_lock(&l->lock);
        l->quit = true;
        l->active = false;
        pthread_cond_broadcast(&l->work);
        pthread_mutex_unlock(&l->lock);
    }
    for (int t = 0; t < l->n_workers; t++) pthread_join(l->workers[t].id, NULL);
    for (int t = 0; l->workers && t < MAX_THREADS && t < l->o.threads; t++) {
        graft_eye_done(&l->workers[t].eye);
        graft_image_scratch_free(l->workers[t].scratch);
    }
    if (l->locks_made) {
        pthread_cond_destroy(&l->work);
        pthread_cond_destroy(&l->ready);
        pthread_mutex_destroy(&l->lock);
    }
    graft_arena_free(l->arena);
    free(l);
}

/* ---- Opening ---- */

/* What the options come to for n samples: batch, and slots of the ring. */
static void resolve(const graft_loader_options *o, int64_t n, int64_t *batch, int64_t *n_slots) {
    *batch = graft_loader_batch(o, n);
    int64_t n_batches = (n + *batch - 1) / *batch;
    *n_slots = (o->prefetch > 0 ? o->prefetch : DEFAULT_PREFETCH) + 1;
    if (*n_slots > n_batches) *n_slots = n_batches;
}

static int make_slots(loader *l, graft_err *err) {
    const graft_transform *t = l->transform;
    size_t b = (size_t)l->batch, floats, bytes;
    if (!graft_size_mul(b, l->count, &floats) || !graft_size_mul(floats, sizeof(float), &bytes))
        return graft_err_nomem(err);
    l->slots = graft_arena_array(l->arena, (size_t)l->n_slots, sizeof *l->slots);
    if (!l->slots) return graft_err_nomem(err);
    for (int64_t i = 0; i < l->n_slots; i++) {
        slot *s = &l->slots[i];
        s->batch = -1;
        s->pixels = graft_arena_alloc_aligned(l->arena, bytes, 64);
        s->samples = graft_arena_array(l->arena, b, sizeof *s->samples);
        s->labels = graft_arena_array(l->arena, b, sizeof *s->labels);
        s->bad = graft_arena_array(l->arena, b, sizeof *s->bad);
        if (!s->pixels || !s->samples || !s->labels || !s->bad) return graft_err_nomem(err);
        if (l->mixes && !(s->targets = graft_arena_array(l->arena, b * (size_t)l->n_classes, sizeof(float))))
            return graft_err_nomem(err);
        s->tensor = (graft_tensor){
            "pixel_values", GRAFT_F32, {4, {l->batch, t->channels, t->height, t->width}}, s->pixels, bytes};
    }
    return 0;
}

static int make_order(loader *l, graft_err *err) {
    int rc = graft_loader_members(&l->members, &l->n, l->arena, l->d, &l->o, err);
    if (rc < 0) return rc;
    size_t n = (size_t)l->n;
    resolve(&l->o, l->n, &l->batch, &l->n_slots);
    l->n_batches = (l->n + l->batch - 1) / l->batch;
    l->order = graft_arena_array(l->arena, n, sizeof *l->order);
    if (!l->order) return graft_err_nomem(err);
    if (l->o.order != GRAFT_BALANCED) return 0;
    l->draw = graft_arena_array(l->arena, n, sizeof *l->draw);
    l->drawn = graft_arena_array(l->arena, (size_t)l->d->n, sizeof *l->drawn);
    return l->draw && l->drawn ? 0 : graft_err_nomem(err);
}

static int make_locks(loader *l, graft_err *err) {
    pthread_condattr_t clock;
    if (pthread_condattr_init(&clock) != 0) return graft_err_nomem(err);
    (void)pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    l->locks_made = pthread_mutex_init(&l->lock, NULL) == 0 && pthread_cond_init(&l->work, NULL) == 0 &&
                    pthread_cond_init(&l->ready, &clock) == 0;
    pthread_condattr_destroy(&clock);
    return l->locks_made ? 0 : graft_err_nomem(err);
}

/* Starts the threads, deaf to signals: those are for the main thread. Fewer than asked for will do. */
static int start_workers(loader *l, graft_err *err) {
    sigset_t all, before;
    l->workers = graft_arena_array(l->arena, (size_t)l->o.threads, sizeof *l->workers);
    if (!l->workers) return graft_err_nomem(err);
    for (int t = 0; t < l->o.threads; t++) {
        l->workers[t].l = l;
        l->workers[t].sample = -1;
        if (!(l->workers[t].scratch = graft_image_scratch_new())) return graft_err_nomem(err);
    }
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int started = 0;
    while (started < l->o.threads &&
           pthread_create(&l->workers[started].id, NULL, run_worker, &l->workers[started]) == 0)
        started++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    l->n_workers = started;
    return started ? 0 : graft_err_set(err, GRAFT_EIO, "cannot start a thread to read pictures with");
}

uint64_t graft_loader_bytes(const graft_data *d, const graft_transform *transform,
                            const graft_loader_options *options) {
    graft_loader_options none = GRAFT_LOADER_OPTIONS_INIT;
    const graft_loader_options *o = options ? options : &none;
    int64_t n = o->samples ? o->n_samples : d->n_members[o->part], batch, n_slots;
    if (n <= 0) return 0;
    if (d->texts) return graft_text_loader_bytes(graft_loader_batch(o, n), transform);
    resolve(o, n, &batch, &n_slots);
    return (uint64_t)batch * (uint64_t)n_slots * graft_transform_count(transform) * sizeof(float);
}

int graft_loader_open(graft_batches *out, graft_data *d, const graft_transform *transform,
                      const graft_loader_options *options, graft_err *err) {
    graft_loader_options none = GRAFT_LOADER_OPTIONS_INIT;
    *out = (graft_batches){0};
    if (d->texts) return graft_text_loader_open(out, d, transform, options ? options : &none, err);
    loader *l = calloc(1, sizeof *l);
    if (!l) return graft_err_nomem(err);
    int rc = (l->arena = graft_arena_new(NULL)) ? 0 : graft_err_nomem(err);
    l->d = d;
    l->transform = transform;
    l->o = options ? *options : none;
    l->count = graft_transform_count(transform);
    if (l->o.threads <= 0) l->o.threads = graft_env_threads(d->env);
    if (l->o.threads > MAX_THREADS) l->o.threads = MAX_THREADS;
    l->n_classes = graft_data_n_classes(d);
    l->mixes =
        l->o.mix && l->n_classes > 0 && (transform->augment.mixup > 0 || transform->augment.cutmix > 0);
    if (rc == 0) rc = make_order(l, err);
    if (rc == 0) rc = make_slots(l, err);
    if (rc == 0) rc = make_locks(l, err);
    if (rc == 0) rc = start_workers(l, err);
    if (rc < 0) {
        close_loader(l);
        return rc;
    }
    *out = (graft_batches){l, l->n, l->n_batches, l->batch, begin, next, close_loader};
    return 0;
}
