/* Results on stdout. */
#include "cli/cli.h"

#include <errno.h>
#include <string.h>

const char *graft_print_number(const json_t *o, const char *key, char *out, size_t size) {
    const json_t *v = json_object_get(o, key);
    if (json_is_integer(v)) {
        snprintf(out, size, "%lld", (long long)json_integer_value(v));
    } else if (json_is_real(v)) {
        snprintf(out, size, "%.4f", json_real_value(v));
    } else {
        snprintf(out, size, "-");
    }
    return out;
}

const char *graft_print_text(const json_t *o, const char *key) {
    const char *text = json_string_value(json_object_get(o, key));
    return text ? text : "-";
}

const char *graft_print_bytes(double bytes, char *out, size_t size) {
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    while (bytes >= 1024 && unit + 1 < GRAFT_COUNT(units)) {
        bytes /= 1024;
        unit++;
    }
    snprintf(out, size, unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
    return out;
}

int graft_print_result(const graft_common *common, char *result, void (*human)(const json_t *o),
                       graft_err *err) {
    graft_arena *arena = graft_arena_new(NULL);
    json_t *o = NULL;
    int rc = arena && result ? 0 : graft_err_nomem(err);
    graft_console_clear(common->console);
    if (rc == 0 && common->json) {
        puts(result);
    } else if (rc == 0) {
        rc = graft_json_parse(&o, arena, result, strlen(result), "the result", err);
        if (rc == 0) human(o);
    }
    graft_text_free(result);
    graft_arena_free(arena);
    return rc;
}

int graft_print_end(graft_err *err) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return 0;
    return graft_err_set(err, GRAFT_EIO, "cannot write to the standard output: %s", strerror(errno));
}
