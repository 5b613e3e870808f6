/* graft vectors: neighbours, analogies, vectors of words, and smaller files. */
#include "transfer/fit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { FEWEST_DIGITS = 6, MOST_DIGITS = 9, DEFAULT_TOP = 10, MOST_TOP = 1000000 };
static const size_t most_list = (size_t)1 << 31;

/* ---- Words and numbers as JSON ---- */

/* Bytes of the UTF-8 character at the start of a text; 0 when there is none. jansson knows them. */
static size_t character_size(const char *text, size_t size) {
    unsigned char lead = (unsigned char)*text;
    size_t n = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    json_t *one = n <= size ? json_stringn(text, n) : NULL;
    json_decref(one);
    return one ? n : 0;
}

/* Text of any bytes: what is not UTF-8 stands as \xNN. */
static json_t *word_json(graft_word w) {
    graft_buf b;
    json_t *out = json_stringn(w.text, w.size);
    if (out) return out;
    graft_buf_init(&b, 0);
    for (size_t i = 0; i < w.size;) {
        size_t n = character_size(w.text + i, w.size - i);
        if (n) {
            graft_buf_append(&b, w.text + i, n);
        } else {
            graft_buf_printf(&b, "\\x%02x", (unsigned char)w.text[i]);
        }
        i += n ? n : 1;
    }
    out = b.failed ? NULL : json_stringn(b.data, b.size);
    graft_buf_done(&b);
    return out;
}

/* The double with the fewest digits that is this float. */
static json_t *value_json(float x) {
    char text[32];
    double out = (double)x;
    for (int digits = FEWEST_DIGITS; digits <= MOST_DIGITS; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)x);
        out = strtod(text, NULL);
        if (!((float)out < x) && !((float)out > x)) break;
    }
    return json_real(out);
}

static graft_word word_of(const char *text) {
    return (graft_word){.text = text, .size = strlen(text)};
}

static json_t *words_json(const char *const *words, size_t n) {
    json_t *a = json_array();
    for (size_t i = 0; i < n && a; i++) json_array_append_new(a, word_json(word_of(words[i])));
    return a;
}

static json_t *file_json(const graft_vectors *v, const char *file) {
    return json_pack("{s:o,s:s,s:I,s:i}", "file", graft_json_string(file), "format",
                     graft_vectors_format_name(v), "n", (json_int_t)graft_vectors_n(v), "width",
                     graft_vectors_width(v));
}

/* ---- Neighbours ---- */

static int print_neighbours(char **result, const graft_vectors *v, const char *file, const char *const *words,
                            size_t n_words, const graft_neighbour *found, size_t n_found, graft_err *err) {
    json_t *o = file_json(v, file), *list = json_array();
    for (size_t i = 0; i < n_found && list; i++) {
        json_array_append_new(list,
                              json_pack("{s:o,s:o}", "word", word_json(graft_vectors_word(v, found[i].word)),
                                        "score", value_json(found[i].score)));
    }
    json_object_set_new(o, "words", words_json(words, n_words));
    json_object_set_new(o, "neighbours", list);
    return graft_print_json(result, o, err);
}

/* How several words make one answer. */
typedef enum joining { SUM, PRODUCT } joining;

/* The neighbours of n words, of which `known` lists those that have a row and are none of them. */
static int look(graft_neighbour *found, size_t *n_found, const graft_vectors *v, const graft_env *env,
                const graft_word *words, const int *signs, size_t n, joining how, const int64_t *known,
                size_t top, graft_arena *arena, graft_err *err) {
    const size_t width = (size_t)graft_vectors_width(v), n_queries = how == PRODUCT ? n : 1;
    static const int plus = 1;
    float *queries = graft_arena_array(arena, n_queries * width, sizeof *queries);
    int rc = queries ? 0 : graft_err_nomem(err);
    for (size_t q = 0; q < n_queries && rc == 0; q++)
        rc = how == PRODUCT ? graft_vectors_mean(v, &words[q], &plus, 1, queries + q * width, err)
                            : graft_vectors_mean(v, words, signs, n, queries, err);
    if (rc < 0) return rc;
    if (how == SUM) return graft_vectors_similar(found, n_found, v, env, queries, top, known, n, err);
    return graft_vectors_similar_product(found, n_found, v, env, queries, signs, n, top, known, n, err);
}

