/* Word vectors in place of a model's embedding matrix: the folder of the same model with a vocabulary of
 * whole words. Words that the model has as a token keep its row. The others' vectors are brought into the
 * model's space by the linear map that brings those of the shared words closest to their rows (Mikolov et al.
 * 2013, "Exploiting similarities among languages for machine translation"), both sides centred, with a small
 * ridge. */
#include "model/model_impl.h"
#include "model/vectors_words.h"
#include <string.h>

enum { MOST_FITTED = 20000, MOST_SPECIAL = 4096 };

/* A token that is no word, and keeps its row. */
typedef struct special {
    graft_word text;
    int32_t old_id; /* -1: the model has none such */
    int64_t id;
} special;

typedef struct replacing {
    graft_arena *arena;
    graft_model *m;
    const graft_tokenizer *t;
    const graft_vectors *v;
    graft_words_choice choice;
    graft_vectors_into_report report;
    const char *dir;
    const graft_param *rows; /* [old vocabulary, width] */
    const float *own;        /* its values */
    special *specials;
    size_t n_specials;
    graft_word *words;     /* [n] by new id, specials among them */
    int32_t *shared;       /* [n] the model's token that a word is, -1: none; of specials their own */
    int64_t n, unknown;    /* size of the new vocabulary; the token of unknown words */
    graft_vectors_map map; /* of the vectors, where report.mapped */
} replacing;

/* ---- The vocabulary ---- */

static int add_special(replacing *r, int32_t old_id, const char *text, graft_err *err) {
    if (old_id < 0 && !text) return 0;
    if (!text) text = graft_tokenizer_token(r->t, old_id);
    if (!text) return 0;
    for (size_t i = 0; i < r->n_specials; i++)
        if (r->specials[i].text.size == strlen(text) && !memcmp(r->specials[i].text.text, text, strlen(text)))
            return 0;
    if (r->n_specials == MOST_SPECIAL)
        return graft_err_set(err, GRAFT_EUNSUPPORTED, "%s: more than %d special tokens", r->m->path,
                             (int)MOST_SPECIAL);
    r->specials[r->n_specials++] = (special){.text = {text, strlen(text)}, .old_id = old_id};
    return 0;
}

static int find_specials(replacing *r, graft_err *err) {
    const int32_t unknown = graft_tokenizer_unknown(r->t);
    size_t n = 1;
    r->specials = graft_arena_array(r->arena, MOST_SPECIAL, sizeof *r->specials);
    if (!r->specials) return graft_err_nomem(err);
    int rc = add_special(r, unknown, unknown < 0 ? "[UNK]" : NULL, err);
    if (rc == 0) rc = add_special(r, (int32_t)r->m->hyper.pad, NULL, err);
    if (rc == 0) rc = add_special(r, graft_tokenizer_pad(r->t), NULL, err);
    for (int pair = 0; pair < 2; pair++) {
        const graft_post_piece *pieces = graft_tokenizer_template(r->t, pair, &n);
        for (size_t i = 0; i < n && rc == 0; i++)
            if (pieces[i].sequence < 0) rc = add_special(r, pieces[i].id, NULL, err);
    }
    n = 1;
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = add_special(r, graft_tokenizer_special(r->t, i, &n), NULL, err);
    return rc;
}

static bool is_special(const replacing *r, graft_word w) {
    for (size_t i = 0; i < r->n_specials; i++)
        if (r->specials[i].text.size == w.size && !memcmp(r->specials[i].text.text, w.text, w.size))
            return true;
    return false;
}

/* The model's one token for a word: as it stands within a text, else at its beginning; -1. */
static int one_token(int32_t *out, const replacing *r, graft_encoding *e, graft_word w, graft_err *err) {
    const graft_encode_options o = {.no_special = true};
    *out = -1;
    for (int blank = 1; blank >= 0; blank--) {
        const char *text = graft_arena_printf(r->arena, "%s%.*s", blank ? " " : "", (int)w.size, w.text);
        if (!text) return graft_err_nomem(err);
        int rc = graft_tokenizer_encode(r->t, e, text, strlen(text), NULL, 0, &o, err);
        if (rc < 0) return rc;
        if (e->n != 1 || e->ids[0] == graft_tokenizer_unknown(r->t)) continue;
        *out = e->ids[0];
        return 0;
    }
    return 0;
}

/* Special tokens keep their numbers where the new vocabulary reaches as far, for positions of some families
 * begin behind the number that fills; words take the rest in their order. */
