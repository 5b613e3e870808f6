/* What comes behind the model: truncation, windows, trimmed offsets, special tokens. */
#include "model/tokenizer/token_private.h"
#include <stdlib.h>
#include <string.h>

/* The part of each text's tokens that is kept. */
typedef struct cut {
    size_t begin[2], end[2];
    size_t n_windows;
} cut;

static int no_room(const graft_tokenizer *t, int64_t max_length, size_t n_special, graft_err *err) {
    return graft_err_set(err, GRAFT_EDATA, "%s: max_length %lld leaves no room beside %zu special tokens",
                         t->origin, (long long)max_length, n_special);
}

/* Lengths of both texts under "longest first", in closed form: the shorter stays whole if it fits in half. */
static void cut_longest(size_t most, size_t lengths[2]) {
    size_t shorter = lengths[0] < lengths[1] ? lengths[0] : lengths[1];
    size_t longer = shorter > most ? shorter : most - shorter > shorter ? most - shorter : shorter;
    bool swapped = lengths[0] > lengths[1];
    if (shorter + longer > most) {
        shorter = most / 2;
        longer = shorter + most % 2;
    }
    lengths[swapped] = shorter;
    lengths[!swapped] = longer;
}

/* The range of window i over n tokens, `room` at a time; windows begin at the end that is kept. */
static void window_range(size_t n, size_t room, size_t stride, bool from_left, size_t i, size_t *begin,
                         size_t *end) {
    size_t at = i * (room - stride);
    *begin = at;
    *end = at + room < n ? at + room : n;
    if (!from_left) return;
    *end = n - at;
    *begin = *end > room ? *end - room : 0;
}

static int cut_one(const graft_tokenizer *t, cut *c, int which, size_t room, size_t stride, size_t window,
                   graft_err *err) {
    size_t n = c->end[which] - c->begin[which], first = c->begin[which];
    if (room == 0) {
        c->end[which] = first;
        return 0;
    }
    if (n <= room) return 0;
    if (stride >= room)
        return graft_err_set(err, GRAFT_EDATA, "%s: windows of %zu tokens cannot share %zu", t->origin, room,
                             stride);
    c->n_windows = 1 + (n - room + (room - stride) - 1) / (room - stride);
    if (window >= c->n_windows) return 0;
    size_t begin, end;
    window_range(n, room, stride, t->from_left, window, &begin, &end);
    c->begin[which] = first + begin;
    c->end[which] = first + end;
    return 0;
}

static int truncate(const graft_tokenizer *t, const graft_token_scratch *s, const graft_encode_options *o,
                    size_t window, cut *c, graft_err *err) {
    bool special = !(o && o->no_special);
    size_t n_special = special ? t->post.n_special[s->has_pair] : 0;
    int64_t max_length = o && o->max_length > 0 ? o->max_length : t->max_length;
    size_t stride = (size_t)(o && o->stride > 0 ? o->stride : t->stride);
    size_t lengths[2] = {s->n_first, s->n_raw - s->n_first}, total = s->n_raw;
    if (max_length <= 0) return 0;
    if ((uint64_t)max_length < n_special) return no_room(t, max_length, n_special, err);
    size_t most = (size_t)max_length - n_special;
    if (total <= most) return 0;
    if (!s->has_pair && t->strategy != GRAFT_TRUNCATE_SECOND)
        return cut_one(t, c, 0, most, stride, window, err);
    if (t->strategy == GRAFT_TRUNCATE_LONGEST) {
        cut_longest(most, lengths);
        for (int i = 0; i < 2; i++) {
            int rc = cut_one(t, c, i, lengths[i], 0, 0, err);
            if (rc < 0) return rc;
        }
        c->n_windows = 1;
        return 0;
    }
    int which = t->strategy == GRAFT_TRUNCATE_SECOND;
    if (which && !s->has_pair)
        return graft_err_set(err, GRAFT_EDATA, "%s truncates the second text only, and there is none",
                             t->origin);
    if (lengths[which] <= total - most)
        return graft_err_set(err, GRAFT_EDATA,
                             "%s truncates the %s text only, and the other one fills %lld tokens alone",
                             t->origin, which ? "second" : "first", (long long)max_length);
    return cut_one(t, c, which, lengths[which] - (total - most), stride, window, err);
}

