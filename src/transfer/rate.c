/* --lr find: a rate range test before the first phase; its outcome is kept beside the resume points, so that
 * a run that is taken up goes on with the same rate. */
#include "transfer/fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { UPDATES = 100 };

int graft_job_check_rate(const graft_job *j, graft_err *err) {
    if (!(j->options.lr < 0) || !(j->options.head_lr > 0)) return 0;
    return graft_err_set(err, GRAFT_EUSAGE, "--lr find looks for the head's rate too: leave --head-lr out");
}

static const char *path_of(const graft_job *j) {
    const char *folder = graft_job_checkpoint(j, 0);
    return folder ? graft_path_join(j->arena, folder, "rate.json") : NULL;
}

/* What a search belongs to: model and settings, but for the data's contents and the micro-batches, which are
 * known later only. */
static int key_of(const graft_job *j, char *out, graft_err *err) {
    json_t *settings = graft_job_settings(j);
    static const char *const later[] = {"data_fingerprint", "micro_batch", "segments"};
    for (size_t i = 0; i < GRAFT_COUNT(later); i++) json_object_del(settings, later[i]);
    char *text = settings ? json_dumps(settings, JSON_SORT_KEYS | JSON_COMPACT) : NULL;
    json_decref(settings);
    if (!text) return graft_err_nomem(err);
    const graft_precision dtype = j->recipe.dtype;
    graft_hash parts[3] = {graft_hash_bytes(text, strlen(text)), j->source,
                           graft_hash_bytes(&dtype, sizeof dtype)};
    free(text);
    graft_hash_hex(graft_hash_bytes(parts, sizeof parts), out);
    return 0;
}

/* Every phase's rate by as much as the first one's. */
static void use(graft_job *j, double rate) {
    double factor = rate / j->choices[0].lr;
    for (size_t i = 0; i < j->n_phases; i++) j->choices[i].lr *= factor;
    j->options.lr = rate;
}

int graft_job_rate_load(graft_job *j, graft_err *err) {
    char key[33];
    graft_err reason;
    json_t *o = NULL;
    if (!(j->options.lr < 0)) return 0;
    const char *path = j->out ? path_of(j) : NULL;
    if (j->out && !path) return graft_err_nomem(err);
    if (!path || !graft_path_is_file(path)) return 0;
    int rc = key_of(j, key, err);
    if (rc < 0 || graft_json_read(&o, j->arena, path, &reason) < 0) return rc;
    const char *whose = json_string_value(json_object_get(o, "key"));
    double rate = json_number_value(json_object_get(json_object_get(o, "search"), "suggested"));
    if (!whose || strcmp(whose, key) != 0 || !(rate >= 1e-12 && rate <= 1e6)) return 0;
    j->rate_search = json_incref(json_object_get(o, "search"));
    use(j, rate);
    return 0;
}

static int keep(const graft_job *j, const char *key, graft_err *err) {
    const char *folder = graft_job_checkpoint(j, 0), *path = path_of(j);
    if (!j->out) return 0;
    if (!folder || !path) return graft_err_nomem(err);
    json_t *o = json_pack("{s:s,s:O}", "key", key, "search", j->rate_search);
    int rc = o ? graft_dir_make(folder, err) : graft_err_nomem(err);
    if (rc == 0) rc = graft_json_write(path, o, err);
    json_decref(o);
    return rc;
}

int graft_job_rate_find(graft_job *j, const graft_graph *suffix, graft_batches *train, graft_err *err) {
    graft_rate_search search;
    char key[33];
    int rc = key_of(j, key, err);
    if (rc == 0) rc = graft_rate_find(&search, j->arena, j->env, suffix, train, &j->recipe, UPDATES, err);
    if (rc < 0) return rc;
    if (!(j->rate_search = graft_rate_json(&search))) return graft_err_nomem(err);
    graft_rate_plot(&search, j->env);
    graft_env_log(j->env, GRAFT_LOG_INFO,
                  "the loss falls most steeply at %.2g and is lowest at %.2g: training with --lr %.2g",
                  search.steepest, search.minimum, search.suggested);
    if ((rc = keep(j, key, err)) < 0) return rc;
    use(j, search.suggested);
    rc = graft_runlog_write(j->log, "lr_find", json_copy(j->rate_search), err);
    j->relay.events = graft_runlog_count(j->log);
    return rc;
}
