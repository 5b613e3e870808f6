/* SentencePiece's model file: a protocol buffer, of which a dozen fields matter. */
#include "model/tokenizer/token_legacy.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };
enum { TYPE_NORMAL = 1, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_USER, TYPE_UNUSED, TYPE_BYTE };
enum { MODEL_UNIGRAM = 1, MODEL_BPE = 2 };

typedef struct piece {
    const char *text;
    uint32_t size;
    float score;
    int type;
} piece;

typedef struct proto {
    const char *origin;
    const unsigned char *begin;
    piece *pieces;
    size_t n;
    int model_type;
    bool byte_fallback, suffix, dummy_prefix, extra_spaces;
    const unsigned char *map;
    size_t map_size;
    int64_t unknown; /* index of the unknown piece, -1: none */
} proto;

/* One field: where its value lies. */
typedef struct field {
    uint32_t number, wire;
    uint64_t value; /* of a varint or a fixed one */
    const unsigned char *bytes;
    size_t size;
} field;

static int bad(const proto *p, const unsigned char *at, const char *what, graft_err *err) {
    return graft_err_set(err, GRAFT_EFORMAT, "%s: no SentencePiece model, at byte %zu: %s", p->origin,
                         (size_t)(at - p->begin), what);
}

static bool read_varint(const unsigned char **at, const unsigned char *end, uint64_t *out) {
    uint64_t value = 0;
    for (int shift = 0; shift < 64 && *at < end; shift += 7) {
        unsigned char byte = *(*at)++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *out = value;
            return true;
        }
    }
    return false;
}

static uint64_t read_fixed(const unsigned char *b, size_t n) {
    uint64_t value = 0;
    for (size_t i = 0; i < n; i++) value |= (uint64_t)b[i] << (8 * i);
    return value;
}

static bool read_field(const unsigned char **at, const unsigned char *end, field *f) {
    uint64_t key, size;
    *f = (field){0};
    if (!read_varint(at, end, &key) || key >> 3 > UINT32_MAX) return false;
    f->number = (uint32_t)(key >> 3);
    f->wire = key & 7;
    if (f->wire == WIRE_VARINT) return read_varint(at, end, &f->value);
    if (f->wire == WIRE_BYTES) {
        if (!read_varint(at, end, &size) || size > (size_t)(end - *at)) return false;
        f->bytes = *at;
        f->size = (size_t)size;
        *at += size;
        return true;
    }
    size_t n = f->wire == WIRE_FIXED64 ? 8 : 4;
    if ((f->wire != WIRE_FIXED64 && f->wire != WIRE_FIXED32) || (size_t)(end - *at) < n) return false;
    f->value = read_fixed(*at, n);
    *at += n;
    return true;
}

static int read_piece(proto *p, piece *out, const field *message, graft_err *err) {
    const unsigned char *at = message->bytes, *end = at + message->size;
    field f;
    *out = (piece){.text = "", .type = TYPE_NORMAL};
    while (at < end) {
        if (!read_field(&at, end, &f)) return bad(p, at, "a piece that is cut", err);
        if (f.number == 1 && f.wire == WIRE_BYTES) {
            out->text = (const char *)f.bytes;
            out->size = (uint32_t)f.size;
        } else if (f.number == 2 && f.wire == WIRE_FIXED32) {
            uint32_t bits = (uint32_t)f.value;
            memcpy(&out->score, &bits, sizeof bits);
        } else if (f.number == 3 && f.wire == WIRE_VARINT) {
            out->type = (int)(f.value & 7);
        }
    }
    if (!isfinite(out->score)) return bad(p, message->bytes, "a score that is no number", err);
    if (graft_utf8_valid(out->text, out->size, NULL) != out->size)
        return bad(p, message->bytes, "a piece that is not UTF-8", err);
    return 0;
}

static int read_trainer(proto *p, const field *message, graft_err *err) {
    const unsigned char *at = message->bytes, *end = at + message->size;
    field f;
    while (at < end) {
        if (!read_field(&at, end, &f)) return bad(p, at, "a trainer's record that is cut", err);
        if (f.wire != WIRE_VARINT) continue;
        if (f.number == 3) p->model_type = f.value < 100 ? (int)f.value : 0;
        if (f.number == 24) p->suffix = f.value != 0;
        if (f.number == 35) p->byte_fallback = f.value != 0;
    }
    return 0;
}

