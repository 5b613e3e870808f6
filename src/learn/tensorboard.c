/* A file of records (TFRecord: length, its checksum, bytes, their checksum), each an Event in protobuf's wire
 * format. The messages are small and fixed (tensorflow/core/util/event.proto, framework/summary.proto), so
 * that the few fields are written here and no protobuf library is needed. */
#include "learn/tensorboard.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct graft_tensorboard {
    FILE *file;
    char *path;
};

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 }; /* wire types */

static void put_varint(graft_buf *b, uint64_t value) {
    do {
        unsigned char byte = (unsigned char)(value & 0x7f);
        value >>= 7;
        if (value) byte |= 0x80;
        graft_buf_append(b, &byte, 1);
    } while (value);
}

static void put_key(graft_buf *b, unsigned field, unsigned wire) {
    put_varint(b, field << 3 | wire);
}

static void put_little_endian(graft_buf *b, uint64_t value, size_t size) {
    unsigned char bytes[8];
    for (size_t i = 0; i < size; i++) bytes[i] = (unsigned char)(value >> 8 * i);
    graft_buf_append(b, bytes, size);
}

static void put_bytes(graft_buf *b, unsigned field, const void *bytes, size_t size) {
    put_key(b, field, BYTES);
    put_varint(b, size);
    graft_buf_append(b, bytes, size);
}

/* CRC-32C (Castagnoli), bit by bit: a record has a hundred bytes. */
static uint32_t crc32c(const void *data, size_t size) {
    const unsigned char *bytes = data;
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
    }
    return ~crc;
}

static void put_checksum(graft_buf *b, const void *data, size_t size) {
    uint32_t crc = crc32c(data, size);
    put_little_endian(b, (uint32_t)((crc >> 15 | crc << 17) + 0xa282ead8u),
                      4); /* masked, as TFRecord has it */
}

/* Begins an Event: 1 wall_time (double), 2 step (int64). */
static void begin_event(graft_buf *event, int64_t step) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    double seconds = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    uint64_t bits;
    memcpy(&bits, &seconds, sizeof bits);
    graft_buf_init(event, 0);
    put_key(event, 1, FIXED64);
    put_little_endian(event, bits, 8);
    put_key(event, 2, VARINT);
    put_varint(event, (uint64_t)step);
}

/* Takes the event over. */
static int write_event(graft_tensorboard *t, graft_buf *event, graft_err *err) {
    graft_buf record;
    graft_buf_init(&record, 0);
    put_little_endian(&record, event->size, 8);
    if (!record.failed) put_checksum(&record, record.data, 8);
    if (!event->failed) {
        graft_buf_append(&record, event->data, event->size);
        put_checksum(&record, event->data, event->size);
    }
    int rc = record.failed || event->failed ? graft_err_nomem(err) : 0;
    if (rc == 0 && (fwrite(record.data, 1, record.size, t->file) != record.size || fflush(t->file) != 0))
        rc = graft_err_errno(err, "write", t->path);
    graft_buf_done(&record);
    graft_buf_done(event);
    return rc;
}

/* file_version (3), then a session_log (7) whose status (1) is START (1): older files' later points go. */
static int begin_file(graft_tensorboard *t, int64_t step, graft_err *err) {
    static const char version[] = "brain.Event:2", start[] = {1 << 3 | VARINT, 1};
    graft_buf event;
    begin_event(&event, 0);
    put_bytes(&event, 3, version, sizeof version - 1);
    int rc = write_event(t, &event, err);
    if (rc < 0) return rc;
    begin_event(&event, step);
    put_bytes(&event, 7, start, sizeof start);
    return write_event(t, &event, err);
}

/* Two files of one second and process have names of their own. */
static int make_file(graft_tensorboard *t, const char *folder, graft_err *err) {
    size_t size = strlen(folder) + 100;
    if (!(t->path = malloc(size))) return graft_err_nomem(err);
    for (unsigned i = 0; !t->file; i++) {
        snprintf(t->path, size, "%s/events.out.tfevents.%010lld.graft.%ld.%u", folder, (long long)time(NULL),
                 (long)getpid(), i);
        t->file = fopen(t->path, "wbxe");
        if (!t->file && errno != EEXIST) return graft_err_errno(err, "write", t->path);
    }
    return 0;
}

int graft_tensorboard_open(graft_tensorboard **out, const char *folder, int64_t step, graft_err *err) {
    *out = NULL;
    int rc = graft_dir_make(folder, err);
    if (rc < 0) return rc;
    graft_tensorboard *t = calloc(1, sizeof *t);
    if (!t) return graft_err_nomem(err);
    rc = make_file(t, folder, err);
    if (rc == 0) rc = begin_file(t, step, err);
    if (rc < 0)
        graft_tensorboard_close(t);
    else
        *out = t;
    return rc;
}

/* Summary.Value: 1 tag, 2 simple_value (float). */
static void put_value(graft_buf *summary, const char *key, double number) {
    char tag[128];
    bool validation = strncmp(key, "val_", 4) == 0;
    bool alone = strcmp(key, "lr") == 0 || strcmp(key, "seconds") == 0;
    float value = (float)number;
    uint32_t bits;
    graft_buf v;
    snprintf(tag, sizeof tag, "%s%s", validation ? key + 4 : key,
             validation ? "/validation"
             : alone    ? ""
                        : "/train");
    memcpy(&bits, &value, sizeof bits);
    graft_buf_init(&v, 0);
    put_bytes(&v, 1, tag, strlen(tag));
    put_key(&v, 2, FIXED32);
    put_little_endian(&v, bits, 4);
    if (v.failed)
        summary->failed = true;
    else
        put_bytes(summary, 1, v.data, v.size);
    graft_buf_done(&v);
}

int graft_tensorboard_write(graft_tensorboard *t, int64_t step, const json_t *fields, graft_err *err) {
    const char *key;
    json_t *value;
    graft_buf event, summary;
    graft_buf_init(&summary, 0);
    json_object_foreach((json_t *)fields, key, value) {
        if (json_is_number(value) && strcmp(key, "epoch") != 0 && strcmp(key, "updates") != 0)
            put_value(&summary, key, json_number_value(value));
    }
    begin_event(&event, step);
    if (summary.failed)
        event.failed = true;
    else
        put_bytes(&event, 5, summary.data ? summary.data : "", summary.size);
    graft_buf_done(&summary);
    return write_event(t, &event, err);
}

void graft_tensorboard_close(graft_tensorboard *t) {
    if (!t) return;
    if (t->file) fclose(t->file);
    free(t->path);
    free(t);
}
