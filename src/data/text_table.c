/* Tables of texts: is there a header, and which columns are the text, its pair and the label? What a user
 * does not name is guessed from the columns' names, else from what their cells look like, and the log says
 * what was taken. */
#include "data/data_table.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { PROBED = 200, LONG_CELL = 64 };

static const char *const text_names[] = {
    "text",  "sentence",  "review", "content",     "comment",  "message",  "body",
    "tweet", "utterance", "query",  "question",    "document", "abstract", "headline",
    "title", "sentence1", "input",  "description", "prompt",   "article",  NULL};
static const char *const pair_names[][2] = {{"sentence1", "sentence2"},   {"premise", "hypothesis"},
                                            {"question1", "question2"},   {"text1", "text2"},
                                            {"text_a", "text_b"},         {"sentence_a", "sentence_b"},
                                            {"sentence_1", "sentence_2"}, {"sent1", "sent2"},
                                            {"question", "sentence"},     {"query", "passage"}};
static const char *const more_label_names[] = {
    "intent", "sentiment", "topic", "emotion",    "polarity",         "stars", "rating", "score",
    "genre",  "tag",       "tags",  "similarity", "similarity_score", "value", NULL};

/* What the first rows of a column look like. */
typedef struct look {
    double mean; /* bytes of a cell */
    size_t longest, n, n_numbers, n_blank;
} look;

static bool is_number(const char *text) {
    char *end;
    if (!*text || strspn(text, "0123456789+-.eE") != strlen(text)) return false;
    (void)strtod(text, &end);
    return end != text && !*end;
}

static look look_at(const graft_table *t, size_t column, size_t from) {
    look k = {0};
    for (size_t i = from; i < t->n_rows && k.n < PROBED; i++) {
        const char *cell = graft_table_cell(t, i, column);
        if (!cell) continue;
        size_t size = strlen(cell);
        k.n++;
        k.mean += (double)size;
        k.longest = size > k.longest ? size : k.longest;
        k.n_numbers += is_number(cell);
        k.n_blank += graft_is_blank(cell, size);
    }
    if (k.n) k.mean /= (double)k.n;
    return k;
}

/* ---- Is the first row a header? ---- */

static bool is_known_name(const char *cell) {
    const char *const *lists[] = {text_names, graft_label_columns, more_label_names};
    for (size_t k = 0; k < GRAFT_COUNT(lists); k++)
        for (const char *const *name = lists[k]; *name; name++)
            if (strcasecmp(*name, cell) == 0) return true;
    for (size_t k = 0; k < GRAFT_COUNT(pair_names); k++)
        if (strcasecmp(pair_names[k][0], cell) == 0 || strcasecmp(pair_names[k][1], cell) == 0) return true;
    return false;
}

static bool is_named_by_user(const graft_data_options *o, const char *cell) {
    const char *const names[] = {o->input_column, o->pair_column, o->label_column, o->split_column,
                                 o->group_column};
    for (size_t i = 0; i < GRAFT_COUNT(names); i++)
        if (names[i] && strcmp(names[i], cell) == 0) return true;
    return false;
}

/* A header has short cells, none a number, none blank, and none comes again below. */
static bool may_be_header(const graft_table *t) {
    for (size_t c = 0; c < t->n_columns; c++) {
        const char *cell = graft_table_cell(t, 0, c);
        size_t size = strlen(cell), n_words = 1;
        for (size_t i = 0; i < size; i++) n_words += cell[i] == ' ';
        if (size > LONG_CELL || n_words > 4 || graft_is_blank(cell, size) || is_number(cell)) return false;
        for (size_t i = 1; i < t->n_rows && i < PROBED; i++)
            if (strcmp(graft_table_cell(t, i, c), cell) == 0) return false;
    }
    return true;
}

static bool has_header(const graft_table *t, const graft_data_options *o) {
    bool is_known = false, is_named = false;
    for (size_t c = 0; c < t->n_columns; c++) {
        const char *cell = graft_table_cell(t, 0, c);
        is_known = is_known || is_known_name(cell);
        is_named = is_named || is_named_by_user(o, cell);
    }
    return is_named || ((is_known || t->n_rows > 1) && may_be_header(t));
}

/* ---- Which column is what? ---- */

static bool is_taken(const graft_table_columns *c, int64_t column) {
    return column == c->input || column == c->pair || column == c->label || column == c->split ||
           column == c->group;
}

static void guess_pair(const graft_table *t, graft_table_columns *c) {
    for (size_t k = 0; k < GRAFT_COUNT(pair_names); k++) {
        const char *const first[] = {pair_names[k][0], NULL}, *const second[] = {pair_names[k][1], NULL};
        int64_t a = graft_table_guess(t, first), b = graft_table_guess(t, second);
        if (a < 0 || b < 0 || is_taken(c, a) || is_taken(c, b)) continue;
        c->input = a;
        c->pair = b;
        return;
    }
}

