/* What every reader needs: names that mean something, walking folders, and the growing list of samples. */
#include "data/reader.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MAX_DEPTH = 32 };

bool graft_has_extension(const char *name, const char *extension) {
    return strcasecmp(graft_path_extension(name), extension) == 0;
}

bool graft_is_picture_name(const char *name) {
    static const char *const extensions[] = {"jpg", "jpeg", "jpe", "jfif", "png", "webp"};
    for (size_t i = 0; i < GRAFT_COUNT(extensions); i++)
        if (graft_has_extension(name, extensions[i])) return true;
    return false;
}

bool graft_is_sample_name(const char *name, graft_modality modality) {
    return modality == GRAFT_TEXTS ? graft_has_extension(name, "txt") : graft_is_picture_name(name);
}

const char *graft_sample_kind(graft_modality modality) {
    return modality == GRAFT_TEXTS ? "text files (.txt)" : "pictures that graft reads (JPEG, PNG, WebP)";
}

bool graft_is_picture_head(const unsigned char *head, size_t size) {
    return graft_image_sniff(head, size) != GRAFT_IMAGE_UNKNOWN;
}

bool graft_part_from_name(const char *name, size_t size, graft_part *out) {
    static const struct {
        const char *name;
        graft_part part;
    } names[] = {{"train", GRAFT_TRAIN}, {"training", GRAFT_TRAIN}, {"val", GRAFT_VAL},
                 {"valid", GRAFT_VAL},   {"dev", GRAFT_VAL},        {"validation", GRAFT_VAL},
                 {"test", GRAFT_TEST},   {"testing", GRAFT_TEST}};
    for (size_t i = 0; i < GRAFT_COUNT(names); i++) {
        if (strlen(names[i].name) != size || strncasecmp(name, names[i].name, size) != 0) continue;
        *out = names[i].part;
        return true;
    }
    return false;
}

bool graft_part_from_file(const char *name, graft_part *out) {
    const char *extension = graft_path_extension(name);
    return *extension && graft_part_from_name(name, (size_t)(extension - name) - 1, out);
}

const char *graft_part_name(graft_part part) {
    static const char *const names[] = {"train", "val", "test", "spare", "all"};
    return (unsigned)part < GRAFT_COUNT(names) ? names[part] : "?";
}

/* Makes room for one more element of `size` bytes. */
static int grow(void **items, size_t n, size_t *capacity, size_t size, graft_err *err) {
    if (n < *capacity) return 0;
    size_t more = *capacity ? *capacity : 64, bytes;
    if (!graft_size_add(*capacity, more, &more) || !graft_size_mul(more, size, &bytes))
        return graft_err_nomem(err);
    void *p = realloc(*items, bytes);
    if (!p) return graft_err_nomem(err);
    *items = p;
    *capacity = more;
    return 0;
}

int graft_listing_add(graft_listing *l, const graft_found *found, graft_err *err) {
    int rc = grow((void **)&l->items, l->n_items, &l->capacity, sizeof *l->items, err);
    if (rc < 0) return rc;
    l->items[l->n_items++] = *found;
    return 0;
}

/* ---- Texts ---- */

int graft_listing_add_word(graft_listing *l, const char *word, size_t size, const char *tag, graft_err *err) {
    int rc = grow((void **)&l->words, l->n_words, &l->word_capacity, sizeof *l->words, err);
    if (rc == 0)
        rc = grow((void **)&l->word_sizes, l->n_words, &l->size_capacity, sizeof *l->word_sizes, err);
    if (rc == 0) rc = grow((void **)&l->word_tags, l->n_words, &l->tag_capacity, sizeof *l->word_tags, err);
    if (rc < 0) return rc;
    l->words[l->n_words] = word;
    l->word_sizes[l->n_words] = size;
    l->word_tags[l->n_words++] = tag;
    return 0;
}

static int split_words(graft_listing *l, graft_found *f, graft_err *err) {
    const char *at = f->text.text, *end = at + f->text.size;
    f->first_word = l->n_words;
    while (at < end) {
        const char *from = at;
        while (at < end && !graft_is_blank(at, 1)) at++;
        int rc = at > from ? graft_listing_add_word(l, from, (size_t)(at - from), NULL, err) : 0;
        if (rc < 0) return rc;
        while (at < end && graft_is_blank(at, 1)) at++;
    }
    f->n_words = l->n_words - f->first_word;
    return 0;
}

int graft_listing_add_text(graft_listing *l, const graft_found *found, graft_err *err) {
    graft_found f = *found;
    int rc = 0;
    if (!f.fault && graft_is_blank(f.text.text, f.text.size)) f.fault = "an empty text";
    if (!f.fault && f.text.pair && graft_is_blank(f.text.pair, f.text.pair_size))
        f.fault = "an empty second text";
    if (!f.fault && l->options->task == GRAFT_TASK_TAGGING) rc = split_words(l, &f, err);
    if (f.fault) f.text = (graft_text){0};
    return rc < 0 ? rc : graft_listing_add(l, &f, err);
}

int graft_listing_read(graft_listing *l, char **text, size_t *size, const char *path, graft_err *err) {
    int rc = graft_file_read(text, size, l->arena, path, (size_t)1 << 30, err);
    if (rc == 0 && *size >= 3 && memcmp(*text, "\xEF\xBB\xBF", 3) == 0) {
        *text += 3;
        *size -= 3;
    }
    return rc < 0 ? rc : graft_utf8_check(*text, *size, path, err);
}

