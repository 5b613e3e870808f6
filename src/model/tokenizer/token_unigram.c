/* Unigram language model (Kudo 2018): the segmentation of the highest summed log probability, by Viterbi over
 * the positions of the text; from each, a trie gives the tokens that begin there. */
#include "model/tokenizer/token_private.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int compare_texts(const void *a, const void *b) {
    const graft_vocab_text *x = *(const graft_vocab_text *const *)a, *y = *(const graft_vocab_text *const *)b;
    int order = memcmp(x->text, y->text, x->size < y->size ? x->size : y->size);
    return order ? order : x->size < y->size ? -1 : x->size > y->size;
}

/* A node whose children are to be made: the sorted texts that it covers, and how much of them it stands for.
 */
typedef struct range {
    uint32_t begin, end, depth;
} range;

/* Breadth first, so that the children of a node lie side by side. */
static size_t build_nodes(graft_unigram *u, const graft_vocab_text *const *sorted,
                          const graft_vocab_text *texts, range *ranges, size_t n_sorted, size_t capacity) {
    size_t n = 1;
    ranges[0] = (range){0, (uint32_t)n_sorted, 0};
    for (size_t i = 0; i < n; i++) {
        graft_trie_node *node = &u->nodes[i];
        range r = ranges[i];
        node->id = -1;
        node->first = (uint32_t)n;
        if (r.begin < r.end && sorted[r.begin]->size == r.depth)
            node->id = (int32_t)(sorted[r.begin++] - texts);
        while (r.begin < r.end && n < capacity) {
            unsigned char label = (unsigned char)sorted[r.begin]->text[r.depth];
            uint32_t end = r.begin + 1;
            while (end < r.end && (unsigned char)sorted[end]->text[r.depth] == label) end++;
            u->labels[n] = label;
            ranges[n++] = (range){r.begin, end, r.depth + 1};
            node->n++;
            r.begin = end;
        }
    }
    return n;
}

static int build_trie(graft_tokenizer *t, graft_err *err) {
    graft_unigram *u = &t->unigram;
    size_t total = 1, n = 0;
    for (size_t i = 0; i < t->n_texts; i++) total += t->texts[i].size;
    if (total > UINT32_MAX / 4)
        return graft_err_set(err, GRAFT_EFORMAT, "%s: its vocabulary is too long", t->origin);
    const graft_vocab_text **sorted = calloc(t->n_texts + 1, sizeof *sorted);
    range *ranges = calloc(total, sizeof *ranges);
    u->nodes = calloc(total, sizeof *u->nodes);
    u->labels = calloc(total, 1);
    bool ok = sorted && ranges && u->nodes && u->labels;
    if (ok) {
        for (size_t i = 0; i < t->n_texts; i++)
            if (t->texts[i].size) sorted[n++] = &t->texts[i];
        qsort(sorted, n, sizeof *sorted, compare_texts);
        size_t used = build_nodes(u, sorted, t->texts, ranges, n, total);
        void *nodes = realloc(u->nodes, used * sizeof *u->nodes), *labels = realloc(u->labels, used);
        if (nodes) u->nodes = nodes;
        if (labels) u->labels = labels;
    }
    free(sorted);
    free(ranges);
    ok = graft_arena_defer(t->arena, free, u->nodes) == 0 && ok;
    ok = graft_arena_defer(t->arena, free, u->labels) == 0 && ok;
    return ok ? 0 : graft_err_nomem(err);
}

int graft_unigram_build(graft_tokenizer *t, const double *scores, size_t n, graft_err *err) {
    graft_unigram *u = &t->unigram;
    double least = INFINITY;
    for (size_t i = 0; i < n; i++)
        if (scores[i] < least) least = scores[i];
    u->scores = scores;
    u->unknown_score = least - 10; /* as SentencePiece has it */
    u->unknown = t->unknown;
    for (int i = 0; i < 256; i++) {
        static const char digits[] = "0123456789ABCDEF";
        const char text[6] = {'<', '0', 'x', digits[i >> 4], digits[i & 15], '>'};
        u->bytes[i] = graft_vocab_find(&t->vocab, text, 6);
    }
    return build_trie(t, err);
}

