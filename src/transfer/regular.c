/* What keeps small data from being learnt by heart: from options to the recipe, and to the record. */
#include "transfer/fit.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

/* What an option asks of the run. */
typedef enum need { NOTHING, BACKBONE, PRETRAINED } need;

#define FIELD(field, option, needs)                                                                          \
    { #field, option, offsetof(graft_regular, field), needs }
/* The record's name and the option's, and where the field lies, which is 0 where nothing was asked. */
static const struct {
    const char *name, *option;
    size_t at;
    need needs;
} fields[] = {
    FIELD(layer_decay, "layer-decay", BACKBONE),
    FIELD(ema, "ema", NOTHING),
    FIELD(swa, "swa", NOTHING),
    FIELD(l2_sp, "l2-sp", PRETRAINED),
    FIELD(dropout, "dropout", NOTHING),
    FIELD(drop_path, "drop-path", BACKBONE),
    FIELD(r_drop, "r-drop", NOTHING),
    FIELD(bss, "bss", BACKBONE),
    FIELD(delta, "delta", PRETRAINED),
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
        if (value < 0 || value > 0)
            bad = json_object_set_new(settings, fields[i].name, json_real(fmax(value, 0)));
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

/* What a parameter is drawn to: the classifier learns anew even where the file has values for it. */
static const graft_tensor *start_of(void *user, const char *name) {
    const graft_job *j = user;
    const graft_param *p = graft_model_find_param(j->model, name);
    return p && (!p->head || p->joins) ? graft_model_pretrained(j->model, name) : NULL;
}

/* Whether some phase trains a layer below the head. */
static bool trains_backbone(const graft_job *j) {
    for (size_t i = 0; i < j->n_phases; i++)
        if (!graft_phase_is_head_only(&j->phases[i], j->model)) return true;
    return false;
}

/* Of these options, in this order, the first that is given; NULL: none is. */
static const char *first_given(const graft_regular *o, bool (*wanted)(size_t field)) {
    for (size_t i = 0; i < GRAFT_COUNT(fields); i++)
        if (wanted(i) && value_of(o, i) > 0) return fields[i].option;
    return NULL;
}

static bool any(size_t i) {
    (void)i;
    return true;
}

const char *graft_regular_given(const graft_regular *o) {
    return first_given(o, any);
}

static bool needs_start(size_t i) {
    return fields[i].needs == PRETRAINED;
}

static bool needs_backbone(size_t i) {
    return fields[i].needs != NOTHING;
}

/* With adapters the pretrained layers rest, and adapters begin with no change at a rate of their own. */
static int check_adapters(const graft_job *j, graft_err *err) {
    const graft_regular *o = &j->options.regular;
    if (graft_model_n_adapted(j->model) == 0) return 0;
    if (o->delta > 0)
        return graft_err_set(err, GRAFT_EUSAGE,
                             "--delta is for layers that train themselves, which those with adapters do not: "
                             "leave it out, or give another --train");
    return 0;
}

int graft_job_regular(graft_job *j, graft_err *err) {
    const graft_regular *o = &j->options.regular;
    graft_recipe *r = &j->recipe;
    const char *name = first_given(o, needs_start);
    r->ema = o->ema;
    r->swa = o->swa;
    r->l2_sp = o->l2_sp;
    r->r_drop = o->r_drop;
    r->bss = o->bss;
    r->delta = o->delta;
    r->start = start_of;
    graft_model_set_drops(j->model, o->dropout < 0 ? 0 : o->dropout > 0 ? o->dropout : -1, o->drop_path);
    if (name && j->evidence.is_scratch)
        return graft_err_set(
            err, GRAFT_EUSAGE,
            "--%s holds to a pretrained model, and this one starts from scratch: leave it out", name);
    if (o->ema > 0 && o->swa > 0)
        return graft_err_set(err, GRAFT_EUSAGE,
                             "--ema and --swa each keep an average of the weights: give one of them");
    int rc = check_adapters(j, err);
    if (rc < 0) return rc;
    name = first_given(o, needs_backbone);
    if (name && !trains_backbone(j) && (o->delta > 0 || o->bss > 0))
        return graft_err_set(err, GRAFT_EUSAGE,
                             "--%s shapes features, and the plan '%s' trains none: give another --train",
                             o->delta > 0 ? "delta" : "bss", j->plan);
    return 0;
}

void graft_job_regular_tell(const graft_job *j) {
    const graft_regular *o = &j->options.regular;
    const char *name = first_given(o, needs_backbone);
    if (graft_model_n_adapted(j->model) && (o->l2_sp > 0 || o->layer_decay > 0))
        graft_env_log(j->env, GRAFT_LOG_WARNING,
                      "--%s passes adapters by: the layers that it is for do not train",
                      o->l2_sp > 0 ? "l2-sp" : "layer-decay");
    if (name && !trains_backbone(j))
        graft_env_log(j->env, GRAFT_LOG_WARNING, "--%s changes nothing: the plan '%s' trains the head alone",
                      name, j->plan);
}
