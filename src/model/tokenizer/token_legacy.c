#include "model/tokenizer/token_legacy.h"
#include <stdio.h>
#include <string.h>
#include <zlib.h>

static void put_escaped(graft_buf *b, const char *text, size_t size) {
    for (size_t i = 0, from = 0; i <= size; i++) {
        bool plain = i < size && (unsigned char)text[i] >= 0x20 && text[i] != '"' && text[i] != '\\';
        if (plain) continue;
        graft_buf_append(b, text + from, i - from);
        if (i < size) graft_buf_printf(b, "\\u%04x", (unsigned)(unsigned char)text[i]);
        from = i + 1;
    }
}

void graft_legacy_quote(graft_buf *b, const char *text, size_t size) {
    graft_buf_text(b, "\"");
    put_escaped(b, text, size);
    graft_buf_text(b, "\"");
}

static int parse(graft_tokenizer **out, graft_buf *b, const graft_token_source *s, graft_err *err) {
    int rc = b->failed ? graft_err_nomem(err) : graft_tokenizer_parse(out, b->data, b->size, s->path, err);
    graft_buf_done(b);
    return rc;
}

int graft_legacy_open_json(graft_tokenizer **out, const graft_token_source *s, graft_err *err) {
    char *text;
    size_t size;
    int rc = graft_token_source_read(&text, &size, s, NULL, err);
    return rc < 0 ? rc : graft_tokenizer_parse(out, text, size, s->path, err);
}

/* The next line without its end; false when there is none. */
static bool next_line(const char **at, const char *end, const char **line, size_t *size) {
    if (*at >= end) return false;
    const char *stop = memchr(*at, '\n', (size_t)(end - *at));
    *line = *at;
    *at = stop ? stop + 1 : end;
    *size = (size_t)((stop ? stop : end) - *line);
    return true;
}

/* A special token that a vocabulary may have. */
typedef struct name {
    const char *text; /* NULL: none */
    int64_t id;       /* -1: not in the vocabulary */
} name;

static void put_added(graft_buf *b, const name *names, size_t n) {
    bool first = true;
    graft_buf_text(b, "\"added_tokens\":[");
    for (size_t i = 0; i < n; i++) {
        bool again = false;
        for (size_t k = 0; k < i && !again; k++) again = names[k].id == names[i].id;
        if (again || names[i].id < 0) continue;
        graft_buf_printf(b, "%s{\"id\":%lld,\"special\":true,\"normalized\":false,\"content\":",
                         first ? "" : ",", (long long)names[i].id);
        graft_legacy_quote(b, names[i].text, strlen(names[i].text));
        /* RoBERTa's mask swallows the blank before it */
        graft_buf_text(b, strcmp(names[i].text, "<mask>") == 0 ? ",\"lstrip\":true}" : "}");
        first = false;
    }
    graft_buf_text(b, "],");
}

static void put_pair(graft_buf *b, const char *key, const char *text, int64_t id) {
    graft_buf_printf(b, "\"%s\":[", key);
    graft_legacy_quote(b, text, strlen(text));
    graft_buf_printf(b, ",%lld],", (long long)id);
}

static const char *named(const graft_token_source *s, const char *key, const char *absent) {
    const char *text = graft_token_source_token(s, key);
    return text ? text : absent;
}

/* ---- vocab.txt: BERT's ---- */

static const char *flag(const graft_token_source *s, const char *key, const char *absent) {
    const json_t *v = json_object_get(s->config, key);
    return json_is_boolean(v) ? (json_is_true(v) ? "true" : "false") : absent;
}

/* Every line is a token and its number the id; notes the ids of `names`. */
static void put_lines(graft_buf *b, const char *text, size_t size, name *names, size_t n_names) {
    const char *at = text, *line;
    size_t n, id = 0;
    bool first = true;
    for (; next_line(&at, text + size, &line, &n); id++) {
        while (n > 0 && strchr(" \t\r\f\v", line[n - 1])) n--;
        if (!n) continue; /* its number is taken all the same */
        for (size_t i = 0; i < n_names; i++)
            if (strlen(names[i].text) == n && memcmp(names[i].text, line, n) == 0) names[i].id = (int64_t)id;
        if (!first) graft_buf_text(b, ",");
        graft_legacy_quote(b, line, n);
        graft_buf_printf(b, ":%zu", id);
        first = false;
    }
}

