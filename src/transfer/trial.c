/* One training run that leaves no folder. */
#include "transfer/trial.h"
#include "transfer/fit.h"

/* The model goes, its names stay. */
static int keep_labels(graft_trial *t, const graft_job *j, graft_err *err) {
    const char *const *labels = graft_model_labels(j->model, &t->n_labels);
    const char **own = graft_arena_array(j->arena, t->n_labels + 1, sizeof *own);
    if (!own) return graft_err_nomem(err);
    for (size_t i = 0; i < t->n_labels; i++)
        if (!(own[i] = graft_arena_strdup(j->arena, labels[i]))) return graft_err_nomem(err);
    t->labels = own;
    return 0;
}

static int take(graft_trial *t, const graft_job *j, graft_err *err) {
    *t = (graft_trial){.plan = j->plan,
                       .task = j->recipe.task,
                       .training = j->training,
                       .validation = j->validation.answers,
                       .test = j->test.answers,
                       .unlabelled = j->unlabelled,
                       .has_train_score = j->train.n > 0,
                       .train_score = j->train.score,
                       .validation_score = j->validation.score,
                       .test_score = j->test.score,
                       .validation_metrics = json_incref(j->validation.all),
                       .test_metrics = json_incref(j->test.all),
                       .settings = graft_job_settings(j),
                       .peak_memory = j->peak_memory,
                       .seconds = graft_now() - j->begun};
    graft_data_members(j->data, GRAFT_TRAIN, &t->n_train);
    int rc = t->settings ? keep_labels(t, j, err) : graft_err_nomem(err);
    if (rc == 0 && j->diverged.code && !(t->diverged = graft_arena_strdup(j->arena, j->diverged.message)))
        rc = graft_err_nomem(err);
    graft_answers *told[] = {&t->validation, &t->test, &t->unlabelled};
    for (size_t i = 0; i < GRAFT_COUNT(told) && rc == 0; i++) {
        const graft_answers raw = *told[i];
        if (raw.n) rc = graft_decision_apply(told[i], j->arena, &j->decision, &raw, err);
    }
    if (rc < 0) graft_trial_done(t);
    return rc;
}

int graft_trial_run_more(graft_trial *out, graft_arena *arena, graft_env *env, const char *model,
                         const char *data, const graft_fit_options *options, graft_extras extras,
                         graft_err *err) {
    graft_job j = {.env = env,
                   .model_path = model,
                   .data_path = data,
                   .options = *options,
                   .arena = arena,
                   .extras = extras,
                   .lock = -1,
                   .begun = graft_now()};
    j.options.dry_run = false;
    *out = (graft_trial){0};
    int rc = graft_job_run(&j, err);
    if (rc == 0) rc = take(out, &j, err);
    graft_job_close(&j);
    return rc;
}

int graft_trial_run(graft_trial *out, graft_arena *arena, graft_env *env, const char *model, const char *data,
                    const graft_fit_options *options, graft_err *err) {
    return graft_trial_run_more(out, arena, env, model, data, options, (graft_extras){0}, err);
}

void graft_trial_done(graft_trial *t) {
    json_decref(t->validation_metrics);
    json_decref(t->test_metrics);
    json_decref(t->settings);
    t->validation_metrics = t->test_metrics = t->settings = NULL;
}

void graft_trial_hash(graft_hasher *h, const graft_fit_options *f) {
    const graft_data_choice *d = &f->data;
    const graft_regular *r = &f->regular;
    const char *texts[] = {f->family,        f->train,        f->head,         f->encoder,
                           f->pooling,       f->optimizer,    f->schedule,     f->augment,
                           f->class_weights, f->sampler,      f->norm,         f->loss,
                           f->calibrate,     f->thresholds,   d->task,         d->input_column,
                           d->pair_column,   d->label_column, d->group_column, d->group_pattern};
    const double reals[] = {f->lr,           f->lr_scale,     f->head_lr,    f->backbone_lr_scale,
                            f->weight_decay, f->warmup,       f->clip_norm,  f->label_smoothing,
                            f->focal_gamma,  f->logit_adjust, d->validation, d->test,
                            r->layer_decay,  r->ema,          r->swa,        r->l2_sp,
                            r->dropout,      r->drop_path,    r->r_drop,     r->bss,
                            r->delta};
    const int64_t wholes[] = {f->epochs,       f->batch,      f->max_length,   f->stride,
                              f->early_stop,   f->eval_every, f->precision,    f->cache_variants,
                              f->from_scratch, d->per_class,  (int64_t)f->seed};
    for (size_t i = 0; i < GRAFT_COUNT(texts); i++) graft_hasher_text(h, texts[i] ? texts[i] : "");
    graft_hasher_add(h, reals, sizeof reals);
    graft_hasher_add(h, wholes, sizeof wholes);
}