static int number_tokens(replacing *r, graft_err *err) {
    const graft_words_choice *c = &r->choice;
    int64_t n_words = 0, at = 0;
    for (size_t i = 1; i < c->n; i++) n_words += !is_special(r, c->words[i]);
    r->n = n_words + (int64_t)r->n_specials;
    r->words = graft_arena_array(r->arena, (size_t)r->n, sizeof *r->words);
    r->shared = graft_arena_array(r->arena, (size_t)r->n, sizeof *r->shared);
    if (!r->words || !r->shared) return graft_err_nomem(err);
    memset(r->words, 0, (size_t)r->n * sizeof *r->words);
    for (int far = 0; far < 2; far++)
        for (size_t i = 0; i < r->n_specials; i++) {
            special *s = &r->specials[i];
            if ((s->old_id < 0 || s->old_id >= r->n) != far) continue;
            if (far)
                while (r->words[at].text) at++;
            s->id = far ? at : s->old_id;
            r->words[s->id] = s->text;
            r->shared[s->id] = s->old_id;
        }
    r->unknown = r->specials[0].id;
    r->report.n_special = (int64_t)r->n_specials;
    r->report.n_words = n_words;
    graft_encoding e = {0};
    int rc = 0;
    at = 0;
    for (size_t i = 1; i < c->n && rc == 0; i++) {
        if (is_special(r, c->words[i])) continue;
        while (r->words[at].text) at++;
        r->words[at] = c->words[i];
        rc = one_token(&r->shared[at], r, &e, c->words[i], err);
        r->report.n_shared += r->shared[at] >= 0;
    }
    graft_encoding_done(&e);
    return rc;
}

static bool is_word(const replacing *r, int64_t id) {
    for (size_t i = 0; i < r->n_specials; i++)
        if (r->specials[i].id == id) return false;
    return true;
}

/* ---- The map ---- */

static int vector_of(const replacing *r, int64_t id, float *out, graft_err *err) {
    int rc = graft_vectors_get(r->v, r->words[id].text, r->words[id].size, out, err);
    return rc < 0 ? rc : 0;
}

/* Ids of the shared words that the map is fitted to: the first ones, which are the most frequent. */
static size_t shared_words(const replacing *r, int64_t *ids) {
    size_t n = 0;
    for (int64_t i = 0; i < r->n && n < MOST_FITTED; i++)
        if (r->shared[i] >= 0 && is_word(r, i)) ids[n++] = i;
    return n;
}

static int fit_map(replacing *r, graft_err *err) {
    const size_t d = (size_t)graft_vectors_width(r->v), width = (size_t)r->rows->shape.dims[1];
    int64_t *ids = graft_arena_array(r->arena, MOST_FITTED, sizeof *ids);
    if (!ids) return graft_err_nomem(err);
    size_t n = shared_words(r, ids);
    if (n <= d) {
        if (d == width) return 0;
        return graft_err_set(err, GRAFT_EDATA,
                             "%zu words are both in the vectors and tokens of %s: to bring %zu values to %zu "
                             "more than %zu have to be",
                             n, r->m->path, d, width, d);
    }
    float *x = graft_arena_array(r->arena, n * d, sizeof *x);
    float *y = graft_arena_array(r->arena, n * width, sizeof *y);
    if (!x || !y) return graft_err_nomem(err);
    for (size_t i = 0; i < n; i++) {
        int rc = vector_of(r, ids[i], x + i * d, err);
        if (rc < 0) return rc;
        memcpy(y + i * width, r->own + (size_t)r->shared[ids[i]] * width, width * sizeof *y);
    }
    r->report.mapped = true;
    int rc = graft_vectors_map_fit(&r->map, r->arena, x, y, n, d, width, graft_env_threads(r->m->env), err);
    if (rc == 0) rc = graft_vectors_map_judge(&r->report.cosine, &r->map, r->arena, x, y, n, err);
    return rc;
}

/* ---- Files ---- */

/* The new matrix: own rows, mapped vectors; of an unknown token that is new, the mean of all rows. */
static int make_rows(const replacing *r, float **out, graft_err *err) {
    const size_t d = (size_t)graft_vectors_width(r->v), width = (size_t)r->rows->shape.dims[1];
    size_t count;
    if (!graft_size_mul((size_t)r->n, width, &count)) return graft_err_nomem(err);
    float *rows = graft_arena_array(r->arena, count, sizeof *rows);
    float *x = graft_arena_array(r->arena, d, sizeof *x);
    if (!rows || !x) return graft_err_nomem(err);
    for (int64_t i = 0; i < r->n; i++) {
        float *row = rows + (size_t)i * width;
        if (r->shared[i] >= 0) {
            memcpy(row, r->own + (size_t)r->shared[i] * width, width * sizeof *row);
            continue;
        }
        if (!is_word(r, i)) {
            const size_t n_old = (size_t)r->rows->shape.dims[0];
            for (size_t k = 0; k < width; k++) {
                double sum = 0;
                for (size_t o = 0; o < n_old; o++) sum += (double)r->own[o * width + k];
                row[k] = (float)(sum / (double)n_old);
            }
            continue;
        }
        int rc = vector_of(r, i, x, err);
        if (rc < 0) return rc;
        if (r->report.mapped)
            graft_vectors_map_apply(&r->map, x, row);
        else
            memcpy(row, x, width * sizeof *row);
    }
    *out = rows;
    return 0;
}