/* The child of a node by its label, or 0. */
static uint32_t child_of(const graft_unigram *u, uint32_t node, unsigned char label) {
    uint32_t low = u->nodes[node].first, high = low + u->nodes[node].n;
    while (high - low > 4) {
        uint32_t middle = (low + high) / 2;
        if (u->labels[middle] <= label)
            low = middle;
        else
            high = middle;
    }
    for (; low < high; low++)
        if (u->labels[low] == label) return low;
    return 0;
}

/* The best way to a position: the token that ends there. */
typedef struct best {
    double score;
    uint32_t begin; /* UINT32_MAX: no way yet */
    int32_t id;
} best;

static void offer(best *b, double score, size_t begin, int32_t id) {
    if (b->begin != UINT32_MAX && score <= b->score) return;
    *b = (best){score, (uint32_t)begin, id};
}

static int no_unknown(const graft_tokenizer *t, const char *text, size_t size, graft_err *err) {
    return graft_err_set(err, GRAFT_EDATA, "%s: '%.*s' is not in the vocabulary, which has no unknown token",
                         t->origin, (int)(size < 40 ? size : 40), text);
}

static int find_best(const graft_tokenizer *t, best *ends, const char *text, size_t size, graft_err *err) {
    const graft_unigram *u = &t->unigram;
    for (size_t i = 0; i <= size; i++) ends[i] = (best){0, UINT32_MAX, 0};
    uint32_t n;
    for (size_t at = 0; at < size; at += n) {
        graft_utf8_get(text + at, &n);
        double score = ends[at].score;
        bool single = false;
        uint32_t node = 0;
        for (size_t end = at; end < size && (node = child_of(u, node, (unsigned char)text[end])) != 0;) {
            int32_t id = u->nodes[node].id;
            end++;
            if (id < 0) continue;
            offer(&ends[end], u->scores[id] + score, at, id);
            if (end - at == n) single = true;
        }
        if (single) continue;
        if (u->unknown < 0) return no_unknown(t, text + at, n, err);
        offer(&ends[at + n], u->unknown_score + score, at, u->unknown);
    }
    return 0;
}

/* A run of unknown characters is one token, or its bytes where all are in the vocabulary. */
static int put_unknown(const graft_tokenizer *t, graft_token_scratch *s, const char *text, size_t begin,
                       size_t end, graft_err *err) {
    const graft_unigram *u = &t->unigram;
    int32_t id = graft_vocab_find(&t->vocab, text + begin, end - begin);
    if (id >= 0) return graft_found_add(s, id, begin, end, err);
    bool all = u->byte_fallback;
    for (size_t i = begin; all && i < end; i++) all = u->bytes[(unsigned char)text[i]] >= 0;
    if (!all) return graft_found_add(s, u->unknown, begin, end, err);
    int rc = 0;
    for (size_t i = begin; rc == 0 && i < end; i++)
        rc = graft_found_add(s, u->bytes[(unsigned char)text[i]], begin, end, err);
    return rc;
}

int graft_unigram_run(const graft_tokenizer *t, graft_token_scratch *s, const char *text, size_t size,
                      graft_err *err) {
    const graft_unigram *u = &t->unigram;
    int rc = graft_token_reserve(&s->numbers, &s->numbers_capacity,
                                 (size + 1) * (sizeof(best) / sizeof *s->numbers), sizeof *s->numbers, err);
    best *ends = (best *)(void *)s->numbers;
    if (rc == 0) rc = find_best(t, ends, text, size, err);
    if (rc < 0) return rc;
    /* the way back is turned round by writing each position's successor into its id's place */
    size_t at = size;
    uint32_t next = UINT32_MAX;
    while (at > 0) {
        uint32_t begin = ends[at].begin;
        ends[at].begin = next;
        next = (uint32_t)at;
        at = begin;
    }
    for (at = 0; rc == 0 && next != UINT32_MAX;) {
        size_t end = next;
        bool unknown = u->unknown >= 0 && ends[end].id == u->unknown;
        int32_t id = ends[end].id;
        next = ends[end].begin;
        while (unknown && next != UINT32_MAX && ends[next].id == u->unknown) {
            end = next;
            next = ends[end].begin;
        }
        rc = unknown ? put_unknown(t, s, text, at, end, err) : graft_found_add(s, id, at, end, err);
        at = end;
    }
    return rc;
}
