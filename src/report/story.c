/* Reading a run's folder: graft.json, the kept answers, the model's names. */
#include "report/story.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *graft_story_text(const json_t *o, const char *key) {
    const char *text = json_string_value(json_object_get(o, key));
    return text ? text : "";
}

double graft_story_number(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

const char *graft_story_label(const graft_story *s, int32_t label) {
    return label >= 0 && (size_t)label < s->n_labels ? s->labels[label] : "–";
}

const char *graft_story_part(graft_part part) {
    return part == GRAFT_VAL ? "validation" : graft_part_name(part);
}

void graft_story_miss(graft_story *s, const char *what, const char *why) {
    char *w = graft_arena_strdup(s->arena, what), *y = graft_arena_strdup(s->arena, why);
    if (w && y && s->n_gaps < GRAFT_MOST_GAPS) s->gaps[s->n_gaps++] = (graft_gap){w, y};
}

void graft_story_shares(double *out, const float *logits, int64_t k) {
    double top = (double)logits[0], sum = 0.0;
    for (int64_t c = 1; c < k; c++) top = fmax(top, (double)logits[c]);
    for (int64_t c = 0; c < k; c++) sum += out[c] = exp((double)logits[c] - top);
    for (int64_t c = 0; c < k; c++) out[c] /= sum;
}

/* ---- Answers -------------------------------------------------------------------------------------------- */

/* What is said is the class whose probability is the most beyond its threshold; the doubt is how near the
 * next one comes. Outputs that are no numbers are no confidence. */
static void judge_classes(graft_verdict *v, const graft_story *s, int64_t i, double *share) {
    const graft_answers *a = &s->kept.answers;
    const float *z = a->logits + i * a->k;
    double sum = 0.0, first = 0.0, second = 0.0;
    graft_story_shares(share, z, a->k);
    v->label = a->labels[i];
    v->predicted = (int32_t)graft_decide(z, a->k, s->cuts);
    v->confidence = isfinite(share[v->predicted]) ? share[v->predicted] : 0.0;
    v->right = v->predicted == v->label;
    if (v->label >= 0) v->badness = v->right ? 0.0 : -log(fmax(share[v->label], 1e-300));
    for (int64_t c = 0; c < a->k; c++) {
        double beyond = share[c] * exp(-s->cuts[c]);
        sum += beyond;
        if (c == v->predicted)
            first = beyond;
        else
            second = fmax(second, beyond);
    }
    v->doubt = sum > 0.0 && isfinite(sum) ? 1.0 - (first - second) / sum : 1.0;
}

static void judge_labels(graft_verdict *v, const graft_story *s, int64_t i) {
    const graft_answers *a = &s->kept.answers;
    v->right = true;
    v->doubt = 0.0;
    v->confidence = 1.0;
    for (int64_t c = 0; c < a->k; c++) {
        double z = (double)a->logits[i * a->k + c], p = 1.0 / (1.0 + exp(-z));
        bool truth = a->targets[i * a->k + c] > 0.5F, said = z > s->cuts[c];
        v->badness -= log(fmax(truth ? p : 1.0 - p, 1e-300));
        v->right = v->right && truth == said;
        v->confidence = fmin(v->confidence, fmax(p, 1.0 - p));
    }
    v->doubt = 1.0 - v->confidence;
    if (v->right) v->badness = 0.0;
}

static void judge_words(graft_verdict *v, const graft_answers *a, int64_t row, int64_t n) {
    int64_t wrong = 0;
    for (int64_t w = row; w < row + n; w++) wrong += a->labels[w] >= 0 && a->labels[w] != a->predicted[w];
    v->right = wrong == 0;
    v->badness = (double)wrong;
}

/* Kept answers are the head's own: what was decided afterwards (a temperature, thresholds) is applied here,
 * as transfer/decision.h has it. */
static int decide(graft_story *s, graft_err *err) {
    const graft_answers *a = &s->kept.answers;
    const json_t *thresholds = json_object_get(s->record, "thresholds");
    double t = graft_story_number(json_object_get(s->record, "calibration"), "temperature");
    s->cuts = graft_arena_array(s->arena, s->n_labels + 1, sizeof *s->cuts);
    if (!s->cuts) return graft_err_nomem(err);
    if (s->task != GRAFT_TASK_CLASSES && s->task != GRAFT_TASK_MULTILABEL) return 0;
    bool tempered = t >= 1e-6 && t <= 1e6;
    for (int64_t i = 0; i < a->n * a->k && tempered; i++) a->logits[i] = (float)((double)a->logits[i] / t);
    for (size_t c = 0; c < s->n_labels && json_is_object(thresholds); c++) {
        double share = graft_story_number(thresholds, s->labels[c]);
        s->cuts[c] = graft_threshold_cut(share >= 0.0 && share <= 1.0 ? share : 0.5, s->task);
    }
    return 0;
}

static int judge(graft_story *s, graft_err *err) {
    const graft_answers *a = &s->kept.answers;
    double *share = graft_arena_array(s->arena, (size_t)a->k + 1, sizeof *share);
    int64_t row = 0;
    s->verdicts = graft_arena_array(s->arena, (size_t)a->n_samples + 1, sizeof *s->verdicts);
    if (!share || !s->verdicts) return graft_err_nomem(err);
    for (int64_t i = 0; i < a->n_samples; i++) {
        graft_verdict *v = &s->verdicts[i];
        *v = (graft_verdict){.sample = a->samples[i], .label = -1, .predicted = -1};
        switch (s->task) {
        case GRAFT_TASK_CLASSES:
            judge_classes(v, s, i, share);
            break;
        case GRAFT_TASK_MULTILABEL:
            judge_labels(v, s, i);
            break;
        case GRAFT_TASK_TAGGING:
            judge_words(v, a, row, a->words[i]);
            break;
        case GRAFT_TASK_REGRESSION:
            v->confidence = (double)a->logits[i * a->k];
            v->badness = fabs(v->confidence - (double)a->targets[i * a->k]);
            break;
        }
        if (!isfinite(v->badness)) v->badness = 0.0;
        row += a->words[i];
    }
    return 0;
}

/* A folder may have been written over: the answers have to be as many as graft.json says, of the same part.
 */
static bool are_ours(const graft_story *s) {
    const graft_kept_answers *k = &s->kept;
    double n = graft_story_number(s->metrics, "n");
    if (k->task != s->task || k->answers.k != (int64_t)s->n_labels) return false;
    if (strcmp(graft_story_part(k->part), s->part) != 0) return false;
    return s->task == GRAFT_TASK_TAGGING || !isfinite(n) || n == (double)k->n_all; /* of tags n are words */
}

static int read_answers(graft_story *s, graft_err *err) {
    graft_err why = {0};
    int rc = graft_answers_open(&s->kept, s->arena, s->folder, &why);
    if (rc == GRAFT_ENOMEM) return graft_err_nomem(err);
    if (rc == 0 && !are_ours(s)) {
        s->kept = (graft_kept_answers){0};
        rc = graft_err_set(&why, GRAFT_EFORMAT, "the answers in %s are another run's", s->folder);
    }
    if (rc == 0) {
        rc = decide(s, err);
        return rc == 0 ? judge(s, err) : rc;
    }
    graft_story_miss(s, "Examples, calibration, confusion by example, the maps", why.message);
    return 0;
}

/* ---- Opening -------------------------------------------------------------------------------------------- */

static int read_record(graft_story *s, graft_err *err) {
    char *path = graft_path_join(s->arena, s->folder, "graft.json");
    if (!path) return graft_err_nomem(err);
    if (!graft_path_is_file(path))
        return graft_err_set(err, GRAFT_EIO,
                             "'%s' is no folder of a run: it has no graft.json, which graft fit writes",
                             s->folder);
    int rc = graft_json_read(&s->record, s->arena, path, err);
    if (rc < 0) return rc;
    if (json_is_object(json_object_get(s->record, "settings"))) return 0;
    return graft_err_set(err, GRAFT_EFORMAT, "%s: this is no record of graft fit (it has no settings)", path);
}

static void choose_metrics(graft_story *s) {
    const json_t *test = json_object_get(s->record, "test"), *val = json_object_get(s->record, "validation");
    s->metrics = json_is_object(test) ? test : json_is_object(val) ? val : NULL;
    s->part = s->metrics == test ? "test" : "validation";
}

/* An adapter's base may be gone: what the run was is told all the same. */
static int do_without_model(graft_story *s, const graft_err *why, graft_err *err) {
    graft_err reason = {0};
    const char *task = graft_story_text(json_object_get(s->record, "settings"), "task");
    char *adapter = graft_path_join(s->arena, s->folder, "adapter_config.json");
    if (!adapter) return graft_err_nomem(err);
    bool is_without = graft_path_is_file(adapter) && why->code != GRAFT_ENOMEM &&
                      graft_task_find(&s->task, task, &reason) == 0 &&
                      graft_adapter_labels(&s->labels, &s->n_labels, s->arena, s->folder, &reason) == 0;
    if (!is_without) return graft_err_set(err, why->code, "%s", why->message);
    graft_story_miss(s, "The model's description, the maps, label errors of training samples", why->message);
    return 0;
}

static int open_model(graft_story *s, graft_err *err) {
    static const graft_model_options plain = GRAFT_MODEL_OPTIONS_INIT;
    graft_err why = {0};
    if (graft_model_open(&s->model, s->env, s->folder, &plain, &why) < 0)
        return do_without_model(s, &why, err);
    s->labels = graft_model_labels(s->model, &s->n_labels);
    s->task = graft_model_task(s->model);
    return 0;
}

int graft_story_open(graft_story *s, const graft_env *env, const char *folder, const graft_report_options *o,
                     graft_err *err) {
    *s = (graft_story){.arena = graft_arena_new(NULL), .env = env, .folder = folder, .options = *o};
    if (!s->arena) return graft_err_nomem(err);
    size_t size = strlen(folder);
    while (size > 1 && folder[size - 1] == '/') size--;
    char *trimmed = graft_arena_strndup(s->arena, folder, size);
    if (!trimmed) return graft_err_nomem(err);
    s->name = graft_path_name(trimmed);
    int rc = read_record(s, err);
    if (rc == 0) rc = open_model(s, err);
    if (rc < 0) return rc;
    s->score_name = graft_score_name(s->task);
    choose_metrics(s);
    rc = graft_story_epochs(s, err);
    return rc == 0 ? read_answers(s, err) : rc;
}

void graft_story_close(graft_story *s) {
    free(s->before);
    free(s->after);
    graft_data_close(s->data);
    graft_model_close(s->model);
    graft_arena_free(s->arena);
    *s = (graft_story){0};
}