/* The file's tensors with the new matrix in its place, without others that have a row a token. */
static int write_weights(const replacing *r, const char *path, graft_err *err) {
    const graft_model *m = r->m;
    graft_tensors source;
    float *rows = NULL;
    int rc = graft_tensors_open(&source, r->arena, m->folder, err);
    graft_tensor *items = rc == 0 ? graft_arena_array(r->arena, source.n_items, sizeof *items) : NULL;
    size_t n = 0;
    if (rc == 0 && !items) rc = graft_err_nomem(err);
    if (rc == 0) rc = make_rows(r, &rows, err);
    for (size_t i = 0; i < source.n_items && rc == 0; i++) {
        graft_tensor t = source.items[i];
        const char *name = m->family->rename(r->arena, t.name);
        if (!name) return graft_err_nomem(err);
        if (strcmp(name, r->rows->name) == 0) {
            t.dtype = GRAFT_F32;
            t.shape.dims[0] = r->n;
            t.data = rows;
            t.size = (size_t)r->n * (size_t)t.shape.dims[1] * sizeof *rows;
        } else if (t.shape.rank > 0 && t.shape.dims[0] == r->rows->shape.dims[0])
            continue;
        items[n++] = t;
    }
    return rc < 0 ? rc : graft_safetensors_write(path, items, n, NULL, err);
}

static const special *special_of(const replacing *r, json_int_t old_id) {
    for (size_t i = 0; i < r->n_specials; i++)
        if (r->specials[i].old_id == old_id) return &r->specials[i];
    return NULL;
}

static int write_config(const replacing *r, const char *path, graft_err *err) {
    json_t *config = json_deep_copy(r->m->config);
    const char *key;
    json_t *value;
    int bad = !config || json_object_set_new(config, "vocab_size", json_integer(r->n)) < 0;
    json_object_foreach(r->m->config, key, value) {
        size_t size = strlen(key), ending = strlen("_token_id");
        if (bad || size <= ending || strcmp(key + size - ending, "_token_id") != 0) continue;
        const special *s = json_is_integer(value) ? special_of(r, json_integer_value(value)) : NULL;
        bad = s ? json_object_set_new(config, key, json_integer(s->id)) < 0
                : json_object_set_new(config, key, json_null()) < 0;
    }
    int rc = bad ? graft_err_nomem(err) : graft_json_write(path, config, err);
    json_decref(config);
    return rc;
}

static void put_template(graft_buf *out, const replacing *r, const char *name, bool pair) {
    size_t n = 0;
    const graft_post_piece *pieces = graft_tokenizer_template(r->t, pair, &n);
    graft_buf_printf(out, "\"%s\":[", name);
    for (size_t i = 0; i < n; i++) {
        const graft_post_piece *piece = &pieces[i];
        if (i) graft_buf_text(out, ",");
        graft_buf_printf(out, "{\"%s\":{\"id\":", piece->sequence < 0 ? "SpecialToken" : "Sequence");
        if (piece->sequence < 0)
            graft_words_put_json(out, special_of(r, piece->id)->text);
        else
            graft_buf_text(out, piece->sequence ? "\"B\"" : "\"A\"");
        graft_buf_printf(out, ",\"type_id\":%d}}", piece->type);
    }
    graft_buf_text(out, "],");
}

static void put_post(graft_buf *out, const replacing *r) {
    graft_buf_text(out, "{\"type\":\"TemplateProcessing\",");
    put_template(out, r, "single", false);
    put_template(out, r, "pair", true);
    graft_buf_text(out, "\"special_tokens\":{");
    for (size_t i = 0; i < r->n_specials; i++) {
        const special *s = &r->specials[i];
        if (i) graft_buf_text(out, ",");
        graft_words_put_json(out, s->text);
        graft_buf_text(out, ":{\"id\":");
        graft_words_put_json(out, s->text);
        graft_buf_printf(out, ",\"ids\":[%lld],\"tokens\":[", (long long)s->id);
        graft_words_put_json(out, s->text);
        graft_buf_text(out, "]}");
    }
    graft_buf_text(out, "}}");
}

