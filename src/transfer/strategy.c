/* From a plan's text to phases. */
#include "transfer/strategies.h"

#include <string.h>

#define GRAFT_STRATEGY(name) &graft_strategy_##name,
static const graft_strategy *const strategies[] = {
#include "transfer/strategy/list.h"
};
#undef GRAFT_STRATEGY

/* A sentence encoder's last vector was made for likeness, not for the question at hand, and its two uppermost
 * layers learn another question from a few texts. all-MiniLM-L6-v2, test accuracy of head, top:2 and full
 * with 20 texts a class of examples/intents: 84.5, 89.0, 86.5 (89.0 at four times the rate); with 300
 * questions of TREC: 78.8, 90.8, 90.6; full took two to eight times as long. With four texts a class of the
 * intents: 72.0 and 75.5. Where full overtakes was not measured: 2,000 a class is a guess on the careful
 * side. */
static const char *choose_for_encoders(int64_t per_class) {
    return per_class < 2000 ? "top:2" : "full";
}

/* Without a wish: everything when there is nothing to keep; the head alone when there are few pictures a
 * class, whose number cannot pay for more than a linear layer; the last stage too when there are more;
 * everything when there are many (Kornblith et al. 2019: fine-tuning overtakes a linear head at some dozens
 * to hundreds a class). Layers that nothing has trained yet train in any case. NULL: out of memory. */
static const char *choose(graft_arena *arena, const graft_model *m, const graft_evidence *e) {
    if (e->is_scratch) return "full";
    int64_t per_class = e->n_train / (e->n_classes > 0 ? e->n_classes : 1);
    size_t first = graft_model_first_new(m);
    if (per_class < 200 && first + 1 < graft_model_n_stages(m))
        return graft_arena_printf(arena, "from:%s", graft_model_stage_name(m, first));
    /* Word vectors move with the words of the training texts alone, which leaves the others behind: on TREC
     * with fastText's vectors head and full were equal at 16 questions a class, full better from 80 on. */
    if (graft_model_modality(m) == GRAFT_TEXTS && graft_model_text(m)->words)
        return per_class < 30 ? "head" : "full";
    if (graft_model_modality(m) == GRAFT_TEXTS && graft_model_n_stages(m) > 3)
        return choose_for_encoders(per_class);
    if (per_class < 30) return "head";
    return per_class < 200 ? "top:1" : "full";
}

static int unknown(const char *plan, graft_err *err) {
    graft_buf usages;
    graft_buf_init(&usages, 0);
    for (size_t i = 0; i < GRAFT_COUNT(strategies); i++)
        graft_buf_printf(&usages, "%s%s", i ? ", " : "", strategies[i]->usage);
    int rc = graft_err_set(err, GRAFT_EUSAGE, "unknown plan '%s' for --train, one of: %s", plan,
                           usages.failed ? "" : usages.data);
    graft_buf_done(&usages);
    return rc;
}

static int add_phases(graft_phases *p, const char *plan, graft_err *err) {
    const char *colon = strchr(plan, ':');
    size_t name_size = colon ? (size_t)(colon - plan) : strlen(plan);
    for (size_t i = 0; i < GRAFT_COUNT(strategies); i++) {
        const graft_strategy *s = strategies[i];
        if (strlen(s->name) == name_size && strncmp(s->name, plan, name_size) == 0)
            return s->phases(p, colon ? colon + 1 : NULL, err);
    }
    return unknown(plan, err);
}

int graft_strategy_phases(graft_phase **out, size_t *n_phases, const char **chosen, graft_arena *arena,
                          const graft_model *m, const char *plan, const graft_evidence *evidence,
                          graft_err *err) {
    graft_phases p = {.arena = arena, .model = m, .evidence = evidence};
    if (!plan) plan = choose(arena, m, evidence);
    if (!plan || !(*chosen = graft_arena_strdup(arena, plan))) return graft_err_nomem(err);
    int rc = add_phases(&p, plan, err);
    for (size_t i = 0; i < p.n; i++) graft_phase_mark_statistics(&p.items[i], m);
    *out = p.items;
    *n_phases = p.n;
    return rc;
}
