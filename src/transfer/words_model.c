/* Word vectors as a model: a folder is made of them, for fit in a scratch folder beside its results. */
#include "transfer/fit.h"

#include <string.h>
#include <unistd.h>

enum { MEAN_COVER = 50 /* per cent of the words; below it is a warning */ };

static int append(graft_word **texts, size_t *n, size_t *room, graft_arena *arena, const char *text,
                  size_t size) {
    if (*n == *room) {
        size_t more = 2 * *room + 1024;
        graft_word *p = graft_arena_array(arena, more, sizeof *p);
        if (!p) return -1;
        if (*n) memcpy(p, *texts, *n * sizeof *p);
        *texts = p;
        *room = more;
    }
    (*texts)[(*n)++] = (graft_word){.text = text, .size = size};
    return 0;
}

/* The texts of the training part, or of all where the data have no parts; of tagged sentences their words. */
static int gather(graft_word **texts, size_t *n_texts, graft_arena *arena, const graft_data *d,
                  graft_err *err) {
    int64_t n = 0;
    size_t room = 0;
    int bad = 0;
    const int64_t *members = graft_data_members(d, GRAFT_TRAIN, &n);
    if (n == 0) members = graft_data_members(d, GRAFT_ALL, &n);
    for (int64_t i = 0; i < n && !bad; i++) {
        graft_text t;
        graft_words w;
        graft_data_text(d, members[i], &t);
        graft_data_words(d, members[i], &w);
        if (t.size) bad = append(texts, n_texts, &room, arena, t.text, t.size);
        if (t.pair_size && !bad) bad = append(texts, n_texts, &room, arena, t.pair, t.pair_size);
        for (size_t k = 0; k < w.n && !bad; k++)
            bad = append(texts, n_texts, &room, arena, w.words[k], w.sizes[k]);
    }
    return bad ? graft_err_nomem(err) : 0;
}

static void say(const graft_env *env, const char *file, const graft_vectors_model_report *r) {
    graft_env_log(env, GRAFT_LOG_INFO, "%s: a model of %lld words, texts %s%s", file, (long long)r->n_words,
                  r->lowercase ? "in lower case, split by " : "split by ", r->split);
    if (!r->n_tokens) return;
    double share = 100.0 * (double)r->n_known / (double)r->n_tokens;
    graft_env_log(env, share < MEAN_COVER ? GRAFT_LOG_WARNING : GRAFT_LOG_INFO,
                  "%.0f %% of the data's words have a vector (%lld different ones by their subwords)%s",
                  share, (long long)r->n_by_subwords,
                  share < MEAN_COVER ? "; are the vectors of the data's language and spelling?" : "");
}

static int write_model(graft_vectors_model_report *report, const graft_env *env, const char *file,
                       const char *out, const char *encoder, int64_t first, const graft_data *data,
                       graft_err *err) {
    graft_vectors *v = NULL;
    graft_arena *arena = graft_arena_new(NULL);
    graft_word *texts = NULL;
    size_t n_texts = 0;
    int rc = arena ? graft_vectors_open(&v, env, file, err) : graft_err_nomem(err);
    if (rc == 0 && data) rc = gather(&texts, &n_texts, arena, data, err);
    const bool averaged = graft_is_averaged(encoder);
    const graft_vectors_model_options o = {.encoder = averaged ? "mean" : encoder,
                                           .first = first,
                                           .texts = texts,
                                           .n_texts = n_texts,
                                           .whole = averaged};
    if (rc == 0) rc = graft_vectors_write_model(report, out, v, &o, err);
    if (rc == 0) say(env, file, report);
    graft_vectors_close(v);
    graft_arena_free(arena);
    return rc;
}

int graft_job_vectors(graft_job *j, graft_err *err) {
    const graft_fit_options *o = &j->options;
    graft_vectors_model_report report;
    if (!o->encoder && !graft_vectors_recognise(j->model_path)) return 0;
    if (graft_path_is_dir(j->model_path))
        return graft_err_set(err, GRAFT_EUSAGE, "--encoder goes with a file of word vectors; %s is a folder",
                             j->model_path);
    if (!j->out || !*j->out)
        return graft_err_set(err, GRAFT_EUSAGE,
                             "word vectors need a folder to work in: give -o OUT, or make a model of them "
                             "first (graft vectors model)");
    char *folder = graft_path_join(j->arena, j->out, "vectors");
    if (!folder) return graft_err_nomem(err);
    int rc = graft_data_open_choice(&j->data, j->env, j->data_path, &o->data, GRAFT_TEXTS,
                                    GRAFT_LABELS_NEEDED, NULL, 0, o->seed, err);
    if (rc == 0)
        rc = graft_data_check(j->data, err); /* the validation part's words are none of the model's */
    j->made_out = !graft_path_is_dir(j->out);
    if (rc == 0) rc = graft_dir_make(j->out, err);
    if (rc == 0) {
        j->vectors_folder = folder;
        rc = write_model(&report, j->env, j->model_path, folder, o->encoder, 0, j->data, err);
    }
    return rc;
}

