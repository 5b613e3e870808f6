/* Looking again: the data that a run was made of, and the features of some samples before and after. */
#include "report/story.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DRAWN = 800, MOST_DRAWN = 2000, FEWEST = 60, NEIGHBOURS = 15, LEAST_NEIGHBOURS = 20 };

/* Multiply-adds that one pass over the drawn samples may take: some seconds. */
static const double budget = 4e11;

static const char *or_null(const char *text) {
    return text[0] ? text : NULL;
}

/* ---- The data ------------------------------------------------------------------------------------------- */

/* The samples have to be the very ones: the kept content hashes of a few of them say so. */
static int check_contents(graft_story *s, graft_err *err) {
    enum { CHECKED = 64 };
    const graft_kept_answers *k = &s->kept;
    int64_t n = k->answers.n_samples, some[CHECKED], n_some = n < CHECKED ? n : CHECKED;
    for (int64_t i = 0; i < n_some; i++) some[i] = k->answers.samples[i * n / n_some];
    int rc = graft_data_hash_some(s->data, some, n_some, err);
    for (int64_t i = 0; i < n_some && rc == 0; i++) {
        const graft_sample *sample = graft_data_sample(s->data, some[i]);
        const uint64_t *kept = k->contents + 2 * (i * n / n_some);
        if (sample->content.lo != kept[0] || sample->content.hi != kept[1])
            return graft_err_set(err, GRAFT_EDATA, "the data have changed since the run: %s", sample->origin);
    }
    return rc;
}

static int open_data_as(graft_story *s, graft_modality modality, graft_err *err) {
    const json_t *c = json_object_get(s->record, "choices"),
                 *settings = json_object_get(s->record, "settings");
    double seed = graft_story_number(settings, "seed");
    const graft_data_choice choice = {
        .input_column = or_null(graft_story_text(c, "input")),
        .pair_column = or_null(graft_story_text(c, "pair")),
        .label_column = or_null(graft_story_text(c, "label")),
        .group_column = or_null(graft_story_text(c, "group")),
        .group_pattern = or_null(graft_story_text(c, "group_pattern")),
        .labels_file = or_null(graft_story_text(c, "labels")),
        .task = graft_story_text(settings, "task")[0] ? graft_story_text(settings, "task") : NULL,
        .validation = -1};
    int rc = graft_data_open_choice(&s->data, s->env, graft_story_text(s->record, "data"), &choice, modality,
                                    GRAFT_LABELS_NEEDED, NULL, 0, seed > 0 ? (uint64_t)seed : 0, err);
    if (rc == 0 && s->model) rc = graft_data_cut(s->data, s->model, err);
    if (rc == 0 && graft_data_n_samples(s->data) != s->kept.n_parts)
        rc = graft_err_set(err, GRAFT_EDATA,
                           "the data have changed since the run: %lld samples in place of %lld",
                           (long long)graft_data_n_samples(s->data), (long long)s->kept.n_parts);
    return rc == 0 ? check_contents(s, err) : rc;
}

/* Without a model the data are what they can be read as: their contents say whether they are the run's. */
static int open_data(graft_story *s, graft_err *err) {
    if (s->model) return open_data_as(s, graft_model_modality(s->model), err);
    int rc = open_data_as(s, GRAFT_TEXTS, err);
    if (rc == 0 || rc == GRAFT_ENOMEM || rc == GRAFT_EINTERRUPTED) return rc;
    graft_data_close(s->data);
    s->data = NULL;
    return open_data_as(s, GRAFT_PICTURES, err);
}

/* ---- Features ------------------------------------------------------------------------------------------- */

static int64_t how_many(const graft_story *s, const graft_model *m) {
    int64_t wanted = s->options.samples > 0 ? s->options.samples : DRAWN;
    double cost = graft_rows_cost(m);
    if (s->options.samples <= 0 && cost > 0.0 && cost * (double)wanted > budget)
        wanted = (int64_t)fmax(budget / cost, FEWEST);
    return wanted < MOST_DRAWN ? wanted : MOST_DRAWN;
}

/* Every so many-th of the kept answers, so that classes have their shares. */
static int choose_drawn(graft_story *s, int64_t **samples, graft_err *err) {
    int64_t n = s->kept.answers.n_samples, wanted = how_many(s, s->model);
    s->n_drawn = n < wanted ? n : wanted;
    s->drawn = graft_arena_array(s->arena, (size_t)s->n_drawn + 1, sizeof *s->drawn);
    *samples = graft_arena_array(s->arena, (size_t)s->n_drawn + 1, sizeof **samples);
    if (!s->drawn || !*samples) return graft_err_nomem(err);
    for (int64_t i = 0; i < s->n_drawn; i++) {
        s->drawn[i] = i * n / s->n_drawn;
        (*samples)[i] = s->verdicts[s->drawn[i]].sample;
    }
    return 0;
}

static bool all_finite(const float *rows, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(rows[i])) return false;
    return true;
}

static int take_rows(float **rows, int64_t *width, graft_story *s, const graft_model *m,
                     const int64_t *samples, int64_t n, graft_err *err) {
    int rc = graft_rows_of(rows, width, s->env, m, s->data, samples, n, s->options.no_cache, err);
    if (rc < 0 || all_finite(*rows, n * *width)) return rc;
    free(*rows);
    *rows = NULL;
    return graft_err_set(err, GRAFT_EDATA, "a sample could not be read, or its features are not finite");
}