static void put_added(graft_buf *out, const replacing *r) {
    graft_buf_text(out, "[");
    for (size_t i = 0; i < r->n_specials; i++) {
        graft_buf_printf(out, "%s{\"id\":%lld,\"content\":", i ? "," : "", (long long)r->specials[i].id);
        graft_words_put_json(out, r->specials[i].text);
        graft_buf_text(out, ",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,"
                            "\"special\":true}");
    }
    graft_buf_text(out, "]");
}

static int write_tokenizer(const replacing *r, const char *path, graft_err *err) {
    graft_buf json, post, added;
    graft_buf_init(&json, 0);
    graft_buf_init(&post, 0);
    graft_buf_init(&added, 0);
    put_post(&post, r);
    put_added(&added, r);
    const graft_words_tokenizer t = {.split = r->report.split,
                                     .lowercase = r->choice.report.lowercase,
                                     .words = r->words,
                                     .n = (size_t)r->n,
                                     .unknown = r->words[r->unknown],
                                     .post = post.data,
                                     .added = added.data};
    if (!post.failed && !added.failed) graft_words_put_tokenizer(&json, &t);
    bool failed = post.failed || added.failed || json.failed;
    int rc = failed ? graft_err_nomem(err) : graft_file_write(path, json.data, json.size, err);
    graft_buf_done(&json);
    graft_buf_done(&post);
    graft_buf_done(&added);
    return rc;
}

/* Which special token is which, for Transformers; that the tokens are whole words is tokenizer.json's. */
static int write_tokenizer_config(const replacing *r, const char *path, graft_err *err) {
    static const char *const keys[] = {"unk_token",  "pad_token", "cls_token", "sep_token",
                                       "mask_token", "bos_token", "eos_token"};
    json_t *o = json_pack("{s:s,s:I}", "tokenizer_class", "PreTrainedTokenizerFast", "model_max_length",
                          (json_int_t)r->m->text.max_length),
           *old = NULL;
    const char *from = graft_path_join(r->arena, r->m->folder, "tokenizer_config.json");
    if (!o || !from) {
        json_decref(o);
        return graft_err_nomem(err);
    }
    if (graft_path_is_file(from)) (void)graft_json_read(&old, r->arena, from, NULL);
    for (size_t i = 0; i < GRAFT_COUNT(keys); i++) {
        json_t *said = json_object_get(old, keys[i]);
        const char *text = json_string_value(json_is_object(said) ? json_object_get(said, "content") : said);
        if (!text && i == 0) text = r->words[r->unknown].text;
        if (text && (i == 0 || is_special(r, (graft_word){text, strlen(text)})))
            json_object_set_new(o, keys[i], json_string(text));
    }
    int rc = graft_json_write(path, o, err);
    json_decref(o);
    return rc;
}

static int copy_file(const replacing *r, const char *from_dir, const char *to_dir, const char *name,
                     graft_err *err) {
    const char *from = graft_path_join(r->arena, from_dir, name),
               *to = graft_path_join(r->arena, to_dir, name);
    if (!from || !to) return graft_err_nomem(err);
    return graft_path_is_file(from) ? graft_file_copy(from, to, err) : 0;
}

/* modules.json, whose transformer lies in the folder itself from now on. */
static int write_modules(const replacing *r, graft_err *err) {
    const char *from = graft_path_join(r->arena, r->m->modules, "modules.json");
    const char *to = graft_path_join(r->arena, r->dir, "modules.json");
    json_t *modules = NULL;
    if (!from || !to) return graft_err_nomem(err);
    if (!graft_path_is_file(from)) return 0;
    int rc = graft_json_read(&modules, r->arena, from, err);
    if (rc == 0 && r->m->modules != r->m->folder &&
        json_object_set_new(json_array_get(modules, 0), "path", json_string("")) < 0)
        rc = graft_err_nomem(err);
    return rc < 0 ? rc : graft_json_write(to, modules, err);
}

/* A folder of a module, such as 1_Pooling. */
static int copy_module(const replacing *r, const char *name, graft_err *err) {
    const char *from = graft_path_join(r->arena, r->m->modules, name);
    const char *to = graft_path_join(r->arena, r->dir, name);
    char **files = NULL;
    size_t n = 0;
    if (!from || !to) return graft_err_nomem(err);
    if (!graft_path_is_dir(from) || strcmp(from, r->m->folder) == 0) return 0;
    int rc = graft_dir_make(to, err);
    if (rc == 0) rc = graft_dir_list(&files, &n, r->arena, from, err);
    for (size_t i = 0; i < n && rc == 0; i++) rc = copy_file(r, from, to, files[i], err);
    return rc;
}

