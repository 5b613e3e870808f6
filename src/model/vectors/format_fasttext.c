/* fastText's own format (.bin and .ftz): arguments, dictionary, input matrix (a row a word, then a row a
 * bucket of character n-grams), output matrix. A word's vector is the mean of its own row and those of its
 * n-grams. Files from before there were versions have neither the magic number nor pruning or quantisation.
 */
#include "model/vectors/fasttext.h"

#include <string.h>

enum { MAGIC = 793712314, NEWEST = 12, OLDEST = 11, SUPERVISED = 3, MOST_NGRAM = 10000 };

typedef struct fasttext {
    graft_ft_args args;
    graft_ft_dictionary dictionary;
    graft_ft_matrix input;
} fasttext;

/* ---- Reading ---- */

static int read_args(graft_ft_args *a, graft_ft_cursor *c) {
    enum { WIDTH, WS, EPOCH, MIN_COUNT, NEG, WORD_NGRAMS, LOSS, MODEL, BUCKET, MINN, MAXN, RATE, N };
    static const char what[] = "the arguments";
    int32_t x[N], first;
    int64_t t;
    int rc = graft_ft_take_i32(c, &first, what);
    *a = (graft_ft_args){.version = 0};
    if (rc == 0 && first == MAGIC) {
        rc = graft_ft_take_i32(c, &a->version, what);
    } else {
        c->at = 0;
    }
    for (size_t i = 0; i < N && rc == 0; i++) rc = graft_ft_take_i32(c, &x[i], what);
    if (rc == 0) rc = graft_ft_take_i64(c, &t, what);
    if (rc < 0) return rc;
    a->width = x[WIDTH];
    a->bucket = x[BUCKET];
    a->minn = x[MINN];
    a->maxn = x[MAXN];
    a->supervised = x[MODEL] == SUPERVISED;
    bool fits = a->width >= 1 && a->width <= GRAFT_VECTORS_MAX_WIDTH && a->bucket >= 0 && a->minn >= 0 &&
                a->minn <= MOST_NGRAM && a->maxn >= 0 && a->maxn <= MOST_NGRAM && x[MODEL] >= 1 &&
                x[MODEL] <= SUPERVISED && x[LOSS] >= 1 && x[LOSS] <= 4;
    if (fits) return 0;
    return graft_err_set(c->err, GRAFT_EFORMAT,
                         "%s: is fastText's by its first bytes, but its arguments make no sense", c->origin);
}

static bool is_fasttext(const graft_mapped *f) {
    graft_ft_cursor c = {.data = f->data, .size = f->size, .origin = ""};
    graft_ft_args args;
    int32_t magic = 0, n, n_words, n_labels;
    if (f->size >= sizeof magic) memcpy(&magic, f->data, sizeof magic);
    if (magic == MAGIC) return true;
    return read_args(&args, &c) == 0 && graft_ft_take_i32(&c, &n, "") == 0 &&
           graft_ft_take_i32(&c, &n_words, "") == 0 && graft_ft_take_i32(&c, &n_labels, "") == 0 &&
           n_words >= 0 && n_labels >= 0 && (int64_t)n_words + n_labels == n;
}

/* Every row that a word or an n-gram can ask for has to be there. */
static int check_rows(const fasttext *f, const graft_ft_cursor *c) {
    const graft_ft_dictionary *d = &f->dictionary;
    int64_t behind = f->input.rows - d->n_words, needed = d->pruned ? 0 : f->args.bucket;
    for (size_t i = 0; i < d->n_kept; i++) {
        int32_t row = d->kept[i].row;
        if (row < 0) needed = INT64_MAX;
        if (row >= needed) needed = row + INT64_C(1);
    }
    if (f->input.width == f->args.width && behind >= needed) return 0;
    return graft_err_set(c->err, GRAFT_EFORMAT,
                         "%s: its input matrix has %lld rows of %lld values; words and buckets ask for more, "
                         "or for rows of %d",
                         c->origin, (long long)f->input.rows, (long long)f->input.width, f->args.width);
}

static int read_matrices(fasttext *f, graft_ft_cursor *c) {
    bool quantised = false, output_quantised = false, versioned = f->args.version != 0;
    graft_ft_matrix output;
    int rc = versioned ? graft_ft_take_bool(c, &quantised, "the input matrix") : 0;
    if (rc == 0) rc = graft_ft_matrix_read(&f->input, c, quantised, "the input matrix");
    if (rc == 0 && f->dictionary.pruned && !quantised) {
        rc = graft_err_set(c->err, GRAFT_EFORMAT, "%s: is pruned but not quantised, which fastText never was",
                           c->origin);
    }
    if (rc == 0) rc = check_rows(f, c);
    if (rc == 0 && versioned) rc = graft_ft_take_bool(c, &output_quantised, "the output matrix");
    if (rc == 0) rc = graft_ft_matrix_read(&output, c, quantised && output_quantised, "the output matrix");
    return rc;
}

