/* Opening a folder or a file, and copying what was opened. */
#include "model/tokenizer/token_legacy.h"
#include "model/tokenizer/token_private.h"
#include <string.h>

enum { FILE_CEILING = 256 * 1000 * 1000 };

static const char *const companions[] = {"tokenizer.json",
                                         "tokenizer_config.json",
                                         "special_tokens_map.json",
                                         "added_tokens.json",
                                         "vocab.txt",
                                         "vocab.json",
                                         "merges.txt"};

/* A folder's kinds of tokenizer, the preferred first: the file that tells it, and how it is read. */
static const struct kind {
    const char *name;
    int (*open)(graft_tokenizer **out, const graft_token_source *s, graft_err *err);
} kinds[] = {{"tokenizer.json", graft_legacy_open_json},
             {"vocab.json", graft_legacy_open_bpe},
             {"vocab.txt", graft_legacy_open_wordpiece},
             {"sentencepiece.bpe.model", graft_legacy_open_sentencepiece},
             {"spiece.model", graft_legacy_open_sentencepiece},
             {"tokenizer.model", graft_legacy_open_sentencepiece},
             {"bpe_simple_vocab_16e6.txt.gz", graft_legacy_open_clip},
             {"bpe_simple_vocab_16e6.txt", graft_legacy_open_clip}};

int graft_token_source_read(char **text, size_t *size, const graft_token_source *s, const char *name,
                            graft_err *err) {
    const char *path = name ? graft_path_join(s->arena, s->folder, name) : s->path;
    if (!path) return graft_err_nomem(err);
    return graft_file_read(text, size, s->arena, path, FILE_CEILING, err);
}

/* A file of its own kind by its extension; anything named *.json is a tokenizer.json unless it says vocab. */
static const struct kind *kind_of_file(const char *path) {
    const char *name = graft_path_name(path), *extension = graft_path_extension(path);
    for (size_t i = 0; i < GRAFT_COUNT(kinds); i++)
        if (strcmp(name, kinds[i].name) == 0) return &kinds[i];
    if (strcmp(extension, "json") == 0) return &kinds[0];
    if (strcmp(extension, "model") == 0) return &kinds[4];
    if (strcmp(extension, "gz") == 0) return &kinds[6];
    return strcmp(extension, "txt") == 0 ? &kinds[2] : NULL;
}

static const struct kind *kind_of_folder(graft_token_source *s) {
    for (size_t i = 0; i < GRAFT_COUNT(kinds); i++) {
        s->path = graft_path_join(s->arena, s->folder, kinds[i].name);
        if (s->path && graft_path_is_file(s->path)) return &kinds[i];
    }
    return NULL;
}

static int read_config(graft_token_source *s, graft_err *err) {
    const char *path = graft_path_join(s->arena, s->folder, "tokenizer_config.json");
    const char *map = graft_path_join(s->arena, s->folder, "special_tokens_map.json");
    if (!path || !map) return graft_err_nomem(err);
    int rc = graft_path_is_file(path) ? graft_json_read(&s->config, s->arena, path, err) : 0;
    if (rc == 0 && graft_path_is_file(map)) rc = graft_json_read(&s->special, s->arena, map, err);
    return rc;
}

/* "[PAD]" or {"content": "[PAD]", …} */
const char *graft_token_source_token(const graft_token_source *s, const char *key) {
    const json_t *v = json_object_get(s->config, key);
    if (!v || json_is_null(v)) v = json_object_get(s->special, key);
    return json_string_value(json_is_object(v) ? json_object_get(v, "content") : v);
}

/* Older files leave tokens that were added to a file of their own, which says too little about them. */
static int check_added(const graft_token_source *s, const struct kind *kind, graft_err *err) {
    json_t *added = NULL;
    const char *path = graft_path_join(s->arena, s->folder, "added_tokens.json");
    if (!path) return graft_err_nomem(err);
    if (kind == &kinds[0] || !graft_path_is_file(path)) return 0;
    int rc = graft_json_read(&added, s->arena, path, err);
    if (rc < 0 || json_object_size(added) == 0) return rc;
    return graft_err_set(err, GRAFT_EUNSUPPORTED,
                         "%s beside %s is not supported: save the tokenizer with its "
                         "tokenizer.json",
                         path, kind->name);
}

