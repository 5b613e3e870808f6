/* What the families read off strangers' files: a config.json (input that begins with '{'), or else the names
 * and shapes of a checkpoint. Nothing is initialised, so that a config may ask for a model of any size. */
#include "model/family.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_as(const graft_family *f, graft_arena *arena, const json_t *config,
                    const graft_tensors *tensors) {
    graft_hyper hyper = {0};
    graft_labels labels = {0};
    char *text = NULL;
    if (f->configure(&hyper, arena, config, tensors, "fuzz", NULL) == 0) text = f->describe(arena, &hyper);
    bool pictures = f->modality == GRAFT_PICTURES;
    if (text && ((pictures && hyper.channels < 1) || hyper.feature_width < 1)) __builtin_trap();
    if (text && (hyper.height < 0 || hyper.width < 0 || !hyper.height != !hyper.width)) __builtin_trap();
    for (size_t i = 0; tensors && i < tensors->n_items; i++) {
        const char *name = f->rename(arena, tensors->items[i].name);
        const char *other = name ? graft_twin_other(arena, f->twins, name) : NULL;
        if (!other || !graft_twin_published(arena, f->twins, other)) __builtin_trap();
    }
    if (!config || f->labels(&labels, arena, config, "fuzz", NULL) < 0) return;
    for (size_t i = 0; labels.names && i < labels.n; i++)
        if (!labels.names[i]) __builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    graft_arena *arena = graft_arena_new(NULL);
    json_t *config = NULL;
    graft_tensors tensors = {0};
    bool is_config = size > 0 && data[0] == '{';
    int rc = is_config ? graft_json_parse(&config, arena, (const char *)data, size, "fuzz", NULL)
                       : graft_safetensors_parse(&tensors, arena, data, size, "fuzz", NULL);
    for (const graft_family *const *f = graft_families(); rc == 0 && *f; f++) {
        if ((*f)->recognise(config, is_config ? NULL : &tensors))
            read_as(*f, arena, config, is_config ? NULL : &tensors);
    }
    graft_arena_free(arena);
    return 0;
}
