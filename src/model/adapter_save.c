/* The folder that peft reads: adapter_config.json, and adapter_model.safetensors with the adapters, the head,
 * and whatever else differs from the base. */
#include "model/lora.h"

#include <string.h>

/* The head of a sentence-transformers folder lies in a module of its own. */
static bool is_saved(const graft_model *m, const graft_param_slot *s) {
    if (s->param.head) return !m->text.sentence;
    return s->param.adapter || s->own || s->merged;
}

int graft_adapter_save(const graft_model *m, const char *dir, graft_err *err) {
    graft_arena *arena = graft_arena_new(NULL);
    graft_tensor *items = arena ? graft_arena_array(arena, m->n_slots + 1, sizeof *items) : NULL;
    json_t *config = NULL;
    size_t n = 0;
    int rc = items ? 0 : graft_err_nomem(err);
    for (size_t i = 0; rc == 0 && i < m->n_slots; i++) {
        if (!is_saved(m, m->slots[i])) continue;
        items[n] = m->slots[i]->param.tensor;
        items[n].name = graft_adapter_name(arena, m, m->slots[i]->param.name);
        if (!items[n++].name) rc = graft_err_nomem(err);
    }
    if (rc == 0) rc = graft_adapter_config_make(&config, arena, m, err);
    const char *weights = arena ? graft_path_join(arena, dir, "adapter_model.safetensors") : NULL,
               *path = arena ? graft_path_join(arena, dir, "adapter_config.json") : NULL;
    if (rc == 0 && (!weights || !path)) rc = graft_err_nomem(err);
    if (rc == 0) rc = graft_json_write(path, config, err);
    if (rc == 0) rc = graft_safetensors_write(weights, items, n, NULL, err);
    json_decref(config);
    graft_arena_free(arena);
    return rc;
}
