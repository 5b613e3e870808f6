#include "tensor/zip_map.h"

#include <string.h>
#include <zip.h>

/* Deflate cannot do better than 1032 to 1. */
enum { MAX_RATIO = 1032, SCRATCH = 65536 };

typedef struct member {
    const unsigned char *data;
    size_t size;
    bool is_read;
} member;

struct graft_zip {
    graft_arena *arena;
    const char *origin;
    const unsigned char *bytes;
    size_t size, at;
    size_t read_at; /* where libzip's last read began: for a stored member, the place of its bytes */
    bool has_read;
    size_t inflated; /* so far, all members together */
    zip_error_t error;
    zip_t *archive;
    size_t n_members;
    member *members;
};

/* libzip's source: the mapped bytes, and a note of where it reads. */
static zip_int64_t source_call(void *user, void *data, zip_uint64_t len, zip_source_cmd_t command) {
    graft_zip *z = user;
    switch (command) {
    case ZIP_SOURCE_OPEN:
        z->at = 0;
        return 0;
    case ZIP_SOURCE_READ: {
        size_t n = z->size - z->at;
        if (len < n) n = (size_t)len;
        if (!z->has_read && n) {
            z->has_read = true;
            z->read_at = z->at;
        }
        if (n) memcpy(data, z->bytes + z->at, n);
        z->at += n;
        return (zip_int64_t)n;
    }
    case ZIP_SOURCE_SEEK: {
        zip_int64_t to = zip_source_seek_compute_offset(z->at, z->size, data, len, &z->error);
        if (to < 0 || (zip_uint64_t)to > z->size) return -1;
        z->at = (size_t)to;
        return 0;
    }
    case ZIP_SOURCE_TELL:
        return (zip_int64_t)z->at;
    case ZIP_SOURCE_STAT: {
        zip_stat_t *st = data;
        zip_stat_init(st);
        st->size = z->size;
        st->valid |= ZIP_STAT_SIZE;
        return sizeof *st;
    }
    case ZIP_SOURCE_ERROR:
        return zip_error_to_data(&z->error, data, len);
    case ZIP_SOURCE_SUPPORTS:
        return zip_source_make_command_bitmap(ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE,
                                              ZIP_SOURCE_SEEK, ZIP_SOURCE_TELL, ZIP_SOURCE_STAT,
                                              ZIP_SOURCE_ERROR, ZIP_SOURCE_FREE, -1);
    case ZIP_SOURCE_CLOSE:
    case ZIP_SOURCE_FREE:
        return 0;
    default:
        zip_error_set(&z->error, ZIP_ER_OPNOTSUPP, 0);
        return -1;
    }
}

static void zip_done(void *obj) {
    graft_zip *z = obj;
    zip_discard(z->archive);
    zip_error_fini(&z->error);
}

int graft_zip_open(graft_zip **out, graft_arena *arena, const void *data, size_t size, const char *origin,
                   graft_err *err) {
    *out = NULL;
    graft_zip *z = graft_arena_alloc(arena, sizeof *z);
    if (!z) return graft_err_nomem(err);
    z->arena = arena;
    z->origin = origin;
    z->bytes = data;
    z->size = size;
    zip_error_init(&z->error);
    zip_error_t error;
    zip_error_init(&error);
    zip_source_t *source = zip_source_function_create(source_call, z, &error);
    if (source) z->archive = zip_open_from_source(source, ZIP_RDONLY, &error);
    if (!z->archive) {
        int rc = zip_error_code_zip(&error) == ZIP_ER_MEMORY
                     ? graft_err_nomem(err)
                     : graft_err_set(err, GRAFT_EFORMAT, "%s: not a whole zip archive: %s", origin,
                                     zip_error_strerror(&error));
        if (source) zip_source_free(source);
        zip_error_fini(&error);
        zip_error_fini(&z->error);
        return rc;
    }
    zip_error_fini(&error);
    if (graft_arena_defer(arena, zip_done, z) < 0) return graft_err_nomem(err);
    zip_int64_t n = zip_get_num_entries(z->archive, 0);
    z->n_members = n > 0 ? (size_t)n : 0;
    z->members = graft_arena_array(arena, z->n_members, sizeof *z->members);
    if (!z->members) return graft_err_nomem(err);
    *out = z;
    return 0;
}

