/* graft advise: every model and plan over the same data, ranked. */
#include "transfer/advise/advise.h"
#include "transfer/advise/candidates.h"
#include "transfer/fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int open_model(graft_job *j, graft_err *err) {
    static const char *const names[] = {"0", "1"};
    graft_model_options o = GRAFT_MODEL_OPTIONS_INIT;
    o.family = j->options.family;
    o.seed = j->options.seed;
    o.else_pooling = "mean";
    int rc = graft_job_vectors(j, err); /* says what to do with a file of word vectors */
    if (rc == 0) rc = graft_model_open(&j->model, j->env, j->model_path, &o, err);
    if (rc < 0 || graft_model_task(j->model) != GRAFT_TASK_TAGGING) return rc;
    /* of a model that answers for each token the features are those of the whole text all the same */
    rc = graft_model_set_task(j->model, GRAFT_TASK_CLASSES, err);
    return rc < 0 ? rc : graft_model_head(j->model, "linear", names, 2, 0, NULL, err);
}

static int open_data(graft_job *j, graft_err *err) {
    int rc = graft_data_open_choice(&j->data, j->env, j->data_path, &j->options.data,
                                    graft_model_modality(j->model), GRAFT_LABELS_NEEDED, NULL, 0,
                                    j->options.seed, err);
    if (rc < 0 || graft_data_task(j->data) == GRAFT_TASK_CLASSES) return rc;
    return graft_err_set(err, GRAFT_EUNSUPPORTED,
                         "advise judges tasks of one class a sample; of %s try plans with graft fit --train",
                         graft_task_name(graft_data_task(j->data)));
}

/* Plans worth weighing: those whose boundaries were judged, then all layers. */
static int add_plans(graft_judged *m, graft_arena *arena, graft_err *err) {
    size_t n = m->evidence.n_boundaries;
    m->plans = graft_arena_array(arena, n + 1, sizeof *m->plans);
    m->costs = graft_arena_array(arena, n + 1, sizeof *m->costs);
    if (!m->plans || !m->costs) return graft_err_nomem(err);
    /* a part of random weights that stays as it is helps nobody */
    for (size_t i = 0; i < n && (i == 0 || !m->evidence.is_scratch); i++)
        m->plans[m->n_plans++] = m->evidence.boundaries[i].plan;
    m->plans[m->n_plans++] = "full";
    return 0;
}

/* Multiply-adds a second that the forward pass reached; the machine's own figure when it was short. */
static double rate_of(const graft_judged *m, double machine) {
    const graft_model_evidence *e = &m->evidence;
    double done = (double)(e->all - e->cached) * m->forward;
    return done > 1e9 && e->seconds > 0.2 ? done / e->seconds : machine;
}

/* Says nothing in the log: nothing of it is done. */
static int reckon(graft_judged *m, graft_job *j, graft_env *quiet, double machine, graft_err *err) {
    graft_env *env = j->env;
    graft_plan_cost probe;
    j->env = quiet;
    int rc = graft_job_head(j, err);
    /* taking over the model's order of classes has opened the data anew; only their numbers are asked for */
    if (rc == 0) rc = graft_data_settle(j->data, err);
    j->looked = true;
    if (rc == 0) rc = graft_plan_cost_of(&probe, j, "head", machine, err);
    if (rc == 0) m->forward = probe.forward;
    double rate = rate_of(m, machine);
    j->evidence.is_foreign = graft_data_are_foreign(&m->evidence);
    for (size_t i = 0; i < m->n_plans && rc == 0; i++)
        rc = graft_plan_cost_of(&m->costs[i], j, m->plans[i], rate, err);
    j->env = env;
    return rc;
}

static int judge(graft_judged *m, const graft_candidates *c, graft_job *j, const graft_advise_options *o,
                 double machine, graft_err *err) {
    graft_evidence_options eo = {.boundaries = o->boundaries,
                                 .dtype = graft_backend_precision(o->precision),
                                 .most = o->most,
                                 .use_cache = !o->no_cache,
                                 .source = true,
                                 .model_path = j->model_path};
    int rc = open_model(j, err);
    if (rc == 0) rc = open_data(j, err);
    if (rc < 0) return rc;
    m->path = j->model_path;
    m->description = graft_arena_strdup(c->arena, graft_model_description(j->model));
    if (!m->description) return graft_err_nomem(err);
    rc = graft_evidence_gather(&m->evidence, c->arena, j->env, j->model, j->data, &eo, err);
    if (rc == 0) rc = add_plans(m, c->arena, err);
    if (rc < 0) return rc;
    m->cell = graft_cell_of(&m->evidence);
    m->chosen = graft_choose_plan(&m->evidence, m->plans, m->n_plans);
    return reckon(m, j, c->quiet, machine, err);
}

static int judge_all(graft_candidates *c, const graft_fit_options *options, const graft_advise_options *o,
                     const char *const *models, size_t n, graft_err *err) {
    double machine = graft_machine_rate(c->env);
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        graft_job j = {.env = c->env,
                       .model_path = models[i],
                       .data_path = c->data_path,
                       .options = *options,
                       .arena = c->arena,
                       .lock = -1};
        rc = judge(&c->models[i], c, &j, o, machine, err);
        graft_job_close(&j);
        c->n_models += rc == 0;
    }
    return rc;
}

int graft_advise(char **result, graft_env *env, const char *const *models, size_t n, const char *data,
                 const graft_advise_options *options, graft_err *err) {
    static const graft_advise_options none = GRAFT_ADVISE_OPTIONS_INIT;
    graft_fit_options fit = GRAFT_FIT_OPTIONS_INIT;
    const graft_advise_options *o = options ? options : &none;
    graft_candidates c = {
        .env = env, .arena = graft_arena_new(NULL), .data_path = data, .options = &fit, .begun = graft_now()};
    *result = NULL;
    fit.data = o->data;
    fit.family = o->family;
    fit.seed = o->seed;
    fit.precision = graft_backend_precision(o->precision); /* it is told once, not by every probe */
    if (o->no_cache) fit.cache_variants = -1;
    if (!c.arena) return graft_err_nomem(err);
    c.models = graft_arena_array(c.arena, n + 1, sizeof *c.models);
    graft_env_options eo = GRAFT_ENV_OPTIONS_INIT;
    eo.threads = graft_env_threads(env);
    graft_precision_tell(env, o->precision);
    int rc = graft_env_new(&c.quiet, &eo, err);
    if (rc == 0) rc = c.models ? judge_all(&c, &fit, o, models, n, err) : graft_err_nomem(err);
    if (rc == 0) rc = graft_candidates_rank(&c, err);
    if (rc == 0 && o->probe_seconds > 0) rc = graft_candidates_probe(&c, o->probe_seconds, err);
    if (rc == 0) rc = graft_print_json(result, graft_candidates_json(&c), err);
    graft_env_free(c.quiet);
    graft_arena_free(c.arena);
    return rc;
}