static void apply_config(graft_tokenizer *t, const graft_token_source *s) {
    const json_t *length = json_object_get(s->config, "model_max_length");
    double value = json_number_value(length);
    if (value >= 1 && value < 1e9) t->config_length = (int64_t)value; /* 1e30 stands for none */
    const char *pad = graft_token_source_token(s, "pad_token");
    if (pad) t->pad = graft_tokenizer_id(t, pad);
}

/* Names of the files beside and with the one that was opened, for saving. */
static int list_files(graft_tokenizer *t, const graft_token_source *s, graft_err *err) {
    const char **files = graft_arena_array(t->arena, GRAFT_COUNT(companions) + 1, sizeof *files);
    t->folder = graft_arena_strdup(t->arena, s->folder);
    if (!files || !t->folder) return graft_err_nomem(err);
    const char *name = graft_arena_strdup(t->arena, graft_path_name(s->path));
    if (!name) return graft_err_nomem(err);
    files[t->n_files++] = name;
    for (size_t i = 0; i < GRAFT_COUNT(companions); i++) {
        const char *path = graft_path_join(s->arena, s->folder, companions[i]);
        if (!path) return graft_err_nomem(err);
        if (strcmp(companions[i], name) != 0 && graft_path_is_file(path)) files[t->n_files++] = companions[i];
    }
    t->files = files;
    return 0;
}

/* The folder that a file lies in. */
static char *parent_of(graft_arena *arena, const char *path) {
    size_t size = (size_t)(graft_path_name(path) - path);
    return size ? graft_arena_strndup(arena, path, size) : graft_arena_strdup(arena, ".");
}

static int open_source(graft_tokenizer **out, graft_token_source *s, const char *path, graft_err *err) {
    bool is_dir = graft_path_is_dir(path);
    s->folder = is_dir ? graft_arena_strdup(s->arena, path) : parent_of(s->arena, path);
    s->path = graft_arena_strdup(s->arena, path);
    if (!s->folder || !s->path) return graft_err_nomem(err);
    if (!is_dir && !graft_path_is_file(path)) return graft_err_errno(err, "open", path);
    const struct kind *kind = is_dir ? kind_of_folder(s) : kind_of_file(path);
    if (!kind)
        return graft_err_set(
            err, GRAFT_EDATA,
            "%s holds no tokenizer: tokenizer.json, vocab.txt, vocab.json with merges.txt, or a "
            "SentencePiece model is expected",
            path);
    int rc = read_config(s, err);
    if (rc == 0 && is_dir) rc = check_added(s, kind, err);
    if (rc == 0) rc = kind->open(out, s, err);
    if (rc < 0) return rc;
    apply_config(*out, s);
    rc = list_files(*out, s, err);
    if (rc < 0) {
        graft_tokenizer_close(*out);
        *out = NULL;
    }
    return rc;
}

int graft_tokenizer_open(graft_tokenizer **out, const char *folder_or_file, graft_err *err) {
    graft_token_source s = {.arena = graft_arena_new(NULL)};
    *out = NULL;
    if (!s.arena) return graft_err_nomem(err);
    int rc = open_source(out, &s, folder_or_file, err);
    graft_arena_free(s.arena);
    return rc;
}

int graft_tokenizer_save(const graft_tokenizer *t, const char *folder, graft_err *err) {
    if (!t->folder) return graft_err_set(err, GRAFT_EUSAGE, "%s has no files to copy", t->origin);
    graft_arena *arena = graft_arena_new(NULL);
    int rc = arena ? graft_dir_make(folder, err) : graft_err_nomem(err);
    for (size_t i = 0; rc == 0 && i < t->n_files; i++) {
        const char *from = graft_path_join(arena, t->folder, t->files[i]);
        const char *to = graft_path_join(arena, folder, t->files[i]);
        rc = from && to ? graft_file_copy(from, to, err) : graft_err_nomem(err);
    }
    graft_arena_free(arena);
    return rc;
}