static int read_normalizer(proto *p, const field *message, graft_err *err) {
    const unsigned char *at = message->bytes, *end = at + message->size;
    field f;
    while (at < end) {
        if (!read_field(&at, end, &f)) return bad(p, at, "a normalizer's record that is cut", err);
        if (f.number == 2 && f.wire == WIRE_BYTES) {
            p->map = f.bytes;
            p->map_size = f.size;
        }
        if (f.number == 3 && f.wire == WIRE_VARINT) p->dummy_prefix = f.value != 0;
        if (f.number == 4 && f.wire == WIRE_VARINT) p->extra_spaces = f.value == 0;
    }
    return 0;
}

static int read_proto(proto *p, graft_arena *arena, size_t size, graft_err *err) {
    const unsigned char *at = p->begin, *end = at + size;
    size_t n = 0;
    field f;
    while (at < end) { /* twice: pieces are counted first */
        if (!read_field(&at, end, &f)) return bad(p, at, "a field that is cut", err);
        n += f.number == 1 && f.wire == WIRE_BYTES;
    }
    if (!n || n >= GRAFT_ID_MAX) return bad(p, p->begin, "no pieces, or too many", err);
    p->pieces = graft_arena_array(arena, n, sizeof *p->pieces);
    if (!p->pieces) return graft_err_nomem(err);
    int rc = 0;
    for (at = p->begin; rc == 0 && at < end;) {
        read_field(&at, end, &f);
        if (f.wire != WIRE_BYTES) continue;
        if (f.number == 1) {
            rc = read_piece(p, &p->pieces[p->n], &f, err);
            if (p->pieces[p->n].type == TYPE_UNKNOWN) p->unknown = (int64_t)p->n;
            p->n++;
        }
        if (f.number == 2) rc = read_trainer(p, &f, err);
        if (f.number == 3) rc = read_normalizer(p, &f, err);
    }
    return rc;
}

/* ---- As a tokenizer.json ---- */

static void put_base64(graft_buf *b, const unsigned char *bytes, size_t size) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < size; i += 3) {
        uint32_t left = (uint32_t)(size - i < 3 ? size - i : 3);
        uint32_t v = (uint32_t)bytes[i] << 16 | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) |
                     (left > 2 ? bytes[i + 2] : 0);
        const char four[4] = {digits[v >> 18], digits[v >> 12 & 63], left > 1 ? digits[v >> 6 & 63] : '=',
                              left > 2 ? digits[v & 63] : '='};
        graft_buf_append(b, four, 4);
    }
}

static void put_stages(graft_buf *b, const proto *p) {
    graft_buf_text(b, "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[");
    if (p->map_size) {
        graft_buf_text(b, "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"");
        put_base64(b, p->map, p->map_size);
        graft_buf_text(b, p->extra_spaces ? "\"}" : "\"},");
    }
    if (!p->extra_spaces)
        graft_buf_text(b,
                       "{\"type\":\"Strip\",\"strip_left\":false,\"strip_right\":true},{\"type\":\"Replace\","
                       "\"pattern\":{\"Regex\":\" {2,}\"},\"content\":\"\xe2\x96\x81\"}");
    graft_buf_printf(
        b,
        "]},\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\xe2\x96\x81\",\"prepend_scheme\":"
        "\"%s\"},",
        p->dummy_prefix ? "always" : "never");
}

static void put_unigram(graft_buf *b, const proto *p, bool fairseq) {
    graft_buf_text(b, "\"model\":{\"type\":\"Unigram\",\"vocab\":[");
    if (fairseq) graft_buf_text(b, "[\"<s>\",0.0],[\"<pad>\",0.0],[\"</s>\",0.0],[\"<unk>\",0.0]");
    for (size_t i = fairseq ? 3 : 0; i < p->n; i++) {
        graft_buf_text(b, i ? ",[" : "[");
        graft_legacy_quote(b, p->pieces[i].text, p->pieces[i].size);
        graft_buf_printf(b, ",%.17g]", (double)p->pieces[i].score);
    }
    if (fairseq) graft_buf_text(b, ",[\"<mask>\",0.0]");
    graft_buf_printf(b, "],\"byte_fallback\":%s", p->byte_fallback ? "true" : "false");
    if (fairseq || p->unknown >= 0)
        graft_buf_printf(b, ",\"unk_id\":%lld", fairseq ? 3LL : (long long)p->unknown);
    graft_buf_text(b, "}");
}

typedef struct merge {
    uint32_t piece, left, right, left_size, right_size; /* sizes in characters */
    float score;
} merge;

/* The order in which a BPE model's merges were learnt: by score, the longer parts first. */
static int compare_merges(const void *a, const void *b) {
    const merge *x = a, *y = b;
    if (x->score > y->score || x->score < y->score) return x->score > y->score ? -1 : 1;
    if (x->left_size != y->left_size) return x->left_size > y->left_size ? -1 : 1;
    if (x->right_size != y->right_size) return x->right_size > y->right_size ? -1 : 1;
    if (x->piece != y->piece) return x->piece < y->piece ? -1 : 1;
    if (x->left != y->left) return x->left < y->left ? -1 : 1;
    return x->right < y->right ? -1 : x->right > y->right;
}

static uint32_t count_chars(const char *s, uint32_t size) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < size; i++) n += graft_utf8_begins(s, i);
    return n;
}

