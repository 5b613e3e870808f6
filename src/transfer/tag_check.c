/* Tags that break the scheme which their names spell: a conditional random field gives such a sentence no
 * chance, and learns nothing from it. */
#include "transfer/fit.h"

#include <string.h>

/* The word at which a sentence leaves the scheme, whose steps are (k+2,k); its number of words where only the
 * last tag may not end it; -1: nowhere. *from: the tag before, k at the beginning. */
static int64_t first_break(const float *allowed, int64_t k, const graft_words *w, int64_t *from) {
    int64_t last = k;
    for (size_t i = 0; i < w->n; i++) {
        if (w->tags[i] < 0) continue;
        *from = last;
        if (!(allowed[last * k + w->tags[i]] > 0)) return (int64_t)i;
        last = w->tags[i];
    }
    *from = last;
    return last < k && !(allowed[(k + 1) * k + last] > 0) ? (int64_t)w->n : -1;
}

static void say(const graft_job *j, int64_t n_broken, int64_t n_all, int64_t sample, int64_t word,
                int64_t from) {
    int64_t k = graft_data_n_classes(j->data);
    graft_words w;
    graft_data_words(j->data, sample, &w);
    const char *before = from < k ? graft_data_class(j->data, (int32_t)from) : "the beginning",
               *tag = word < (int64_t)w.n ? graft_data_class(j->data, w.tags[word]) : "the end";
    int64_t shown = word < (int64_t)w.n ? word : word - 1;
    graft_env_log(
        j->env, GRAFT_LOG_WARNING,
        "%lld of %lld tagged sentences break the scheme of their tags, which --head crf cannot learn; "
        "the first: %s: %s after %s at word %lld, '%.*s'",
        (long long)n_broken, (long long)n_all, graft_data_sample(j->data, sample)->origin, tag, before,
        (long long)shown + 1, (int)(w.sizes[shown] < 40 ? w.sizes[shown] : 40), w.words[shown]);
}

int graft_job_check_tags(const graft_job *j, graft_err *err) {
    const float *allowed = NULL;
    int64_t n = 0, n_all = 0, n_broken = 0, first = -1, first_word = 0, first_from = 0;
    size_t k = 0;
    if (graft_model_task(j->model) != GRAFT_TASK_TAGGING ||
        strcmp(graft_model_head_name(j->model), "crf") != 0)
        return 0;
    const char *const *labels = graft_model_labels(j->model, &k);
    if (k != (size_t)graft_data_n_classes(j->data)) return 0;
    int rc = graft_tag_steps(&allowed, j->arena, labels, k, err);
    const int64_t *members = graft_data_members(j->data, GRAFT_TRAIN, &n);
    for (int64_t i = 0; i < n && rc == 0 && allowed; i++) {
        graft_words w;
        int64_t from = 0;
        if (graft_data_sample(j->data, members[i])->window > 0) continue;
        graft_data_words(j->data, members[i], &w);
        int64_t word = first_break(allowed, (int64_t)k, &w, &from);
        n_all++;
        if (word < 0) continue;
        if (n_broken++ > 0) continue;
        first = members[i];
        first_word = word;
        first_from = from;
    }
    if (n_broken) say(j, n_broken, n_all, first, first_word, first_from);
    return rc;
}
