#include "base/base.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    graft_arena *arena = graft_arena_new(NULL);
    json_t *value;
    graft_err err = {0};
    int rc = graft_json_parse(&value, arena, (const char *)data, size, "fuzz", &err);
    if ((rc == 0) != (value != NULL) || (rc == 0) != (err.code == 0)) abort();
    graft_buf text, again;
    graft_buf_init(&text, 0);
    graft_buf_init(&again, 0);
    if (value) {
        int64_t i;
        double x;
        bool b;
        const char *s;
        graft_json_int(value, "num_channels", 0, &i, "fuzz", &err);
        graft_json_real(value, "eps", 0, &x, "fuzz", &err);
        graft_json_bool(value, "flag", false, &b, "fuzz", &err);
        graft_json_text(value, "model_type", NULL, &s, "fuzz", &err);
        /* what is printed reads back as the same value, and prints the same */
        json_t *back;
        graft_json_print(&text, value);
        if (text.failed || graft_json_parse(&back, arena, text.data, text.size, "printed", &err) < 0) abort();
        if (!json_equal(value, back)) abort();
        graft_json_print(&again, back);
        if (again.size != text.size || memcmp(again.data, text.data, text.size) != 0) abort();
    }
    graft_buf_done(&text);
    graft_buf_done(&again);
    graft_arena_free(arena);
    return 0;
}