static int search(char **result, const graft_env *env, const char *file, const char *const *words,
                  const int *signs, size_t n, joining how, int64_t top, graft_err *err) {
    graft_vectors *v = NULL;
    size_t n_found = 0;
    *result = NULL;
    if (!top) top = DEFAULT_TOP;
    if (!n || top < 1 || top > MOST_TOP) {
        return graft_err_set(err, GRAFT_EUSAGE, "at least one word is needed, and 1 to %d neighbours",
                             MOST_TOP);
    }
    int rc = graft_vectors_open(&v, env, file, err);
    if (rc < 0) return rc;
    graft_arena *arena = graft_arena_new(NULL);
    graft_word *given = arena ? graft_arena_array(arena, n, sizeof *given) : NULL;
    int64_t *known = arena ? graft_arena_array(arena, n, sizeof *known) : NULL;
    if (top > graft_vectors_n(v)) top = graft_vectors_n(v);
    graft_neighbour *found = arena ? graft_arena_array(arena, (size_t)top, sizeof *found) : NULL;
    rc = given && known && found ? 0 : graft_err_nomem(err);
    for (size_t i = 0; i < n && rc == 0; i++) {
        given[i] = word_of(words[i]);
        known[i] = graft_vectors_find(v, given[i].text, given[i].size);
    }
    if (rc == 0) rc = look(found, &n_found, v, env, given, signs, n, how, known, (size_t)top, arena, err);
    if (rc == 0) rc = print_neighbours(result, v, file, words, n, found, n_found, err);
    graft_arena_free(arena);
    graft_vectors_close(v);
    return rc;
}

int graft_words_similar(char **result, graft_env *env, const char *file, const char *const *words,
                        size_t n_words, int64_t top, graft_err *err) {
    *result = NULL;
    int *signs = calloc(n_words + 1, sizeof *signs);
    if (!signs) return graft_err_nomem(err);
    for (size_t i = 0; i < n_words; i++) signs[i] = 1;
    int rc = search(result, env, file, words, signs, n_words, SUM, top, err);
    free(signs);
    return rc;
}

int graft_words_analogy(char **result, graft_env *env, const char *file, const char *const words[3],
                        int64_t top, graft_err *err) {
    static const int signs[3] = {-1, 1, 1};
    return search(result, env, file, words, signs, 3, SUM, top, err);
}

int graft_words_analogy_product(char **result, graft_env *env, const char *file, const char *const words[3],
                                int64_t top, graft_err *err) {
    static const int signs[3] = {-1, 1, 1};
    return search(result, env, file, words, signs, 3, PRODUCT, top, err);
}

/* ---- Vectors ---- */

static json_t *vector_json(const graft_vectors *v, graft_word w, const float *x) {
    json_t *values = json_array();
    for (int i = 0; i < graft_vectors_width(v) && values; i++)
        json_array_append_new(values, value_json(x[i]));
    return json_pack("{s:o,s:b,s:o}", "word", word_json(w), "known",
                     graft_vectors_find(v, w.text, w.size) >= 0, "values", values);
}

