#include "base/threads.h"

#include "base/base.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

/* What the workers share: the next index to take, and the lowest index that failed. */
typedef struct loop {
    atomic_size_t next;
    atomic_bool stop;
    size_t n;
    int (*fn)(void *user, size_t i, int thread);
    void *user;
    pthread_mutex_t lock; /* guards what follows */
    size_t failed_at;
    int code;
} loop;

typedef struct worker {
    loop *l;
    int thread;
    pthread_t id;
} worker;

static void *work(void *arg) {
    const worker *w = arg;
    loop *l = w->l;
    while (!atomic_load_explicit(&l->stop, memory_order_relaxed)) {
        size_t i = atomic_fetch_add_explicit(&l->next, 1, memory_order_relaxed);
        if (i >= l->n) break;
        int rc = l->fn(l->user, i, w->thread);
        if (rc >= 0) continue;
        pthread_mutex_lock(&l->lock);
        if (l->code == 0 || i < l->failed_at) {
            l->code = rc;
            l->failed_at = i;
        }
        pthread_mutex_unlock(&l->lock);
        atomic_store_explicit(&l->stop, true, memory_order_relaxed);
    }
    return NULL;
}

static int run_alone(size_t n, int (*fn)(void *user, size_t i, int thread), void *user) {
    for (size_t i = 0; i < n; i++) {
        int rc = fn(user, i, 0);
        if (rc < 0) return rc;
    }
    return 0;
}

int graft_parallel_for(int threads, size_t n, int (*fn)(void *user, size_t i, int thread), void *user) {
    if ((size_t)(threads > 1 ? threads : 1) > n) threads = n > 1 ? (int)n : 1;
    worker *workers = threads > 1 ? calloc((size_t)threads, sizeof *workers) : NULL;
    if (!workers) return run_alone(n, fn, user);
    loop l = {.n = n, .fn = fn, .user = user};
    pthread_mutex_init(&l.lock, NULL);
    int started = 1; /* the caller is thread 0; with fewer threads than asked for the work is still done */
    for (; started < threads; started++) {
        workers[started] = (worker){.l = &l, .thread = started};
        if (pthread_create(&workers[started].id, NULL, work, &workers[started]) != 0) break;
    }
    workers[0] = (worker){.l = &l};
    work(&workers[0]);
    for (int t = 1; t < started; t++) pthread_join(workers[t].id, NULL);
    pthread_mutex_destroy(&l.lock);
    free(workers);
    return l.code;
}
