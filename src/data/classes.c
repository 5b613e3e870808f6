/* Labels and groups are texts in the data and numbers inside. Class names are sorted bytewise, or as numbers
 * when all of them are numbers ("10" after "2"), and the tag O of words that belong to nothing comes first; a
 * fixed order, from a model or a file, comes before either. */
#include "data/data_impl.h"
#include <regex.h>
#include <stdlib.h>
#include <string.h>

enum { LISTED = 5, MAX_CLASSES = 1 << 20 };

typedef struct class_name {
    const char *text;
    double number;
    int64_t found; /* its number in the order of first appearance */
} class_name;

static int by_bytes(const void *a, const void *b) {
    return strcmp(((const class_name *)a)->text, ((const class_name *)b)->text);
}

static int by_number(const void *a, const void *b) {
    double x = ((const class_name *)a)->number, y = ((const class_name *)b)->number;
    return x < y ? -1 : x > y ? 1 : by_bytes(a, b);
}

/* Every distinct label text, numbered as they first appear; a mention's index is that number. */
static int gather(class_name **out, size_t *n_out, graft_map *seen, graft_mention *m, size_t n_mentions,
                  graft_arena *arena, graft_err *err) {
    for (size_t i = 0; i < n_mentions; i++) {
        int64_t id = graft_map_get_str(seen, m[i].text);
        if (id < 0) {
            id = (int64_t)graft_map_count(seen);
            if (id > MAX_CLASSES)
                return graft_err_set(err, GRAFT_EDATA,
                                     "more than %d different labels: is this the column of the labels?",
                                     MAX_CLASSES);
            if (graft_map_put_str(seen, m[i].text, id) < 0) return graft_err_nomem(err);
        }
        m[i].index = (int32_t)id;
    }
    size_t n = graft_map_count(seen);
    class_name *names = graft_arena_array(arena, n, sizeof *names);
    if (!names) return graft_err_nomem(err);
    for (size_t i = 0; i < n_mentions; i++) names[m[i].index] = (class_name){m[i].text, 0, m[i].index};
    *out = names;
    *n_out = n;
    return 0;
}

static bool all_numbers(class_name *names, size_t n) {
    for (size_t i = 0; i < n; i++) {
        char *end;
        if (strspn(names[i].text, "0123456789+-.eE") != strlen(names[i].text)) return false;
        names[i].number = strtod(names[i].text, &end);
        if (end == names[i].text || *end) return false;
    }
    return true;
}

/* The order that the data themselves give. position[found] is a class's index. */
static int own_order(graft_data *d, class_name *names, size_t n, int32_t *position, graft_err *err) {
    bool numbers = all_numbers(names, n), same = true;
    qsort(names, n, sizeof *names, numbers ? by_number : by_bytes);
    for (size_t i = 1; i < n && d->task == GRAFT_TASK_TAGGING; i++) {
        if (strcmp(names[i].text, "O") != 0) continue;
        class_name outside = names[i];
        memmove(names + 1, names, i * sizeof *names);
        names[0] = outside;
    }
    for (size_t i = 1; i < n; i++) same = same && strcmp(names[i - 1].text, names[i].text) < 0;
    if (numbers && !same)
        graft_env_log(d->env, GRAFT_LOG_INFO,
                      "the class names are numbers and are sorted as numbers: %s, ..., %s", names[0].text,
                      names[n - 1].text);
    if (!(d->classes = graft_arena_array(d->arena, n, sizeof *d->classes))) return graft_err_nomem(err);
    for (size_t i = 0; i < n; i++) {
        position[names[i].found] = (int32_t)i;
        if (!(d->classes[i] = graft_arena_strdup(d->arena, names[i].text))) return graft_err_nomem(err);
    }
    d->n_classes = (int32_t)n;
    return 0;
}

/* The fixed order's names, from a file, a line each. */
static int names_from_file(graft_data *d, const char *path, graft_err *err) {
    char *text;
    size_t size, n = 0;
    int rc = graft_file_read(&text, &size, d->arena, path, (size_t)64 << 20, err);
    if (rc < 0) return rc;
    for (size_t i = 0; i < size; i++) n += text[i] == '\n';
    if (!(d->classes = graft_arena_array(d->arena, n + 1, sizeof *d->classes))) return graft_err_nomem(err);
    for (char *line = text; line < text + size;) {
        char *end = line + strcspn(line, "\n"), *next = end + 1;
        while (end > line && (end[-1] == '\r' || end[-1] == ' ')) end--;
        *end = '\0';
        if (end > line) d->classes[d->n_classes++] = line;
        line = next;
    }
    if (d->n_classes == 0) return graft_err_set(err, GRAFT_EDATA, "'%s' holds no class name", path);
    return 0;
}

