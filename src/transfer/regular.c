/* What keeps small data from being learnt by heart: from options to the recipe, and to the record. */
#include "transfer/fit.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

/* The options by name: what the record has, in its order. */
static const struct {
    const char *name;
    size_t at;
    double none; /* what the field holds where nothing was asked */
} fields[] = {
    {"layer_decay", offsetof(graft_regular, layer_decay), 0},
    {"ema", offsetof(graft_regular, ema), 0},
    {"swa", offsetof(graft_regular, swa), 0},
    {"l2_sp", offsetof(graft_regular, l2_sp), 0},
};

static double value_of(const graft_regular *r, size_t i) {
    double value;
    memcpy(&value, (const char *)r + fields[i].at, sizeof value);
    return value;
}

json_t *graft_regular_settings(json_t *settings, const graft_job *j) {
    int bad = settings ? 0 : -1;
    for (size_t i = 0; i < GRAFT_COUNT(fields) && !bad; i++) {
        double value = value_of(&j->options.regular, i);
        if (value < fields[i].none || value > fields[i].none)
            bad = json_object_set_new(settings, fields[i].name, json_real(value));
    }
    if (!bad) return settings;
    json_decref(settings);
    return NULL;
}

/* Layer-wise decay: the stage that lies d below the head trains at decay^d of its rate (Clark et al. 2020,
 * "ELECTRA"; with decay 1 / 2.6 the discriminative rates of Howard and Ruder 2018). */
double graft_layer_factor(double decay, size_t n_stages, int stage) {
    return decay > 0 ? pow(decay, (double)n_stages - 1.0 - (double)stage) : 1.0;
}

/* What a parameter is drawn to: layers of the head learn anew even where the file has values for them. */
static const graft_tensor *start_of(void *user, const char *name) {
    const graft_job *j = user;
    const graft_param *p = graft_model_find_param(j->model, name);
    return p && !p->head && p->kind != GRAFT_PARAM_STATISTIC ? graft_model_pretrained(j->model, name) : NULL;
}

/* Whether some phase trains a layer below the head. */
static bool trains_backbone(const graft_job *j) {
    for (size_t i = 0; i < j->n_phases; i++)
        for (size_t s = 0; s + 1 < graft_model_n_stages(j->model); s++)
            if (j->phases[i].trains[s]) return true;
    return false;
}

int graft_job_regular(graft_job *j, graft_err *err) {
    const graft_regular *o = &j->options.regular;
    graft_recipe *r = &j->recipe;
    r->ema = o->ema;
    r->swa = o->swa;
    r->l2_sp = o->l2_sp;
    r->start = start_of;
    if (o->l2_sp > 0 && j->evidence.is_scratch)
        return graft_err_set(
            err, GRAFT_EUSAGE,
            "--l2-sp pulls to pretrained values, and this model starts from scratch: leave it "
            "out, or use --weight-decay");
    if (o->ema > 0 && o->swa > 0)
        return graft_err_set(err, GRAFT_EUSAGE,
                             "--ema and --swa each keep an average of the weights: give one of them");
    if ((o->l2_sp > 0 || o->layer_decay > 0) && !trains_backbone(j))
        graft_env_log(j->env, GRAFT_LOG_WARNING, "%s changes nothing: the plan '%s' trains the head alone",
                      o->l2_sp > 0 ? "--l2-sp" : "--layer-decay", j->plan);
    return 0;
}