static int open_fasttext(graft_vectors *v, graft_err *err) {
    graft_ft_cursor c = {.data = v->file.data, .size = v->file.size, .origin = v->origin, .err = err};
    fasttext *f = graft_arena_alloc(v->arena, sizeof *f);
    if (!f) return graft_err_nomem(err);
    v->own = f;
    int rc = read_args(&f->args, &c);
    if (rc < 0) return rc;
    if (f->args.version && (f->args.version < OLDEST || f->args.version > NEWEST)) {
        return graft_err_set(err, GRAFT_EUNSUPPORTED, "%s: is of fastText's format %d; %d and %d are read",
                             v->origin, f->args.version, OLDEST, NEWEST);
    }
    /* What was supervised had no character n-grams before format 12, whatever its arguments say. */
    if (f->args.version == OLDEST && f->args.supervised) f->args.maxn = 0;
    rc = graft_ft_dictionary_read(&f->dictionary, v, &c, f->args.version);
    if (rc == 0) rc = read_matrices(f, &c);
    v->width = f->args.width;
    v->format_name = f->input.values ? "fastText" : "fastText quantised";
    v->has_subwords =
        f->args.maxn > 0 && f->args.bucket > 0 && (!f->dictionary.pruned || f->dictionary.n_kept);
    return rc;
}

/* ---- Vectors ---- */

/* FNV-1a of 32 bits (Fowler, Noll, Vo), but each byte widened as a signed one, which every published model
 * was trained with. */
static uint32_t hash_byte(uint32_t h, unsigned char byte) {
    uint32_t wide = byte < 0x80 ? byte : byte | 0xFFFFFF00U;
    return (h ^ wide) * 16777619U;
}

/* A byte that goes on with a UTF-8 character. */
static bool is_tail(unsigned char c) {
    return (c & 0xC0) == 0x80;
}

/* "<word>" without copying it. */
static unsigned char marked_byte(const char *word, size_t size, size_t i) {
    return i == 0 ? '<' : i <= size ? (unsigned char)word[i - 1] : '>';
}

/* Adds the rows of the character n-grams of "<word>" to `out`; returns how many. A lone mark is none. */
static size_t add_ngrams(const fasttext *f, const char *word, size_t size, float *out) {
    const graft_ft_args *a = &f->args;
    size_t n_rows = 0, end = size + 2;
    for (size_t i = 0; i < end; i++) {
        if (is_tail(marked_byte(word, size, i))) continue;
        uint32_t h = 2166136261U;
        size_t j = i;
        for (int32_t n = 1; j < end && n <= a->maxn; n++) {
            do h = hash_byte(h, marked_byte(word, size, j++));
            while (j < end && is_tail(marked_byte(word, size, j)));
            if (n < a->minn || (n == 1 && (i == 0 || j == end))) continue;
            int32_t row = graft_ft_dictionary_row(&f->dictionary, (int32_t)(h % (uint32_t)a->bucket));
            if (row < 0) continue;
            graft_ft_matrix_add(&f->input, (int64_t)f->dictionary.n_words + row, out);
            n_rows++;
        }
    }
    return n_rows;
}

/* The end of a sentence is a word without n-grams, save before there were versions. */
static bool has_ngrams(const graft_vectors *v, const char *word, size_t size) {
    const fasttext *f = v->own;
    return v->has_subwords && !(f->args.version && size == strlen("</s>") && memcmp(word, "</s>", size) == 0);
}

static int divide(const graft_vectors *v, const char *word, size_t size, size_t n, float *out,
                  graft_err *err) {
    float factor = (float)(1.0 / (double)n);
    for (int j = 0; j < v->width; j++) out[j] *= factor;
    if (graft_vectors_are_finite(out, (size_t)v->width)) return 0;
    return graft_err_set(err, GRAFT_EFORMAT, "%s: the vector of '%.*s' has a value that is no number",
                         v->origin, size < 64 ? (int)size : 64, word);
}

static int row_of(const graft_vectors *v, int64_t i, float *out, graft_err *err) {
    const fasttext *f = v->own;
    const graft_word w = graft_vectors_word(v, i);
    memset(out, 0, (size_t)v->width * sizeof *out);
    graft_ft_matrix_add(&f->input, i, out);
    size_t n = has_ngrams(v, w.text, w.size) ? add_ngrams(f, w.text, w.size, out) : 0;
    return divide(v, w.text, w.size, n + 1, out, err);
}

static int unknown(const graft_vectors *v, const char *word, size_t size, float *out, graft_err *err) {
    memset(out, 0, (size_t)v->width * sizeof *out);
    size_t n = has_ngrams(v, word, size) ? add_ngrams(v->own, word, size, out) : 0;
    if (!n) return 0;
    int rc = divide(v, word, size, n, out, err);
    return rc < 0 ? rc : 1;
}

const graft_vectors_format graft_vectors_format_fasttext = {
    .is = is_fasttext,
    .open = open_fasttext,
    .row = row_of,
    .unknown = unknown,
};
