/* Layers that an adapter may stand beside, found in the model's graph: so every family has them, and
 * attention is recognised by what it reads, however its layers are called. */
#include "model/lora.h"

#include "graph/op.h"
#include <fnmatch.h>
#include <string.h>

enum { SIDE = 256 }; /* any will do: no parameter depends on it */

int64_t graft_site_outs(const graft_site *s) {
    return s->shape.dims[s->kind == GRAFT_SITE_IN_OUT || s->kind == GRAFT_SITE_EMBEDDING ? 1 : 0];
}

int64_t graft_site_ins(const graft_site *s) {
    return s->shape.dims[s->kind == GRAFT_SITE_IN_OUT || s->kind == GRAFT_SITE_EMBEDDING ? 0 : 1];
}

graft_shape graft_site_a(const graft_site *s, int64_t r) {
    if (s->kind == GRAFT_SITE_CONV)
        return (graft_shape){4, {r, graft_site_ins(s), s->shape.dims[2], s->shape.dims[3]}};
    return (graft_shape){2, {r, graft_site_ins(s)}};
}

graft_shape graft_site_b(const graft_site *s, int64_t r) {
    if (s->kind == GRAFT_SITE_CONV) return (graft_shape){4, {graft_site_outs(s), r, 1, 1}};
    return (graft_shape){2, {graft_site_outs(s), r}};
}

const graft_site *graft_sites_find(const graft_sites *s, const char *weight) {
    for (size_t i = 0; i < s->n; i++)
        if (!strcmp(s->items[i].weight, weight)) return &s->items[i];
    return NULL;
}

/* Which input of a node is its weight, and what layer it is; false for other ops. */
static bool kind_of(const graft_node *n, graft_site_kind *kind, size_t *weight) {
    *weight = 1;
    if (n->op == &graft_op_linear) {
        *kind = ((const graft_linear_attr *)n->attr)->in_out ? GRAFT_SITE_IN_OUT : GRAFT_SITE_LINEAR;
        return true;
    }
    if (n->op == &graft_op_conv2d) {
        const graft_conv_attr *a = n->attr;
        bool plain = a->groups == 1 && a->dilation[0] == 1 && a->dilation[1] == 1;
        *kind = plain ? GRAFT_SITE_CONV : GRAFT_SITE_ODD;
        return true;
    }
    *weight = 0;
    *kind = GRAFT_SITE_EMBEDDING;
    return n->op == &graft_op_embedding;
}

static int add_site(graft_sites *out, graft_arena *arena, const graft_graph *g, const graft_node *n,
                    const graft_model *m, graft_err *err) {
    graft_site s = {0};
    size_t at = 0;
    if (!kind_of(n, &s.kind, &at)) return 0;
    const graft_value_info *w = graft_graph_value(g, n->in[at]);
    const char *dot = w->kind == GRAFT_PARAM ? strrchr(w->name, '.') : NULL;
    if (!dot || strcmp(dot, ".weight") != 0 || graft_sites_find(out, w->name)) return 0;
    const graft_param *p = graft_model_find_param(m, w->name);
    if (!p) return 0;
    s.weight = p->name;
    s.module = graft_arena_strndup(arena, p->name, (size_t)(dot - w->name));
    s.shape = w->shape;
    s.head = p->head;
    if (!s.module) return graft_err_nomem(err);
    out->items[out->n++] = s;
    return 0;
}

/* The layer whose output v is, or a part of the columns of it; NULL when it is none. */
static graft_site *behind(const graft_sites *s, const graft_graph *g, graft_value v) {
    for (;;) {
        const graft_value_info *info = graft_graph_value(g, v);
        if (!info || info->kind != GRAFT_RESULT) return NULL;
        const graft_node *n = graft_graph_node_at(g, (size_t)info->node);
        if (n->op == &graft_op_linear) {
            const graft_value_info *w = graft_graph_value(g, n->in[1]);
            return w->kind == GRAFT_PARAM ? (graft_site *)graft_sites_find(s, w->name) : NULL;
        }
        if (n->op != &graft_op_columns) return NULL;
        v = n->in[0];
    }
}

static void find_roles(const graft_sites *s, const graft_graph *g) {
    static const unsigned roles[] = {GRAFT_SITE_QUERY, GRAFT_SITE_KEY, GRAFT_SITE_VALUE};
    for (size_t i = 0; i < graft_graph_n_nodes(g); i++) {
        const graft_node *n = graft_graph_node_at(g, i);
        for (size_t k = 0; n->op == &graft_op_attention && k < GRAFT_COUNT(roles); k++) {
            graft_site *site = behind(s, g, n->in[k]);
            if (site) site->roles |= roles[k];
        }
        const graft_value_info *x = n->op == &graft_op_linear ? graft_graph_value(g, n->in[0]) : NULL;
        if (!x || x->kind != GRAFT_RESULT) continue;
        graft_site *site = behind(s, g, n->out[0]);
        if (site && graft_graph_node_at(g, (size_t)x->node)->op == &graft_op_attention)
            site->roles |= GRAFT_SITE_OUT;
    }
}

int graft_sites_list(graft_sites *out, graft_arena *arena, const graft_model *m, graft_err *err) {
    graft_arena *scratch = graft_arena_new(NULL);
    graft_graph *g = NULL;
    int rc = scratch ? graft_model_plain_graph(&g, scratch, m, SIDE, SIDE, err) : graft_err_nomem(err);
    *out = (graft_sites){0};
    if (rc == 0) {
        out->items = graft_arena_array(arena, graft_graph_n_nodes(g) + 1, sizeof *out->items);
        if (!out->items) rc = graft_err_nomem(err);
    }
    for (size_t i = 0; rc == 0 && i < graft_graph_n_nodes(g); i++)
        rc = add_site(out, arena, g, graft_graph_node_at(g, i), m, err);
    if (rc == 0) find_roles(out, g);
    graft_arena_free(scratch);
    return rc;
}

/* ---- Targets
 * -------------------------------------------------------------------------------------------------- */

static bool takes_adapter(const graft_site *s) {
    return !s->head && s->kind <= GRAFT_SITE_CONV;
}

static bool is_linear(const graft_site *s) {
    return s->kind == GRAFT_SITE_LINEAR || s->kind == GRAFT_SITE_IN_OUT;
}

static unsigned role_named(const char *name) {
    static const struct {
        const char *name;
        unsigned roles;
    } known[] = {{"query", GRAFT_SITE_QUERY},
                 {"key", GRAFT_SITE_KEY},
                 {"value", GRAFT_SITE_VALUE},
                 {"out", GRAFT_SITE_OUT},
                 {"attention", GRAFT_SITE_QUERY | GRAFT_SITE_KEY | GRAFT_SITE_VALUE | GRAFT_SITE_OUT}};
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
    if (!strcmp(target, "all-conv")) return s->kind == GRAFT_SITE_CONV;
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
        conv = conv || s->items[i].kind == GRAFT_SITE_CONV;
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
