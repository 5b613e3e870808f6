/* Signals are waited for by a thread of their own, so that nothing has to be safe in a handler: the first
 * SIGINT or SIGTERM asks the work to stop, a second one ends the process as if nobody had watched. */
#include "cli/cli.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

struct graft_signals {
    graft_env *env;
    sigset_t set;
    pthread_t thread;
    atomic_bool ended;
};

/* The next signal that asks to stop; 0 when the watch is over. */
static int wait_for_one(graft_signals *s) {
    int number = 0;
    do {
        if (sigwait(&s->set, &number) != 0 || atomic_load(&s->ended)) return 0;
    } while (number == SIGUSR2);
    return number;
}

static void *watch(void *user) {
    graft_signals *s = user;
    if (!wait_for_one(s)) return NULL;
    graft_env_cancel(s->env);
    int number = wait_for_one(s);
    if (!number) return NULL;
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigaction(number, &action, NULL);
    pthread_sigmask(SIG_UNBLOCK, &s->set, NULL);
    raise(number);
    return NULL;
}

int graft_signals_watch(graft_signals **out, graft_env *env, graft_err *err) {
    *out = NULL;
    graft_signals *s = calloc(1, sizeof *s);
    if (!s) return graft_err_nomem(err);
    s->env = env;
    sigemptyset(&s->set);
    sigaddset(&s->set, SIGINT);
    sigaddset(&s->set, SIGTERM);
    sigaddset(&s->set, SIGUSR2); /* wakes the thread, to end it */
    if (pthread_sigmask(SIG_BLOCK, &s->set, NULL) != 0 || pthread_create(&s->thread, NULL, watch, s) != 0) {
        free(s);
        return graft_err_set(err, GRAFT_EIO, "cannot make a thread");
    }
    *out = s;
    return 0;
}

void graft_signals_end(graft_signals *s) {
    if (!s) return;
    atomic_store(&s->ended, true);
    pthread_kill(s->thread, SIGUSR2);
    pthread_join(s->thread, NULL);
    free(s);
}
