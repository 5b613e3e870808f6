/* Byte-pair encoding (Sennrich, Haddow and Birch 2016): of all neighbouring symbols those merge first whose
 * merge has the lowest rank, the leftmost of equals. */
#include "model/tokenizer/token_private.h"
#include <stdlib.h>
#include <string.h>

static uint32_t pair_hash(uint32_t left, uint32_t right) {
    uint64_t x = ((uint64_t)left << 32 | right) * 0x9e3779b97f4a7c15u;
    return (uint32_t)(x >> 32);
}

static const graft_merge *find_merge(const graft_bpe *b, int32_t left, int32_t right) {
    for (uint32_t i = pair_hash((uint32_t)left, (uint32_t)right) & b->mask;; i = (i + 1) & b->mask) {
        const graft_merge *m = &b->merges[i];
        if (m->left == UINT32_MAX) return NULL;
        if (m->left == (uint32_t)left && m->right == (uint32_t)right) return m;
    }
}

static int bad_merge(const graft_tokenizer *t, size_t i, const graft_vocab_text *part, graft_err *err) {
    return graft_err_set(err, GRAFT_EFORMAT, "%s: merge %zu speaks of '%s', which is not in the vocabulary",
                         t->origin, i, part->text);
}

static int32_t find_text(const graft_tokenizer *t, const graft_vocab_text *x) {
    return graft_vocab_find(&t->vocab, x->text, x->size);
}

static int add_merge(graft_tokenizer *t, const graft_vocab_text pair[2], size_t rank, graft_buf *joined,
                     graft_err *err) {
    graft_bpe *b = &t->bpe;
    int32_t left = find_text(t, &pair[0]), right = find_text(t, &pair[1]);
    if (left < 0 || right < 0) return bad_merge(t, rank, &pair[left >= 0], err);
    uint32_t skip = pair[1].size < b->prefix_size ? pair[1].size : b->prefix_size;
    graft_buf_clear(joined);
    graft_buf_append(joined, pair[0].text, pair[0].size);
    graft_buf_append(joined, pair[1].text + skip, pair[1].size - skip);
    if (joined->failed) return graft_err_nomem(err);
    const graft_vocab_text whole = {joined->data, (uint32_t)joined->size};
    int32_t id = find_text(t, &whole);
    if (id < 0) return bad_merge(t, rank, &whole, err);
    uint32_t i = pair_hash((uint32_t)left, (uint32_t)right) & b->mask;
    while (b->merges[i].left != UINT32_MAX &&
           (b->merges[i].left != (uint32_t)left || b->merges[i].right != (uint32_t)right))
        i = (i + 1) & b->mask;
    /* a pair that stands there twice has the later rank, as in the reference */
    b->merges[i] = (graft_merge){(uint32_t)left, (uint32_t)right, (uint32_t)rank, id};
    return 0;
}

/* Ids of the 256 bytes, and what ignore_merges looks whole words up in. */
static int build_bytes(graft_tokenizer *t, graft_err *err) {
    graft_bpe *b = &t->bpe;
    for (int i = 0; i < 256; i++) {
        char text[8];
        static const char digits[] = "0123456789ABCDEF";
        uint32_t size = 6;
        if (b->raw)
            size = graft_utf8_put(text, graft_byte_to_char((unsigned char)i));
        else
            memcpy(text, (const char[]){'<', '0', 'x', digits[i >> 4], digits[i & 15], '>'}, 6);
        b->bytes[i] = graft_vocab_find(&t->vocab, text, size);
    }
    if (!b->raw || !b->ignore_merges) return 0;
    if (graft_vocab_init(&b->whole, t->arena, t->vocab.n) < 0) return graft_err_nomem(err);
    for (size_t i = 0; i < t->n_texts; i++) {
        const graft_vocab_text *x = &t->texts[i];
        if (!x->text) continue;
        char *bytes = graft_arena_alloc(t->arena, x->size + 1);
        if (!bytes) return graft_err_nomem(err);
        uint32_t n = 0, step;
        int byte = 0;
        for (uint32_t k = 0; k < x->size && byte >= 0; k += step) {
            byte = graft_char_to_byte(graft_utf8_get(x->text + k, &step));
            if (byte >= 0) bytes[n++] = (char)byte;
        }
        if (byte >= 0 && n > 0) graft_vocab_add(&b->whole, bytes, n, (int32_t)i);
    }
    return 0;
}