/* All ways to make piece i of two others, appended to `merges`. */
static void add_merges(graft_buf *merges, const proto *p, const graft_map *map, size_t i) {
    const piece *x = &p->pieces[i];
    for (uint32_t at = 1; at < x->size; at++) {
        if (!graft_utf8_begins(x->text, at)) continue;
        int64_t left = graft_map_get(map, x->text, at),
                right = graft_map_get(map, x->text + at, x->size - at);
        if (left < 0 || right < 0) continue;
        const merge m = {(uint32_t)i,
                         (uint32_t)left,
                         (uint32_t)right,
                         count_chars(x->text, at),
                         count_chars(x->text + at, x->size - at),
                         x->score};
        graft_buf_append(merges, &m, sizeof m);
    }
}

static int put_bpe(graft_buf *b, const proto *p, graft_arena *arena, graft_err *err) {
    graft_map *map = graft_map_new(arena);
    graft_buf merges;
    graft_buf_init(&merges, 0);
    bool ok = map != NULL;
    graft_buf_text(b, "\"model\":{\"type\":\"BPE\",\"vocab\":{");
    for (size_t i = 0; ok && i < p->n; i++) {
        ok = graft_map_put(map, p->pieces[i].text, p->pieces[i].size, (int64_t)i) == 0;
        if (i) graft_buf_text(b, ",");
        graft_legacy_quote(b, p->pieces[i].text, p->pieces[i].size);
        graft_buf_printf(b, ":%zu", i);
    }
    for (size_t i = 0; ok && i < p->n; i++) add_merges(&merges, p, map, i);
    ok = ok && !merges.failed;
    size_t n = ok ? merges.size / sizeof(merge) : 0;
    if (n) qsort(merges.data, n, sizeof(merge), compare_merges);
    graft_buf_text(b, "},\"merges\":[");
    for (size_t i = 0; i < n; i++) {
        merge m;
        memcpy(&m, merges.data + i * sizeof m, sizeof m);
        graft_buf_text(b, i ? ",[" : "[");
        graft_legacy_quote(b, p->pieces[m.left].text, p->pieces[m.left].size);
        graft_buf_text(b, ",");
        graft_legacy_quote(b, p->pieces[m.right].text, p->pieces[m.right].size);
        graft_buf_text(b, "]");
    }
    graft_buf_printf(b, "],\"fuse_unk\":true,\"byte_fallback\":%s", p->byte_fallback ? "true" : "false");
    if (p->unknown >= 0) {
        graft_buf_text(b, ",\"unk_token\":");
        graft_legacy_quote(b, p->pieces[p->unknown].text, p->pieces[p->unknown].size);
    }
    graft_buf_text(b, "}");
    graft_buf_done(&merges);
    return ok ? 0 : graft_err_nomem(err);
}

static void put_added(graft_buf *b, const char *text, size_t size, size_t id, bool special, bool strip,
                      bool *first) {
    graft_buf_text(b, *first ? "{\"content\":" : ",{\"content\":");
    graft_legacy_quote(b, text, size);
    graft_buf_printf(b, ",\"id\":%zu,\"special\":%s,\"normalized\":false,\"lstrip\":%s}", id,
                     special ? "true" : "false", strip ? "true" : "false");
    *first = false;
}

