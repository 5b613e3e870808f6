/* What samples are labelled with, task by task: one class, a set of classes, a number, or a class for each
 * word. The listing has it as text. */
#include "data/data_impl.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

bool graft_data_is_labelled(const graft_data *d, int64_t i) {
    if (d->task == GRAFT_TASK_CLASSES) return d->samples[i].label >= 0;
    int64_t text = graft_text_index(d, i);
    if (d->task == GRAFT_TASK_REGRESSION) return d->values && !isnan(d->values[text]);
    return d->is_labelled && d->is_labelled[text];
}

int32_t graft_data_stratum(const graft_data *d, int64_t i) {
    return d->task == GRAFT_TASK_CLASSES ? d->samples[i].label : 0;
}

float graft_data_value(const graft_data *d, int64_t i) {
    return d->values ? d->values[graft_text_index(d, i)] : NAN;
}

const int32_t *graft_data_classes(const graft_data *d, int64_t i, size_t *n) {
    int64_t text = graft_text_index(d, i);
    *n = d->first_class ? (size_t)(d->first_class[text + 1] - d->first_class[text]) : 0;
    return *n ? d->class_sets + d->first_class[text] : NULL;
}

/* Classes that sample i counts for: its own, those of its set, or those of its words, which count once where
 * a text is read in windows. */
static const int32_t *own_classes(const graft_data *d, int64_t i, int64_t *n) {
    *n = d->task == GRAFT_TASK_CLASSES;
    if (*n) return &d->samples[i].label;
    bool sets = d->task == GRAFT_TASK_MULTILABEL;
    const int32_t *all = sets ? d->class_sets : d->tags;
    const int64_t *first = sets ? d->first_class : d->first_word;
    if (!all || !first || (!sets && d->samples[i].window > 0)) return NULL;
    int64_t text = graft_text_index(d, i);
    *n = first[text + 1] - first[text];
    return all + first[text];
}

static int64_t times(const graft_data *d, int64_t i, int32_t label) {
    int64_t n, found = 0;
    const int32_t *own = own_classes(d, i, &n);
    for (int64_t k = 0; k < n; k++) found += own[k] == label;
    return found;
}

bool graft_data_has_class(const graft_data *d, int64_t i, int32_t label) {
    return times(d, i, label) > 0;
}

int64_t graft_data_count(const graft_data *d, graft_part part, int32_t label) {
    int64_t count = 0;
    for (int64_t i = 0; i < d->n_members[part]; i++) count += times(d, d->members[part][i], label);
    return count;
}

void graft_data_class_weights(const graft_data *d, graft_part part, float *weights) {
    int32_t present = 0;
    double n = 0;
    for (int32_t c = 0; c < d->n_classes; c++) weights[c] = 0;
    for (int64_t i = 0; i < d->n_members[part]; i++) {
        int64_t n_own;
        const int32_t *own = own_classes(d, d->members[part][i], &n_own);
        for (int64_t k = 0; k < n_own; k++)
            if (own[k] >= 0) weights[own[k]]++;
    }
    for (int32_t c = 0; c < d->n_classes; c++) {
        n += (double)weights[c];
        present += weights[c] > 0;
    }
    if (d->task != GRAFT_TASK_TAGGING) n = (double)d->n_members[part];
    for (int32_t c = 0; c < d->n_classes; c++)
        if (weights[c] > 0) weights[c] = (float)(n / ((double)present * (double)weights[c]));
}

graft_hash graft_data_answer(const graft_data *d, int64_t i) {
    const char *label = d->samples[i].label < 0 ? "" : d->classes[d->samples[i].label];
    if (d->task == GRAFT_TASK_CLASSES) return graft_hash_bytes(label, strlen(label));
    float value = graft_data_value(d, i);
    if (d->task == GRAFT_TASK_REGRESSION) return graft_hash_bytes(&value, sizeof value);
    /* a set's hash does not depend on the order of the classes, that of words on theirs */
    graft_hash all = {0, 0};
    int64_t n;
    const int32_t *own = own_classes(d, i, &n);
    for (int64_t k = 0; k < n; k++) {
        const char *name = own[k] < 0 ? "" : d->classes[own[k]];
        graft_hash h = graft_hash_bytes(name, strlen(name));
        uint64_t factor = d->task == GRAFT_TASK_TAGGING ? 2 * (uint64_t)k + 3 : 1;
        all.lo += h.lo * factor;
        all.hi += h.hi * factor;
    }
    return all;
}