int graft_legacy_open_wordpiece(graft_tokenizer **out, const graft_token_source *s, graft_err *err) {
    enum { PAD, UNKNOWN, CLS, SEP, MASK, N_NAMES };
    char *text;
    size_t size;
    int rc = graft_token_source_read(&text, &size, s, NULL, err);
    if (rc < 0) return rc;
    name names[N_NAMES] = {[PAD] = {named(s, "pad_token", "[PAD]"), -1},
                           [UNKNOWN] = {named(s, "unk_token", "[UNK]"), -1},
                           [CLS] = {named(s, "cls_token", "[CLS]"), -1},
                           [SEP] = {named(s, "sep_token", "[SEP]"), -1},
                           [MASK] = {named(s, "mask_token", "[MASK]"), -1}};
    graft_buf b;
    graft_buf_init(&b, 0);
    graft_buf_text(&b, "{\"model\":{\"type\":\"WordPiece\",\"unk_token\":");
    graft_legacy_quote(&b, names[UNKNOWN].text, strlen(names[UNKNOWN].text));
    graft_buf_text(&b, ",\"vocab\":{");
    put_lines(&b, text, size, names, N_NAMES);
    graft_buf_text(&b, "}},");
    put_added(&b, names, N_NAMES);
    if (names[CLS].id >= 0 && names[SEP].id >= 0) {
        graft_buf_text(&b, "\"post_processor\":{");
        put_pair(&b, "cls", names[CLS].text, names[CLS].id);
        put_pair(&b, "sep", names[SEP].text, names[SEP].id);
        graft_buf_text(&b, "\"type\":\"BertProcessing\"},");
    }
    graft_buf_printf(&b,
                     "\"normalizer\":{\"type\":\"BertNormalizer\",\"lowercase\":%s,\"strip_accents\":%s,"
                     "\"handle_chinese_chars\":%s},\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"}}",
                     flag(s, "do_lower_case", "true"), flag(s, "strip_accents", "null"),
                     flag(s, "tokenize_chinese_chars", "true"));
    return parse(out, &b, s, err);
}

/* ---- vocab.json and merges.txt: GPT-2's, RoBERTa's, CLIP's ---- */

static int put_merges(graft_buf *b, const char *text, size_t size, size_t skip, size_t most,
                      const char *origin, graft_err *err) {
    const char *at = text, *line;
    size_t n, number = 0, count = 0;
    graft_buf_text(b, "\"merges\":[");
    while (count < most && next_line(&at, text + size, &line, &n)) {
        number++;
        if (n > 0 && line[n - 1] == '\r') n--;
        if (number <= skip || !n || (n >= 8 && memcmp(line, "#version", 8) == 0)) continue;
        const char *space = memchr(line, ' ', n);
        if (!space || memchr(space + 1, ' ', n - (size_t)(space + 1 - line)))
            return graft_err_set(err, GRAFT_EFORMAT, "%s: line %zu is no pair of tokens", origin, number);
        if (count++) graft_buf_text(b, ",");
        graft_legacy_quote(b, line, n);
    }
    graft_buf_text(b, "],");
    return 0;
}

static int64_t id_in(const graft_node *vocab, const char *token) {
    int64_t id;
    const graft_node *v = token ? graft_node_get(vocab, token) : NULL;
    return graft_node_to_int(v, &id) ? id : -1;
}

/* CLIP's stages, whether its merges come with a vocab.json or alone. */
static void put_clip_stages(graft_buf *b, int64_t begin, int64_t end) {
    graft_buf_text(
        b, "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"Replace\","
           "\"pattern\":{\"Regex\":\"\\\\s+\"},\"content\":\" \"},{\"type\":\"Lowercase\"}]},"
           "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":"
           "{\"Regex\":\"'s|'t|'re|'ve|'m|'ll|'d|[\\\\p{L}]+|[\\\\p{N}]|[^\\\\s\\\\p{L}\\\\p{N}]+\"},"
           "\"behavior\":\"Removed\",\"invert\":true},{\"type\":\"ByteLevel\",\"add_prefix_space\":false}]},"
           "\"post_processor\":{\"trim_offsets\":false,"
           "\"add_prefix_space\":false,");
    put_pair(b, "cls", "<|startoftext|>", begin);
    put_pair(b, "sep", "<|endoftext|>", end);
    graft_buf_text(b, "\"type\":\"RobertaProcessing\"}}");
}

