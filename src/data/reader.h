/* What a reader does: it looks at a path and says how sure it is (sniff), then lists what lies there (list).
 * A listing is plain: paths, rows or texts with the label's text; classes, groups and parts are settled by
 * data.c.
 */
#ifndef GRAFT_DATA_READER_H
#define GRAFT_DATA_READER_H

#include "data/data.h"

/** An array of pictures in memory or in a mapped file. */
typedef struct graft_pixels {
    const void *data;
    graft_dtype dtype;
    int64_t n;
    int height, width, channels;
    bool planar;  /* [N, C, H, W] rather than [N, H, W, C] */
    double scale; /* a stored value times this is 0..255 */
} graft_pixels;

/** Between the labels of one sample, in its label's text, where the file itself tells them apart. */
#define GRAFT_LABEL_SEPARATOR '\x1f'

/** One sample as the reader found it. */
typedef struct graft_found {
    const char *path;     /* file; NULL: none */
    const char *origin;   /* for messages; NULL: the path */
    const char *relative; /* the path below the data's root, for the group pattern */
    const char *label;    /* NULL: none */
    const char *group;    /* NULL: none */
    int64_t row;          /* of pixels[source], or line of a text file; -1: a file */
    int32_t source;       /* index into the listing's pixels; -1: a file */
    graft_part part;
    graft_text text;            /* of texts: the text itself */
    size_t first_word, n_words; /* of tagging: the listing's words that are its own */
    const char *fault;          /* why it is bad already; NULL: it is not */
} graft_found;

typedef struct graft_listing {
    graft_arena *arena; /* of the data: what is listed lives there */
    const graft_env *env;
    const graft_data_options *options;
    graft_found *items; /* malloced, grows */
    size_t n_items, capacity;
    graft_pixels *pixels; /* malloced, grows */
    size_t n_pixels;
    const char **words; /* malloced, grow: the words of all sentences, their sizes and tags (NULL: none) */
    size_t *word_sizes;
    const char **word_tags;
    size_t n_words, word_capacity, size_capacity, tag_capacity;
    bool is_tagged; /* words with tags were listed */
    bool part_given[GRAFT_N_PARTS];
    bool labels_are_numbers; /* class indices of an array format, which have no names of their own */
    char *description;       /* "class folders under train, val" */
} graft_listing;

/** What is known before a reader is chosen. */
typedef struct graft_sniffed {
    const char *path;
    bool is_dir;
    const unsigned char *head; /* the first bytes of a file */
    size_t head_size;
    char *const *names; /* a folder's entries, sorted */
    size_t n_names;
    graft_label_use labels;
    graft_modality modality;
} graft_sniffed;

typedef enum graft_reads {
    GRAFT_READS_PICTURES = 1,
    GRAFT_READS_TEXTS = 2,
    GRAFT_READS_BOTH = 3
} graft_reads;

typedef struct graft_reader {
    const char *name;                     /* "folders", "csv" */
    const char *about;                    /* one line for help and messages */
    int (*sniff)(const graft_sniffed *s); /* 0: not mine, 100: certain; negative: ENOMEM */
    int (*list)(graft_listing *out, const char *path, graft_err *err);
    graft_reads reads;
} graft_reader;

#define GRAFT_READER(name) extern const graft_reader graft_reader_##name;
#include "data/reader/list.h"
#undef GRAFT_READER

/** The reader for a path: the one that the options name, or the surest of those that read their modality.
 * Errors: EUSAGE (no such reader), EIO, EFORMAT. */
int graft_sniff(const graft_reader **out, const char *path, const graft_data_options *o, graft_err *err);

/** Appends a sample; its strings have to live in the listing's arena. */
int graft_listing_add(graft_listing *l, const graft_found *found, graft_err *err);
/** Appends a text sample. Blank texts get a fault; where the task is tagging, the text is split at blanks. */
int graft_listing_add_text(graft_listing *l, const graft_found *found, graft_err *err);
/** Appends a word to the sentence that is listed next; tag NULL: none. Strings have to live in the arena. */
int graft_listing_add_word(graft_listing *l, const char *word, size_t size, const char *tag, graft_err *err);
/** Appends an array; its index comes out through `source`. */
int graft_listing_add_pixels(graft_listing *l, const graft_pixels *p, int32_t *source, graft_err *err);
/** The rows of an array with their labels' numbers (NULL: none). `path` is the array's file. */
int graft_listing_add_rows(graft_listing *l, const graft_pixels *p, const int64_t *labels, const char *path,
                           graft_part part, graft_err *err);

/** Does the name's extension belong to a sample of this modality that is a file of its own? */
bool graft_is_sample_name(const char *name, graft_modality modality);
/** "pictures that graft reads (JPEG, PNG, WebP)", "text files (.txt)": for messages. */
const char *graft_sample_kind(graft_modality modality);
/** Does the name's extension belong to a picture format that graft reads (JPEG, PNG, WebP)? */
bool graft_is_picture_name(const char *name);
/** Do the first bytes? */
bool graft_is_picture_head(const unsigned char *head, size_t size);
/** The part that a folder, file or column value of this name stands for; false when none. */
bool graft_part_from_name(const char *name, size_t size, graft_part *out);
/** Does the name of a file say its part, before its extension, as in "train.tsv"? */
bool graft_part_from_file(const char *name, graft_part *out);
/** Lists the files of a folder that are named by part and that `is_mine` takes, with `list_file`. */
int graft_listing_parts(graft_listing *l, const char *path, bool (*is_mine)(const char *name),
                        int (*list_file)(graft_listing *l, const char *path, graft_part part, graft_err *err),
                        graft_err *err);
/** Reads a text file into the arena, without its byte order mark; EFORMAT with line and byte when it is not
 * UTF-8. */
int graft_listing_read(graft_listing *l, char **text, size_t *size, const char *path, graft_err *err);
/** Lists every sample at or below a path with one label, part and group; other files are counted in
 * *n_other. */
int graft_listing_walk(graft_listing *l, const char *path, const char *relative, const char *label,
                       graft_part part, int64_t *n_other, graft_err *err);
/** Ends with this extension (no dot), whatever the case? */
bool graft_has_extension(const char *name, const char *extension);

/** Is this valid UTF-8 without NUL? If not, *offset is the first bad byte. */
bool graft_is_utf8(const char *text, size_t size, size_t *offset);
/** EFORMAT with line, byte and what to do, when it is not. */
int graft_utf8_check(const char *text, size_t size, const char *origin, graft_err *err);
/** Is there nothing but blanks? */
bool graft_is_blank(const char *text, size_t size);

/** Row `row` of an array as [height, width, channels] bytes; points into the array where it can, else into
 *  *buffer, which grows. */
int graft_pixels_row(const graft_pixels *p, int64_t row, const uint8_t **out, unsigned char **buffer,
                     size_t *buffer_size, graft_err *err);

#endif