/* ---- From the listing ---- */

static int no_labels(const graft_data *d, graft_err *err) {
    if (d->task == GRAFT_TASK_TAGGING)
        return graft_err_set(err, GRAFT_EDATA,
                             "'%s' has no tags: give CoNLL columns, a word a line with its tag in the last",
                             d->path);
    return graft_err_set(err, GRAFT_EDATA,
                         "'%s' has no labels: make a folder a class, or give a table with --label%s", d->path,
                         d->modality == GRAFT_PICTURES ? ", or an array of labels" : ", or __label__ lines");
}

static void say_unlabelled(const graft_data *d) {
    int64_t n = 0, first = -1;
    for (int64_t i = 0; i < d->n; i++) {
        if (d->samples[i].state == GRAFT_BAD || graft_data_is_labelled(d, i)) continue;
        if (n++ == 0) first = i;
    }
    if (n)
        graft_env_log(d->env, GRAFT_LOG_WARNING, "%lld samples have no label and are left out, the first: %s",
                      (long long)n, d->samples[first].origin);
}

static bool parse_number(const char *text, double *out) {
    char *end;
    *out = strtod(text, &end);
    return end != text && !*end && isfinite(*out) && fabs(*out) < 1e30;
}

/* Classes such as 3.75 are rather numbers. */
static void suggest_regression(const graft_data *d) {
    double value;
    bool has_fraction = false;
    for (int32_t c = 0; c < d->n_classes; c++) {
        if (!parse_number(d->classes[c], &value)) return;
        has_fraction = has_fraction || value != floor(value);
    }
    if (has_fraction && d->n_classes > 2)
        graft_env_log(
            d->env, GRAFT_LOG_WARNING,
            "the %d classes are numbers with fractions, such as %s: --task regression takes them as numbers",
            d->n_classes, d->classes[d->n_classes / 2]);
}

static int assign_classes(graft_data *d, const graft_listing *l, const graft_data_options *o,
                          graft_arena *scratch, graft_err *err) {
    size_t n = 0;
    graft_mention *m = graft_arena_array(scratch, l->n_items, sizeof *m);
    if (!m) return graft_err_nomem(err);
    for (size_t i = 0; i < l->n_items; i++) {
        const char *text = l->items[i].label;
        if (!text) continue;
        if (strchr(text, GRAFT_LABEL_SEPARATOR))
            return graft_err_set(err, GRAFT_EDATA, "%s: several labels; --task multilabel takes them all",
                                 d->samples[i].origin);
        m[n++] = (graft_mention){text, (int64_t)i, -1};
    }
    if (n == 0) return o->labels == GRAFT_LABELS_NEEDED ? no_labels(d, err) : 0;
    int rc = graft_classes_resolve(d, l->labels_are_numbers, o, m, n, err);
    if (rc < 0) return rc;
    d->has_labels = true;
    for (size_t i = 0; i < n; i++) d->samples[m[i].sample].label = m[i].index;
    say_unlabelled(d);
    suggest_regression(d);
    return 0;
}

static int assign_values(graft_data *d, const graft_listing *l, const graft_data_options *o, graft_err *err) {
    if (!(d->values = graft_arena_array(d->arena, l->n_items, sizeof *d->values)))
        return graft_err_nomem(err);
    for (size_t i = 0; i < l->n_items; i++) {
        double value = NAN;
        const char *text = l->items[i].label;
        if (text && !parse_number(text, &value))
            return graft_err_set(err, GRAFT_EDATA,
                                 "%s: the label '%s' is no number, as --task regression needs it",
                                 d->samples[i].origin, text);
        d->values[i] = (float)value;
        d->has_labels = d->has_labels || text;
    }
    if (!d->has_labels) return o->labels == GRAFT_LABELS_NEEDED ? no_labels(d, err) : 0;
    say_unlabelled(d);
    return 0;
}