int graft_listing_parts(graft_listing *l, const char *path, bool (*is_mine)(const char *name),
                        int (*list_file)(graft_listing *l, const char *path, graft_part part, graft_err *err),
                        graft_err *err) {
    char **names;
    size_t n;
    int rc = graft_dir_list(&names, &n, l->arena, path, err);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        graft_part part;
        if (!is_mine(names[i]) || !graft_part_from_file(names[i], &part)) continue;
        char *full = graft_path_join(l->arena, path, names[i]);
        if (!full) return graft_err_nomem(err);
        rc = list_file(l, full, part, err);
        l->part_given[part] = true;
    }
    return rc;
}

/* ---- Arrays ---- */

int graft_listing_add_pixels(graft_listing *l, const graft_pixels *p, int32_t *source, graft_err *err) {
    if (l->n_pixels >= INT32_MAX) return graft_err_nomem(err);
    graft_pixels *grown = realloc(l->pixels, (l->n_pixels + 1) * sizeof *grown);
    if (!grown) return graft_err_nomem(err);
    l->pixels = grown;
    *source = (int32_t)l->n_pixels;
    l->pixels[l->n_pixels++] = *p;
    return 0;
}

int graft_listing_add_rows(graft_listing *l, const graft_pixels *p, const int64_t *labels, const char *path,
                           graft_part part, graft_err *err) {
    int32_t source;
    int rc = graft_listing_add_pixels(l, p, &source, err);
    const char *name = graft_path_name(path), *text = NULL;
    for (int64_t i = 0; rc == 0 && i < p->n; i++) {
        const char *origin = graft_arena_printf(l->arena, "%s, row %lld", path, (long long)i);
        if (labels && (i == 0 || labels[i] != labels[i - 1]))
            text = graft_arena_printf(l->arena, "%lld", (long long)labels[i]);
        if (!origin || (labels && !text)) return graft_err_nomem(err);
        graft_found found = {.path = path,
                             .origin = origin,
                             .relative = name,
                             .label = text,
                             .row = i,
                             .source = source,
                             .part = part};
        rc = graft_listing_add(l, &found, err);
    }
    return rc;
}

/* ---- Walking ---- */

/* Names that are never samples: hidden ones and what operating systems leave behind. */
static bool is_junk(const char *name) {
    return name[0] == '.' || strcmp(name, "__MACOSX") == 0 || strcasecmp(name, "Thumbs.db") == 0 ||
           strcasecmp(name, "desktop.ini") == 0;
}

/* A file whose name says nothing is a picture when its first bytes say so. */
static bool looks_like_picture(const char *path) {
    if (graft_path_extension(path)[0]) return graft_is_picture_name(path);
    unsigned char head[16];
    FILE *f = fopen(path, "rbe");
    if (!f) return false;
    size_t n = fread(head, 1, sizeof head, f);
    fclose(f);
    return graft_is_picture_head(head, n);
}

/* A file that cannot be read, or is no UTF-8, is one bad sample among others. */
static int add_text_file(graft_listing *l, const graft_found *proto, graft_err *err) {
    graft_found found = *proto;
    graft_err own = {0};
    char *text = NULL;
    size_t size = 0;
    int rc = graft_listing_read(l, &text, &size, found.path, &own);
    if (rc == GRAFT_ENOMEM) return graft_err_nomem(err);
    if (rc < 0) {
        const char *why = own.message;
        size_t n = strlen(found.path);
        if (strncmp(why, found.path, n) == 0) why += n + strspn(why + n, ",: ");
        if (!(found.fault = graft_arena_strdup(l->arena, why))) return graft_err_nomem(err);
        return graft_listing_add(l, &found, err);
    }
    found.text = (graft_text){.text = text, .size = size};
    return graft_listing_add_text(l, &found, err);
}

static int walk(graft_listing *l, const graft_found *proto, int depth, int64_t *n_other, graft_err *err) {
    if (depth > MAX_DEPTH)
        return graft_err_set(err, GRAFT_EDATA,
                             "'%s' lies more than %d folders deep: is a link running in a circle?",
                             proto->path, MAX_DEPTH);
    char **names;
    size_t n;
    int rc = graft_dir_list(&names, &n, l->arena, proto->path, err);
    if (rc == 0) rc = graft_env_check(l->env, err);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (is_junk(names[i])) continue;
        graft_found found = *proto;
        found.path = graft_path_join(l->arena, proto->path, names[i]);
        found.relative = *proto->relative ? graft_path_join(l->arena, proto->relative, names[i]) : names[i];
        if (!found.path || !found.relative) return graft_err_nomem(err);
        graft_modality modality = l->options->modality;
        if (!graft_is_sample_name(names[i], modality) && graft_path_is_dir(found.path))
            rc = walk(l, &found, depth + 1, n_other, err);
        else if (modality == GRAFT_TEXTS && graft_is_sample_name(names[i], modality))
            rc = add_text_file(l, &found, err);
        else if (modality == GRAFT_PICTURES && looks_like_picture(found.path))
            rc = graft_listing_add(l, &found, err);
        else
            ++*n_other;
    }
    return rc;
}

int graft_listing_walk(graft_listing *l, const char *path, const char *relative, const char *label,
                       graft_part part, int64_t *n_other, graft_err *err) {
    graft_found proto = {
        .path = path, .relative = relative, .label = label, .row = -1, .source = -1, .part = part};
    return walk(l, &proto, 0, n_other, err);
}