int graft_bpe_build(graft_tokenizer *t, const graft_vocab_text (*merges)[2], size_t n, graft_err *err) {
    graft_bpe *b = &t->bpe;
    size_t slots = 16;
    while (slots < 2 * n) slots *= 2;
    b->merges = graft_arena_array(t->arena, slots, sizeof *b->merges);
    if (!b->merges) return graft_err_nomem(err);
    b->mask = (uint32_t)(slots - 1);
    for (size_t i = 0; i < slots; i++) b->merges[i].left = UINT32_MAX;
    graft_buf joined;
    graft_buf_init(&joined, 0);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) rc = add_merge(t, merges[i], i, &joined, err);
    graft_buf_done(&joined);
    return rc < 0 ? rc : build_bytes(t, err);
}

/* ---- Symbols ---- */

typedef struct symbol {
    int32_t id;
    uint32_t size; /* bytes of the word; 0: merged away */
    uint32_t previous, next;
} symbol;

enum { NONE = UINT32_MAX, WORDS = sizeof(symbol) / sizeof(uint32_t), FEW = 48 };

typedef struct word {
    graft_token_scratch *s;
    symbol *symbols;
    size_t n;
    uint32_t unknown; /* bytes of the unknown symbol that is still open, 0: none */
    bool missing;     /* the unknown token that the file names is wanted, and not in the vocabulary */
} word;

static void add_symbol(word *w, int32_t id, uint32_t size) {
    w->symbols[w->n] = (symbol){id, size, (uint32_t)(w->n ? w->n - 1 : NONE), (uint32_t)(w->n + 1)};
    w->n++;
}

static void close_unknown(const graft_tokenizer *t, word *w) {
    if (w->unknown) add_symbol(w, t->unknown, w->unknown);
    w->unknown = 0;
}

/* What is in no vocabulary: its bytes, or an unknown token, or (without one) nothing. */
static void add_unknown(const graft_tokenizer *t, word *w, const char *text, uint32_t size,
                        uint32_t counted) {
    const graft_bpe *b = &t->bpe;
    bool all = b->byte_fallback && size > 0;
    for (uint32_t i = 0; all && i < size; i++) all = b->bytes[(unsigned char)text[i]] >= 0;
    if (all) {
        for (uint32_t i = 0; i < size; i++) add_symbol(w, b->bytes[(unsigned char)text[i]], 1);
        return;
    }
    w->missing |= t->unknown_named && t->unknown < 0;
    if (t->unknown < 0) return;
    if (!b->fuse_unknown) close_unknown(t, w);
    w->unknown += counted;
}

/* A symbol with the prefix of those that continue a word and the suffix of those that end it. */
static int add_char(const graft_tokenizer *t, word *w, const char *text, uint32_t n, bool first, bool last,
                    graft_buf *b, graft_err *err) {
    const graft_bpe *bpe = &t->bpe;
    const char *symbol_text = text;
    uint32_t size = n;
    if ((!first && bpe->prefix_size) || (last && bpe->suffix_size)) {
        graft_buf_clear(b);
        if (!first) graft_buf_append(b, bpe->prefix, bpe->prefix_size);
        graft_buf_append(b, text, n);
        if (last) graft_buf_append(b, bpe->suffix, bpe->suffix_size);
        if (b->failed) return graft_err_nomem(err);
        symbol_text = b->data;
        size = (uint32_t)b->size;
    }
    int32_t id = graft_vocab_find(&t->vocab, symbol_text, size);
    if (id >= 0) {
        close_unknown(t, w);
        add_symbol(w, id, n);
    } else {
        add_unknown(t, w, symbol_text, size, n);
    }
    return 0;
}

static int split_chars(const graft_tokenizer *t, word *w, const char *text, size_t size, graft_err *err) {
    graft_buf b;
    graft_buf_init(&b, 0);
    int rc = 0;
    uint32_t n;
    for (size_t i = 0; rc == 0 && i < size; i += n) {
        graft_utf8_get(text + i, &n);
        rc = add_char(t, w, text + i, n, i == 0, i + n >= size, &b, err);
    }
    graft_buf_done(&b);
    close_unknown(t, w);
    return rc;
}

static void split_bytes(const graft_tokenizer *t, word *w, const char *text, size_t size) {
    for (size_t i = 0; i < size; i++) {
        int32_t id = t->bpe.bytes[(unsigned char)text[i]];
        if (id >= 0) {
            close_unknown(t, w);
            add_symbol(w, id, 1);
        } else {
            add_unknown(t, w, "", 0, 1);
        }
    }
    close_unknown(t, w);
}

