/* Classes of unlike size: the focal loss, and logit adjustment by the prior of the training part. */
#include "transfer/fit.h"

#include <math.h>
#include <string.h>

int graft_job_loss(graft_job *j, const char *usual, graft_err *err) {
    const graft_fit_options *o = &j->options;
    const char *name = o->loss ? o->loss : usual;
    graft_recipe *r = &j->recipe;
    bool crf = strcmp(graft_model_head_name(j->model), "crf") == 0;
    bool focal = strcmp(name, "focal") == 0;
    if (!(r->loss = graft_loss_find(name)))
        return graft_err_set(err, GRAFT_EUSAGE, "unknown loss '%s', one of: cross_entropy, bce, mse, focal",
                             name);
    if (crf ? o->loss != NULL : focal ? r->task == GRAFT_TASK_REGRESSION : strcmp(name, usual) != 0)
        return graft_err_set(err, GRAFT_EUSAGE, "--loss %s does not go with %s%s; leave it out", name,
                             graft_task_name(r->task), crf ? " by a conditional random field" : "");
    r->focal_gamma = !focal ? 0.0 : o->focal_gamma > 0 ? o->focal_gamma : 2.0;
    if (o->focal_gamma > 0 && !focal)
        return graft_err_set(err, GRAFT_EUSAGE, "--focal-gamma is for --loss focal");
    return 0;
}

int graft_job_adjust(graft_job *j, graft_err *err) {
    const graft_fit_options *o = &j->options;
    if (!(o->logit_adjust > 0)) return 0;
    if (j->recipe.task != GRAFT_TASK_CLASSES)
        return graft_err_set(err, GRAFT_EUSAGE, "--logit-adjust is for one class of several, not for %s",
                             graft_task_name(j->recipe.task));
    if (j->class_weights || j->order == GRAFT_BALANCED)
        return graft_err_set(err, GRAFT_EUSAGE,
                             "--logit-adjust and %s both make up for rare classes: give one of them",
                             j->class_weights ? "--class-weights auto" : "--sampler balanced");
    size_t n = (size_t)graft_data_n_classes(j->data);
    j->adjust = graft_arena_array(j->arena, n + 1, sizeof *j->adjust);
    return j->adjust ? 0 : graft_err_nomem(err);
}

/* Weights are n / (present classes times a class's samples), 0 of a class without samples: so a prior is
 * 1 / (present times weight). A class that was never seen counts as half a sample. */
void graft_job_prior(graft_job *j) {
    int32_t n = graft_data_n_classes(j->data), present = 0;
    int64_t n_train = 0;
    if (!j->adjust) return;
    graft_data_members(j->data, GRAFT_TRAIN, &n_train);
    graft_data_class_weights(j->data, GRAFT_TRAIN, j->adjust);
    for (int32_t c = 0; c < n; c++) present += j->adjust[c] > 0;
    for (int32_t c = 0; c < n; c++) {
        double w = (double)j->adjust[c];
        double prior = w > 0 ? 1.0 / ((double)present * w) : 0.5 / (double)(n_train > 0 ? n_train : 1);
        j->adjust[c] = (float)(j->options.logit_adjust * log(prior));
    }
    j->recipe.logit_adjust = j->adjust;
}

json_t *graft_imbalance_settings(json_t *settings, const graft_job *j) {
    const graft_recipe *r = &j->recipe;
    int bad = settings ? 0 : -1;
    if (!bad && j->options.loss) bad = json_object_set_new(settings, "loss", json_string(r->loss->name));
    if (!bad && r->focal_gamma > 0)
        bad = json_object_set_new(settings, "focal_gamma", json_real(r->focal_gamma));
    if (!bad && j->adjust)
        bad = json_object_set_new(settings, "logit_adjust", json_real(j->options.logit_adjust));
    if (!bad) return settings;
    json_decref(settings);
    return NULL;
}
