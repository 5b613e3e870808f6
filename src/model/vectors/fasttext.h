/* What the files of fastText's binary format share: a cursor over the file, the dictionary, the matrices. */
#ifndef GRAFT_MODEL_VECTORS_FASTTEXT_H
#define GRAFT_MODEL_VECTORS_FASTTEXT_H

#include "model/vectors/format.h"

/** Reads from the front of the file; every take is checked against its end. */
typedef struct graft_ft_cursor {
    const unsigned char *data;
    size_t size, at;
    const char *origin;
    graft_err *err;
} graft_ft_cursor;

/** The next `size` bytes, or NULL with EFORMAT: the file ends within `what`. */
const unsigned char *graft_ft_take(graft_ft_cursor *c, size_t size, const char *what);
int graft_ft_take_i32(graft_ft_cursor *c, int32_t *out, const char *what);
int graft_ft_take_i64(graft_ft_cursor *c, int64_t *out, const char *what);
int graft_ft_take_bool(graft_ft_cursor *c, bool *out, const char *what);

/** What of the training's arguments decides a vector. */
typedef struct graft_ft_args {
    int32_t version; /* 0: before there were versions */
    int32_t width, bucket, minn, maxn;
    bool supervised;
} graft_ft_args;

/** Bucket kept in a pruned dictionary, and the row behind the words' that it has now. */
typedef struct graft_ft_kept {
    int32_t bucket, row;
} graft_ft_kept;

typedef struct graft_ft_dictionary {
    int32_t n_words;
    bool pruned;
    graft_ft_kept *kept; /* sorted by bucket */
    size_t n_kept;
} graft_ft_dictionary;

/** Reads the dictionary; its words go into v's index, labels are passed over. */
int graft_ft_dictionary_read(graft_ft_dictionary *d, graft_vectors *v, graft_ft_cursor *c, int32_t version);
/** The row of a bucket behind the words' rows; -1 when it was pruned. */
int32_t graft_ft_dictionary_row(const graft_ft_dictionary *d, int32_t bucket);

/** Codes of a product quantiser (Jégou et al. 2011, "Product quantization for nearest neighbor search"):
 * each piece of `piece` values (the last one shorter) is one of 256 centroids. */
typedef struct graft_ft_quantiser {
    int32_t width, n_pieces, piece, last_piece;
    const unsigned char *centroids; /* 256 * width floats, unaligned */
} graft_ft_quantiser;

/** A matrix in the file: floats, or codes (and codes of the rows' lengths, where those were taken apart). */
typedef struct graft_ft_matrix {
    int64_t rows, width;
    const unsigned char *values; /* rows * width floats, unaligned; NULL: quantised */
    const unsigned char *codes, *norm_codes;
    graft_ft_quantiser q, norms;
} graft_ft_matrix;

int graft_ft_matrix_read(graft_ft_matrix *m, graft_ft_cursor *c, bool quantised, const char *what);
/** out[0 .. width) += row i. */
void graft_ft_matrix_add(const graft_ft_matrix *m, int64_t i, float *out);

#endif
