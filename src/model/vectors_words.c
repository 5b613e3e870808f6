/* Which words a model over word vectors has, and how texts are split into them. */
#include "model/vectors_words.h"
#include "model/model_impl.h"
#include "model/tokenizer/token_unicode.h"
#include <string.h>

enum { FIRST_WORDS = 50000, MOST_WORDS = 1 << 22, JUDGED_TEXTS = 10000 };
#define UNKNOWN "[UNK]"

/* Coarse ones first: a finer one has to cover more of the texts to be taken. */
static const char *const splits[] = {"WhitespaceSplit", "Whitespace", "BertPreTokenizer"};

/* ---- Words
 * --------------------------------------------------------------------------------------------------- */

static bool is_text(graft_word w) {
    bool ascii;
    if (!w.size || graft_utf8_valid(w.text, w.size, &ascii) != w.size) return false;
    for (size_t i = 0; i < w.size; i++)
        if ((unsigned char)w.text[i] < ' ') return false;
    return true;
}

static bool has_upper(graft_word w) {
    for (size_t i = 0; i < w.size;) {
        uint32_t size, lower[2], c = graft_utf8_get(w.text + i, &size);
        if (graft_unicode_to_lower(c, lower) != 1 || lower[0] != c) return true;
        i += size;
    }
    return false;
}

/* Into `out`, which is cleared. */
static graft_word lowered(graft_buf *out, graft_word w) {
    graft_buf_clear(out);
    for (size_t i = 0; i < w.size;) {
        uint32_t size, lower[2], c = graft_utf8_get(w.text + i, &size);
        int n = graft_unicode_to_lower(c, lower);
        for (int k = 0; k < n; k++) {
            char bytes[4];
            graft_buf_append(out, bytes, graft_utf8_put(bytes, lower[k]));
        }
        i += size;
    }
    return (graft_word){out->data, out->size};
}

static int add_word(graft_words_choice *b, graft_word w, graft_err *err) {
    if (b->n == b->room) {
        size_t room = 2 * b->room + 1024;
        graft_word *more = graft_arena_array(b->arena, room, sizeof *more);
        if (!more) return graft_err_nomem(err);
        if (b->n) memcpy(more, b->words, b->n * sizeof *more);
        b->words = more;
        b->room = room;
    }
    if (b->n >= MOST_WORDS)
        return graft_err_set(err, GRAFT_EUNSUPPORTED,
                             "more than %d words; take the first of the file with -n N", (int)MOST_WORDS);
    if (graft_map_put(b->ids, w.text, w.size, (int64_t)b->n) < 0) return graft_err_nomem(err);
    b->words[b->n++] = w;
    return 0;
}

/* The file's first words. */
static int add_first(graft_words_choice *b, graft_err *err) {
    const graft_vectors_model_options *o = b->options;
    int64_t n = o->first ? o->first : o->n_texts ? FIRST_WORDS : graft_vectors_n(b->v);
    if (n > graft_vectors_n(b->v)) n = graft_vectors_n(b->v);
    b->report.lowercase = true;
    int rc = add_word(b, (graft_word){UNKNOWN, strlen(UNKNOWN)}, err);
    for (int64_t i = 0; i < n && rc == 0; i++) {
        graft_word w = graft_vectors_word(b->v, i);
        if (!is_text(w) || graft_map_get(b->ids, w.text, w.size) >= 0) continue;
        if (b->report.lowercase && has_upper(w)) b->report.lowercase = false;
        rc = add_word(b, w, err);
    }
    return rc;
}

/* ---- Texts
 * --------------------------------------------------------------------------------------------------- */

void graft_words_put_json(graft_buf *out, graft_word w) {
    graft_buf_text(out, "\"");
    for (size_t i = 0; i < w.size; i++) {
        if (w.text[i] == '"' || w.text[i] == '\\') graft_buf_text(out, "\\");
        graft_buf_append(out, w.text + i, 1);
    }
    graft_buf_text(out, "\"");
}

void graft_words_put_tokenizer(graft_buf *out, const graft_words_tokenizer *t) {
    graft_buf_printf(
        out,
        "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":%s,\"normalizer\":%s,"
        "\"pre_tokenizer\":{\"type\":\"%s\"},\"post_processor\":%s,\"decoder\":null,"
        "\"model\":{\"type\":\"WordLevel\",\"vocab\":{\n",
        t->added ? t->added : "[]", t->lowercase ? "{\"type\":\"Lowercase\"}" : "null", t->split,
        t->post ? t->post : "null");
    for (size_t i = 0; i < t->n; i++) {
        graft_words_put_json(out, t->words[i]);
        graft_buf_printf(out, ":%zu%s\n", i, i + 1 < t->n ? "," : "");
    }
    graft_buf_text(out, "},\"unk_token\":");
    graft_words_put_json(out, t->unknown);
    graft_buf_text(out, "}}\n");
}

/* What is done with the words of the texts, each as the model will look it up. */
typedef struct visit {
    int (*word)(void *user, graft_words_choice *b, graft_word w, graft_err *err);
    void *user;
} visit;