/* ---- Sets of classes ---- */

/* What stands between the classes of one sample: what the file says, what the user says, or the first of
 * three characters that is found anywhere. */
static char separator_of(const graft_data *d, const graft_listing *l, const graft_data_options *o) {
    static const char candidates[] = {GRAFT_LABEL_SEPARATOR, '|', ';', ','};
    if (o->label_separator) return o->label_separator;
    for (size_t k = 0; k < sizeof candidates; k++)
        for (size_t i = 0; i < l->n_items; i++) {
            if (!l->items[i].label || !strchr(l->items[i].label, candidates[k])) continue;
            if (k) graft_env_log(d->env, GRAFT_LOG_INFO, "labels are parted at '%c'", candidates[k]);
            return candidates[k];
        }
    return GRAFT_LABEL_SEPARATOR;
}

typedef struct mentions {
    graft_mention *items;
    size_t n, capacity;
} mentions;

static int mention(mentions *m, const char *text, size_t size, int64_t sample, graft_arena *arena,
                   graft_err *err) {
    while (size && graft_is_blank(text, 1)) {
        text++;
        size--;
    }
    while (size && graft_is_blank(text + size - 1, 1)) size--;
    if (size == 0) return 0;
    if (m->n == m->capacity) {
        size_t more = m->capacity ? 2 * m->capacity : 256, bytes;
        graft_mention *grown = graft_size_mul(more, sizeof *grown, &bytes) ? realloc(m->items, bytes) : NULL;
        if (!grown) return graft_err_nomem(err);
        m->items = grown;
        m->capacity = more;
    }
    char *own = graft_arena_strndup(arena, text, size);
    if (!own) return graft_err_nomem(err);
    m->items[m->n++] = (graft_mention){own, sample, -1};
    return 0;
}

/* A cell that is a list in JSON: ["a", "b"]. */
static int mention_json(mentions *m, const char *text, int64_t sample, const char *origin, graft_arena *arena,
                        graft_err *err) {
    json_t *list, *v;
    size_t i;
    int rc = graft_json_parse(&list, arena, text, strlen(text), origin, err);
    if (rc < 0) return rc;
    json_array_foreach(list, i, v) {
        char number[32];
        const char *one = json_string_value(v);
        if (json_is_integer(v)) {
            (void)snprintf(number, sizeof number, "%lld", (long long)json_integer_value(v));
            one = number;
        }
        if (!one)
            return graft_err_set(err, GRAFT_EDATA, "%s: a label that is neither text nor number", origin);
        if ((rc = mention(m, one, strlen(one), sample, arena, err)) < 0) return rc;
    }
    return 0;
}

static int mention_all(mentions *m, const graft_data *d, const graft_listing *l, char separator,
                       graft_arena *arena, graft_err *err) {
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < l->n_items; i++) {
        const char *text = l->items[i].label;
        if (!text) continue;
        if (text[0] == '[' && text[strlen(text) - 1] == ']') {
            rc = mention_json(m, text, (int64_t)i, d->samples[i].origin, arena, err);
            continue;
        }
        while (rc == 0) {
            const char *stop = strchr(text, separator);
            rc = mention(m, text, stop ? (size_t)(stop - text) : strlen(text), (int64_t)i, arena, err);
            if (!stop) break;
            text = stop + 1;
        }
    }
    return rc;
}

static int by_class(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return x < y ? -1 : x > y;
}

