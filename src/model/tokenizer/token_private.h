/* The inside of a tokenizer: its stages as tables, and one thread's scratch.
 *
 * A text goes through five stages. What lies between them is `text`, the bytes that the model will read,
 * where each byte knows the range of the input it stems from, and `pieces`, a list of ranges of it:
 *
 *   added tokens    found in the raw input cut it into pieces                      token_added.c
 *   normalizers     rewrite the pieces that are no added token; added tokens
 *                   that match normalised text are cut out                         token_normalize.c
 *   pre-tokenizers  split pieces further (some rewrite them too)                   token_split.c
 *   model           a piece becomes tokens                                         token_wordpiece.c, _bpe.c,
 * _unigram.c post-processor  truncates, trims offsets, joins with the special tokens        token_post.c
 *
 * While nothing changed lengths, `from` is not kept: byte i stems from the character that holds byte i
 * (identity). */
#ifndef GRAFT_MODEL_TOKEN_PRIVATE_H
#define GRAFT_MODEL_TOKEN_PRIVATE_H

#include "model/tokenizer.h"
#include "model/tokenizer/token_json.h"
#include "model/tokenizer/token_unicode.h"

/* ---- Vocabulary: texts to ids and back ---- */

/** Ids of a file lie below. */
enum { GRAFT_ID_MAX = 1 << 23 };

typedef struct graft_vocab_text {
    const char *text; /* NUL-terminated, may hold NULs; NULL: no such id */
    uint32_t size;
} graft_vocab_text;

typedef struct graft_vocab_slot {
    uint32_t hash;
    int32_t id; /* -1: free */
    const char *text;
    uint32_t size;
} graft_vocab_slot;

/** Open addressing, at most half full; texts are borrowed. */
typedef struct graft_vocab {
    graft_vocab_slot *slots;
    uint32_t mask;
    uint32_t longest; /* bytes of the longest text */
    size_t n;
} graft_vocab;

int graft_vocab_init(graft_vocab *v, graft_arena *arena, size_t n);
/** -1: none. */
int32_t graft_vocab_find(const graft_vocab *v, const char *text, size_t size);
/** Adds; returns the id that the text has already, or -1 when it was new. v must have room: n of init. */
int32_t graft_vocab_add(graft_vocab *v, const char *text, uint32_t size, int32_t id);
uint64_t graft_token_hash(const char *text, size_t size);

/* ---- Stages ---- */

typedef struct graft_token_regex graft_token_regex; /* token_regex.c */

typedef enum graft_norm_kind {
    GRAFT_NORM_CLEAN, /* BERT's four, in their order */
    GRAFT_NORM_CHINESE,
    GRAFT_NORM_DROP_NONSPACING,
    GRAFT_NORM_LOWERCASE,
    GRAFT_NORM_DROP_MARKS,
    GRAFT_NORM_NFC,
    GRAFT_NORM_NFD,
    GRAFT_NORM_NFKC,
    GRAFT_NORM_NFKD,
    GRAFT_NORM_STRIP,
    GRAFT_NORM_REPLACE,
    GRAFT_NORM_PREPEND,
    GRAFT_NORM_NMT,
    GRAFT_NORM_PRECOMPILED,
    GRAFT_NORM_BYTES
} graft_norm_kind;

typedef struct graft_norm {
    graft_norm_kind kind;
    bool left, right;         /* strip */
    graft_token_regex *regex; /* replace; NULL: `pattern` as it is */
    const char *pattern, *content;
    uint32_t pattern_size, content_size;
    const uint32_t *trie; /* precompiled: SentencePiece's double array, and the texts it points into */
    size_t n_trie;
    const char *texts;
    size_t texts_size;
} graft_norm;

typedef enum graft_behaviour {
    GRAFT_SPLIT_REMOVED,
    GRAFT_SPLIT_ISOLATED,
    GRAFT_SPLIT_PREVIOUS,
    GRAFT_SPLIT_NEXT,
    GRAFT_SPLIT_CONTIGUOUS
} graft_behaviour;

typedef enum graft_pre_kind {
    GRAFT_PRE_BERT,
    GRAFT_PRE_BYTES, /* byte-level: prefix space, regular expression, bytes as characters */
    GRAFT_PRE_WHITESPACE,
    GRAFT_PRE_WHITESPACE_SPLIT,
    GRAFT_PRE_SPLIT,
    GRAFT_PRE_PUNCTUATION,
    GRAFT_PRE_DIGITS,
    GRAFT_PRE_METASPACE,
    GRAFT_PRE_DELIMITER,
    GRAFT_PRE_FIXED,
    GRAFT_PRE_SCRIPTS
} graft_pre_kind;