/* What a sentence-transformers folder has beside the model. */
static int copy_modules(const replacing *r, graft_err *err) {
    char **names = NULL;
    size_t n = 0;
    int rc = write_modules(r, err);
    if (rc == 0) rc = copy_file(r, r->m->folder, r->dir, "sentence_bert_config.json", err);
    if (rc == 0) rc = copy_file(r, r->m->modules, r->dir, "config_sentence_transformers.json", err);
    if (rc == 0) rc = graft_dir_list(&names, &n, r->arena, r->m->modules, err);
    for (size_t i = 0; i < n && rc == 0; i++)
        if (names[i][0] >= '0' && names[i][0] <= '9') rc = copy_module(r, names[i], err);
    return rc;
}

static int write_folder(replacing *r, graft_err *err) {
    static const char *const names[] = {"model.safetensors", "config.json", "tokenizer.json",
                                        "tokenizer_config.json", "README.md"};
    const char *paths[GRAFT_COUNT(names)];
    for (size_t i = 0; i < GRAFT_COUNT(names); i++)
        if (!(paths[i] = graft_path_join(r->arena, r->dir, names[i]))) return graft_err_nomem(err);
    int rc = graft_dir_make(r->dir, err);
    if (rc == 0) rc = copy_modules(r, err);
    if (rc == 0) rc = write_weights(r, paths[0], err);
    if (rc == 0) rc = write_config(r, paths[1], err);
    if (rc == 0) rc = write_tokenizer(r, paths[2], err);
    if (rc == 0) rc = write_tokenizer_config(r, paths[3], err);
    return rc < 0 ? rc : graft_words_write_card(r->dir, paths[4], err);
}

/* ---- The model ---- */

static int find_rows(replacing *r, graft_err *err) {
    graft_model *m = r->m;
    if (m->family->modality != GRAFT_TEXTS || m->family->grows || !m->folder || !m->source.n_items)
        return graft_err_set(
            err, GRAFT_EUSAGE,
            "%s: word vectors take the place of the token vectors of a folder's text model, such "
            "as BERT's",
            m->path);
    int rc = graft_model_tokenizer(&r->t, m, err);
    for (size_t i = 0; i < m->n_slots && rc == 0 && !r->rows; i++) {
        const graft_param *p = &m->slots[i]->param;
        if (!p->head && p->shape.rank == 2 && p->shape.dims[0] == m->hyper.vocabulary) r->rows = p;
    }
    if (rc < 0) return rc;
    if (!r->rows || !r->rows->tensor.data)
        return graft_err_set(err, GRAFT_EUNSUPPORTED, "%s: no matrix of %lld token vectors", m->path,
                             (long long)m->hyper.vocabulary);
    size_t count;
    if (!graft_size_mul((size_t)r->rows->shape.dims[0], (size_t)r->rows->shape.dims[1], &count))
        return graft_err_nomem(err);
    float *own = graft_arena_array(r->arena, count, sizeof *own);
    if (!own) return graft_err_nomem(err);
    graft_tensor_to_f32(&r->rows->tensor, own);
    r->own = own;
    r->report.from_width = graft_vectors_width(r->v);
    r->report.to_width = r->rows->shape.dims[1];
    return 0;
}

int graft_vectors_replace(graft_vectors_into_report *out, const char *dir, const graft_env *env,
                          const graft_vectors *v, const char *model,
                          const graft_vectors_model_options *options, graft_err *err) {
    replacing r = {.arena = graft_arena_new(NULL), .v = v, .dir = dir};
    int rc = r.arena ? graft_model_open(&r.m, env, model, NULL, err) : graft_err_nomem(err);
    if (rc == 0) rc = find_rows(&r, err);
    if (rc == 0) rc = find_specials(&r, err);
    if (rc == 0) rc = graft_words_choose(&r.choice, v, options, err);
    r.report.split = r.choice.report.split;
    r.report.n_tokens = r.choice.report.n_tokens;
    r.report.n_known = r.choice.report.n_known;
    if (rc == 0) rc = number_tokens(&r, err);
    if (rc == 0) rc = fit_map(&r, err);
    if (rc == 0) rc = write_folder(&r, err);
    if (rc == 0) *out = r.report;
    graft_model_close(r.m);
    graft_arena_free(r.choice.arena);
    graft_arena_free(r.arena);
    return rc;
}