static int reserve(graft_encoding *e, size_t n, graft_err *err) {
    if (n <= e->capacity) return 0;
    struct {
        void *memory;
        size_t size;
    } arrays[] = {{&e->ids, sizeof *e->ids},         {&e->type_ids, sizeof *e->type_ids},
                  {&e->offsets, sizeof *e->offsets}, {&e->words, sizeof *e->words},
                  {&e->special, sizeof *e->special}, {&e->pair, sizeof *e->pair}};
    size_t capacity = e->capacity;
    for (size_t i = 0; i < GRAFT_COUNT(arrays); i++) {
        capacity = e->capacity;
        int rc = graft_token_reserve(arrays[i].memory, &capacity, n, arrays[i].size, err);
        if (rc < 0) return rc;
    }
    e->capacity = capacity;
    return 0;
}

/* Trims the blanks that a token's text begins and ends with. The first token keeps the one that was put
 * before it. */
static void trim(const graft_post *p, const graft_raw_token *r, bool first, int32_t out[2]) {
    uint32_t begin = r->begin, end = r->end;
    bool kept = r->one_lead && p->prefix_space && (first || begin == 0);
    if (!kept) begin = begin + r->lead < end ? begin + r->lead : end;
    end = end - begin > r->trail ? end - r->trail : begin;
    out[0] = (int32_t)begin;
    out[1] = (int32_t)end;
}

static void put_sequence(const graft_tokenizer *t, graft_encoding *e, const graft_token_scratch *s,
                         const cut *c, int which, int32_t type) {
    for (size_t i = c->begin[which]; i < c->end[which]; i++) {
        const graft_raw_token *r = &s->raw[i];
        size_t k = e->n++;
        e->ids[k] = r->id;
        e->type_ids[k] = type;
        e->words[k] = r->word;
        e->special[k] = 0;
        e->pair[k] = (uint8_t)which;
        e->offsets[k][0] = (int32_t)r->begin;
        e->offsets[k][1] = (int32_t)r->end;
        if (t->post.trim) trim(&t->post, r, i == c->begin[which], e->offsets[k]);
    }
}

static void put_special(graft_encoding *e, const graft_post_piece *p) {
    size_t k = e->n++;
    e->ids[k] = p->id;
    e->type_ids[k] = p->type;
    e->words[k] = -1;
    e->special[k] = 1;
    e->pair[k] = 0;
    e->offsets[k][0] = e->offsets[k][1] = 0;
}

int graft_tokenizer_window(const graft_tokenizer *t, graft_encoding *out, size_t window,
                           const graft_encode_options *o, graft_err *err) {
    const graft_token_scratch *s = out->scratch;
    const graft_post *p = &t->post;
    if (!s) return graft_err_set(err, GRAFT_EUSAGE, "a window of what was not encoded");
    bool special = !(o && o->no_special);
    cut c = {.begin = {0, s->n_first}, .end = {s->n_first, s->n_raw}, .n_windows = 1};
    int rc = truncate(t, s, o, window, &c, err);
    if (rc < 0) return rc;
    if (window >= c.n_windows)
        return graft_err_set(err, GRAFT_EUSAGE, "window %zu of a text that has %zu", window, c.n_windows);
    size_t n_pieces = p->n_pieces[s->has_pair], whole = 0, kept = 0;
    for (size_t i = 0; i < n_pieces; i++) {
        int which = p->pieces[s->has_pair][i].sequence;
        kept += which < 0 ? special : c.end[which] - c.begin[which];
        whole += which < 0 ? special : which ? s->n_raw - s->n_first : s->n_first;
    }
    if ((rc = reserve(out, kept, err)) < 0) return rc;
    out->n = 0;
    for (size_t i = 0; i < n_pieces; i++) {
        const graft_post_piece *piece = &p->pieces[s->has_pair][i];
        if (piece->sequence >= 0)
            put_sequence(t, out, s, &c, piece->sequence, piece->type);
        else if (special)
            put_special(out, piece);
    }
    out->n_whole = whole;
    out->n_windows = c.n_windows;
    return 0;
}