/* Few symbols: the best pair is looked for each time; their ranks are kept beside them. */
static void merge_few(const graft_bpe *b, word *w) {
    const graft_merge *pairs[FEW];
    size_t n = w->n;
    symbol *x = w->symbols;
    for (size_t i = 0; i + 1 < n; i++) pairs[i] = find_merge(b, x[i].id, x[i + 1].id);
    while (n > 1) {
        size_t best = 0;
        uint32_t rank = UINT32_MAX;
        for (size_t i = 0; i + 1 < n; i++) {
            if (pairs[i] && pairs[i]->rank < rank) {
                rank = pairs[i]->rank;
                best = i;
            }
        }
        if (rank == UINT32_MAX) break;
        x[best].id = pairs[best]->id;
        x[best].size += x[best + 1].size;
        n--;
        memmove(x + best + 1, x + best + 2, (n - best - 1) * sizeof *x);
        if (best + 1 < n) memmove(pairs + best, pairs + best + 1, (n - best - 1) * sizeof(void *));
        if (best + 1 < n) pairs[best] = find_merge(b, x[best].id, x[best + 1].id);
        if (best > 0) pairs[best - 1] = find_merge(b, x[best - 1].id, x[best].id);
    }
    w->n = n;
}

/* A heap of (rank, position), the least on top. */
static void heap_push(uint64_t *heap, size_t *n, uint64_t key) {
    size_t i = (*n)++;
    for (; i > 0 && heap[(i - 1) / 2] > key; i = (i - 1) / 2) heap[i] = heap[(i - 1) / 2];
    heap[i] = key;
}

static uint64_t heap_pop(uint64_t *heap, size_t *n) {
    uint64_t top = heap[0], key = heap[--*n];
    size_t i = 0;
    for (size_t child = 1; child < *n; child = 2 * i + 1) {
        if (child + 1 < *n && heap[child + 1] < heap[child]) child++;
        if (heap[child] >= key) break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = key;
    return top;
}

static void push_pair(const graft_bpe *b, const symbol *x, uint32_t left, size_t n_symbols, uint64_t *heap,
                      size_t *n) {
    if (left == NONE || x[left].next >= n_symbols) return;
    const graft_merge *m = find_merge(b, x[left].id, x[x[left].next].id);
    if (m) heap_push(heap, n, (uint64_t)m->rank << 32 | left);
}

/* Many symbols: a queue, whose entries are checked when they come up. */
static void merge_many(const graft_bpe *b, word *w, uint64_t *heap) {
    symbol *x = w->symbols;
    size_t n = 0, count = w->n, kept = 0;
    for (size_t i = 0; i + 1 < count; i++) push_pair(b, x, (uint32_t)i, count, heap, &n);
    while (n > 0) {
        uint64_t top = heap_pop(heap, &n);
        uint32_t at = (uint32_t)top, next = x[at].next;
        if (!x[at].size || next >= count) continue;
        const graft_merge *m = find_merge(b, x[at].id, x[next].id);
        if (!m || m->rank != top >> 32) continue;
        x[at].id = m->id;
        x[at].size += x[next].size;
        x[at].next = x[next].next;
        x[next].size = 0;
        if (x[at].next < count) x[x[at].next].previous = at;
        push_pair(b, x, x[at].previous, count, heap, &n);
        push_pair(b, x, at, count, heap, &n);
    }
    for (size_t i = 0; i < count; i++)
        if (x[i].size) x[kept++] = x[i];
    w->n = kept;
}

int graft_bpe_run(const graft_tokenizer *t, graft_token_scratch *s, const char *text, size_t size,
                  graft_err *err) {
    const graft_bpe *b = &t->bpe;
    if (b->ignore_merges) {
        int32_t id = graft_vocab_find(b->raw ? &b->whole : &t->vocab, text, size);
        if (id >= 0) return graft_found_add(s, id, 0, size, err);
    }
    /* symbols, then a heap of three entries a symbol at most: each merge adds two and takes one */
    size_t most = b->byte_fallback ? size + b->suffix_size + (size_t)b->prefix_size * size : size;
    int rc = graft_token_reserve(&s->numbers, &s->numbers_capacity, most * (WORDS + 6) + 2,
                                 sizeof *s->numbers, err);
    if (rc < 0) return rc;
    word w = {.s = s, .symbols = (symbol *)s->numbers};
    if (b->raw)
        split_bytes(t, &w, text, size);
    else
        rc = split_chars(t, &w, text, size, err);
    if (rc == 0 && w.missing)
        rc = graft_err_set(err, GRAFT_EDATA,
                           "%s: '%.*s' needs the unknown token, which is not in the vocabulary", t->origin,
                           (int)(size < 40 ? size : 40), text);
    if (rc < 0) return rc;
    if (w.n <= FEW)
        merge_few(b, &w);
    else
        merge_many(b, &w, (uint64_t *)(void *)(s->numbers + WORDS * most));
    size_t at = 0;
    for (size_t i = 0; rc == 0 && i < w.n; i++) {
        rc = graft_found_add(s, w.symbols[i].id, at, at + w.symbols[i].size, err);
        at += w.symbols[i].size;
    }
    return rc;
}