typedef enum graft_prepend { GRAFT_PREPEND_NEVER, GRAFT_PREPEND_FIRST, GRAFT_PREPEND_ALWAYS } graft_prepend;

typedef struct graft_pre {
    graft_pre_kind kind;
    graft_behaviour behaviour;
    bool invert, individual, split;
    bool prefix_space, use_regex; /* byte-level */
    bool keep_bytes;              /* byte-level, last, before BPE: the model reads bytes as they are */
    graft_prepend prepend;
    uint32_t point;           /* metaspace's replacement, the delimiter */
    uint32_t length;          /* fixed length */
    graft_token_regex *regex; /* split; NULL: `pattern` as it is */
    const char *pattern;
    uint32_t pattern_size;
} graft_pre;

typedef struct graft_added {
    const char *text, *match; /* as written; as it is looked for */
    uint32_t size, match_size;
    int32_t id;
    bool single_word, left, right, normalized, special;
} graft_added;

/** Added tokens that are looked for in one kind of text, sorted by first byte, then longest first. */
typedef struct graft_added_set {
    const graft_added **tokens;
    size_t n;
    uint32_t first[257]; /* those that begin with byte b: [first[b], first[b + 1]) */
    int only;            /* the one first byte that all have, or -1 */
} graft_added_set;

typedef struct graft_post {
    bool template;               /* one that adds special tokens was read */
    bool trim, prefix_space;     /* offsets lose blanks, but for the one that was put before the text */
    graft_post_piece *pieces[2]; /* for one text, for a pair */
    size_t n_pieces[2], n_special[2];
} graft_post;

typedef enum graft_model_kind {
    GRAFT_MODEL_WORDPIECE,
    GRAFT_MODEL_WORDLEVEL,
    GRAFT_MODEL_BPE,
    GRAFT_MODEL_UNIGRAM
} graft_model_kind;

typedef struct graft_merge {
    uint32_t left, right; /* ids; left UINT32_MAX: free */
    uint32_t rank;
    int32_t id;
} graft_merge;

typedef struct graft_bpe {
    graft_merge *merges; /* open addressing by (left, right) */
    uint32_t mask;
    int32_t bytes[256]; /* ids of bytes: as byte-level characters, or <0xNN>; -1: none */
    bool raw;           /* pieces are bytes, each a symbol */
    bool fuse_unknown, byte_fallback, ignore_merges;
    const char *prefix, *suffix;
    uint32_t prefix_size, suffix_size;
    graft_vocab whole; /* raw and ignore_merges: tokens as bytes */
} graft_bpe;

typedef struct graft_trie_node {
    int32_t id;        /* of the text that ends here; -1: none */
    uint32_t first, n; /* children, side by side and sorted */
} graft_trie_node;

typedef struct graft_unigram {
    graft_trie_node *nodes;
    unsigned char *labels; /* of each node */
    const double *scores;
    double unknown_score;
    int32_t bytes[256];
    bool byte_fallback;
    int32_t unknown; /* -1: none */
} graft_unigram;

struct graft_tokenizer {
    graft_arena *arena;
    const char *origin; /* path, for messages */
    const uint16_t *flags;
    graft_norm *norms;
    size_t n_norms;
    bool ascii_lower; /* the normalizers are BERT's cleaning and lower case: ASCII needs no general path */
    bool ascii_keeps; /* ... or leave ASCII as it is */
    graft_pre *pres;
    size_t n_pres;
    graft_added *added;
    size_t n_added;
    graft_added_set raw_set, normal_set;
    graft_model_kind kind;
    graft_vocab vocab;
    graft_vocab inner; /* WordPiece: tokens that continue a word, without their prefix */
    graft_vocab_text *texts;
    size_t n_texts;       /* largest id + 1, added tokens included */
    int32_t unknown, pad; /* -1: none */
    bool unknown_named;   /* the file names an unknown token */
    uint32_t max_chars;   /* WordPiece: longer words are unknown */
    graft_bpe bpe;
    graft_unigram unigram;
    graft_post post;
    uint16_t (
        *spaces)[2]; /* [n_texts] leading and trailing blanks of a token's text; NULL: nothing is trimmed */
    int64_t max_length; /* of the file's truncation; 0: none */
    int64_t stride;
    enum { GRAFT_TRUNCATE_LONGEST, GRAFT_TRUNCATE_FIRST, GRAFT_TRUNCATE_SECOND } strategy;
    bool from_left; /* the beginning is cut away */
    int64_t config_length;
    graft_hash hash;
    const char *folder; /* NULL: parsed from memory */
    const char *const *files;
    size_t n_files;
};

/* ---- Scratch of one thread ---- */