static void put_bpe_stages(graft_buf *b, const graft_token_source *s, const graft_node *vocab) {
    const char *cls = named(s, "cls_token", "<s>"), *sep = named(s, "sep_token", "</s>");
    const char *prefix = flag(s, "add_prefix_space", "false");
    bool roberta = id_in(vocab, cls) >= 0 && id_in(vocab, sep) >= 0;
    graft_buf_printf(
        b, "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":%s},\"post_processor\":{", prefix);
    if (roberta) {
        put_pair(b, "cls", cls, id_in(vocab, cls));
        put_pair(b, "sep", sep, id_in(vocab, sep));
    }
    graft_buf_printf(b, "\"type\":\"%s\",\"trim_offsets\":%s,\"add_prefix_space\":%s}}",
                     roberta ? "RobertaProcessing" : "ByteLevel", roberta ? "true" : "false", prefix);
}

static int read_vocab(const graft_node **out, char **text, size_t *size, const graft_token_source *s,
                      graft_err *err) {
    int rc = graft_token_source_read(text, size, s, NULL, err);
    if (rc < 0) return rc;
    size_t valid = graft_utf8_valid(*text, *size, NULL);
    if (valid < *size) return graft_err_set(err, GRAFT_EFORMAT, "%s: byte %zu is not UTF-8", s->path, valid);
    char *copy = graft_arena_strndup(s->arena, *text, *size); /* reading unescapes in place */
    if (!copy) return graft_err_nomem(err);
    rc = graft_node_parse(out, s->arena, copy, strlen(copy), s->path, err);
    if (rc == 0 && (*out)->type != GRAFT_NODE_OBJECT)
        rc = graft_err_set(err, GRAFT_EFORMAT, "%s: tokens and their ids are expected", s->path);
    return rc;
}

int graft_legacy_open_bpe(graft_tokenizer **out, const graft_token_source *s, graft_err *err) {
    char *vocab_text, *merges;
    size_t vocab_size, merges_size;
    const graft_node *vocab;
    int rc = read_vocab(&vocab, &vocab_text, &vocab_size, s, err);
    if (rc == 0) rc = graft_token_source_read(&merges, &merges_size, s, "merges.txt", err);
    if (rc < 0) return rc;
    bool clip = id_in(vocab, "<|startoftext|>") >= 0 && id_in(vocab, "<|endoftext|>") >= 0;
    name names[] = {{"<|startoftext|>", -1},
                    {"<|endoftext|>", -1},
                    {"<s>", -1},
                    {"<pad>", -1},
                    {"</s>", -1},
                    {"<unk>", -1},
                    {"<mask>", -1},
                    {graft_token_source_token(s, "bos_token"), -1},
                    {graft_token_source_token(s, "eos_token"), -1},
                    {graft_token_source_token(s, "pad_token"), -1},
                    {graft_token_source_token(s, "unk_token"), -1}};
    for (size_t i = 0; i < GRAFT_COUNT(names); i++) names[i].id = id_in(vocab, names[i].text);
    graft_buf b;
    graft_buf_init(&b, 0);
    graft_buf_text(&b, "{");
    put_added(&b, names, GRAFT_COUNT(names));
    graft_buf_text(&b, "\"model\":{\"type\":\"BPE\",");
    if (clip) graft_buf_text(&b, "\"end_of_word_suffix\":\"</w>\",\"unk_token\":\"<|endoftext|>\",");
    rc = put_merges(&b, merges, merges_size, 0, SIZE_MAX, s->path, err);
    if (rc < 0) {
        graft_buf_done(&b);
        return rc;
    }
    graft_buf_text(&b, "\"vocab\":");
    graft_buf_append(&b, vocab_text, vocab_size);
    graft_buf_text(&b, "},");
    if (clip)
        put_clip_stages(&b, id_in(vocab, "<|startoftext|>"), id_in(vocab, "<|endoftext|>"));
    else
        put_bpe_stages(&b, s, vocab);
    return parse(out, &b, s, err);
}

