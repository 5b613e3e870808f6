/* graft_compare: plans x sizes x seeds, each run once, in one process over one bottleneck cache. */
#include "transfer/compare/compare.h"

/* A file of word vectors becomes a model once, OUT/model, which every run then shares. */
static int use_vectors(graft_comparison *c, graft_err *err) {
    graft_fit_options *o = &c->options.fit;
    char *text = NULL;
    if (graft_path_is_dir(c->model) || (!o->encoder && !graft_vectors_recognise(c->model))) return 0;
    if (graft_is_averaged(o->encoder))
        return graft_err_set(
            err, GRAFT_EUSAGE,
            "--encoder fasttext has no plans to compare: word vectors are compared with mean, "
            "cnn or lstm");
    if (!c->out)
        return graft_err_set(err, GRAFT_EUSAGE,
                             "word vectors need a folder to work in: give one with -o OUT");
    char *folder = graft_path_join(c->arena, c->out, "model");
    int rc = folder ? graft_comparison_take_out(c, err) : graft_err_nomem(err);
    if (rc == 0)
        rc = graft_words_model(&text, c->env, c->model, folder, o->encoder, c->data, &o->data, 0, err);
    graft_text_free(text);
    c->model = folder;
    o->encoder = NULL;
    return rc;
}

static int write_result(const graft_comparison *c, char **result, graft_err *err) {
    json_t *o = NULL;
    char *path = c->out ? graft_path_join(c->arena, c->out, "compare.json") : NULL;
    int rc = path || !c->out ? graft_comparison_json(&o, c, err) : graft_err_nomem(err);
    if (rc == 0 && path) rc = graft_json_write(path, o, err);
    if (rc == 0 && result) rc = graft_print_json(result, json_incref(o), err);
    json_decref(o);
    return rc;
}

int graft_compare(char **result, graft_env *env, const char *model, const char *data, const char *out,
                  const graft_compare_options *options, graft_err *err) {
    static const graft_compare_options none = GRAFT_COMPARE_OPTIONS_INIT;
    graft_comparison c = {.env = env,
                          .model = model,
                          .data = data,
                          .out = out,
                          .options = options ? *options : none,
                          .arena = graft_arena_new(NULL),
                          .lock = -1,
                          .begun = graft_now()};
    if (c.options.fit.data.test == 0) c.options.fit.data.test = 0.2;
    c.options.fit.data.per_class = 0;
    if (result) *result = NULL;
    if (!c.arena) return graft_err_nomem(err);
    c.facts.lock = -1;
    pthread_mutex_init(&c.guard, NULL);
    int rc = graft_voices_new(&c.voices, env, &c.guard, err);
    if (rc == 0) rc = graft_voice_new(&c.opening, c.voices, graft_env_threads(env), err);
    if (rc == 0) rc = use_vectors(&c, err);
    if (rc == 0) rc = graft_comparison_plan(&c, err);
    if (rc == 0) rc = graft_comparison_open_log(&c, err);
    if (rc == 0) rc = graft_comparison_run_all(&c, err);
    if (rc == 0) rc = write_result(&c, result, err);
    graft_runlog_close(c.log);
    graft_dir_unlock(c.lock);
    graft_job_close(&c.facts);
    graft_voices_free(c.voices);
    pthread_mutex_destroy(&c.guard);
    graft_arena_free(c.arena);
    return rc;
}