static int take_fixed_names(graft_data *d, const graft_data_options *o, graft_map *index, graft_err *err) {
    if (o->labels_file) {
        int rc = names_from_file(d, o->labels_file, err);
        if (rc < 0) return rc;
    } else {
        if (!(d->classes = graft_arena_array(d->arena, (size_t)o->n_class_names, sizeof *d->classes)))
            return graft_err_nomem(err);
        d->n_classes = o->n_class_names;
        for (int32_t i = 0; i < d->n_classes; i++)
            if (!(d->classes[i] = graft_arena_strdup(d->arena, o->class_names[i])))
                return graft_err_nomem(err);
    }
    for (int32_t i = 0; i < d->n_classes; i++) {
        if (graft_map_get_str(index, d->classes[i]) >= 0)
            return graft_err_set(err, GRAFT_EDATA, "two classes of the fixed order are called '%s'",
                                 d->classes[i]);
        if (graft_map_put_str(index, d->classes[i], i) < 0) return graft_err_nomem(err);
    }
    return 0;
}

/* Labels that are indices into the fixed order: whole numbers, none of which is a name. */
static bool are_indices(class_name *names, size_t n, int32_t n_classes) {
    if (!all_numbers(names, n)) return false;
    for (size_t i = 0; i < n; i++)
        if (names[i].number < 0 || names[i].number >= n_classes ||
            names[i].number != (double)(int32_t)names[i].number)
            return false;
    return true;
}

/* position[found] is a class's index in the fixed order, -1 when it has none. */
static int fixed_order(graft_data *d, bool labels_are_numbers, const graft_data_options *o, class_name *names,
                       size_t n, int32_t *position, graft_err *err) {
    graft_map *index = graft_map_new(d->arena);
    if (!index) return graft_err_nomem(err);
    int rc = take_fixed_names(d, o, index, err);
    if (rc < 0) return rc;
    size_t known = 0;
    for (size_t i = 0; i < n; i++) {
        position[names[i].found] = (int32_t)graft_map_get_str(index, names[i].text);
        known += position[names[i].found] >= 0;
    }
    if (known == 0 && n && (labels_are_numbers || o->labels_file) && are_indices(names, n, d->n_classes)) {
        graft_env_log(d->env, GRAFT_LOG_INFO,
                      "the labels are numbers: taken as positions in the %d class names, 0 is '%s'",
                      d->n_classes, d->classes[0]);
        for (size_t i = 0; i < n; i++) position[names[i].found] = (int32_t)names[i].number;
    }
    return 0;
}

/* What is done about labels that the fixed order lacks: an error, or samples left out with a word. */
static int judge_unknown(const graft_data *d, const graft_data_options *o, const graft_mention *m, size_t n,
                         graft_err *err) {
    size_t n_unknown = 0, first = 0;
    for (size_t i = 0; i < n; i++) {
        if (m[i].index >= 0) continue;
        if (n_unknown++ == 0) first = i;
        if (o->drop_unknown_labels && n_unknown <= LISTED)
            graft_env_log(d->env, GRAFT_LOG_WARNING, "%s: the model does not know its label '%s': left out",
                          d->samples[m[i].sample].origin, m[i].text);
    }
    if (n_unknown && !o->drop_unknown_labels)
        return graft_err_set(
            err, GRAFT_EDATA,
            "%s: the label '%s' is none of the model's %d classes ('%s', ...); %zu %s have such labels",
            d->samples[m[first].sample].origin, m[first].text, d->n_classes, d->classes[0], n_unknown,
            d->task == GRAFT_TASK_TAGGING ? "words" : "samples");
    if (n_unknown > LISTED)
        graft_env_log(d->env, GRAFT_LOG_WARNING, "%zu labels in all are none that the model knows",
                      n_unknown);
    if (n && n_unknown == n)
        return graft_err_set(err, GRAFT_EDATA, "%s: no sample has a label that the model knows", d->path);
    return 0;
}

