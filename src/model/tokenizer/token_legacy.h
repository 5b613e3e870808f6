/* Tokenizers of the time before tokenizer.json. Each is told as a tokenizer.json in memory and read from
 * there, so that there is one way to build a tokenizer. */
#ifndef GRAFT_MODEL_TOKEN_LEGACY_H
#define GRAFT_MODEL_TOKEN_LEGACY_H

#include "model/tokenizer/token_private.h"

/** The files that a tokenizer is read from. */
typedef struct graft_token_source {
    graft_arena *arena;
    const char *folder, *path;
    json_t *config, *special; /* tokenizer_config.json, special_tokens_map.json; NULL when absent */
} graft_token_source;

/** Reads the source's file (name NULL), or another of its folder. */
int graft_token_source_read(char **text, size_t *size, const graft_token_source *s, const char *name,
                            graft_err *err);
/** A special token that the configuration names; NULL: none. */
const char *graft_token_source_token(const graft_token_source *s, const char *key);

int graft_legacy_open_json(graft_tokenizer **out, const graft_token_source *s, graft_err *err);
int graft_legacy_open_wordpiece(graft_tokenizer **out, const graft_token_source *s, graft_err *err);
int graft_legacy_open_bpe(graft_tokenizer **out, const graft_token_source *s, graft_err *err);
int graft_legacy_open_clip(graft_tokenizer **out, const graft_token_source *s, graft_err *err);
int graft_legacy_open_sentencepiece(graft_tokenizer **out, const graft_token_source *s, graft_err *err);

/** Appends a text in quotes, escaped. */
void graft_legacy_quote(graft_buf *b, const char *text, size_t size);

#endif
