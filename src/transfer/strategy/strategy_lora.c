/* Low-rank adapters and the head; the base stays as it is (Hu et al. 2022). Settings are separated by commas,
 * targets by plus signs: lora:r=8,alpha=16,targets=query+value. */
#include "transfer/strategies.h"

#include <stdlib.h>
#include <string.h>

#define USAGE "lora:r=R,targets=LAYERS"

static int wrong(const char *setting, graft_err *err) {
    return graft_err_set(
        err, GRAFT_EUSAGE,
        "--train lora: '%.80s' is no setting; there are r=8, alpha=16, dropout=0.1, rslora, and "
        "targets=query+value (query, key, value, out, attention, all-linear, all-conv, names, "
        "globs)",
        setting);
}

/* The number after `key=`; false when the setting is another. */
static bool number_of(const char *setting, const char *key, double *out, bool *bad) {
    size_t n = strlen(key);
    char *end = NULL;
    if (strncmp(setting, key, n) != 0 || setting[n] != '=') return false;
    *out = strtod(setting + n + 1, &end);
    *bad = end == setting + n + 1 || *end;
    return true;
}

static bool is_setting(const char *text) {
    static const char *const names[] = {"r", "alpha", "dropout", "targets", "rslora"};
    size_t size = strcspn(text, "=@");
    for (size_t i = 0; i < GRAFT_COUNT(names); i++)
        if (strlen(names[i]) == size && strncmp(names[i], text, size) == 0) return true;
    return strchr(text, '=') && !strchr(text, ':'); /* one that it does not know is its to refuse */
}

/* Settings that differ from what an opened adapter has are an error: it goes on as it is, or is merged. */
static int read_settings(graft_lora *out, bool *given, graft_arena *arena, const char *argument,
                         graft_err *err) {
    char *text = argument ? graft_arena_strdup(arena, argument) : NULL, *next = text;
    bool has_alpha = false;
    double x = 0;
    *out = (graft_lora){.r = 8};
    *given = argument != NULL;
    if (argument && !text) return graft_err_nomem(err);
    while (next) {
        char *setting = next;
        bool bad = false;
        next = strchr(setting, ',');
        if (next) *next++ = '\0';
        if (number_of(setting, "r", &x, &bad)) {
            bad = bad || !(x >= 1 && x <= 65536) || x != (double)(int64_t)x;
            out->r = bad ? 0 : (int64_t)x;
        } else if (number_of(setting, "alpha", &x, &bad)) {
            out->alpha = x;
            has_alpha = true;
        } else if (number_of(setting, "dropout", &x, &bad)) {
            out->dropout = x;
        } else if (!strcmp(setting, "rslora")) {
            out->rslora = true;
        } else if (!strncmp(setting, "targets=", 8)) {
            out->targets = setting + 8;
        } else {
            bad = true;
        }
        if (bad) return wrong(setting, err);
    }
    if (!has_alpha) out->alpha = 2.0 * (double)out->r;
    return 0;
}

static bool same(const graft_lora *a, const graft_lora *b) {
    return a->r == b->r && a->alpha == b->alpha && a->dropout == b->dropout && a->rslora == b->rslora;
}

static int prepare(graft_model *m, const char *argument, uint64_t seed, graft_err *err) {
    graft_arena *scratch = graft_arena_new(NULL);
    const graft_lora *old = graft_model_lora(m);
    graft_lora wanted;
    bool given = false;
    int rc = scratch ? read_settings(&wanted, &given, scratch, argument, err) : graft_err_nomem(err);
    if (rc == 0 && !old) rc = graft_model_adapt(m, &wanted, seed, err);
    if (rc == 0 && old && given && (wanted.targets || !same(&wanted, old)))
        rc = graft_err_set(err, GRAFT_EUSAGE,
                           "%s has adapters of r=%lld and alpha=%g already: --train lora trains them on; "
                           "for others merge it first (graft merge)",
                           graft_model_path(m), (long long)old->r, old->alpha);
    graft_arena_free(scratch);
    return rc;
}

static int phases(graft_phases *p, const char *argument, graft_err *err) {
    (void)argument;
    graft_phase *phase = graft_model_n_adapted(p->model) ? graft_phases_add(p, err) : NULL;
    if (!graft_model_n_adapted(p->model))
        return graft_err_set(err, GRAFT_EINTERNAL, "the plan lora was not prepared");
    if (!phase) return GRAFT_ENOMEM;
    for (size_t i = 0; i < graft_model_n_params(p->model); i++) {
        const graft_param *param = graft_model_param(p->model, i);
        phase->trains[i] = param->adapter || param->head;
    }
    return 0;
}

const graft_strategy graft_strategy_lora = {.name = "lora",
                                            .usage = USAGE,
                                            .help = "low-rank adapters beside frozen layers, and the head",
                                            .prepare = prepare,
                                            .is_setting = is_setting,
                                            .phases = phases};