size_t graft_zip_count(const graft_zip *z) {
    return z->n_members;
}

const char *graft_zip_name(const graft_zip *z, size_t i) {
    return zip_get_name(z->archive, i, ZIP_FL_ENC_RAW);
}

int64_t graft_zip_find(const graft_zip *z, const char *name) {
    return zip_name_locate(z->archive, name, ZIP_FL_ENC_RAW);
}

static int bad_member(const graft_zip *z, size_t i, const char *why, graft_err *err) {
    const char *name = graft_zip_name(z, i);
    return graft_err_set(err, GRAFT_EFORMAT, "%s: member '%s' cannot be read: %s", z->origin,
                         name ? name : "?", why);
}

/* libzip's own reason why member i failed. */
static int failed_member(const graft_zip *z, size_t i, zip_error_t *error, graft_err *err) {
    int code = zip_error_code_zip(error);
    if (code == ZIP_ER_MEMORY) return graft_err_nomem(err);
    if (code == ZIP_ER_CRC) return bad_member(z, i, "its checksum is wrong, the file is damaged", err);
    return bad_member(z, i, zip_error_strerror(error), err);
}

/* Reads the member through libzip, which checks its checksum: into `into`, or past a scratch buffer. */
static int read_through(graft_zip *z, size_t i, unsigned char *into, size_t size, graft_err *err) {
    unsigned char scratch[SCRATCH];
    zip_file_t *f = zip_fopen_index(z->archive, i, 0);
    if (!f) return failed_member(z, i, zip_get_error(z->archive), err);
    z->has_read = false;
    int rc = 0;
    size_t got = 0;
    for (;;) { /* one read past the end makes libzip compare the checksum */
        size_t want = into ? size - got : SCRATCH;
        zip_int64_t n = want ? zip_fread(f, into ? into + got : scratch, want) : zip_fread(f, scratch, 1);
        if (n < 0) rc = failed_member(z, i, zip_file_get_error(f), err);
        if (n <= 0) break;
        got += (size_t)n;
        if (got > size) break;
    }
    zip_fclose(f);
    if (rc == 0 && got != size) rc = bad_member(z, i, "it is not as long as the archive says", err);
    return rc;
}

int graft_zip_read(graft_zip *z, size_t i, const unsigned char **out, size_t *out_size, graft_err *err) {
    member *m = &z->members[i];
    if (!m->is_read) {
        zip_stat_t st;
        if (zip_stat_index(z->archive, i, 0, &st) < 0)
            return failed_member(z, i, zip_get_error(z->archive), err);
        if (st.encryption_method != ZIP_EM_NONE) return bad_member(z, i, "it is encrypted", err);
        if (st.comp_method != ZIP_CM_STORE && st.comp_method != ZIP_CM_DEFLATE) {
            return bad_member(z, i, "it is neither stored nor deflated", err);
        }
        bool is_stored = st.comp_method == ZIP_CM_STORE;
        size_t room = z->size * (is_stored ? 1 : MAX_RATIO);
        if (z->size > SIZE_MAX / MAX_RATIO / 2 || st.size > room ||
            (!is_stored && st.size > room - z->inflated)) {
            return bad_member(z, i, "it claims more bytes than the archive can hold", err);
        }
        m->size = (size_t)st.size;
        unsigned char *into = NULL;
        if (!is_stored) {
            into = graft_arena_alloc(z->arena, m->size);
            if (!into) return graft_err_nomem(err);
            z->inflated += m->size;
        }
        int rc = read_through(z, i, into, m->size, err);
        if (rc < 0) return rc;
        m->data = is_stored ? z->bytes + (m->size ? z->read_at : 0) : into;
        if (is_stored && m->size > z->size - (size_t)(m->data - z->bytes)) {
            return bad_member(z, i, "it reaches past the end", err);
        }
        m->is_read = true;
    }
    *out = m->data;
    *out_size = m->size;
    return 0;
}
