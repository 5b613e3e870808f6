/* The driver: open → head → defaults → phases → save → verify. */
#include "transfer/fit.h"

#include <string.h>

/* With --from-scratch the architecture is opened without its weights: its config.json alone, or as the
 * weights of a bare checkpoint show it. */
static int open_model(graft_job *j, graft_err *err) {
    graft_model_options o = GRAFT_MODEL_OPTIONS_INIT;
    const char *path = j->vectors_folder ? j->vectors_folder : j->model_path;
    o.family = j->options.family;
    o.seed = j->options.seed;
    o.pooling = j->options.pooling;
    o.max_length = j->options.max_length;
    o.stride = j->options.stride;
    o.from_scratch = j->options.from_scratch;
    char *config = graft_path_join(j->arena, path, "config.json");
    if (!config) return graft_err_nomem(err);
    if (o.from_scratch && graft_path_is_file(config)) path = config;
    return graft_model_open(&j->model, j->env, path, &o, err);
}

static int open_data(graft_job *j, graft_err *err) {
    int rc = 0;
    if (j->data && j->options.stride > 0) { /* its texts were read whole */
        graft_data_close(j->data);
        j->data = NULL;
    }
    if (!j->data)
        rc = graft_data_open_choice(&j->data, j->env, j->data_path, &j->options.data,
                                    graft_model_modality(j->model), GRAFT_LABELS_NEEDED, NULL, 0,
                                    j->options.seed, err);
    return rc < 0 ? rc : graft_data_cut(j->data, j->model, err);
}

static int open_log(graft_job *j, graft_err *err) {
    int rc = graft_dir_make(j->out, err);
    if (rc == 0) rc = graft_dir_lock(&j->lock, j->out, err);
    char *path = rc == 0 ? graft_path_join(j->arena, j->out, "run.jsonl") : NULL;
    char *checkpoint = rc == 0 ? graft_path_join(j->arena, j->out, "checkpoint") : NULL;
    if (rc == 0 && (!path || !checkpoint)) rc = graft_err_nomem(err);
    if (rc == 0 && j->options.restart) rc = graft_dir_remove(checkpoint, err);
    if (rc == 0) rc = graft_runlog_open(&j->log, path, err);
    /* a folder of a finished run begins a new log; one with a resume point goes on in the old */
    char *relay = rc == 0 ? graft_path_join(j->arena, checkpoint, GRAFT_RELAY_FILE) : NULL;
    if (rc == 0 && !graft_checkpoint_exists(checkpoint) && !(relay && graft_path_is_file(relay)))
        rc = graft_runlog_keep(j->log, 0, err);
    if (rc == 0 && j->options.tensorboard) rc = graft_runlog_tensorboard(j->log, j->options.tensorboard, err);
    return rc;
}

/* With --merge the folder is an ordinary model; else it stands on the base, which has to stay. */
static int prepare_plan(graft_job *j, graft_err *err) {
    int rc = graft_strategy_prepare(j->model, j->options.train, j->options.seed, err);
    if (rc < 0) return rc;
    size_t n = graft_model_n_adapted(j->model);
    if (j->options.merge && n == 0)
        return graft_err_set(err, GRAFT_EUSAGE, "--merge is for adapters: --train lora");
    if (n && !j->options.merge && j->out && graft_path_same(j->out, graft_model_base(j->model)))
        return graft_err_set(err, GRAFT_EUSAGE,
                             "%s is the model that the adapters stand on: write them elsewhere, or --merge",
                             j->out);
    if (n) graft_env_log(j->env, GRAFT_LOG_INFO, "adapters beside %zu layers", n);
    return 0;
}

int graft_job_run(graft_job *j, graft_err *err) {
    int rc = graft_job_vectors(j, err);
    if (rc == 0) rc = open_model(j, err);
    if (rc == 0) rc = open_data(j, err);
    if (rc == 0) rc = graft_job_head(j, err);
    if (rc == 0) rc = prepare_plan(j, err);
    if (rc == 0) rc = graft_job_check_tags(j, err);
    if (rc == 0) rc = graft_job_defaults(j, err);
    if (rc == 0) rc = graft_job_averaged_defaults(j, err);
    if (rc == 0 && !j->options.dry_run)
        rc = j->out ? open_log(j, err) : graft_runlog_open(&j->log, NULL, err);
    if (rc == 0 && !j->options.dry_run) rc = graft_job_hash(j, err);
    if (rc == 0 && !j->options.dry_run) rc = graft_job_rate_load(j, err);
    if (rc == 0 && !j->options.dry_run) rc = graft_relay_open(j, err);
    if (graft_is_averaged(j->options.encoder))
        return rc < 0 || j->options.dry_run ? rc : graft_job_averaged(j, err);
    while (rc == 0 && j->relay.next < j->n_phases) rc = graft_job_phase(j, j->relay.next, err);
    return rc;
}

void graft_job_close(graft_job *j) {
    graft_relay_close(&j->relay);
    graft_runlog_close(j->log);
    json_decref(j->train.all);
    json_decref(j->validation.all);
    json_decref(j->test.all);
    json_decref(j->advice);
    json_decref(j->rate_search);
    graft_dir_unlock(j->lock);
    graft_data_close(j->data);
    graft_model_close(j->model);
    graft_job_vectors_done(j);
}

/* The run ended too soon, and yet there is a folder. */
static int tell_diverged(const graft_job *j, graft_err *err) {
    return graft_err_set(err, j->diverged.code,
                         "%s; %s has epoch %lld, whose %s on the validation part is %.4f",
                         j->diverged.message, j->out, (long long)j->training.best_epoch,
                         graft_score_name(j->recipe.task), j->training.best.score);
}

int graft_fit(char **result, graft_env *env, const char *model, const char *data, const char *out,
              const graft_fit_options *options, graft_err *err) {
    static const graft_fit_options none = GRAFT_FIT_OPTIONS_INIT;
    graft_job j = {.env = env,
                   .model_path = model,
                   .data_path = data,
                   .out = out,
                   .options = options ? *options : none,
                   .arena = graft_arena_new(NULL),
                   .lock = -1,
                   .begun = graft_now()};
    if (!j.arena) return graft_err_nomem(err);
    if (result) *result = NULL;
    int rc = graft_job_run(&j, err);
    if (rc == 0 && !j.options.dry_run) rc = graft_job_finish(&j, result, err);
    if (rc == 0 && j.diverged.code) rc = tell_diverged(&j, err);
    if (rc == 0 && j.options.dry_run && result) rc = graft_job_describe(&j, result, err);
    graft_job_close(&j);
    graft_arena_free(j.arena);
    return rc;
}
