/* Word vectors become the folder of a text model: which words, how texts are split into them, and the files.
 */
#include "model/model_impl.h"
#include "model/tokenizer/token_unicode.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { FIRST_WORDS = 50000, MOST_WORDS = 1 << 22, JUDGED_TEXTS = 10000 };
#define UNKNOWN  "[UNK]"
#define TEXT_END "</s>"

/* Coarse ones first: a finer one has to cover more of the texts to be taken. */
static const char *const splits[] = {"WhitespaceSplit", "Whitespace", "BertPreTokenizer"};

typedef struct building {
    graft_arena *arena;
    const graft_vectors *v;
    const graft_vectors_model_options *options;
    graft_vectors_model_report report;
    graft_map *ids;
    graft_word *words; /* by id; 0 is unknown */
    size_t n, room;
    int64_t end; /* the word that ends a text; 0: none does */
    float scale; /* of the rows written */
} building;

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

static int add_word(building *b, graft_word w, graft_err *err) {
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
static int add_first(building *b, graft_err *err) {
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

static void put_json(graft_buf *out, graft_word w) {
    graft_buf_text(out, "\"");
    for (size_t i = 0; i < w.size; i++) {
        if (w.text[i] == '"' || w.text[i] == '\\') graft_buf_text(out, "\\");
        graft_buf_append(out, w.text + i, 1);
    }
    graft_buf_text(out, "\"");
}

/* What puts the end behind a text, and behind each of a pair; 0: nothing does. */
static void put_post(graft_buf *out, int64_t end) {
    static const char piece[] = "{\"SpecialToken\":{\"id\":\"" TEXT_END "\",\"type_id\":0}}";
    static const char a[] = "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}",
                      b[] = "{\"Sequence\":{\"id\":\"B\",\"type_id\":0}}";
    if (end == 0) {
        graft_buf_text(out, "null");
        return;
    }
    graft_buf_printf(out,
                     "{\"type\":\"TemplateProcessing\",\"single\":[%s,%s],\"pair\":[%s,%s,%s,%s],"
                     "\"special_tokens\":{\"" TEXT_END "\":{\"id\":\"" TEXT_END
                     "\",\"ids\":[%lld],\"tokens\":[\"" TEXT_END "\"]}}}",
                     a, piece, a, piece, b, piece, (long long)end);
}

/* end: number of the word that ends a text; 0: there is none. */
static void put_tokenizer(graft_buf *out, const char *split, bool lowercase, const graft_word *words,
                          size_t n, int64_t end) {
    graft_buf_printf(
        out,
        "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[],\"normalizer\":%s,"
        "\"pre_tokenizer\":{\"type\":\"%s\"},\"post_processor\":",
        lowercase ? "{\"type\":\"Lowercase\"}" : "null", split);
    put_post(out, end);
    graft_buf_text(out, ",\"decoder\":null,\"model\":{\"type\":\"WordLevel\",\"vocab\":{\n");
    for (size_t i = 0; i < n; i++) {
        put_json(out, words[i]);
        graft_buf_printf(out, ":%zu%s\n", i, i + 1 < n ? "," : "");
    }
    graft_buf_printf(out, "},\"unk_token\":\"%s\"}}\n", UNKNOWN);
}

/* What is done with the words of the texts, each as the model will look it up. */
typedef struct visit {
    int (*word)(void *user, building *b, graft_word w, graft_err *err);
    void *user;
} visit;

static int visit_text(building *b, const graft_tokenizer *t, graft_encoding *e, graft_buf *scratch,
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
static int visit_texts(building *b, const char *split, size_t n, visit each, graft_err *err) {
    static const graft_word unknown = {UNKNOWN, sizeof UNKNOWN - 1};
    graft_tokenizer *t = NULL;
    graft_encoding e = {0};
    graft_buf json, scratch;
    graft_buf_init(&json, 0);
    graft_buf_init(&scratch, 0);
    put_tokenizer(&json, split, false, &unknown, 1, 0);
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

static int count_covered(void *user, building *b, graft_word w, graft_err *err) {
    (void)err;
    size_t *covered = user;
    if (graft_map_get(b->ids, w.text, w.size) > 0 || graft_vectors_find(b->v, w.text, w.size) >= 0)
        *covered += w.size;
    return 0;
}

/* By the bytes of words that stand in the file, for finer splits make more words of the same text. A finer
 * one that covers hardly more cuts what the vectors know whole. */
static int choose_split(building *b, graft_err *err) {
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
static int add_from_text(void *user, building *b, graft_word w, graft_err *err) {
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
static int add_end(building *b, graft_err *err) {
    static const graft_word end = {TEXT_END, sizeof TEXT_END - 1};
    if (graft_map_get(b->ids, end.text, end.size) < 0) {
        int rc = add_word(b, end, err);
        if (rc < 0) return rc;
    }
    b->end = graft_map_get(b->ids, end.text, end.size);
    return 0;
}

/* ---- Files
 * --------------------------------------------------------------------------------------------------- */

/* Layers begin with weights for inputs of about one, and vectors of large and of small training differ by a
 * factor of a hundred, so small that an LSTM reads nothing. A power of two leaves every bit of their values:
 * the file's are these divided by it. */
static float scale_of(const float *rows, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)rows[i] * (double)rows[i];
    double exponent = sum > 0 ? nearbyint(log2(0.3 / sqrt(sum / (double)n))) : 0;
    return (float)ldexp(1, (int)fmin(fmax(exponent, -64), 64));
}

static int write_rows(building *b, const char *path, graft_err *err) {
    const size_t width = (size_t)graft_vectors_width(b->v);
    size_t count = 0;
    float *rows =
        graft_size_mul(b->n, width, &count) ? graft_arena_array(b->arena, count, sizeof *rows) : NULL;
    if (!rows) return graft_err_nomem(err);
    memset(rows, 0, width * sizeof *rows);
    for (size_t i = 1; i < b->n; i++) {
        int rc = graft_vectors_get(b->v, b->words[i].text, b->words[i].size, rows + i * width, err);
        if (rc < 0) return rc;
    }
    b->scale = scale_of(rows, count);
    for (size_t i = 0; i < count; i++) rows[i] *= b->scale;
    const graft_tensor item = {.name = "embeddings.weight",
                               .dtype = GRAFT_F32,
                               .shape = {2, {(int64_t)b->n, (int64_t)width}},
                               .data = rows,
                               .size = count * sizeof *rows};
    return graft_safetensors_write(path, &item, 1, NULL, err);
}

static int write_config(const building *b, const char *path, graft_err *err) {
    const char *encoder = b->options->encoder ? b->options->encoder : "mean";
    json_t *o = json_pack("{s:s,s:s,s:I,s:I,s:f}", "model_type", "graft_vectors", "encoder", encoder,
                          "vocab_size", (json_int_t)b->n, "width", (json_int_t)graft_vectors_width(b->v),
                          "vectors_scale", (double)b->scale);
    int rc = o ? graft_json_write(path, o, err) : graft_err_nomem(err);
    json_decref(o);
    return rc;
}

/* The card of what is there now, read back from it. */
static int write_card(const char *dir, const char *path, graft_err *err) {
    static const graft_save_info nothing = {0};
    graft_model *m = NULL;
    graft_buf text;
    graft_buf_init(&text, 0);
    int rc = graft_model_open(&m, NULL, dir, NULL, err);
    if (rc == 0) rc = graft_model_card(&text, m, &nothing, dir, err);
    if (rc == 0) rc = graft_file_write(path, text.data, text.size, err);
    graft_buf_done(&text);
    graft_model_close(m);
    return rc;
}

static int write_folder(building *b, const char *dir, graft_err *err) {
    static const char *const names[] = {"model.safetensors", "config.json", "tokenizer.json", "README.md"};
    const char *paths[GRAFT_COUNT(names)];
    graft_buf json;
    int rc = graft_dir_make(dir, err);
    for (size_t i = 0; i < GRAFT_COUNT(names); i++)
        if (!(paths[i] = graft_path_join(b->arena, dir, names[i]))) return graft_err_nomem(err);
    if (rc == 0) rc = write_rows(b, paths[0], err);
    if (rc == 0) rc = write_config(b, paths[1], err);
    if (rc < 0) return rc;
    graft_buf_init(&json, 0);
    put_tokenizer(&json, b->report.split, b->report.lowercase, b->words, b->n, b->end);
    rc = json.failed ? graft_err_nomem(err) : graft_file_write(paths[2], json.data, json.size, err);
    graft_buf_done(&json);
    return rc < 0 ? rc : write_card(dir, paths[3], err);
}

static int check_encoder(const char *encoder, graft_err *err) {
    for (const char *const *e = graft_vectors_encoders(); *e; e++)
        if (!encoder || !strcmp(*e, encoder)) return 0;
    return graft_err_set(err, GRAFT_EUSAGE,
                         "unknown encoder '%s', one of: mean, cnn, lstm, and for fit fasttext", encoder);
}

int graft_vectors_write_model(graft_vectors_model_report *out, const char *dir, const graft_vectors *v,
                              const graft_vectors_model_options *options, graft_err *err) {
    building b = {.arena = graft_arena_new(NULL), .v = v, .options = options};
    int rc = check_encoder(options->encoder, err);
    if (rc == 0 && !b.arena) rc = graft_err_nomem(err);
    b.ids = rc == 0 ? graft_map_new(b.arena) : NULL;
    float *row = rc == 0 ? graft_arena_array(b.arena, (size_t)graft_vectors_width(v), sizeof *row) : NULL;
    if (rc == 0 && (!b.ids || !row)) rc = graft_err_nomem(err);
    if (rc == 0) rc = add_first(&b, err);
    if (rc == 0 && options->whole) rc = add_end(&b, err);
    if (rc == 0) rc = choose_split(&b, err);
    if (rc == 0 && options->n_texts)
        rc = visit_texts(&b, b.report.split, options->n_texts, (visit){add_from_text, row}, err);
    if (rc == 0) rc = write_folder(&b, dir, err);
    if (rc == 0) {
        b.report.n_words = (int64_t)b.n - 1;
        *out = b.report;
    }
    graft_arena_free(b.arena);
    return rc;
}

bool graft_vectors_recognise(const char *path) {
    static const char *const extensions[] = {"vec", "txt", "bin", "ftz", "w2v", "glove"};
    const char *extension = graft_path_extension(path);
    char begin[4] = "";
    bool fits = false;
    for (size_t i = 0; i < GRAFT_COUNT(extensions); i++) fits = fits || !strcasecmp(extension, extensions[i]);
    FILE *f = fits && graft_path_is_file(path) ? fopen(path, "rbe") : NULL;
    if (!f) return false;
    size_t n = fread(begin, 1, sizeof begin, f);
    fclose(f);
    /* PyTorch's checkpoints are zip files or pickles that may be called .bin as well */
    return n == sizeof begin && memcmp(begin, "PK\x03\x04", 4) != 0 && (unsigned char)begin[0] != 0x80;
}