/* The model that the run began from, opened as the run opened it. */
static int open_base(graft_story *s, graft_model **base, graft_err *err) {
    const json_t *c = json_object_get(s->record, "choices"),
                 *settings = json_object_get(s->record, "settings");
    double longest = graft_story_number(c, "max_length"), seed = graft_story_number(settings, "seed");
    graft_model_options o = GRAFT_MODEL_OPTIONS_INIT;
    const char *path = graft_story_text(s->record, "model");
    o.family = or_null(graft_story_text(c, "family"));
    o.pooling = or_null(graft_story_text(c, "pooling"));
    o.max_length = longest > 0 ? (int64_t)longest : 0;
    o.seed = seed > 0 ? (uint64_t)seed : 0;
    if (json_is_true(json_object_get(settings, "from_scratch")) && graft_path_is_dir(path))
        path = graft_path_join(s->arena, path, "config.json");
    return path ? graft_model_open(base, s->env, path, &o, err) : graft_err_nomem(err);
}

/* Labels of training samples that their neighbours contradict. The features are those from before training,
 * which no label has touched, and a sample has no vote for itself: shares that confident learning may trust.
 */
static int doubt_labels(graft_story *s, const graft_model *base, graft_err *err) {
    int64_t n = 0, n_train = 0, wanted = how_many(s, base), width = 0;
    int32_t k = graft_data_n_classes(s->data);
    for (int64_t i = 0; i < s->kept.n_parts; i++) n_train += s->kept.parts[i] == GRAFT_TRAIN;
    if (wanted > n_train) wanted = n_train;
    if (s->task != GRAFT_TASK_CLASSES || wanted < LEAST_NEIGHBOURS || k < 2 ||
        (double)k * (double)wanted > 4e6)
        return 0;
    int64_t *samples = graft_arena_array(s->arena, (size_t)wanted, sizeof *samples);
    int32_t *labels = graft_arena_array(s->arena, (size_t)wanted, sizeof *labels);
    float *shares = graft_arena_array(s->arena, (size_t)wanted * (size_t)k, sizeof *shares), *rows = NULL;
    if (!samples || !labels || !shares) return graft_err_nomem(err);
    for (int64_t i = 0, seen = 0; i < s->kept.n_parts; i++) {
        if (s->kept.parts[i] != GRAFT_TRAIN) continue;
        if (n < wanted && seen++ == n * n_train / wanted) {
            samples[n] = i;
            labels[n++] = graft_data_sample(s->data, i)->label;
        }
    }
    int rc = take_rows(&rows, &width, s, base, samples, n, err);
    if (rc == 0)
        rc = graft_neighbour_shares(shares, s->env, rows, labels, n, width, k,
                                    n / (3 * k) < NEIGHBOURS ? n / (3 * k) + 3 : NEIGHBOURS, err);
    if (rc == 0) rc = graft_confident_errors(&s->doubted, &s->n_doubted, s->arena, shares, labels, n, k, err);
    /* features that cannot tell the classes apart would doubt every other label */
    if ((double)s->n_doubted > GRAFT_MOST_DOUBTED * (double)n) s->n_doubted = s->n_looked_at = n = 0;
    for (int64_t i = 0; i < s->n_doubted && rc == 0; i++) s->doubted[i].row = samples[s->doubted[i].row];
    s->n_looked_at = n;
    free(rows);
    return rc;
}

static int look_before(graft_story *s, const int64_t *samples, graft_err *err) {
    graft_model *base = NULL;
    int rc = open_base(s, &base, err);
    if (rc == 0 && graft_model_task(base) == GRAFT_TASK_TAGGING)
        rc = graft_err_set(err, GRAFT_EUSAGE, "the base model answers for each word");
    if (rc == 0) rc = take_rows(&s->before, &s->width_before, s, base, samples, s->n_drawn, err);
    if (rc == 0) rc = doubt_labels(s, base, err);
    graft_model_close(base);
    return rc;
}

static bool ends_all(int rc) {
    return rc == GRAFT_ENOMEM || rc == GRAFT_EINTERRUPTED;
}

int graft_story_look(graft_story *s, graft_err *err) {
    graft_err why = {0};
    int64_t *samples = NULL;
    if (s->kept.answers.n_samples == 0) return 0;
    int rc = open_data(s, &why);
    if (rc < 0) {
        graft_data_close(s->data);
        s->data = NULL;
        graft_story_miss(s, "Examples, the maps, label errors of training samples", why.message);
        return ends_all(rc) ? graft_err_set(err, rc, "%s", why.message) : graft_env_check(s->env, err);
    }
    if (s->task == GRAFT_TASK_TAGGING || !s->model) return graft_env_check(s->env, err);
    rc = choose_drawn(s, &samples, err);
    if (rc == 0) rc = graft_env_check(s->env, err);
    if (rc < 0) return rc;
    rc = take_rows(&s->after, &s->width, s, s->model, samples, s->n_drawn, &why);
    if (rc < 0) graft_story_miss(s, "The maps", why.message);
    if (!ends_all(rc) && (rc = graft_env_check(s->env, err)) < 0) return rc;
    if (rc == 0) {
        rc = look_before(s, samples, &why);
        if (rc < 0)
            graft_story_miss(s, "The map before training, label errors of training samples", why.message);
    }
    return ends_all(rc) ? graft_err_set(err, rc, "%s", why.message) : graft_env_check(s->env, err);
}