/** Text being rewritten. from[i]: bytes [begin, end) of the input that byte i stems from. */
typedef struct graft_aligned {
    char *bytes;
    uint32_t (*from)[2];
    uint32_t size, capacity, limit; /* limit: normalizers that grow a text without end stop there */
} graft_aligned;

typedef struct graft_piece {
    uint32_t begin, end; /* in `text` */
    uint32_t origin;     /* where the input begins that it is of */
    int32_t token;       /* -1: still text */
} graft_piece;

typedef struct graft_found {
    int32_t id;
    uint32_t begin, end; /* in the piece */
} graft_found;

typedef struct graft_raw_token {
    int32_t id, word;
    uint32_t begin, end;  /* in the input */
    uint32_t lead, trail; /* bytes of blanks at its ends, where offsets are trimmed */
    bool one_lead;        /* the blanks at the beginning are one */
} graft_raw_token;

typedef struct graft_span {
    uint32_t begin, end;
    bool match;
} graft_span;

enum { GRAFT_CACHE_BITS = 12, GRAFT_CACHE_TEXT = 32, GRAFT_CACHE_TOKENS = 8 };

typedef struct graft_cached {
    uint64_t hash;
    uint8_t size, n; /* size 0: free */
    uint8_t ends[GRAFT_CACHE_TOKENS];
    char text[GRAFT_CACHE_TEXT];
    int32_t ids[GRAFT_CACHE_TOKENS];
} graft_cached;

typedef struct graft_token_scratch {
    const char *input;
    uint32_t input_size;
    const char *text; /* the input itself, or `made.bytes` */
    graft_aligned made;
    bool identity;
    graft_aligned work, other, spare;
    graft_piece *pieces, *next;
    size_t n_pieces, pieces_capacity, n_next, next_capacity;
    graft_span *spans;
    size_t n_spans, spans_capacity;
    graft_found *found;
    size_t n_found, found_capacity;
    graft_raw_token *raw;
    size_t n_raw, raw_capacity, n_first; /* n_first: of the first text, the rest is the pair's */
    bool has_pair;
    uint32_t *numbers; /* symbols, queue or lattice of the model */
    size_t numbers_capacity;
    uint32_t *points; /* code points */
    size_t points_capacity;
    void *match; /* pcre2_match_data */
    graft_hash cache_of;
    graft_cached *cache;
} graft_token_scratch;

/** Makes *memory hold at least n elements, growing by half; ENOMEM. */
int graft_token_reserve(void *memory, size_t *capacity, size_t n, size_t size, graft_err *err);
/** Sets out for a text: what it may grow to is bounded by its size. */
void graft_scratch_begin(graft_token_scratch *s, const char *input, size_t size);
int graft_aligned_reserve(graft_aligned *a, size_t n, graft_err *err);
/** Takes pieces[from..] as `next` was filled: swaps the lists. */
void graft_pieces_swap(graft_token_scratch *s);
int graft_pieces_add(graft_token_scratch *s, uint32_t begin, uint32_t end, int32_t token, graft_err *err);
int graft_span_add(graft_token_scratch *s, uint32_t begin, uint32_t end, bool match, graft_err *err);
int graft_found_add(graft_token_scratch *s, int32_t id, size_t begin, size_t end, graft_err *err);

/* ---- token_text.c: rewriting ---- */

/** The characters of s->work replaced one after another, as alignments ask: change 0 replaces the next
 * character, -k replaces it and drops the k behind it, anything above 0 is new and stems from where the last
 * did. */
typedef struct graft_token_rewrite {
    graft_token_scratch *s;
    uint32_t at, end, origin;
    graft_err *err;
    int rc;
} graft_token_rewrite;

/** Begins to rewrite s->work into s->other; `skip` characters at the beginning are dropped. */
void graft_token_rewrite_begin(graft_token_rewrite *w, graft_token_scratch *s, uint32_t origin, uint32_t skip,
                               graft_err *err);
void graft_token_rewrite_put(graft_token_rewrite *w, uint32_t c, int64_t change);
/** s->work is then what was written. */
int graft_token_rewrite_end(graft_token_rewrite *w);
/** Replaces the matches among s->spans, which cover s->work, by `content`, all new. */
int graft_aligned_replace(graft_token_scratch *s, const char *content, uint32_t size, uint32_t origin,
                          graft_err *err);
/** Puts `content` before s->work, stemming from its first character. Nothing happens to an empty text. */
int graft_aligned_prepend(graft_token_scratch *s, const char *content, uint32_t size, graft_err *err);
/** Gives s->made alignments of its own, where it was identity. */
int graft_text_align(graft_token_scratch *s, graft_err *err);
/** Copies piece p of the text into s->work. */
int graft_text_take(graft_token_scratch *s, const graft_piece *p, graft_err *err);
/** Appends s->work to `to`. */
int graft_text_append(graft_aligned *to, const graft_aligned *from, graft_err *err);