/* A column whose name contains one of the commonest words: "review_text", "Sentence (en)". */
static int64_t guess_by_part(const graft_table *t, const graft_table_columns *c) {
    static const char *const parts[] = {"text", "sentence", "review", "comment", "question"};
    for (size_t k = 0; k < GRAFT_COUNT(parts); k++)
        for (size_t i = 0; i < t->n_columns; i++) {
            look seen = look_at(t, i, 0);
            if (is_taken(c, (int64_t)i) || (seen.n && seen.n_numbers == seen.n)) continue;
            for (const char *at = t->columns[i]; *at; at++)
                if (strncasecmp(at, parts[k], strlen(parts[k])) == 0) return (int64_t)i;
        }
    return -1;
}

/* The column of the longest cells that are no numbers; -1 when there is none left. */
static int64_t longest_column(const graft_table *t, const graft_table_columns *c) {
    int64_t best = -1;
    double most = 0;
    for (size_t i = 0; i < t->n_columns; i++) {
        look k = look_at(t, i, 0);
        if (is_taken(c, (int64_t)i) || k.n == 0 || k.n_numbers == k.n || !(k.mean > most)) continue;
        most = k.mean;
        best = (int64_t)i;
    }
    return best;
}

/* Without names, two columns of long cells beside one of numbers are a pair with its score. */
static void guess_pair_by_looks(const graft_table *t, graft_table_columns *c) {
    enum { SENTENCE = 16, MOST_UNLIKE = 4 };
    int64_t text[2] = {-1, -1}, n_texts = 0, n_others = 0;
    double mean[2] = {0, 0};
    for (size_t i = 0; i < t->n_columns; i++) {
        look k = look_at(t, i, 0);
        if (is_taken(c, (int64_t)i)) continue;
        if (k.n && k.n_numbers < k.n && k.mean >= SENTENCE) {
            if (n_texts < 2) {
                text[n_texts] = (int64_t)i;
                mean[n_texts] = k.mean;
            }
            n_texts++;
        } else
            n_others++;
    }
    if (n_texts != 2 || n_others > 1 || mean[0] > MOST_UNLIKE * mean[1] || mean[1] > MOST_UNLIKE * mean[0])
        return;
    c->input = text[0];
    c->pair = text[1];
}

static int take_named(const graft_table *t, const char *path, const graft_data_options *o,
                      graft_table_columns *c, graft_err *err) {
    const struct {
        const char *name, *what;
        int64_t *column;
    } named[] = {{o->input_column, "input", &c->input},
                 {o->pair_column, "second text", &c->pair},
                 {o->labels == GRAFT_LABELS_IGNORED ? NULL : o->label_column, "label", &c->label},
                 {o->split_column, "split", &c->split},
                 {o->group_column, "group", &c->group}};
    *c = (graft_table_columns){-1, -1, -1, -1, -1};
    for (size_t i = 0; i < GRAFT_COUNT(named); i++) {
        int rc = named[i].name
                     ? graft_table_named(t, named[i].name, named[i].what, path, named[i].column, err)
                     : 0;
        if (rc < 0) return rc;
    }
    return 0;
}

static int no_label(const graft_table *t, const char *path, bool is_bare, graft_err *err) {
    graft_buf known;
    graft_buf_init(&known, 300);
    for (size_t i = 0; i < t->n_columns; i++) graft_buf_printf(&known, "%s%s", i ? ", " : "", t->columns[i]);
    int rc = graft_err_set(
        err, GRAFT_EUSAGE, "%s: which column is the label? Name it with --label%s; its columns are: %s", path,
        is_bare ? ", by its number since there is no header" : "", known.data ? known.data : "");
    graft_buf_done(&known);
    return rc;
}

/* The label: by its name, else the only column that is left. */
static int choose_label(const graft_table *t, const char *path, const graft_data_options *o,
                        graft_table_columns *c, bool is_bare, graft_err *err) {
    int64_t left = -1, n_left = 0;
    const int64_t guesses[] = {graft_table_guess(t, graft_label_columns),
                               graft_table_guess(t, more_label_names)};
    for (size_t i = 0; i < GRAFT_COUNT(guesses) && c->label < 0; i++)
        if (guesses[i] >= 0 && !is_taken(c, guesses[i])) c->label = guesses[i];
    if (c->label >= 0) return 0;
    for (int64_t i = 0; i < (int64_t)t->n_columns; i++) {
        if (is_taken(c, i)) continue;
        left = i;
        n_left++;
    }
    if (n_left == 1) c->label = left;
    return n_left > 1 && o->labels == GRAFT_LABELS_NEEDED ? no_label(t, path, is_bare, err) : 0;
}