static int visit_text(graft_words_choice *b, const graft_tokenizer *t, graft_encoding *e, graft_buf *scratch,
                      graft_word text, visit each, graft_err *err) {
    int rc = graft_tokenizer_encode(t, e, text.text, text.size, NULL, 0, NULL, err);
    for (size_t i = 0; i < e->n && rc == 0; i++) {
        const int32_t begin = e->offsets[i][0], end = e->offsets[i][1];
        graft_word w = {text.text + begin, (size_t)(end - begin)};
        if (b->report.lowercase) w = lowered(scratch, w);
        rc = scratch->failed ? graft_err_nomem(err) : each.word(each.user, b, w, err);
    }
    return rc;
}

/* Texts that are empty or not UTF-8 are passed over: whoever loads them says so. */
static int visit_texts(graft_words_choice *b, const char *split, size_t n, visit each, graft_err *err) {
    static const graft_word unknown = {UNKNOWN, sizeof UNKNOWN - 1};
    graft_tokenizer *t = NULL;
    graft_encoding e = {0};
    graft_buf json, scratch;
    graft_buf_init(&json, 0);
    graft_buf_init(&scratch, 0);
    const graft_words_tokenizer plain = {.split = split, .words = &unknown, .n = 1, .unknown = unknown};
    graft_words_put_tokenizer(&json, &plain);
    int rc =
        json.failed ? graft_err_nomem(err) : graft_tokenizer_parse(&t, json.data, json.size, "words", err);
    for (size_t i = 0; i < n && rc == 0; i++) {
        graft_word text = b->options->texts[i];
        bool ascii;
        if (!text.size || text.size > GRAFT_TEXT_MAX ||
            graft_utf8_valid(text.text, text.size, &ascii) != text.size)
            continue;
        rc = visit_text(b, t, &e, &scratch, text, each, err);
    }
    graft_encoding_done(&e);
    graft_tokenizer_close(t);
    graft_buf_done(&json);
    graft_buf_done(&scratch);
    return rc;
}

static int count_covered(void *user, graft_words_choice *b, graft_word w, graft_err *err) {
    (void)err;
    size_t *covered = user;
    if (graft_map_get(b->ids, w.text, w.size) > 0 || graft_vectors_find(b->v, w.text, w.size) >= 0)
        *covered += w.size;
    return 0;
}

/* By the bytes of words that stand in the file, for finer splits make more words of the same text. A finer
 * one that covers hardly more cuts what the vectors know whole. */
static int choose_split(graft_words_choice *b, graft_err *err) {
    const graft_vectors_model_options *o = b->options;
    size_t best = 0, n = o->n_texts < JUDGED_TEXTS ? o->n_texts : JUDGED_TEXTS;
    b->report.split = n ? splits[0] : "Whitespace";
    for (size_t i = 0; n && i < GRAFT_COUNT(splits); i++) {
        size_t covered = 0;
        int rc = visit_texts(b, splits[i], n, (visit){count_covered, &covered}, err);
        if (rc < 0) return rc;
        if (i && covered <= best + best / 200) continue;
        best = covered;
        b->report.split = splits[i];
    }
    return 0;
}

/* Its row is read again when rows are written; here it says whether there is one. */
static int add_from_text(void *user, graft_words_choice *b, graft_word w, graft_err *err) {
    float *row = user;
    graft_vectors_model_report *r = &b->report;
    bool has_row = graft_map_get(b->ids, w.text, w.size) > 0, whole = b->options->whole;
    r->n_tokens++;
    if (has_row && !whole) {
        r->n_known++;
        return 0;
    }
    if (!is_text(w)) return 0;
    int rc = graft_vectors_get(b->v, w.text, w.size, row, err);
    if (rc < 0) return rc;
    r->n_known += rc;
    if (has_row || (!rc && !whole)) return 0;
    r->n_by_subwords += rc && graft_vectors_find(b->v, w.text, w.size) < 0;
    const char *copy = graft_arena_strndup(b->arena, w.text, w.size);
    if (!copy) return graft_err_nomem(err);
    return add_word(b, (graft_word){copy, w.size}, err);
}

/* The word that ends each text: the file's, else one of its own. */
static int add_end(graft_words_choice *b, graft_err *err) {
    static const graft_word end = {GRAFT_TEXT_END, sizeof GRAFT_TEXT_END - 1};
    if (graft_map_get(b->ids, end.text, end.size) < 0) {
        int rc = add_word(b, end, err);
        if (rc < 0) return rc;
    }
    b->end = graft_map_get(b->ids, end.text, end.size);
    return 0;
}

int graft_words_choose(graft_words_choice *b, const graft_vectors *v,
                       const graft_vectors_model_options *options, graft_err *err) {
    *b = (graft_words_choice){.arena = graft_arena_new(NULL), .v = v, .options = options};
    if (!b->arena) return graft_err_nomem(err);
    b->ids = graft_map_new(b->arena);
    float *row = graft_arena_array(b->arena, (size_t)graft_vectors_width(v), sizeof *row);
    int rc = b->ids && row ? add_first(b, err) : graft_err_nomem(err);
    if (rc == 0 && options->whole) rc = add_end(b, err);
    if (rc == 0) rc = choose_split(b, err);
    if (rc == 0 && options->n_texts)
        rc = visit_texts(b, b->report.split, options->n_texts, (visit){add_from_text, row}, err);
    b->report.n_words = (int64_t)b->n - 1;
    return rc;
}
