/* Layers that an adapter may stand beside, found in the model's graph: so every family has them, and
 * attention is recognised by what it reads, however its layers are called. */
#include "model/lora.h"

#include <fnmatch.h>
#include <string.h>

int64_t graft_site_outs(const graft_site *s) {
    return s->shape.dims[s->kind == GRAFT_LAYER_IN_OUT || s->kind == GRAFT_LAYER_EMBEDDING ? 1 : 0];
}

int64_t graft_site_ins(const graft_site *s) {
    return s->shape.dims[s->kind == GRAFT_LAYER_IN_OUT || s->kind == GRAFT_LAYER_EMBEDDING ? 0 : 1];
}

graft_shape graft_site_a(const graft_site *s, int64_t r) {
    if (s->kind == GRAFT_LAYER_CONV)
        return (graft_shape){4, {r, graft_site_ins(s), s->shape.dims[2], s->shape.dims[3]}};
    return (graft_shape){2, {r, graft_site_ins(s)}};
}

graft_shape graft_site_b(const graft_site *s, int64_t r) {
    if (s->kind == GRAFT_LAYER_CONV) return (graft_shape){4, {graft_site_outs(s), r, 1, 1}};
    return (graft_shape){2, {graft_site_outs(s), r}};
}

const graft_site *graft_sites_find(const graft_sites *s, const char *weight) {
    for (size_t i = 0; i < s->n; i++)
        if (!strcmp(s->items[i].weight, weight)) return &s->items[i];
    return NULL;
}

static int add_site(graft_sites *out, graft_arena *arena, const graft_graph *g, const graft_layer *layer,
                    const graft_model *m, graft_err *err) {
    const graft_value_info *w = graft_graph_value(g, layer->weight);
    const graft_param *p = graft_model_find_param(m, w->name);
    const char *dot = strrchr(w->name, '.');
    if (!p || !dot || strcmp(dot, ".weight") != 0) return 0;
    graft_site *s = &out->items[out->n++];
    *s = (graft_site){.weight = p->name,
                      .module = graft_arena_strndup(arena, p->name, (size_t)(dot - w->name)),
                      .kind = layer->kind,
                      .shape = w->shape,
                      .roles = layer->roles,
                      .head = p->head};
    return s->module ? 0 : graft_err_nomem(err);
}

int graft_sites_list(graft_sites *out, graft_arena *arena, const graft_model *m, graft_err *err) {
    graft_arena *scratch = graft_arena_new(NULL);
    graft_graph *g = NULL;
    graft_layers layers = {0};
    int64_t height = 0, width = 0;
    graft_model_some_size(m, &height, &width);
    int rc = scratch ? graft_model_plain_graph(&g, scratch, m, height, width, err) : graft_err_nomem(err);
    if (rc == 0) rc = graft_graph_layers(&layers, scratch, g, err);
    *out = (graft_sites){.items = graft_arena_array(arena, layers.n + 1, sizeof *out->items)};
    if (rc == 0 && !out->items) rc = graft_err_nomem(err);
    for (size_t i = 0; rc == 0 && i < layers.n; i++) rc = add_site(out, arena, g, &layers.items[i], m, err);
    graft_arena_free(scratch);
    return rc;
}

/* ---- Targets
 * -------------------------------------------------------------------------------------------------- */

static bool takes_adapter(const graft_site *s) {
    return !s->head && s->kind <= GRAFT_LAYER_CONV;
}

static bool is_linear(const graft_site *s) {
    return s->kind == GRAFT_LAYER_LINEAR || s->kind == GRAFT_LAYER_IN_OUT;
}

static unsigned role_named(const char *name) {
    static const struct {
        const char *name;
        unsigned roles;
    } known[] = {{"query", GRAFT_LAYER_QUERY},
                 {"key", GRAFT_LAYER_KEY},
                 {"value", GRAFT_LAYER_VALUE},
                 {"out", GRAFT_LAYER_OUT},
                 {"attention", GRAFT_LAYER_QUERY | GRAFT_LAYER_KEY | GRAFT_LAYER_VALUE | GRAFT_LAYER_OUT}};
    for (size_t i = 0; i < GRAFT_COUNT(known); i++)
        if (!strcmp(known[i].name, name)) return known[i].roles;
    return 0;
}

/* Whether `name` is the module's whole name or the end of it after a dot, as peft matches. */
static bool ends_in(const char *module, const char *name) {
    size_t n = strlen(module), k = strlen(name);
    return n >= k && !strcmp(module + n - k, name) && (n == k || module[n - k - 1] == '.');
}

static bool means(const char *target, const graft_site *s) {
    if (!takes_adapter(s)) return false;
    if (!strcmp(target, "all-linear")) return is_linear(s);
    if (!strcmp(target, "all-conv")) return s->kind == GRAFT_LAYER_CONV;
    if (s->roles & role_named(target)) return true;
    if (strpbrk(target, "*?[")) return fnmatch(target, s->module, 0) == 0;
    return ends_in(s->module, target);
}

/* The last parts of the names that could have been meant, each once. */
static int names_nothing(const char *target, const graft_sites *s, graft_err *err) {
    graft_buf names;
    graft_buf_init(&names, 0);
    for (size_t i = 0; i < s->n && names.size < 300; i++) {
        const char *dot = strrchr(s->items[i].module, '.'), *last = dot ? dot + 1 : s->items[i].module;
        bool seen = !takes_adapter(&s->items[i]);
        for (size_t k = 0; k < i && !seen; k++)
            seen = takes_adapter(&s->items[k]) && ends_in(s->items[k].module, last);
        if (!seen) graft_buf_printf(&names, "%s%s", names.size ? ", " : "", last);
    }
    int rc = graft_err_set(err, GRAFT_EUSAGE,
                           "targets: '%.80s' names no layer that takes an adapter; there are query, key, "
                           "value, out, attention, all-linear, all-conv, and by name %s",
                           target, names.failed || !names.size ? "none" : names.data);
    graft_buf_done(&names);
    return rc;
}

static const char *default_targets(const graft_sites *s) {
    bool conv = false;
    for (size_t i = 0; i < s->n; i++) {
        if (s->items[i].roles && takes_adapter(&s->items[i])) return "query+value";
        conv = conv || s->items[i].kind == GRAFT_LAYER_CONV;
    }
    return conv ? "all-conv" : "all-linear";
}

int graft_sites_choose(bool *chosen, const graft_sites *s, const char *targets, graft_err *err) {
    char target[256];
    if (!targets) targets = default_targets(s);
    for (const char *at = targets, *end; at; at = *end ? end + 1 : NULL) {
        end = at + strcspn(at, "+");
        size_t size = (size_t)(end - at), n = 0;
        if (size == 0 || size >= sizeof target)
            return graft_err_set(err, GRAFT_EUSAGE, "targets: '%.80s' has a part without a name", targets);
        memcpy(target, at, size);
        target[size] = '\0';
        for (size_t i = 0; i < s->n; i++) {
            if (!means(target, &s->items[i])) continue;
            chosen[i] = true;
            n++;
        }
        if (n == 0) return names_nothing(target, s, err);
    }
    return 0;
}