int graft_classes_resolve(graft_data *d, bool labels_are_numbers, const graft_data_options *o,
                          graft_mention *m, size_t n_mentions, graft_err *err) {
    bool fixed = o->labels_file || (o->class_names && o->n_class_names > 0);
    graft_arena *scratch = graft_arena_new(NULL);
    graft_map *seen = scratch ? graft_map_new(scratch) : NULL;
    class_name *names = NULL;
    size_t n = 0;
    int rc = seen ? gather(&names, &n, seen, m, n_mentions, scratch, err) : graft_err_nomem(err);
    int32_t *position = rc == 0 ? graft_arena_array(scratch, n, sizeof *position) : NULL;
    if (rc == 0 && !position) rc = graft_err_nomem(err);
    if (rc < 0) goto done;
    rc = fixed ? fixed_order(d, labels_are_numbers, o, names, n, position, err)
               : own_order(d, names, n, position, err);
    for (size_t i = 0; rc == 0 && i < n_mentions; i++) m[i].index = position[m[i].index];
    if (rc == 0) rc = judge_unknown(d, o, m, n_mentions, err);
    if (rc == 0 && !fixed && n == 1 && o->labels == GRAFT_LABELS_NEEDED && d->task == GRAFT_TASK_CLASSES)
        rc = graft_err_set(
            err, GRAFT_EDATA,
            "'%s' has one class only, '%s': there is nothing to tell apart; add %s of at least one "
            "other class",
            d->path, d->classes[0], graft_data_noun(d));
done:
    graft_arena_free(scratch);
    return rc;
}

/* The text that a pattern finds in a name: its first capture, or all of the match; NULL when it matches
 * nothing. */
static int capture(const char **out, const regex_t *pattern, const char *name, graft_arena *arena,
                   graft_err *err) {
    regmatch_t m[2];
    *out = NULL;
    int failed = regexec(pattern, name, 2, m, 0);
    if (failed == REG_NOMATCH) return 0;
    if (failed) return graft_err_nomem(err);
    const regmatch_t *take = pattern->re_nsub > 0 && m[1].rm_so >= 0 ? &m[1] : &m[0];
    *out = graft_arena_strndup(arena, name + take->rm_so, (size_t)(take->rm_eo - take->rm_so));
    return *out ? 0 : graft_err_nomem(err);
}

int graft_groups_assign(graft_data *d, const graft_listing *l, const graft_data_options *o, graft_err *err) {
    regex_t pattern;
    bool by_pattern = o->group_pattern != NULL;
    if (by_pattern) {
        int failed = regcomp(&pattern, o->group_pattern, REG_EXTENDED);
        if (failed == REG_ESPACE) return graft_err_nomem(err);
        if (failed) {
            char why[128];
            regerror(failed, &pattern, why, sizeof why);
            return graft_err_set(err, GRAFT_EUSAGE, "the group pattern '%s' is no regular expression: %s",
                                 o->group_pattern, why);
        }
    }
    graft_arena *scratch = graft_arena_new(NULL);
    graft_map *seen = scratch ? graft_map_new(scratch) : NULL;
    int rc = seen ? 0 : graft_err_nomem(err);
    int64_t n_without = 0;
    for (int64_t i = 0; rc == 0 && i < d->n; i++) {
        const char *text = l->items[i].group;
        if (!text && by_pattern) rc = capture(&text, &pattern, l->items[i].relative, scratch, err);
        if (!text) {
            n_without++;
            continue;
        }
        int64_t group = graft_map_get_str(seen, text);
        if (group < 0) group = (int64_t)graft_map_count(seen);
        if (graft_map_put_str(seen, text, group) < 0) rc = graft_err_nomem(err);
        d->samples[i].group = group;
    }
    if (rc == 0 && by_pattern && n_without == d->n)
        rc = graft_err_set(err, GRAFT_EUSAGE, "the group pattern '%s' matches no name, such as '%s'",
                           o->group_pattern, l->items[0].relative);
    if (rc == 0 && seen && graft_map_count(seen))
        graft_env_log(d->env, GRAFT_LOG_INFO, "%zu groups; %lld samples belong to none",
                      graft_map_count(seen), (long long)n_without);
    if (by_pattern) regfree(&pattern);
    graft_arena_free(scratch);
    return rc;
}
