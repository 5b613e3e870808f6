/* Which parameters train in a phase: marks set by stage, running statistics after their norms, and marks put
 * on a graph. */
#include "transfer/strategies.h"

#include <stdio.h>
#include <string.h>

graft_phase *graft_phases_add(graft_phases *p, graft_err *err) {
    size_t n_params = graft_model_n_params(p->model);
    if (p->n == p->room) {
        size_t room = p->room ? 2 * p->room : 4;
        graft_phase *items = graft_arena_array(p->arena, room, sizeof *items);
        if (!items) return graft_err_nomem(err), NULL;
        if (p->n) memcpy(items, p->items, p->n * sizeof *items);
        p->items = items;
        p->room = room;
    }
    bool *trains = graft_arena_array(p->arena, n_params + 1, sizeof *trains);
    if (!trains) return graft_err_nomem(err), NULL;
    p->items[p->n] = (graft_phase){.trains = trains, .share = 1.0};
    return &p->items[p->n++];
}

void graft_phase_mark_stage(graft_phase *phase, const graft_model *m, size_t stage) {
    for (size_t i = 0; i < graft_model_n_params(m); i++)
        if (graft_model_param(m, i)->stage == (int)stage) phase->trains[i] = true;
}

int graft_phases_from(graft_phases *p, size_t first, graft_err *err) {
    graft_phase *phase = graft_phases_add(p, err);
    if (!phase) return GRAFT_ENOMEM;
    for (size_t i = first; i < graft_model_n_stages(p->model); i++)
        graft_phase_mark_stage(phase, p->model, i);
    return 0;
}

int graft_phases_kind(graft_phases *p, bool (*is)(const graft_param *), const char *none, graft_err *err) {
    graft_phase *phase = graft_phases_add(p, err);
    size_t head = graft_model_n_stages(p->model) - 1, n = 0;
    if (!phase) return GRAFT_ENOMEM;
    for (size_t i = 0; i < graft_model_n_params(p->model); i++) {
        const graft_param *param = graft_model_param(p->model, i);
        phase->trains[i] = param->stage == (int)head || is(param);
        n += phase->trains[i] && param->stage != (int)head;
    }
    return n ? 0 : graft_err_set(err, GRAFT_EUSAGE, "--train %s", none);
}

/* Index of the gain of the norm that the running statistic belongs to; -1: it has none. */
static int64_t gain_of(const graft_model *m, const char *statistic) {
    char name[512];
    const char *dot = strrchr(statistic, '.');
    size_t n = dot ? (size_t)(dot - statistic) : 0;
    int length = snprintf(name, sizeof name, "%.*s.weight", (int)n, statistic);
    return length > 0 && (size_t)length < sizeof name ? graft_model_param_index(m, name) : -1;
}

void graft_phase_mark_statistics(graft_phase *phase, const graft_model *m) {
    for (size_t i = 0; i < graft_model_n_params(m); i++) {
        const graft_param *p = graft_model_param(m, i);
        if (p->kind != GRAFT_PARAM_STATISTIC) continue;
        int64_t gain = gain_of(m, p->name);
        phase->trains[i] = gain >= 0 && phase->trains[gain];
    }
}

int graft_mark_trained(graft_graph *g, const graft_model *m, const graft_phase *phase, bool train_statistics,
                       graft_err *err) {
    size_t n = graft_graph_n_values(g);
    for (size_t v = 0; v < n; v++) {
        graft_value_info *info = graft_graph_value_mut(g, (graft_value)v);
        if (info->kind != GRAFT_PARAM) continue;
        int64_t i = graft_model_param_index(m, info->name);
        if (i < 0) return graft_err_set(err, GRAFT_EINTERNAL, "the model has no parameter '%s'", info->name);
        const graft_param *p = graft_model_param(m, (size_t)i);
        info->trained = phase->trains[i] && (train_statistics || p->kind != GRAFT_PARAM_STATISTIC);
    }
    return 0;
}

int64_t graft_phase_trained_in(const graft_phase *phase, const graft_model *m, size_t stage) {
    int64_t total = 0;
    for (size_t i = 0; i < graft_model_n_params(m); i++) {
        const graft_param *p = graft_model_param(m, i);
        int64_t count = 0;
        if (p->stage != (int)stage || p->kind == GRAFT_PARAM_STATISTIC || !phase->trains[i]) continue;
        if (graft_shape_count(&p->shape, &count)) total += count;
    }
    return total;
}

bool graft_phase_is_head_only(const graft_phase *phase, const graft_model *m) {
    for (size_t i = 0; i + 1 < graft_model_n_stages(m); i++)
        if (graft_phase_trained_in(phase, m, i) > 0) return false;
    return true;
}

int graft_strategy_takes_nothing(const char *name, const char *argument, graft_err *err) {
    if (!argument) return 0;
    return graft_err_set(err, GRAFT_EUSAGE, "--train %s takes nothing after a colon, not '%s'", name,
                         argument);
}

int graft_strategy_stage(size_t *out, const char *usage, const char *argument, const graft_model *m,
                         graft_err *err) {
    int stage = argument ? graft_model_find_stage(m, argument) : -1;
    *out = (size_t)stage;
    if (stage >= 0) return 0;
    graft_buf names;
    graft_buf_init(&names, 0);
    for (size_t i = 0; i < graft_model_n_stages(m); i++)
        graft_buf_printf(&names, "%s%s", i ? ", " : "", graft_model_stage_name(m, i));
    int rc = graft_err_set(err, GRAFT_EUSAGE, "--train %s: no stage '%s'; this model has %s", usage,
                           argument ? argument : "", names.failed ? "" : names.data);
    graft_buf_done(&names);
    return rc;
}