static int choose(const graft_table *t, const char *path, const graft_data_options *o, bool is_bare,
                  graft_table_columns *c, graft_err *err) {
    int rc = take_named(t, path, o, c, err);
    if (rc < 0) return rc;
    if (c->split < 0) c->split = graft_table_split_column(t);
    if (c->input < 0 && c->pair < 0) guess_pair(t, c);
    if (c->input < 0) {
        int64_t column = graft_table_guess(t, text_names);
        if (column < 0 || is_taken(c, column)) column = guess_by_part(t, c);
        if (column < 0 && c->pair < 0 && is_bare) guess_pair_by_looks(t, c);
        if (c->input < 0) c->input = column >= 0 ? column : longest_column(t, c);
    }
    if (c->input < 0)
        return graft_err_set(err, GRAFT_EUSAGE, "%s: no column looks like texts; name it with --input", path);
    return o->labels == GRAFT_LABELS_IGNORED || c->label >= 0 ? 0 : choose_label(t, path, o, c, is_bare, err);
}

/* ---- Listing ---- */

static int list_rows(graft_listing *l, const graft_table *t, const char *path, const graft_table_columns *c,
                     graft_part part, graft_err *err) {
    int rc = 0;
    char *file = graft_arena_strdup(l->arena, path);
    if (!file) return graft_err_nomem(err);
    for (size_t i = 0; rc == 0 && i < t->n_rows; i++) {
        graft_found f = {.path = file,
                         .relative = graft_path_name(file),
                         .row = (int64_t)t->rows[i].line,
                         .source = -1,
                         .part = part,
                         .fault = t->rows[i].fault};
        const char *text = graft_table_cell(t, i, (size_t)c->input);
        const char *pair = c->pair < 0 ? NULL : graft_table_cell(t, i, (size_t)c->pair);
        f.text = (graft_text){.text = text, .size = text ? strlen(text) : 0};
        if (c->pair >= 0) {
            f.text.pair = pair ? pair : "";
            f.text.pair_size = strlen(f.text.pair);
        }
        f.origin = graft_arena_printf(l->arena, "%s, line %zu", path, t->rows[i].line);
        if (!f.origin) return graft_err_nomem(err);
        rc = graft_table_answers(l, t, path, i, c, &f, err);
        if (rc == 0) rc = graft_listing_add_text(l, &f, err);
    }
    return rc;
}

/* "a table with the texts in 'sentence1' and 'sentence2', their label in 'score'"; columns without names have
 * numbers. */
static int describe(graft_listing *l, const graft_table *t, const graft_table_columns *c, bool is_bare,
                    graft_err *err) {
    graft_buf b;
    graft_buf_init(&b, 0);
    const char *q = is_bare ? "" : "'", *column = is_bare ? "column " : "";
    bool pair = c->pair >= 0;
    graft_buf_printf(&b, "a table%s with the text%s in %s%s%s%s", is_bare ? " without header" : "",
                     pair ? "s" : "", pair && is_bare ? "columns " : column, q, t->columns[c->input], q);
    if (pair) graft_buf_printf(&b, " and %s%s%s", q, t->columns[c->pair], q);
    if (c->label >= 0)
        graft_buf_printf(&b, ", %s label in %s%s%s%s", pair ? "their" : "its", column, q,
                         t->columns[c->label], q);
    else
        graft_buf_text(&b, " and no label");
    if (c->split >= 0) graft_buf_printf(&b, ", the part in %s%s%s%s", column, q, t->columns[c->split], q);
    if (!b.failed) l->description = graft_arena_strdup(l->arena, b.data);
    graft_buf_done(&b);
    return l->description ? 0 : graft_err_nomem(err);
}

int graft_text_table_take(graft_listing *l, graft_table *t, bool is_bare, const char *path, graft_part part,
                          graft_err *err) {
    graft_table_columns c = {-1, -1, -1, -1, -1};
    int rc = 0;
    if (is_bare && has_header(t, l->options)) {
        is_bare = false;
        rc = graft_table_take_header(t, path, err);
    }
    if (rc == 0 && t->n_rows == 0)
        rc = graft_err_set(err, GRAFT_EDATA, "%s holds no row below its header", path);
    if (rc == 0) rc = choose(t, path, l->options, is_bare, &c, err);
    if (rc == 0) rc = list_rows(l, t, path, &c, part, err);
    return rc == 0 && !l->description ? describe(l, t, &c, is_bare, err) : rc;
}

int graft_text_table_list(graft_listing *l, const char *path, graft_part part, graft_err *err) {
    graft_table t = {0};
    bool is_bare;
    int rc = graft_table_read(&t, l->arena, path, &is_bare, err);
    if (rc == 0) rc = graft_text_table_take(l, &t, is_bare, path, part, err);
    graft_table_done(&t);
    return rc;
}