void graft_job_vectors_done(const graft_job *j) {
    if (!j->vectors_folder) return;
    graft_dir_remove(j->vectors_folder, NULL);
    if (j->made_out) rmdir(j->out); /* nothing else came of it */
}

/* Data whose words are taken; NULL: none are. */
static int open_texts(graft_data **out, const graft_env *env, const char *data,
                      const graft_data_choice *choice, graft_err *err) {
    static const graft_data_choice plain = {0};
    if (!data) return 0;
    int rc = graft_data_open_choice(out, env, data, choice ? choice : &plain, GRAFT_TEXTS,
                                    GRAFT_LABELS_AS_FOUND, NULL, 0, 0, err);
    return rc < 0 ? rc : graft_data_check(*out, err);
}

int graft_words_model(char **result, graft_env *env, const char *file, const char *out, const char *encoder,
                      const char *data, const graft_data_choice *choice, int64_t first, graft_err *err) {
    graft_vectors_model_report r = {0};
    graft_data *d = NULL;
    *result = NULL;
    if (first < 0) return graft_err_set(err, GRAFT_EUSAGE, "a number of words is not negative");
    int rc = open_texts(&d, env, data, choice, err);
    if (rc == 0) rc = write_model(&r, env, file, out, encoder, first, d, err);
    graft_data_close(d);
    if (rc < 0) return rc;
    json_t *o =
        json_pack("{s:o,s:o,s:s,s:I,s:I,s:I,s:I,s:s,s:b}", "file", graft_json_string(file), "out",
                  graft_json_string(out), "encoder", encoder ? encoder : "mean", "n", (json_int_t)r.n_words,
                  "by_subwords", (json_int_t)r.n_by_subwords, "data_words", (json_int_t)r.n_tokens,
                  "data_words_known", (json_int_t)r.n_known, "split", r.split, "lowercase", r.lowercase);
    return graft_print_json(result, o, err);
}

static void say_into(const graft_env *env, const char *model, const graft_vectors_into_report *r) {
    graft_env_log(env, GRAFT_LOG_INFO, "%lld words, %lld of them tokens of %s that keep their vectors",
                  (long long)r->n_words, (long long)r->n_shared, model);
    if (r->mapped)
        graft_env_log(env, r->cosine < 0.3 ? GRAFT_LOG_WARNING : GRAFT_LOG_INFO,
                      "the others are mapped from %lld to %lld values; mean cosine on the shared words %.3f",
                      (long long)r->from_width, (long long)r->to_width, r->cosine);
    else
        graft_env_log(env, GRAFT_LOG_WARNING,
                      "too few words are shared for a map: the others' vectors are taken as they are");
}

int graft_words_into(char **result, graft_env *env, const char *file, const char *model, const char *out,
                     const char *data, const graft_data_choice *choice, int64_t first, graft_err *err) {
    graft_vectors_into_report r = {0};
    graft_vectors *v = NULL;
    graft_word *texts = NULL;
    graft_data *d = NULL;
    size_t n_texts = 0;
    *result = NULL;
    if (first < 0) return graft_err_set(err, GRAFT_EUSAGE, "a number of words is not negative");
    graft_arena *arena = graft_arena_new(NULL);
    int rc = arena ? open_texts(&d, env, data, choice, err) : graft_err_nomem(err);
    if (rc == 0) rc = graft_vectors_open(&v, env, file, err);
    if (rc == 0 && d) rc = gather(&texts, &n_texts, arena, d, err);
    const graft_vectors_model_options o = {.first = first, .texts = texts, .n_texts = n_texts};
    if (rc == 0) rc = graft_vectors_replace(&r, out, env, v, model, &o, err);
    if (rc == 0) say_into(env, model, &r);
    graft_vectors_close(v);
    graft_data_close(d);
    graft_arena_free(arena);
    if (rc < 0) return rc;
    json_t *o_json = json_pack(
        "{s:o,s:o,s:o,s:I,s:I,s:I,s:I,s:I,s:b,s:f,s:I,s:I,s:s}", "file", graft_json_string(file), "model",
        graft_json_string(model), "out", graft_json_string(out), "n", (json_int_t)r.n_words, "special",
        (json_int_t)r.n_special, "shared", (json_int_t)r.n_shared, "from_width", (json_int_t)r.from_width,
        "width", (json_int_t)r.to_width, "mapped", r.mapped, "cosine", r.cosine, "data_words",
        (json_int_t)r.n_tokens, "data_words_known", (json_int_t)r.n_known, "split", r.split);
    return graft_print_json(result, o_json, err);
}