/* ---- Stages at work ---- */

int graft_added_build(graft_tokenizer *t, graft_err *err);
/** Cuts [begin, end) of s->text into pieces, appended to s->next. */
int graft_added_split(const graft_tokenizer *t, const graft_added_set *set, graft_token_scratch *s,
                      uint32_t begin, uint32_t end, graft_err *err);
/** Normalises s->work. `origin`: where its input begins. */
int graft_normalize(const graft_tokenizer *t, graft_token_scratch *s, uint32_t origin, graft_err *err);
int graft_normalize_forms(const graft_tokenizer *t, graft_token_scratch *s, uint32_t origin,
                          graft_norm_kind kind, graft_err *err);
int graft_normalize_precompiled(const graft_tokenizer *t, graft_token_scratch *s, const graft_norm *n,
                                uint32_t origin, graft_err *err);
int graft_normalize_bytes(graft_token_scratch *s, uint32_t origin, graft_err *err);
/** Runs all pre-tokenizers over s->pieces. */
int graft_pre_tokenize(const graft_tokenizer *t, graft_token_scratch *s, graft_err *err);
/** Tokens of piece [text, size) into s->found. */
int graft_model_run(const graft_tokenizer *t, graft_token_scratch *s, const char *text, size_t size,
                    graft_err *err);
int graft_wordpiece_run(const graft_tokenizer *t, graft_token_scratch *s, const char *text, size_t size,
                        graft_err *err);
int graft_bpe_run(const graft_tokenizer *t, graft_token_scratch *s, const char *text, size_t size,
                  graft_err *err);
int graft_unigram_run(const graft_tokenizer *t, graft_token_scratch *s, const char *text, size_t size,
                      graft_err *err);

/** The character that stands for a byte in byte-level BPE. */
uint32_t graft_byte_to_char(unsigned char byte);
/** -1: it stands for none. */
int graft_char_to_byte(uint32_t c);

/* ---- token_regex.c ---- */

/** Compiles a pattern in Oniguruma's dialect, as far as it is PCRE's; EUNSUPPORTED, with the pattern. */
int graft_token_regex_new(graft_token_regex **out, graft_arena *arena, const char *pattern, size_t size,
                          const char *origin, graft_err *err);
/** Spans of [text, size), matches and what is between, into s->spans. */
int graft_token_regex_split(const graft_token_regex *r, graft_token_scratch *s, const char *text, size_t size,
                            graft_err *err);
/** The same for a pattern that is taken as it is. */
int graft_token_literal_split(graft_token_scratch *s, const char *pattern, size_t pattern_size,
                              const char *text, size_t size, graft_err *err);

/* ---- Reading ---- */

int graft_stages_read(graft_tokenizer *t, const graft_node *root, graft_err *err);
int graft_norms_read(graft_tokenizer *t, const graft_node *n, graft_err *err);
int graft_pres_read(graft_tokenizer *t, const graft_node *n, graft_err *err);
int graft_post_read(graft_tokenizer *t, const graft_node *n, graft_err *err);
int graft_added_read(graft_tokenizer *t, const graft_node *n, graft_err *err);
int graft_model_read(graft_tokenizer *t, const graft_node *n, graft_err *err);
int graft_precompiled_read(graft_norm *out, graft_arena *arena, const unsigned char *bytes, size_t size,
                           const char *origin, graft_err *err);
/** texts[0..n) become t's vocabulary, ids their indices; EFORMAT for a text that stands there twice. */
int graft_vocab_set(graft_tokenizer *t, graft_vocab_text *texts, size_t n, graft_err *err);
int graft_bpe_build(graft_tokenizer *t, const graft_vocab_text (*merges)[2], size_t n, graft_err *err);
int graft_unigram_build(graft_tokenizer *t, const double *scores, size_t n, graft_err *err);
int graft_wordpiece_build(graft_tokenizer *t, const char *prefix, size_t prefix_size, graft_err *err);
/** What is left once all is read: derived tables. */
int graft_tokenizer_finish(graft_tokenizer *t, graft_err *err);
int graft_tokenizer_new(graft_tokenizer **out, const char *origin, graft_err *err);
/** Adds one added token to t->added (room for it was made). */
graft_norm *graft_norm_add(graft_tokenizer *t, graft_norm_kind kind);
graft_pre *graft_pre_add(graft_tokenizer *t, graft_pre_kind kind);

int graft_unsupported(const graft_tokenizer *t, const char *what, const graft_node *type, graft_err *err);

#endif
