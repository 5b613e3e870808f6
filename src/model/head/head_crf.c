/* A linear layer whose outputs are the emissions of a conditional random field (Lample et al. 2016): logits =
 * features w^T + b; the field's parameters are read by the loss and by graft_crf_decode. Names are those of
 * the packages that PyTorch's users load such heads with. */
#include "model/family.h"
#include "model/init.h"

#include <stdio.h>
#include <string.h>

static const char field[] = "crf", transitions[] = "transitions", start[] = "start_transitions",
                  end[] = "end_transitions";

/* Parameters that no node of the forward pass reads: as outputs they stay with the graph's parts. */
static void add_parameter(graft_layout *l, graft_shape shape, const char *leaf) {
    char name[64];
    snprintf(name, sizeof name, "%s.%s", field, leaf);
    graft_graph_output(graft_layout_graph(l), name,
                       graft_layout_param(l, GRAFT_PARAM_BIAS, shape, field, leaf));
}

static graft_value layout(graft_layout *l, graft_value features, const graft_head_place *at) {
    add_parameter(l, (graft_shape){2, {at->n, at->n}}, transitions);
    add_parameter(l, (graft_shape){1, {at->n}}, start);
    add_parameter(l, (graft_shape){1, {at->n}}, end);
    return graft_head_linear.layout(l, features, at);
}

static void initialise(const graft_param *p, int64_t width, float *out, graft_rng *r) {
    bool is_field = strncmp(p->name, field, sizeof field - 1) == 0 && p->name[sizeof field - 1] == '.';
    if (is_field)
        graft_init_uniform(out, graft_init_count(&p->shape), -0.1, 0.1, r);
    else
        graft_head_linear.initialise(p, width, out, r);
}

static graft_value parameter(graft_graph *g, const char *leaf) {
    char name[64];
    snprintf(name, sizeof name, "%s.%s", field, leaf);
    graft_value v = graft_graph_find(g, name);
    if (v == GRAFT_NONE) graft_graph_fail(g, GRAFT_EINTERNAL, "the graph has no parameter '%s'", name);
    return v;
}

/* The steps of the labels' scheme as a constant; NONE where any label may follow any. */
static graft_value steps(graft_graph *g, const char *const *labels, size_t n) {
    graft_arena *arena = graft_graph_arena(g);
    graft_tensor *t = graft_arena_alloc(arena, sizeof *t);
    const float *allowed = NULL;
    if (t == NULL || graft_tag_steps(&allowed, arena, labels, n, NULL) < 0) {
        graft_graph_fail(g, GRAFT_ENOMEM, "out of memory");
        return GRAFT_NONE;
    }
    if (!allowed) return GRAFT_NONE;
    *t = (graft_tensor){.name = "crf.allowed",
                        .dtype = GRAFT_F32,
                        .shape = {2, {(int64_t)n + 2, (int64_t)n}},
                        .data = allowed,
                        .size = (n + 2) * n * sizeof *allowed};
    return graft_graph_param(g, t->name, t, t->shape);
}

graft_value graft_crf_loss(graft_graph *g, graft_value emissions, graft_value tags, graft_value weight,
                           graft_value spans, const char *const *labels, size_t n) {
    graft_crf_values v = {.transitions = parameter(g, transitions),
                          .start = parameter(g, start),
                          .end = parameter(g, end),
                          .allowed = steps(g, labels, n)};
    return graft_graph_failed(g) ? GRAFT_NONE : graft_crf_nll(g, emissions, v, tags, weight, spans);
}

const graft_head graft_head_crf = {
    .name = "crf", .mark = "crf.transitions", .layout = layout, .initialise = initialise};
