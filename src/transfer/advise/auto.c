/* Evidence first: then the plan, where none was given, and the manner of training. */
#include "transfer/advise/auto.h"
#include "transfer/advise/advise.h"
#include "transfer/advise/linalg.h"

#include <string.h>

enum { FEWEST = 20, MOST_PICTURES = 20000, MOST_CLASSES = 100 };

/* Whether looking is worth its while: above these numbers all layers train whatever the features are. */
static bool is_asked(const graft_job *j, bool chooses) {
    const graft_model *m = j->model;
    bool texts = graft_model_modality(m) == GRAFT_TEXTS;
    if (!chooses && (texts || j->head_only || graft_model_n_adapted(m) || j->options.lr > 0)) return false;
    if (graft_data_task(j->data) != GRAFT_TASK_CLASSES || j->evidence.is_scratch) return false;
    if (graft_model_first_new(m) + 1 < graft_model_n_stages(m)) return false;
    if (texts && (graft_model_text(m)->words || graft_model_n_stages(m) < 4)) return false;
    if (!texts && graft_model_n_stages(m) < 3) return false;
    int64_t n = j->evidence.n_train, k = j->evidence.n_classes > 0 ? j->evidence.n_classes : 1;
    if (!texts && graft_data_n_samples(j->data) > MOST_PICTURES) return false;
    return n >= FEWEST && n >= 2 * k && k <= MOST_CLASSES && n / k < (texts ? 2000 : 200);
}

/* Kept for graft.json, and said. */
static int keep_cell(graft_job *j, const graft_model_evidence *e, graft_err *err) {
    const graft_cell cell = graft_cell_of(e);
    bool useless = graft_transfer_is_useless(e);
    json_decref(j->advice);
    j->advice = graft_evidence_json(e);
    if (!j->advice ||
        json_object_set_new(j->advice, "size", json_string(cell.small ? "small" : "large")) < 0 ||
        json_object_set_new(j->advice, "similarity", json_string(cell.similar ? "similar" : "different")) <
            0 ||
        json_object_set_new(j->advice, "why", json_string(cell.why)) < 0 ||
        json_object_set_new(j->advice, "learns_anew", json_boolean(j->evidence.is_foreign)) < 0 ||
        json_object_set_new(j->advice, "transfer_helps", json_boolean(!useless)) < 0)
        return graft_err_nomem(err);
    graft_env_log(j->env, GRAFT_LOG_INFO, "%s data, %s: %s", cell.small ? "small" : "large",
                  cell.similar ? "similar" : "different", cell.why);
    if (j->evidence.is_foreign)
        graft_env_log(
            j->env, GRAFT_LOG_INFO,
            "these pictures are foreign to the model, whose features say hardly more of them than the "
            "pixels do (%.1f and %.1f %%): what is trained below the head learns as new layers do",
            100 * e->boundaries[0].probe.accuracy, 100 * e->input.accuracy);
    if (useless)
        graft_env_log(
            j->env, GRAFT_LOG_WARNING,
            "transfer does not help here: a linear head on the input itself reaches %.1f %%, as much "
            "as on any features of this model",
            100 * e->input.accuracy);
    return 0;
}

static int keep_plan(graft_job *j, const graft_model_evidence *e, const char *plan, graft_err *err) {
    double head = graft_expected_accuracy(e, "head"), expected = graft_expected_accuracy(e, plan);
    if (json_object_set_new(j->advice, "plan", json_string(plan)) < 0 ||
        json_object_set_new(j->advice, "expected", json_real(expected)) < 0 ||
        json_object_set_new(j->advice, "gain", json_real(expected - head)) < 0)
        return graft_err_nomem(err);
    if (strcmp(plan, "head") == 0)
        graft_env_log(j->env, GRAFT_LOG_INFO,
                      "a linear head is enough: %.1f %% by cross-validation, and nothing more is expected to "
                      "gain what could be told from noise",
                      100 * head);
    else
        graft_env_log(j->env, GRAFT_LOG_INFO, "%s: %.1f %% expected where a linear head reaches %.1f %%",
                      plan, 100 * expected, 100 * head);
    return 0;
}

/* Where an option shapes features, among the plans that train some. */
static const char *choose(const graft_job *j, const graft_model_evidence *e, const char *const *plans,
                          size_t n) {
    const char *best = plans[graft_choose_plan(e, plans, n)];
    if (strcmp(best, "head") != 0 || !j->evidence.shapes_features || n < 2) return best;
    best = plans[1 + graft_choose_plan(e, plans + 1, n - 1)];
    graft_env_log(j->env, GRAFT_LOG_INFO,
                  "a linear head would be enough, but --%s shapes features, which then stay as they are: "
                  "training %s",
                  j->options.regular.delta > 0 ? "delta" : "bss", best);
    return best;
}

int graft_job_look(const char **plan, graft_job *j, graft_err *err) {
    const graft_evidence_options o = {.dtype = GRAFT_PRECISION_FP32,
                                      .use_cache = j->options.cache_variants >= 0,
                                      .model_path = j->model_path};
    const char *plans[GRAFT_MOST_BOUNDARIES + 1];
    graft_model_evidence e;
    graft_err reason = {0};
    bool chooses = !*plan;
    bool asked = is_asked(j, chooses);
    if (!asked) j->evidence.is_foreign = false; /* whoever knows it already plans as it would be trained */
    if (j->looked || !asked) return 0;
    if (graft_linalg_check(&reason) < 0) {
        graft_env_log(j->env, GRAFT_LOG_WARNING, "%s; %s", reason.message,
                      chooses ? "the plan is chosen by the numbers of samples alone"
                              : "rates are those of pictures that are not foreign to the model");
        return 0;
    }
    int rc = graft_evidence_gather(&e, j->arena, j->env, j->model, j->data, &o, &reason);
    bool seen = e.n_train > 0;
    if (rc < 0 && !(rc == GRAFT_EDATA && seen)) return graft_err_set(err, rc, "%s", reason.message);
    j->settled = true;
    if (rc < 0 || e.boundaries[0].probe.n == 0) return 0; /* too few to judge by */
    /* a rate that is given is of the manner that a given plan would have */
    j->evidence.is_foreign = !(j->options.lr > 0) && graft_data_are_foreign(&e);
    rc = keep_cell(j, &e, err);
    if (rc < 0 || !chooses) return rc;
    for (size_t i = 0; i < e.n_boundaries; i++) plans[i] = e.boundaries[i].plan;
    plans[e.n_boundaries] = "full";
    *plan = choose(j, &e, plans, e.n_boundaries + 1);
    return keep_plan(j, &e, *plan, err);
}