/* Each sample's known classes, sorted, none twice. Mentions come in the order of their samples. */
static int store_sets(graft_data *d, const mentions *m, graft_err *err) {
    size_t at = 0;
    int64_t used = 0;
    d->class_sets = graft_arena_array(d->arena, m->n, sizeof *d->class_sets);
    d->first_class = graft_arena_array(d->arena, (size_t)d->n + 1, sizeof *d->first_class);
    if (!d->class_sets || !d->first_class) return graft_err_nomem(err);
    for (int64_t i = 0; i < d->n; i++) {
        int64_t first = used;
        for (; at < m->n && m->items[at].sample == i; at++)
            if (m->items[at].index >= 0) d->class_sets[used++] = m->items[at].index;
        size_t n = (size_t)(used - first);
        if (n > 1) qsort(d->class_sets + first, n, sizeof *d->class_sets, by_class);
        int64_t kept = first;
        for (int64_t k = first; k < used; k++)
            if (k == first || d->class_sets[k] != d->class_sets[kept - 1])
                d->class_sets[kept++] = d->class_sets[k];
        d->first_class[i] = first;
        d->first_class[i + 1] = used = kept;
    }
    return 0;
}

static int assign_sets(graft_data *d, const graft_listing *l, const graft_data_options *o,
                       graft_arena *scratch, graft_err *err) {
    mentions m = {0};
    if (!(d->is_labelled = graft_arena_array(d->arena, l->n_items, sizeof *d->is_labelled)))
        return graft_err_nomem(err);
    for (size_t i = 0; i < l->n_items; i++) d->is_labelled[i] = l->items[i].label != NULL;
    int rc = mention_all(&m, d, l, separator_of(d, l, o), scratch, err);
    if (rc == 0 && m.n == 0 && o->labels == GRAFT_LABELS_NEEDED) rc = no_labels(d, err);
    if (rc == 0 && m.n) {
        d->has_labels = true;
        rc = graft_classes_resolve(d, l->labels_are_numbers, o, m.items, m.n, err);
    }
    if (rc == 0) rc = store_sets(d, &m, err);
    free(m.items);
    if (rc == 0 && d->has_labels) say_unlabelled(d);
    return rc;
}

/* ---- Tags ---- */

static int assign_tags(graft_data *d, const graft_listing *l, const graft_data_options *o,
                       graft_arena *scratch, graft_err *err) {
    size_t n = 0;
    graft_mention *m = graft_arena_array(scratch, l->n_words, sizeof *m);
    d->is_labelled = graft_arena_array(d->arena, l->n_items, sizeof *d->is_labelled);
    if (!m || !d->is_labelled) return graft_err_nomem(err);
    for (int64_t i = 0; i < d->n; i++)
        for (int64_t w = d->first_word[i]; w < d->first_word[i + 1]; w++)
            if (l->word_tags[w]) m[n++] = (graft_mention){l->word_tags[w], i, (int32_t)-1};
    if (n == 0) return o->labels == GRAFT_LABELS_NEEDED ? no_labels(d, err) : 0;
    int rc = graft_classes_resolve(d, false, o, m, n, err);
    if (rc < 0) return rc;
    d->has_labels = true;
    n = 0;
    for (int64_t i = 0; i < d->n; i++)
        for (int64_t w = d->first_word[i]; w < d->first_word[i + 1]; w++) {
            if (!l->word_tags[w]) continue;
            d->tags[w] = m[n++].index;
            d->is_labelled[i] = d->is_labelled[i] || d->tags[w] >= 0;
        }
    say_unlabelled(d);
    return 0;
}

int graft_answers_assign(graft_data *d, const graft_listing *l, const graft_data_options *o, graft_err *err) {
    if (o->labels == GRAFT_LABELS_IGNORED) return 0;
    if (d->task == GRAFT_TASK_TAGGING && d->modality != GRAFT_TEXTS)
        return graft_err_set(err, GRAFT_EUSAGE, "pictures have no words to be tagged");
    graft_arena *scratch = graft_arena_new(NULL);
    if (!scratch) return graft_err_nomem(err);
    int rc = d->task == GRAFT_TASK_REGRESSION   ? assign_values(d, l, o, err)
             : d->task == GRAFT_TASK_MULTILABEL ? assign_sets(d, l, o, scratch, err)
             : d->task == GRAFT_TASK_TAGGING    ? assign_tags(d, l, o, scratch, err)
                                                : assign_classes(d, l, o, scratch, err);
    graft_arena_free(scratch);
    return rc;
}
