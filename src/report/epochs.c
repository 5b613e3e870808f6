/* The epochs of a run, from its log, else from graft.json. A log may be long, or nonsense: lines are read one
 * after the other, and of very many epochs every so many-th is kept. */
#include "report/story.h"

#include <math.h>
#include <string.h>

enum { MOST_LOG = 64 << 20, MOST_LINE = 1 << 16, MOST_MOMENTS = 1 << 14 };

/* Epochs on their way into the story. */
typedef struct thinning {
    graft_story *s;
    size_t every, gathered; /* epochs that make a moment, and those that the next one has */
    double before, seconds; /* when the last epoch ended; that the next moment has taken */
} thinning;

static graft_moment moment_of(const graft_story *s, const json_t *o) {
    char name[64];
    snprintf(name, sizeof name, "val_%s", s->score_name);
    return (graft_moment){.epoch = graft_story_number(o, "epoch"),
                          .seconds = graft_story_number(o, "seconds"),
                          .lr = graft_story_number(o, "lr"),
                          .loss = graft_story_number(o, "loss"),
                          .accuracy = graft_story_number(o, "accuracy"),
                          .val_loss = graft_story_number(o, "val_loss"),
                          .val_score = graft_story_number(o, name)};
}

/* Of two moments one: the later, and the time of both. */
static void halve(thinning *t) {
    graft_story *s = t->s;
    for (size_t i = 0; i < s->n_moments / 2; i++) {
        double seconds = s->moments[2 * i].seconds;
        s->moments[i] = s->moments[2 * i + 1];
        if (isfinite(seconds)) s->moments[i].seconds += seconds;
    }
    s->n_moments /= 2;
    t->every *= 2;
}

/* What is told is the time since the phase began. */
static void take(thinning *t, graft_moment m) {
    graft_story *s = t->s;
    double now = m.seconds;
    m.seconds = now >= t->before ? now - t->before : now;
    t->before = now;
    s->n_epochs++;
    if (isfinite(m.seconds)) t->seconds += m.seconds;
    if (++t->gathered < t->every) return;
    if (s->n_moments == MOST_MOMENTS) halve(t);
    m.seconds = t->seconds;
    s->moments[s->n_moments++] = m;
    t->gathered = 0;
    t->seconds = 0.0;
}

/* The log has every epoch of every phase; a line that is no epoch, or no JSON, is passed over. */
static void read_log(graft_story *s, const char *path) {
    thinning t = {.s = s, .every = 1};
    graft_mapped log = {0};
    if (graft_file_map(&log, s->arena, path, NULL) < 0 || log.size > MOST_LOG) return;
    for (size_t at = 0, size; at < log.size; at += size + 1) {
        const char *line = (const char *)log.data + at;
        const char *end = memchr(line, '\n', log.size - at);
        if (!end) return; /* cut short by a kill */
        size = (size_t)(end - line);
        json_t *o = size && size <= MOST_LINE ? json_loadb(line, size, JSON_REJECT_DUPLICATES, NULL) : NULL;
        if (o && strcmp(graft_story_text(o, "event"), "epoch") == 0) take(&t, moment_of(s, o));
        json_decref(o);
    }
}

int graft_story_epochs(graft_story *s, graft_err *err) {
    const json_t *history = json_object_get(s->record, "history");
    char *path = graft_path_join(s->arena, s->folder, "run.jsonl");
    s->moments = graft_arena_array(s->arena, MOST_MOMENTS, sizeof *s->moments);
    if (!path || !s->moments) return graft_err_nomem(err);
    read_log(s, path);
    if (s->n_epochs >= json_array_size(history)) return 0;
    thinning t = {.s = s, .every = 1};
    s->n_epochs = s->n_moments = 0;
    for (size_t i = 0; i < json_array_size(history); i++) take(&t, moment_of(s, json_array_get(history, i)));
    return 0;
}
