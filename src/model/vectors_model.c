/* Word vectors become the folder of a text model: its files. */
#include "model/model_impl.h"
#include "model/vectors_words.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Layers begin with weights for inputs of about one, and vectors of large and of small training differ by a
 * factor of a hundred, so small that an LSTM reads nothing. A power of two leaves every bit of their values:
 * the file's are these divided by it. */
static float scale_of(const float *rows, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)rows[i] * (double)rows[i];
    double exponent = sum > 0 ? nearbyint(log2(0.3 / sqrt(sum / (double)n))) : 0;
    return (float)ldexp(1, (int)fmin(fmax(exponent, -64), 64));
}

static int write_rows(graft_words_choice *b, float *scale, const char *path, graft_err *err) {
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
    *scale = scale_of(rows, count);
    for (size_t i = 0; i < count; i++) rows[i] *= *scale;
    const graft_tensor item = {.name = "embeddings.weight",
                               .dtype = GRAFT_F32,
                               .shape = {2, {(int64_t)b->n, (int64_t)width}},
                               .data = rows,
                               .size = count * sizeof *rows};
    return graft_safetensors_write(path, &item, 1, NULL, err);
}

static int write_config(const graft_words_choice *b, float scale, const char *path, graft_err *err) {
    const char *encoder = b->options->encoder ? b->options->encoder : "mean";
    json_t *o = json_pack("{s:s,s:s,s:I,s:I,s:f}", "model_type", "graft_vectors", "encoder", encoder,
                          "vocab_size", (json_int_t)b->n, "width", (json_int_t)graft_vectors_width(b->v),
                          "vectors_scale", (double)scale);
    int rc = o ? graft_json_write(path, o, err) : graft_err_nomem(err);
    json_decref(o);
    return rc;
}

/* The card of what is there now, read back from it. */
int graft_words_write_card(const char *dir, const char *path, graft_err *err) {
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

/* What puts the end behind a text, and behind each of a pair. */
static void put_post(graft_buf *out, int64_t end) {
    static const char a[] = "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}",
                      b[] = "{\"Sequence\":{\"id\":\"B\",\"type_id\":0}}",
                      stop[] = "{\"SpecialToken\":{\"id\":\"" GRAFT_TEXT_END "\",\"type_id\":0}}";
    graft_buf_printf(out,
                     "{\"type\":\"TemplateProcessing\",\"single\":[%s,%s],\"pair\":[%s,%s,%s,%s],"
                     "\"special_tokens\":{\"" GRAFT_TEXT_END "\":{\"id\":\"" GRAFT_TEXT_END
                     "\",\"ids\":[%lld],\"tokens\":[\"" GRAFT_TEXT_END "\"]}}}",
                     a, stop, a, stop, b, stop, (long long)end);
}

static int write_tokenizer(const graft_words_choice *b, const char *path, graft_err *err) {
    graft_buf json, post;
    graft_buf_init(&json, 0);
    graft_buf_init(&post, 0);
    if (b->end) put_post(&post, b->end);
    const graft_words_tokenizer t = {.split = b->report.split,
                                     .lowercase = b->report.lowercase,
                                     .words = b->words,
                                     .n = b->n,
                                     .unknown = b->words[0],
                                     .post = b->end ? post.data : NULL};
    if (!post.failed) graft_words_put_tokenizer(&json, &t);
    int rc =
        post.failed || json.failed ? graft_err_nomem(err) : graft_file_write(path, json.data, json.size, err);
    graft_buf_done(&json);
    graft_buf_done(&post);
    return rc;
}

static int write_folder(graft_words_choice *b, const char *dir, graft_err *err) {
    static const char *const names[] = {"model.safetensors", "config.json", "tokenizer.json", "README.md"};
    const char *paths[GRAFT_COUNT(names)];
    float scale = 1;
    int rc = graft_dir_make(dir, err);
    for (size_t i = 0; i < GRAFT_COUNT(names); i++)
        if (!(paths[i] = graft_path_join(b->arena, dir, names[i]))) return graft_err_nomem(err);
    if (rc == 0) rc = write_rows(b, &scale, paths[0], err);
    if (rc == 0) rc = write_config(b, scale, paths[1], err);
    if (rc == 0) rc = write_tokenizer(b, paths[2], err);
    return rc < 0 ? rc : graft_words_write_card(dir, paths[3], err);
}

static int check_encoder(const char *encoder, graft_err *err) {
    for (const char *const *e = graft_vectors_encoders(); *e; e++)
        if (!encoder || !strcmp(*e, encoder)) return 0;
    return graft_err_set(err, GRAFT_EUSAGE,
                         "unknown encoder '%s', one of: mean, cnn, lstm, and for fit fasttext", encoder);
}

int graft_vectors_write_model(graft_vectors_model_report *out, const char *dir, const graft_vectors *v,
                              const graft_vectors_model_options *options, graft_err *err) {
    graft_words_choice b = {0};
    int rc = check_encoder(options->encoder, err);
    if (rc == 0) rc = graft_words_choose(&b, v, options, err);
    if (rc == 0) rc = write_folder(&b, dir, err);
    if (rc == 0) *out = b.report;
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
