/* Text being rewritten, with the ranges of the input that its bytes stem from. */
#include "model/tokenizer/token_private.h"
#include <stdlib.h>
#include <string.h>

int graft_token_reserve(void *memory, size_t *capacity, size_t n, size_t size, graft_err *err) {
    if (n <= *capacity) return 0;
    size_t want = *capacity + *capacity / 2, bytes;
    if (want < n) want = n;
    if (want < 64) want = 64;
    void *old;
    memcpy(&old, memory, sizeof old);
    void *grown = graft_size_mul(want, size, &bytes) ? realloc(old, bytes) : NULL;
    if (!grown) return graft_err_nomem(err);
    memcpy(memory, &grown, sizeof grown);
    *capacity = want;
    return 0;
}

void graft_scratch_begin(graft_token_scratch *s, const char *input, size_t size) {
    size_t limit = size * 64 + 65536, most = (size_t)4 * GRAFT_TEXT_MAX;
    s->input = s->text = input;
    s->input_size = (uint32_t)size;
    s->identity = true;
    s->made.limit = s->work.limit = s->other.limit = s->spare.limit = (uint32_t)(limit < most ? limit : most);
}

int graft_aligned_reserve(graft_aligned *a, size_t n, graft_err *err) {
    if (n <= a->capacity) return 0;
    if (n > a->limit)
        return graft_err_set(err, GRAFT_EDATA, "the text grows past %u bytes when it is normalised",
                             (unsigned)a->limit);
    size_t want = (size_t)a->capacity + a->capacity / 2;
    if (want < n) want = n;
    if (want < 64) want = 64;
    char *bytes = realloc(a->bytes, want);
    if (bytes) a->bytes = bytes;
    uint32_t(*from)[2] = bytes ? realloc(a->from, want * sizeof *from) : NULL;
    if (!from) return graft_err_nomem(err);
    a->from = from;
    a->capacity = (uint32_t)want;
    return 0;
}

void graft_pieces_swap(graft_token_scratch *s) {
    graft_piece *pieces = s->pieces;
    size_t capacity = s->pieces_capacity;
    s->pieces = s->next;
    s->pieces_capacity = s->next_capacity;
    s->n_pieces = s->n_next;
    s->next = pieces;
    s->next_capacity = capacity;
    s->n_next = 0;
}

static uint32_t origin_of(const graft_token_scratch *s, uint32_t at) {
    if (!s->identity) return s->made.from[at][0];
    while (at > 0 && !graft_utf8_begins(s->input, at)) at--;
    return at;
}

int graft_pieces_add(graft_token_scratch *s, uint32_t begin, uint32_t end, int32_t token, graft_err *err) {
    if (begin == end) return 0; /* empty pieces are dropped wherever they arise */
    if (s->n_next == s->next_capacity) {
        int rc = graft_token_reserve(&s->next, &s->next_capacity, s->n_next + 1, sizeof *s->next, err);
        if (rc < 0) return rc;
    }
    s->next[s->n_next++] = (graft_piece){begin, end, origin_of(s, begin), token};
    return 0;
}

int graft_span_add(graft_token_scratch *s, uint32_t begin, uint32_t end, bool match, graft_err *err) {
    if (s->n_spans == s->spans_capacity) {
        int rc = graft_token_reserve(&s->spans, &s->spans_capacity, s->n_spans + 1, sizeof *s->spans, err);
        if (rc < 0) return rc;
    }
    s->spans[s->n_spans++] = (graft_span){begin, end, match};
    return 0;
}

int graft_found_add(graft_token_scratch *s, int32_t id, size_t begin, size_t end, graft_err *err) {
    if (s->n_found == s->found_capacity) {
        int rc = graft_token_reserve(&s->found, &s->found_capacity, s->n_found + 1, sizeof *s->found, err);
        if (rc < 0) return rc;
    }
    s->found[s->n_found++] = (graft_found){id, (uint32_t)begin, (uint32_t)end};
    return 0;
}