/* ---- CLIP's own file: merges alone, from which the vocabulary follows ---- */

enum { CLIP_MERGES = 49152 - 256 - 2, CLIP_CEILING = 16 * 1000 * 1000 };

/* Plain or gzip: zlib reads both. */
static int read_gzip(graft_buf *b, const char *path, graft_err *err) {
    char chunk[1 << 14];
    gzFile file = gzopen(path, "rb");
    if (!file) return graft_err_errno(err, "open", path);
    int n;
    while ((n = gzread(file, chunk, sizeof chunk)) > 0 && b->size < CLIP_CEILING)
        graft_buf_append(b, chunk, (size_t)n);
    gzclose(file);
    if (n < 0) return graft_err_set(err, GRAFT_EFORMAT, "%s: not gzip, or cut", path);
    if (b->size >= CLIP_CEILING) return graft_err_set(err, GRAFT_EFORMAT, "%s: too long for merges", path);
    return b->failed ? graft_err_nomem(err) : 0;
}

static void put_clip_bytes(graft_buf *b, size_t *id, const char *suffix) {
    for (int pass = 0; pass < 2; pass++) { /* bytes that stand for themselves, then the others */
        for (int i = 0; i < 256; i++) {
            uint32_t c = graft_byte_to_char((unsigned char)i);
            char text[8];
            if ((c >= 0x100) != (pass == 1)) continue;
            uint32_t n = graft_utf8_put(text, c);
            if (*id) graft_buf_text(b, ",");
            graft_buf_text(b, "\"");
            if (*text == '"' || *text == '\\') graft_buf_text(b, "\\");
            graft_buf_append(b, text, n);
            graft_buf_printf(b, "%s\":%zu", suffix, (*id)++);
        }
    }
}

int graft_legacy_open_clip(graft_tokenizer **out, const graft_token_source *s, graft_err *err) {
    graft_buf file, b;
    graft_buf_init(&file, 0);
    graft_buf_init(&b, 0);
    size_t id = 0, n, number = 0;
    int rc = read_gzip(&file, s->path, err);
    graft_buf_text(
        &b, "{\"model\":{\"type\":\"BPE\",\"end_of_word_suffix\":\"</w>\",\"unk_token\":\"<|endoftext|>\",");
    if (rc == 0) rc = put_merges(&b, file.data, file.size, 1, CLIP_MERGES, s->path, err);
    graft_buf_text(&b, "\"vocab\":{");
    put_clip_bytes(&b, &id, "");
    put_clip_bytes(&b, &id, "</w>");
    const char *at = file.data, *line;
    while (rc == 0 && id < CLIP_MERGES + 512 && next_line(&at, file.data + file.size, &line, &n)) {
        const char *space = memchr(line, ' ', n);
        if (number++ == 0 || !space) continue;
        graft_buf_text(&b, ",\"");
        put_escaped(&b, line, (size_t)(space - line));
        put_escaped(&b, space + 1, n - (size_t)(space + 1 - line));
        graft_buf_text(&b, "\"");
        graft_buf_printf(&b, ":%zu", id++);
    }
    graft_buf_done(&file);
    if (rc < 0) {
        graft_buf_done(&b);
        return rc;
    }
    graft_buf_printf(&b, ",\"<|startoftext|>\":%zu,\"<|endoftext|>\":%zu}},\"added_tokens\":[", id, id + 1);
    graft_buf_printf(&b,
                     "{\"id\":%zu,\"content\":\"<|startoftext|>\",\"special\":true,\"normalized\":false},"
                     "{\"id\":%zu,\"content\":\"<|endoftext|>\",\"special\":true,\"normalized\":false}],",
                     id, id + 1);
    put_clip_stages(&b, (int64_t)id, (int64_t)id + 1);
    return parse(out, &b, s, err);
}
