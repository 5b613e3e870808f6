/* One sample: read as it is stored, and seen once (hashed, decoded, judged). */
#include "data/data_impl.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_FILE ((int64_t)1 << 30)

void graft_raw_done(graft_raw *raw) {
    free(raw->buffer);
    *raw = (graft_raw){0};
}

static int cannot(const graft_sample *s, const char *doing, graft_err *err) {
    return graft_err_set(err, GRAFT_EIO, "%s: cannot %s: %s", s->origin, doing, strerror(errno));
}

/* Reads to the file's end, which need not be where its size said when it was opened. */
static int read_open(const graft_sample *s, int fd, graft_raw *raw, graft_err *err) {
    struct stat st;
    if (fstat(fd, &st) < 0) return cannot(s, "read", err);
    if (!S_ISREG(st.st_mode)) return graft_err_set(err, GRAFT_EDATA, "%s: not a file", s->origin);
    if (st.st_size == 0) return graft_err_set(err, GRAFT_EFORMAT, "%s: an empty file", s->origin);
    if (st.st_size > MAX_FILE)
        return graft_err_set(err, GRAFT_EDATA, "%s: %lld bytes are too many for a picture", s->origin,
                             (long long)st.st_size);
    size_t size = (size_t)st.st_size, done = 0;
    if (size > raw->buffer_size) {
        unsigned char *grown = realloc(raw->buffer, size + size / 4);
        if (!grown) return graft_err_nomem(err);
        raw->buffer = grown;
        raw->buffer_size = size + size / 4;
    }
    while (done < size) {
        ssize_t n = read(fd, raw->buffer + done, size - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return cannot(s, "read", err);
        if (n == 0) break;
        done += (size_t)n;
    }
    raw->bytes = raw->buffer;
    raw->size = done;
    return 0;
}

int graft_data_read(const graft_data *d, int64_t i, graft_raw *raw, graft_err *err) {
    const graft_sample *s = &d->samples[i];
    raw->bytes = NULL;
    raw->pixels = NULL;
    raw->size = 0;
    if (d->texts) {
        const graft_text *t = &d->texts[graft_text_index(d, i)];
        raw->bytes = (const unsigned char *)t->text;
        raw->size = t->size;
        return 0;
    }
    if (d->source[i] >= 0) {
        const graft_pixels *p = &d->pixels[d->source[i]];
        raw->width = p->width;
        raw->height = p->height;
        raw->channels = p->channels;
        return graft_pixels_row(p, s->row, &raw->pixels, &raw->buffer, &raw->buffer_size, err);
    }
    int fd = open(s->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a named pipe must not hang the loader */
    if (fd < 0) return cannot(s, "open", err);
    int rc = read_open(s, fd, raw, err);
    close(fd);
    return rc;
}

void graft_eye_done(graft_eye *e) {
    graft_raw_done(&e->raw);
    graft_image_scratch_free(e->scratch);
    e->scratch = NULL;
}

int64_t graft_data_bad_allowed(const graft_data *d) {
    return (int64_t)(d->max_bad * (double)d->n + 1e-9);
}

bool graft_data_is_too_bad(graft_data *d) {
    pthread_mutex_lock(&d->lock);
    int64_t bad = d->n_bad;
    pthread_mutex_unlock(&d->lock);
    return bad > graft_data_bad_allowed(d);
}

int graft_data_judge_so_far(graft_data *d, graft_err *err) {
    if (!graft_data_is_too_bad(d)) return 0;
    for (int64_t i = 0; i < d->n; i++)
        if (d->samples[i].state == GRAFT_BAD)
            return graft_err_set(
                err, GRAFT_EDATA,
                "%lld of %lld %s cannot be used so far, more than the %.3g%% of --max-bad; one: %s: %s",
                (long long)d->n_bad, (long long)d->n, graft_data_noun(d), d->max_bad * 100,
                d->samples[i].origin, d->samples[i].reason);
    return 0;
}

int graft_data_note_bad(graft_data *d, int64_t i, const graft_err *why, graft_err *err) {
    graft_sample *s = &d->samples[i];
    if (why->code == GRAFT_ENOMEM || why->code == GRAFT_EINTERRUPTED || why->code == GRAFT_EINTERNAL ||
        d->strict)
        return graft_err_set(err, why->code, "%s", why->message);
    const char *text = why->message;
    size_t n = strlen(s->origin);
    if (strncmp(text, s->origin, n) == 0 && strncmp(text + n, ": ", 2) == 0) text += n + 2;
    pthread_mutex_lock(&d->lock);
    s->reason = graft_arena_strdup(d->arena, text);
    bool more = s->state != GRAFT_BAD;
    s->state = GRAFT_BAD;
    d->n_bad += more;
    pthread_mutex_unlock(&d->lock);
    return s->reason ? 0 : graft_err_nomem(err);
}

static int note_likeness(graft_data *d, int64_t i, const graft_likeness *likeness, graft_err *err) {
    pthread_mutex_lock(&d->lock);
    graft_likeness *own = graft_arena_alloc(d->arena, sizeof *own);
    pthread_mutex_unlock(&d->lock);
    if (!own) return graft_err_nomem(err);
    *own = *likeness;
    d->samples[i].likeness = own;
    return 0;
}

int graft_data_note_seen(graft_data *d, int64_t i, const graft_likeness *likeness, graft_err *err) {
    int rc = likeness ? note_likeness(d, i, likeness, err) : 0;
    if (rc == 0) d->samples[i].state = GRAFT_SEEN;
    return rc;
}

/* The size is part of a row's content: the same bytes in another shape are another picture. */
graft_hash graft_raw_content(const graft_raw *raw) {
    if (raw->bytes) return graft_hash_bytes(raw->bytes, raw->size);
    size_t size = (size_t)raw->width * (size_t)raw->height * (size_t)raw->channels;
    graft_hash h = graft_hash_bytes(raw->pixels, size);
    h.lo ^= ((uint64_t)raw->width << 32 | (uint64_t)raw->height) * 0x9E3779B97F4A7C15u;
    return h;
}

/* Decodes grey and small: enough to find damage anywhere in the file, and the same for everybody. */
static int look(graft_data *d, int64_t i, graft_eye *eye, graft_err *err) {
    static const graft_decode_options small = {.channels = 1, .target_width = 32, .target_height = 32};
    graft_sample *s = &d->samples[i];
    graft_raw *raw = &eye->raw;
    graft_image image = {raw->pixels, raw->width, raw->height, raw->channels,
                         (size_t)raw->width * (size_t)raw->channels};
    graft_likeness likeness;
    int rc = 0;
    if (!eye->scratch && !(eye->scratch = graft_image_scratch_new())) return graft_err_nomem(err);
    if (raw->bytes) {
        graft_image_info info;
        rc = graft_image_probe(&info, raw->bytes, raw->size, s->origin, err);
        if (rc == 0)
            rc = graft_image_decode(&image, eye->scratch, raw->bytes, raw->size, &small, s->origin, err);
        if (rc < 0) return rc;
        s->width = info.width;
        s->height = info.height;
    } else {
        s->width = raw->width;
        s->height = raw->height;
    }
    return graft_likeness_of(&likeness, &image) ? note_likeness(d, i, &likeness, err) : 0;
}

int graft_data_see(graft_data *d, int64_t i, bool decode, graft_eye *eye, graft_err *err) {
    graft_sample *s = &d->samples[i];
    if (d->texts) {
        int rc = graft_texts_hash(d, i, &eye->raw, err);
        if (rc == 0 && decode) s->state = GRAFT_SEEN;
        return rc;
    }
    graft_err own = {0};
    int rc = graft_data_read(d, i, &eye->raw, &own);
    if (rc == 0) s->content = graft_raw_content(&eye->raw);
    if (rc == 0 && decode) {
        rc = look(d, i, eye, &own);
        if (rc == 0) s->state = GRAFT_SEEN;
    }
    if (rc == 0) return 0;
    eye->raw.bytes = NULL;
    eye->raw.pixels = NULL;
    eye->raw.size = 0;
    return graft_data_note_bad(d, i, &own, err);
}