static uint32_t char_size(const char *s) {
    unsigned char c = (unsigned char)*s;
    return c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

/* The reference rewrites the part of a text that stems from its input: bytes at the beginning that stem from
 * nothing are kept out of it, and characters are then taken for their neighbours. Its offsets show that, so
 * it is followed here. */
void graft_token_rewrite_begin(graft_token_rewrite *w, graft_token_scratch *s, uint32_t origin, uint32_t skip,
                               graft_err *err) {
    const graft_aligned *from = &s->work;
    *w = (graft_token_rewrite){.s = s, .end = from->size, .origin = origin, .err = err};
    s->other.size = 0;
    uint32_t kept = 0;
    while (kept < from->size && from->from[kept][0] == from->from[kept][1]) kept++;
    if (kept > 0) {
        w->rc = graft_aligned_reserve(&s->other, kept, err);
        if (w->rc < 0) return;
        memcpy(s->other.bytes, from->bytes, kept);
        memcpy(s->other.from, from->from, kept * sizeof *from->from);
        s->other.size = kept;
    }
    w->at = kept;
    for (; skip > 0 && w->at < w->end; skip--) w->at += char_size(from->bytes + w->at);
}

void graft_token_rewrite_put(graft_token_rewrite *w, uint32_t c, int64_t change) {
    graft_aligned *from = &w->s->work, *to = &w->s->other;
    if (w->rc < 0 || (w->rc = graft_aligned_reserve(to, (size_t)to->size + 4, w->err)) < 0) return;
    uint32_t source[2] = {w->origin, w->origin};
    if (change > 0 ? w->at > 0 : w->at < from->size) {
        memcpy(source, from->from[w->at - (change > 0)], sizeof source);
    } else if (change <= 0 && from->size > 0) {
        source[0] = source[1] = from->from[from->size - 1][1];
    }
    for (; change <= 0 && w->at < w->end; change++) w->at += char_size(from->bytes + w->at);
    uint32_t n = graft_utf8_put(to->bytes + to->size, c);
    for (uint32_t i = 0; i < n; i++) memcpy(to->from[to->size + i], source, sizeof source);
    to->size += n;
}

static void swap_work(graft_token_scratch *s) {
    graft_aligned work = s->work;
    s->work = s->other;
    s->other = work;
}

int graft_token_rewrite_end(graft_token_rewrite *w) {
    if (w->rc == 0) swap_work(w->s);
    return w->rc;
}

int graft_aligned_replace(graft_token_scratch *s, const char *content, uint32_t size, uint32_t origin,
                          graft_err *err) {
    const graft_aligned *from = &s->work;
    graft_aligned *to = &s->other;
    to->size = 0;
    for (size_t i = 0; i < s->n_spans; i++) {
        const graft_span *span = &s->spans[i];
        uint32_t n = span->match ? size : span->end - span->begin, source[2] = {origin, origin};
        int rc = graft_aligned_reserve(to, (size_t)to->size + n, err);
        if (rc < 0) return rc;
        if (n) memcpy(to->bytes + to->size, span->match ? content : from->bytes + span->begin, n);
        if (span->end > 0) memcpy(source, from->from[span->end - 1], sizeof source);
        for (uint32_t k = 0; k < n; k++)
            memcpy(to->from[to->size + k], span->match ? source : from->from[span->begin + k], sizeof source);
        to->size += n;
    }
    swap_work(s);
    return 0;
}

int graft_aligned_prepend(graft_token_scratch *s, const char *content, uint32_t size, graft_err *err) {
    graft_aligned *a = &s->work;
    if (!a->size || !size) return 0;
    int rc = graft_aligned_reserve(a, (size_t)a->size + size, err);
    if (rc < 0) return rc;
    memmove(a->bytes + size, a->bytes, a->size);
    memmove(a->from + size, a->from, a->size * sizeof *a->from);
    memcpy(a->bytes, content, size);
    for (uint32_t i = 0; i < size; i++) memcpy(a->from[i], a->from[size], sizeof *a->from);
    a->size += size;
    return 0;
}

/* Alignments of text that is the input's: of each byte, the character it is of. */
static void align_identity(uint32_t (*from)[2], const char *input, uint32_t begin, uint32_t end) {
    for (uint32_t i = begin; i < end;) {
        uint32_t n = char_size(input + i);
        for (uint32_t k = i; k < i + n && k < end; k++) {
            from[k - begin][0] = i;
            from[k - begin][1] = i + n;
        }
        i += n;
    }
}

int graft_text_align(graft_token_scratch *s, graft_err *err) {
    if (!s->identity) return 0;
    graft_aligned *a = &s->made;
    uint32_t size = s->text == s->input ? s->input_size : a->size;
    int rc = graft_aligned_reserve(a, size, err);
    if (rc < 0) return rc;
    if (s->text == s->input && size) memcpy(a->bytes, s->input, size);
    align_identity(a->from, s->input, 0, size);
    a->size = size;
    s->text = a->bytes;
    s->identity = false;
    return 0;
}

int graft_text_take(graft_token_scratch *s, const graft_piece *p, graft_err *err) {
    uint32_t size = p->end - p->begin;
    int rc = graft_aligned_reserve(&s->work, size, err);
    if (rc < 0) return rc;
    s->work.size = size;
    if (!size) return 0;
    memcpy(s->work.bytes, s->text + p->begin, size);
    if (s->identity)
        align_identity(s->work.from, s->input, p->begin, p->end);
    else
        memcpy(s->work.from, s->made.from + p->begin, size * sizeof *s->work.from);
    return 0;
}

int graft_text_append(graft_aligned *to, const graft_aligned *from, graft_err *err) {
    int rc = graft_aligned_reserve(to, (size_t)to->size + from->size, err);
    if (rc < 0 || !from->size) return rc;
    memcpy(to->bytes + to->size, from->bytes, from->size);
    memcpy(to->from + to->size, from->from, from->size * sizeof *from->from);
    to->size += from->size;
    return 0;
}