static void put_added_tokens(graft_buf *b, const proto *p, bool fairseq) {
    static const char *const names[] = {"<s>", "<pad>", "</s>", "<unk>"};
    bool first = true;
    graft_buf_text(b, ",\"added_tokens\":[");
    for (size_t i = 0; fairseq && i < GRAFT_COUNT(names); i++)
        put_added(b, names[i], strlen(names[i]), i, true, false, &first);
    for (size_t i = fairseq ? 3 : 0; i < p->n; i++) {
        const piece *x = &p->pieces[i];
        if (x->size && (x->type == TYPE_CONTROL || x->type == TYPE_USER))
            put_added(b, x->text, x->size, i + fairseq, x->type == TYPE_CONTROL, false, &first);
    }
    if (fairseq) put_added(b, "<mask>", 6, p->n + 1, true, true, &first);
    graft_buf_text(b, "]");
    if (fairseq)
        graft_buf_text(
            b, ",\"post_processor\":{\"type\":\"RobertaProcessing\",\"cls\":[\"<s>\",0],\"sep\":[\"</s>\",2],"
               "\"trim_offsets\":false}");
}

static int to_json(graft_buf *b, const proto *p, graft_arena *arena, bool fairseq, graft_err *err) {
    if (p->model_type != MODEL_UNIGRAM && p->model_type != MODEL_BPE)
        return graft_err_set(err, GRAFT_EUNSUPPORTED,
                             "%s: a SentencePiece model of words or characters is not supported", p->origin);
    if (p->suffix)
        return graft_err_set(err, GRAFT_EUNSUPPORTED, "%s: white space as a suffix is not supported",
                             p->origin);
    if (fairseq && (p->model_type != MODEL_UNIGRAM || p->n < 4))
        return graft_err_set(err, GRAFT_EFORMAT, "%s: not a model whose ids fairseq would shift", p->origin);
    graft_buf_text(b, "{");
    put_stages(b, p);
    int rc = 0;
    if (p->model_type == MODEL_UNIGRAM)
        put_unigram(b, p, fairseq);
    else
        rc = put_bpe(b, p, arena, err);
    put_added_tokens(b, p, fairseq);
    graft_buf_text(b, "}");
    return rc == 0 && b->failed ? graft_err_nomem(err) : rc;
}

int graft_tokenizer_parse_sentencepiece(graft_tokenizer **out, const void *bytes, size_t size, bool fairseq,
                                        const char *origin, graft_err *err) {
    proto p = {
        .origin = origin, .begin = bytes, .model_type = MODEL_UNIGRAM, .dummy_prefix = true, .unknown = -1};
    graft_arena *arena = graft_arena_new(NULL);
    graft_buf b;
    graft_buf_init(&b, 0);
    *out = NULL;
    int rc = arena ? read_proto(&p, arena, size, err) : graft_err_nomem(err);
    if (rc == 0) rc = to_json(&b, &p, arena, fairseq, err);
    if (rc == 0) rc = graft_tokenizer_parse(out, b.data, b.size, origin, err);
    graft_buf_done(&b);
    graft_arena_free(arena);
    return rc;
}

/* XLM-R numbers its pieces as fairseq did; the file's name or the configuration's class tells. */
static bool is_fairseq(const graft_token_source *s) {
    const char *class = json_string_value(json_object_get(s->config, "tokenizer_class"));
    if (class) return strncmp(class, "XLMRoberta", 10) == 0;
    return strcmp(graft_path_name(s->path), "sentencepiece.bpe.model") == 0;
}

int graft_legacy_open_sentencepiece(graft_tokenizer **out, const graft_token_source *s, graft_err *err) {
    static const char *const plain[] = {"XLMRoberta", "PreTrained"};
    const char *class = json_string_value(json_object_get(s->config, "tokenizer_class"));
    char *text;
    size_t size, i = 0;
    while (class && i < GRAFT_COUNT(plain) && strncmp(class, plain[i], strlen(plain[i])) != 0) i++;
    if (i == GRAFT_COUNT(plain))
        return graft_err_set(
            err, GRAFT_EUNSUPPORTED,
            "%s: what %s adds to its SentencePiece model is not known here; save it with its "
            "tokenizer.json",
            s->path, class);
    int rc = graft_token_source_read(&text, &size, s, NULL, err);
    return rc < 0 ? rc : graft_tokenizer_parse_sentencepiece(out, text, size, is_fairseq(s), s->path, err);
}
