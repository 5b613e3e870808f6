/* The folder that peft reads: adapter_config.json, and adapter_model.safetensors with the adapters, the head,
 * and whatever else differs from the base. peft goes by the names that modules have in memory; where versions
 * of Transformers differ in them, each finds a set of its own, a few kilobytes that serve both. */
#include "model/lora.h"

#include <string.h>

/* The head of a sentence-transformers folder lies in a module of its own. */
static bool is_saved(const graft_model *m, const graft_param_slot *s) {
    if (s->param.head) return !m->text.sentence;
    return s->param.adapter || s->own || s->merged;
}

/* Adds a parameter under its name, and under its other name where it has one. */
static int add_param(graft_tensor *items, size_t *n, graft_arena *arena, const graft_model *m,
                     const graft_param *p, graft_err *err) {
    const char *other = graft_twin_other(arena, m->family->twins, p->name);
    if (!other) return graft_err_nomem(err);
    const char *names[] = {p->name, strcmp(other, p->name) != 0 ? other : NULL};
    for (size_t i = 0; i < GRAFT_COUNT(names) && names[i]; i++) {
        items[*n] = p->tensor;
        items[*n].name = graft_adapter_name(arena, m, names[i]);
        if (!items[(*n)++].name) return graft_err_nomem(err);
    }
    return 0;
}

int graft_adapter_save(const graft_model *m, const char *dir, graft_err *err) {
    graft_arena *arena = graft_arena_new(NULL);
    graft_tensor *items = arena ? graft_arena_array(arena, 2 * m->n_slots + 1, sizeof *items) : NULL;
    json_t *config = NULL;
    size_t n = 0;
    int rc = items ? 0 : graft_err_nomem(err);
    for (size_t i = 0; rc == 0 && i < m->n_slots; i++) {
        if (is_saved(m, m->slots[i])) rc = add_param(items, &n, arena, m, &m->slots[i]->param, err);
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
