/* Texts become token ids, as tokenizer.json (or vocab.txt; vocab.json + merges.txt; a SentencePiece model;
 * CLIP's merges) says. Ids and offsets are those of the `tokenizers` package; padding is not applied,
 * truncation is. What a file asks for and is not known here is EUNSUPPORTED at opening, never a silent
 * difference. A tokenizer is constant once open and shared by threads; each thread has a graft_encoding of
 * its own, which keeps buffers and a cache of words from text to text. */
#ifndef GRAFT_MODEL_TOKENIZER_H
#define GRAFT_MODEL_TOKENIZER_H

#include "base/base.h"

/** Longest text in bytes; a longer one is EDATA. */
enum { GRAFT_TEXT_MAX = 1 << 24 };

typedef struct graft_tokenizer graft_tokenizer;

typedef struct graft_encode_options {
    int64_t max_length; /* tokens with the special ones; 0: the tokenizer's own truncation, or none */
    bool no_special;    /* without what the post-processor adds */
    int64_t stride;     /* tokens that neighbouring windows share; 0: what the file says */
} graft_encode_options;

/** One text's tokens. Zero-initialised by the caller, used again for text after text, freed by
 *  graft_encoding_done. */
typedef struct graft_encoding {
    int32_t *ids, *type_ids; /* [n] */
    int32_t (
        *offsets)[2];  /* [n] bytes [begin, end) in the text, the pair's text, or the word; special {0, 0} */
    int32_t *words;    /* [n] pre-token, or the caller's word, that the token lies in; special -1 */
    uint8_t *special;  /* [n] 1: added by the post-processor */
    uint8_t *pair;     /* [n] 1: of the pair's text */
    size_t n, n_whole; /* tokens; tokens there would have been without truncation */
    size_t n_windows;  /* windows of max_length that cover the text; see graft_tokenizer_window */
    size_t capacity;
    struct graft_token_scratch *scratch;
} graft_encoding;

/** Opens a folder or one file. A folder's tokenizer.json is preferred, then vocab.json + merges.txt,
 * vocab.txt, a SentencePiece model, CLIP's bpe_simple_vocab*.txt(.gz). Errors: EDATA (no such file), EFORMAT
 * (file and place), EUNSUPPORTED (what it asks for). */
int graft_tokenizer_open(graft_tokenizer **out, const char *folder_or_file, graft_err *err);
/** The bytes of a tokenizer.json; `origin` is named in messages. */
int graft_tokenizer_parse(graft_tokenizer **out, const char *json, size_t size, const char *origin,
                          graft_err *err);
/** The bytes of a SentencePiece model (Unigram, or BPE). `fairseq`: ids as XLM-R numbers them.
 */
int graft_tokenizer_parse_sentencepiece(graft_tokenizer **out, const void *bytes, size_t size, bool fairseq,
                                        const char *origin, graft_err *err);
void graft_tokenizer_close(graft_tokenizer *t);

/** Encodes UTF-8 text, with `pair` (NULL: none) behind it. Offsets are bytes. `o` may be NULL. Errors: EDATA
 * (not UTF-8, with the byte; too long; a max_length that the special tokens fill; no unknown token for what
 * is unknown), ENOMEM. */
int graft_tokenizer_encode(const graft_tokenizer *t, graft_encoding *out, const char *text, size_t size,
                           const char *pair, size_t pair_size, const graft_encode_options *o, graft_err *err);
/** Encodes n words that the caller split; words[i] of a token is the caller's, offsets are within the word.
 */
int graft_tokenizer_encode_words(const graft_tokenizer *t, graft_encoding *out, const char *const *words,
                                 const size_t *sizes, size_t n, const graft_encode_options *o,
                                 graft_err *err);
/** Cuts window i (of out->n_windows) out of the text that `out` was last encoded from, with the same options;
 *  window 0 is what encode gave. Where both texts of a pair are cut there is one. EUSAGE when there is no
 * such window. */
int graft_tokenizer_window(const graft_tokenizer *t, graft_encoding *out, size_t i,
                           const graft_encode_options *o, graft_err *err);
void graft_encoding_done(graft_encoding *e);

/** Largest id + 1, added tokens included: what an embedding matrix must hold. */
size_t graft_tokenizer_size(const graft_tokenizer *t);
/** Borrowed; NULL when there is no such id. */
const char *graft_tokenizer_token(const graft_tokenizer *t, int32_t id);
/** -1: none. */
int32_t graft_tokenizer_id(const graft_tokenizer *t, const char *token);
/** Id of the padding token; -1: none. */
int32_t graft_tokenizer_pad(const graft_tokenizer *t);
/** The least of tokenizer_config.json's model_max_length and the file's truncation; 0: neither says. */
int64_t graft_tokenizer_max_length(const graft_tokenizer *t);
/** Id of what stands for unknown text; -1: none. */
int32_t graft_tokenizer_unknown(const graft_tokenizer *t);
/** Id of added token i, which is special: no part of a text; -1: it is not; i from 0 to where *n says. */
int32_t graft_tokenizer_special(const graft_tokenizer *t, size_t i, size_t *n);

/** What the post-processor writes: a special token, or one of the texts. */
typedef struct graft_post_piece {
    int sequence; /* -1: a special token; 0 or 1 */
    int32_t id, type;
} graft_post_piece;
/** The pieces [n] around one text, or around a pair. Borrowed. */
const graft_post_piece *graft_tokenizer_template(const graft_tokenizer *t, bool pair, size_t *n);

/** Of everything that decides ids: for the keys of caches. */
graft_hash graft_tokenizer_hash(const graft_tokenizer *t);
/** Copies the tokenizer's files byte for byte into a folder, each atomically. EUSAGE for one that was parsed
 * from memory. */
int graft_tokenizer_save(const graft_tokenizer *t, const char *folder, graft_err *err);

#endif