int graft_words_get(char **result, graft_env *env, const char *file, const char *const *words, size_t n_words,
                    graft_err *err) {
    graft_vectors *v = NULL;
    *result = NULL;
    int rc = graft_vectors_open(&v, env, file, err);
    if (rc < 0) return rc;
    float *x = calloc((size_t)graft_vectors_width(v), sizeof *x);
    json_t *list = json_array();
    rc = x && list ? 0 : graft_err_nomem(err);
    for (size_t i = 0; i < n_words && rc == 0; i++) {
        graft_word w = word_of(words[i]);
        int got = graft_vectors_get(v, w.text, w.size, x, err);
        if (got == 0) got = graft_err_set(err, GRAFT_EDATA, "'%.64s' has no vector in %s", w.text, file);
        rc = got < 0 ? got : 0;
        if (rc == 0) json_array_append_new(list, vector_json(v, w, x));
    }
    if (rc == 0) {
        json_t *o = file_json(v, file);
        json_object_set(o, "vectors", list);
        rc = graft_print_json(result, o, err);
    }
    json_decref(list);
    free(x);
    graft_vectors_close(v);
    return rc;
}

/* ---- Smaller files ---- */

typedef struct choice {
    graft_word *words;
    size_t n;
} choice;

/* The file's lines, each once, blank ones left out. */
static int words_of_list(choice *out, graft_arena *arena, const char *list, graft_err *err) {
    char *text;
    size_t size, n_lines = 1;
    int rc = graft_file_read(&text, &size, arena, list, most_list, err);
    if (rc < 0) return rc;
    for (size_t i = 0; i < size; i++) n_lines += text[i] == '\n';
    graft_map *seen = graft_map_new(arena);
    out->words = graft_arena_array(arena, n_lines, sizeof *out->words);
    if (!seen || !out->words) return graft_err_nomem(err);
    for (char *line = text, *end = text + size; line < end;) {
        char *newline = memchr(line, '\n', (size_t)(end - line)), *stop = newline ? newline : end;
        size_t n = (size_t)(stop - line);
        while (n && (line[n - 1] == '\r' || line[n - 1] == ' ' || line[n - 1] == '\t')) n--;
        if (n && graft_map_get(seen, line, n) < 0) {
            if (graft_map_put(seen, line, n, 0) < 0) return graft_err_nomem(err);
            out->words[out->n++] = (graft_word){.text = line, .size = n};
        }
        line = stop + 1;
    }
    return out->n ? 0 : graft_err_set(err, GRAFT_EDATA, "%s: has no words", list);
}

static int first_words(choice *out, graft_arena *arena, const graft_vectors *v, int64_t first,
                       graft_err *err) {
    int64_t n = graft_vectors_n(v);
    if (first > 0 && first < n) n = first;
    out->words = graft_arena_array(arena, (size_t)n, sizeof *out->words);
    if (!out->words) return graft_err_nomem(err);
    for (int64_t i = 0; i < n; i++) out->words[out->n++] = graft_vectors_word(v, i);
    return 0;
}

int graft_words_trim(char **result, graft_env *env, const char *file, const char *out, int64_t first,
                     const char *list, graft_err *err) {
    graft_vectors *v = NULL;
    choice c = {.n = 0};
    size_t missing = 0;
    *result = NULL;
    if (first < 0 || (first && list))
        return graft_err_set(err, GRAFT_EUSAGE, "either a number of words or a list of them");
    int rc = graft_vectors_open(&v, env, file, err);
    if (rc < 0) return rc;
    graft_arena *arena = graft_arena_new(NULL);
    rc = !arena ? graft_err_nomem(err)
         : list ? words_of_list(&c, arena, list, err)
                : first_words(&c, arena, v, first, err);
    bool binary = strcasecmp(graft_path_extension(out), "bin") == 0;
    if (rc == 0) rc = graft_vectors_write(out, v, c.words, c.n, binary, &missing, err);
    if (rc == 0) {
        json_t *o = file_json(v, file);
        json_object_set_new(o, "n", json_integer((json_int_t)(c.n - missing)));
        json_object_set_new(o, "missing", json_integer((json_int_t)missing));
        json_object_set_new(o, "out", graft_json_string(out));
        rc = graft_print_json(result, o, err);
    }
    graft_arena_free(arena);
    graft_vectors_close(v);
    return rc;
}
