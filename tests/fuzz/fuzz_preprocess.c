/* Any JSON as preprocessor_config.json and as timm's config: what is read has to be writable and to read back
 * equal, and a picture has to go through it. */
#include "data/transform.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const graft_preprocess *p, graft_arena *arena) {
    graft_preprocess back;
    json_t *o;
    if (graft_preprocess_check(p, NULL) < 0) __builtin_trap();
    if (graft_preprocess_json(&o, p, NULL, NULL, NULL) < 0) return;
    char *text = json_dumps(o, JSON_REAL_PRECISION(17) | JSON_COMPACT);
    json_decref(o);
    if (!text) return;
    json_t *again;
    if (graft_json_parse(&again, arena, text, strlen(text), "fuzz", NULL) == 0 &&
        (graft_preprocess_parse(&back, again, "fuzz", NULL) < 0 || !graft_preprocess_equal(p, &back)))
        __builtin_trap();
    free(text);
    graft_transform t;
    if (graft_transform_init(&t, p, NULL, NULL) < 0 || graft_transform_count(&t) > 1 << 16) return;
    float *out = malloc(graft_transform_count(&t) * sizeof *out);
    graft_image_scratch *s = graft_image_scratch_new();
    static const uint8_t pixels[2 * 3 * 3];
    graft_image image = {pixels, 2, 3, 3, 6};
    if (out && s) graft_transform_image(&t, &image, NULL, out, s, NULL);
    graft_image_scratch_free(s);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    graft_arena *arena = graft_arena_new(NULL);
    json_t *o;
    graft_preprocess p;
    graft_err err;
    if (!arena) return 0;
    if (graft_json_parse(&o, arena, (const char *)data, size, "fuzz", &err) == 0) {
        if (graft_preprocess_parse(&p, o, "fuzz", &err) == 0) use(&p, arena);
        if (graft_preprocess_parse_timm(&p, o, "fuzz", &err) == 0) use(&p, arena);
    }
    graft_arena_free(arena);
    return 0;
}
