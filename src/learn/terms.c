/* Further terms of the loss: the rows of regulariser/ that a recipe gives a strength to. */
#include "learn/run.h"

#include <string.h>

/* The suffix up to the features, without chance and with the pretrained weights, which nothing trains. */
static int pretrained_part(graft_graph **out, graft_arena *arena, const graft_graph *suffix,
                           const graft_recipe *r, graft_err *err) {
    static const char ending[] = "/start";
    graft_graph *still = NULL, *part = NULL, *named = NULL, *chosen = NULL, *folded = NULL;
    int rc = graft_graph_without_dropout(&still, arena, suffix, err);
    if (rc < 0) return rc;
    const graft_output features = {"start_features",
                                   graft_graph_operand(still, graft_graph_find(still, "logits"))};
    rc = graft_graph_extract(&part, arena, still, NULL, NULL, 0, &features, 1, err);
    if (rc == 0) rc = graft_graph_rename_trained(&named, arena, part, ending, err);
    for (size_t v = 0; rc == 0 && v < graft_graph_n_values(named); v++) {
        graft_value_info *info = graft_graph_value_mut(named, (graft_value)v);
        if (info->kind != GRAFT_PARAM || !info->trained) continue;
        const char *name = graft_arena_strndup(arena, info->name, strlen(info->name) - strlen(ending));
        if (!name) return graft_err_nomem(err);
        const graft_tensor *start = r->start ? r->start(r->user, name) : NULL;
        if (!start)
            return graft_err_set(
                err, GRAFT_EUSAGE,
                "features are to be held to the pretrained ones, and '%s' was not pretrained", name);
        info->trained = false;
        info->source = (graft_source){.tensor = start};
    }
    if (rc == 0) rc = graft_graph_choose_rows(&chosen, arena, named, err);
    if (rc == 0) rc = graft_graph_fold(&folded, arena, chosen, err);
    return rc < 0 ? rc : graft_graph_fuse(out, arena, folded, err);
}

static int add_start_features(graft_value *out, graft_arena *arena, graft_graph *g, const graft_graph *suffix,
                              const graft_recipe *r, graft_err *err) {
    graft_graph *part = NULL;
    int rc = pretrained_part(&part, arena, suffix, r, err);
    if (rc < 0) return rc;
    graft_value *map = graft_arena_array(arena, graft_graph_n_values(part) + 1, sizeof *map);
    if (!map) return graft_err_nomem(err);
    rc = graft_graph_append(g, part, map, err);
    *out = map[graft_graph_find(part, "start_features")];
    return rc;
}

int graft_terms_add(graft_value *loss, graft_arena *arena, graft_graph *g, const graft_graph *suffix,
                    const graft_recipe *r, graft_err *err) {
    graft_value logits = graft_graph_find(g, "logits");
    graft_term at = {.recipe = r,
                     .logits = logits,
                     .features = graft_graph_operand(g, logits),
                     .start_features = GRAFT_NONE,
                     .weight = graft_graph_find(g, "weight")};
    for (const graft_regulariser *const *row = graft_regularisers(); *row; row++) {
        double strength = graft_regulariser_strength(*row, r);
        bool frozen = graft_graph_value(g, at.features)->kind == GRAFT_INPUT;
        if (!(strength > 0.0) || (frozen && (*row)->shapes_features)) continue;
        const char *why = (*row)->refuse ? (*row)->refuse(r, suffix) : NULL;
        if (why) return graft_err_set(err, GRAFT_EUSAGE, "--%s cannot be used here: %s", (*row)->name, why);
        int rc = 0;
        if ((*row)->needs_start && at.start_features == GRAFT_NONE)
            rc = add_start_features(&at.start_features, arena, g, suffix, r, err);
        if (rc < 0) return rc;
        graft_graph_scope(g, "%s", (*row)->name);
        graft_value term = (*row)->build(g, &at);
        *loss = graft_add(g, *loss, graft_scale(g, term, strength), 0);
    }
    return graft_graph_end(g, err);
}
