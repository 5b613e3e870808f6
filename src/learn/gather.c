/* Windows and words to answers; gather.h says how. */
#include "learn/gather.h"

#include <string.h>

int graft_gather_init(graft_gather *g, graft_arena *arena, graft_task task, const char *const *labels,
                      int64_t k, graft_err *err) {
    *g = (graft_gather){.task = task, .k = k, .arena = arena};
    g->target = graft_arena_array(arena, (size_t)k + 1, sizeof *g->target);
    if (!g->target) return graft_err_nomem(err);
    return task == GRAFT_TASK_TAGGING ? graft_tag_steps(&g->allowed, arena, labels, (size_t)k, err) : 0;
}

int graft_gather_field(graft_gather *g, const float *transitions, const float *start, const float *end,
                       graft_err *err) {
    size_t k = (size_t)g->k;
    if (!g->field) g->field = graft_arena_array(g->arena, (k + 2) * k, sizeof *g->field);
    if (!g->field) return graft_err_nomem(err);
    memcpy(g->field, transitions, k * k * sizeof *g->field);
    memcpy(g->field + k * k, start, k * sizeof *g->field);
    memcpy(g->field + (k + 1) * k, end, k * sizeof *g->field);
    return 0;
}

bool graft_gather_continues(const graft_gather *g, const graft_batch *b, int64_t i) {
    return g->is_open && b->windows && b->windows[i] > 0 && b->samples[i] == g->last + 1;
}

/* What was there is kept. */
static int reserve(graft_gather *g, int64_t rows, graft_err *err) {
    if (rows <= g->room) return 0;
    size_t room = (size_t)rows + (size_t)rows / 2, k = (size_t)g->k, n = (size_t)g->n;
    float *logits = graft_arena_array(g->arena, room * k, sizeof *logits);
    int32_t *columns = graft_arena_array(g->arena, 4 * room, sizeof *columns);
    if (!logits || !columns) return graft_err_nomem(err);
    int32_t **arrays[] = {&g->words, &g->labels, &g->predicted, &g->context};
    if (n) memcpy(logits, g->logits, n * k * sizeof *logits);
    for (size_t a = 0; a < GRAFT_COUNT(arrays); a++) {
        if (n) memcpy(columns + a * room, *arrays[a], n * sizeof *columns);
        *arrays[a] = columns + a * room;
    }
    g->logits = logits;
    g->room = (int64_t)room;
    return 0;
}

/* ---- Whole texts ---- */

static int add_whole(graft_gather *g, const graft_batch *b, int64_t i, const float *logits, graft_err *err) {
    size_t k = (size_t)g->k;
    int rc = reserve(g, 1, err);
    if (rc < 0) return rc;
    if (g->n_windows == 0) {
        memcpy(g->logits, logits, k * sizeof *logits);
        g->labels[0] = b->labels ? b->labels[i] : -1;
        if (b->targets) memcpy(g->target, b->targets + (size_t)i * k, k * sizeof *g->target);
        g->n = 1;
        return 0;
    }
    for (size_t c = 0; c < k; c++) g->logits[c] += logits[c];
    return 0;
}

/* ---- Words ---- */

/* The row of a word, before which a new one belongs where there is none. Words come in rising order, save
 * where windows overlap. */
static int64_t place_of(const graft_gather *g, int32_t word) {
    int64_t at = g->n;
    while (at > 0 && g->words[at - 1] >= word) at--;
    return at;
}

/* Makes a row before row `at`. */
static void open_row(graft_gather *g, int64_t at) {
    size_t behind = (size_t)(g->n - at), k = (size_t)g->k;
    if (behind) {
        memmove(g->logits + (size_t)(at + 1) * k, g->logits + (size_t)at * k, behind * k * sizeof *g->logits);
        memmove(g->words + at + 1, g->words + at, behind * sizeof *g->words);
        memmove(g->labels + at + 1, g->labels + at, behind * sizeof *g->labels);
        memmove(g->context + at + 1, g->context + at, behind * sizeof *g->context);
    }
    g->n++;
}

static int add_words(graft_gather *g, const graft_batch *b, int64_t i, const float *logits, graft_err *err) {
    const int32_t first = b->spans[2 * i], n = b->spans[2 * i + 1];
    size_t k = (size_t)g->k;
    int rc = reserve(g, g->n + n, err);
    for (int32_t t = 0; t < n && rc == 0; t++) {
        int32_t word = b->token_words[first + t], context = t < n - 1 - t ? t : n - 1 - t;
        if (word < 0) continue;
        int64_t at = place_of(g, word);
        bool known = at < g->n && g->words[at] == word;
        if (known && g->context[at] >= context) continue;
        if (!known) open_row(g, at);
        memcpy(g->logits + (size_t)at * k, logits + (size_t)t * k, k * sizeof *logits);
        g->words[at] = word;
        g->labels[at] = b->token_labels[first + t];
        g->context[at] = context;
    }
    return rc;
}

int graft_gather_add(graft_gather *g, const graft_batch *b, int64_t i, const float *logits, graft_err *err) {
    if (!g->is_open) {
        g->is_open = true;
        g->n = g->n_windows = 0;
        g->sample = b->samples ? b->samples[i] - (b->windows ? b->windows[i] : 0) : i;
    }
    g->last = b->samples ? b->samples[i] : i;
    int rc =
        g->task == GRAFT_TASK_TAGGING ? add_words(g, b, i, logits, err) : add_whole(g, b, i, logits, err);
    g->n_windows++;
    return rc;
}

static int decide(graft_gather *g, graft_err *err) {
    if (g->field) {
        const graft_crf crf = {.k = g->k,
                               .transitions = g->field,
                               .start = g->field + g->k * g->k,
                               .end = g->field + (g->k + 1) * g->k,
                               .allowed = g->allowed};
        return graft_crf_decode(&crf, g->logits, g->n, g->predicted, NULL, err);
    }
    for (int64_t i = 0; i < g->n; i++) {
        const float *z = g->logits + i * g->k;
        int32_t best = 0;
        for (int32_t c = 1; c < g->k; c++)
            if (z[c] > z[best]) best = c;
        g->predicted[i] = best;
    }
    return 0;
}

int graft_gather_end(graft_gather *g, graft_err *err) {
    int rc = 0;
    if (g->task == GRAFT_TASK_TAGGING)
        rc = decide(g, err);
    else if (g->n_windows > 1)
        for (int64_t c = 0; c < g->k; c++) g->logits[c] /= (float)g->n_windows;
    g->is_open = false;
    return rc;
}
