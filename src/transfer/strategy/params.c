/* Parameters by name: patterns of *, ? and [..] over the names in the model's file, or over its stages, and
 * the head. A pattern after ! takes away; where the first one does, everything else trains. */
#include "transfer/strategies.h"

#include <string.h>

typedef struct patterns {
    const graft_model *model;
    size_t prefix; /* characters that the backbone's names have in common, their first part */
    graft_phase *phase;
    char **texts; /* without the ! */
    bool *takes_away;
    size_t n;
} patterns;

/* Whether [set] (its text behind the bracket) holds c; *end is where the pattern goes on, NULL: it never
 * ends, and [ stands for itself. */
static bool in_set(const char *set, char c, const char **end) {
    bool negated = *set == '!' || *set == '^', found = false;
    const char *s = set + negated;
    for (const char *first = s; *s && (*s != ']' || s == first); s++) {
        bool range = s[1] == '-' && s[2] && s[2] != ']';
        found |= range ? s[0] <= c && c <= s[2] : *s == c;
        s += range ? 2 : 0;
    }
    *end = *s ? s + 1 : NULL;
    return found != negated;
}

/* Shell patterns in time of pattern times name: after a failure only the last * takes one character more. */
static bool matches(const char *pattern, const char *name) {
    const char *star = NULL, *from = NULL;
    while (*name) {
        const char *after = pattern + 1;
        bool fits = *pattern == '?' || *pattern == *name;
        if (*pattern == '[') {
            const char *end;
            bool held = in_set(pattern + 1, *name, &end);
            fits = end ? held : *name == '[';
            after = end ? end : after;
        }
        if (*pattern == '*') {
            star = ++pattern;
            from = name;
        } else if (*pattern && fits) {
            pattern = after;
            name++;
        } else if (star) {
            pattern = star;
            name = ++from;
        } else {
            return false;
        }
    }
    while (*pattern == '*') pattern++;
    return !*pattern;
}

/* The first part of a name, with its dot, where all names of the backbone have it. */
static size_t common_prefix(const graft_model *m) {
    const char *first = NULL;
    size_t size = 0;
    for (size_t i = 0; i < graft_model_n_params(m); i++) {
        const graft_param *p = graft_model_param(m, i);
        if (p->head) continue;
        if (!first) size = (first = p->name)[strcspn(p->name, ".")] ? strcspn(p->name, ".") + 1 : 0;
        if (strncmp(first, p->name, size) != 0) return 0;
    }
    return size;
}

static const char *short_name(const patterns *x, const graft_param *p) {
    return p->name + (p->head ? 0 : x->prefix);
}

static bool names(const patterns *x, size_t i, const graft_param *p) {
    return matches(x->texts[i], p->name) || matches(x->texts[i], short_name(x, p)) ||
           matches(x->texts[i], graft_model_stage_name(x->model, (size_t)p->stage));
}

/* The first parts of a name, as many as the pattern has, closed like the pattern: "encoder.layer.1.*". */
static void cut_like(const char *pattern, const char *name, char *out, size_t size) {
    size_t n = strlen(pattern), parts = 0, at = 0;
    bool open = n > 1 && strcmp(pattern + n - 2, ".*") == 0;
    for (const char *c = pattern; *c; c++) parts += *c == '.';
    parts += !open;
    for (const char *c = name; *c && at + 3 < size; c++) {
        if (*c == '.' && --parts == 0) break;
        out[at++] = *c;
    }
    memcpy(out + at, open ? ".*" : "", open ? 3 : 1);
}

/* EUSAGE: which names come near the pattern that matches none. */
static int no_match(const patterns *x, const char *pattern, graft_err *err) {
    const graft_model *m = x->model;
    enum { SHOWN = 3, ROOM = 128 };
    char near[SHOWN][ROOM] = {{0}}, one[ROOM];
    size_t far[SHOWN], n = 0;
    size_t total = graft_model_n_params(m) + graft_model_n_stages(m);
    if (graft_strategy_is_row(pattern))
        return graft_err_set(
            err, GRAFT_EUSAGE,
            "--train: '%s' is a plan among names of parameters: plans one after the other say "
            "their epochs, as in head@3,full",
            pattern);
    for (size_t i = 0; i < total; i++) {
        size_t k = graft_model_n_params(m), at = 0;
        const char *name = i < k ? short_name(x, graft_model_param(m, i)) : graft_model_stage_name(m, i - k);
        cut_like(i < k ? pattern : "", name, one, sizeof one);
        size_t d = graft_text_distance(pattern, one);
        while (at < n && (far[at] <= d && strcmp(near[at], one) != 0)) at++;
        if (at == SHOWN || (at < n && strcmp(near[at], one) == 0)) continue;
        size_t moved = (n < SHOWN ? n : SHOWN - 1) - at;
        memmove(far + at + 1, far + at, moved * sizeof far[0]);
        memmove(near + at + 1, near + at, moved * sizeof near[0]);
        far[at] = d;
        memcpy(near[at], one, sizeof one);
        n += n < SHOWN;
    }
    return graft_err_set(err, GRAFT_EUSAGE,
                         "--train: no parameter and no stage matches '%s'; the nearest names are %s, %s, %s",
                         pattern, near[0], near[1], near[2]);
}

/* Marks what the pattern names. *n_marks counts the parameters, running statistics apart. */
static void apply(const patterns *x, size_t i, size_t *n_marks, size_t *n_statistics) {
    *n_marks = *n_statistics = 0;
    for (size_t k = 0; k < graft_model_n_params(x->model); k++) {
        const graft_param *p = graft_model_param(x->model, k);
        if (!names(x, i, p)) continue;
        ++*(p->kind == GRAFT_PARAM_STATISTIC ? n_statistics : n_marks);
        x->phase->trains[k] = !x->takes_away[i];
    }
}

/* EUSAGE: a pattern of which a later one has left nothing. */
static int check_left(const patterns *x, graft_err *err) {
    for (size_t i = 0; i < x->n; i++) {
        bool left = x->takes_away[i];
        for (size_t k = 0; k < graft_model_n_params(x->model) && !left; k++) {
            const graft_param *p = graft_model_param(x->model, k);
            left = p->kind != GRAFT_PARAM_STATISTIC && x->phase->trains[k] && names(x, i, p);
        }
        if (!left)
            return graft_err_set(
                err, GRAFT_EUSAGE,
                "--train: a later !PATTERN takes away all that '%s' names: leave one of them out",
                x->texts[i]);
    }
    return 0;
}

static int split(patterns *x, graft_arena *arena, const char *text, graft_err *err) {
    size_t most = 1;
    for (const char *c = text; *c; c++) most += *c == ',';
    x->texts = graft_arena_array(arena, most, sizeof *x->texts);
    x->takes_away = graft_arena_array(arena, most, sizeof *x->takes_away);
    if (!x->texts || !x->takes_away) return graft_err_nomem(err);
    for (const char *at = text;;) {
        size_t size = strcspn(at, ",");
        x->takes_away[x->n] = *at == '!';
        char *one = graft_arena_strndup(arena, at + (*at == '!'), size - (*at == '!'));
        if (!one) return graft_err_nomem(err);
        if (!*one) return graft_err_set(err, GRAFT_EUSAGE, "--train: an empty pattern in '%s'", text);
        x->texts[x->n++] = one;
        if (!at[size]) return 0;
        at += size + 1;
    }
}

static int phases(graft_phases *p, const char *argument, graft_err *err) {
    patterns x = {.model = p->model, .prefix = common_prefix(p->model)};
    if (!argument)
        return graft_err_set(err, GRAFT_EUSAGE,
                             "--train params:PATTERNS wants names of parameters, such as 'layer4.*'");
    int rc = split(&x, p->arena, argument, err);
    if (rc < 0) return rc;
    if (!(x.phase = graft_phases_add(p, err))) return GRAFT_ENOMEM;
    size_t n_stages = graft_model_n_stages(p->model);
    for (size_t i = x.takes_away[0] ? 0 : n_stages - 1; i < n_stages; i++)
        graft_phase_mark_stage(x.phase, p->model, i);
    for (size_t i = 0; i < x.n; i++) {
        size_t n_marks = 0, n_statistics = 0;
        apply(&x, i, &n_marks, &n_statistics);
        if (n_marks) continue;
        if (!n_statistics) return no_match(&x, x.texts[i], err);
        return graft_err_set(
            err, GRAFT_EUSAGE,
            "--train: '%s' names running statistics alone: they train with the scale of their "
            "norm (see --norm)",
            x.texts[i]);
    }
    return check_left(&x, err);
}

const graft_strategy graft_strategy_params = {
    .name = "params",
    .usage = "'PATTERN,!PATTERN'",
    .help = "parameters or stages by name, and the head; !PATTERN takes away",
    .phases = phases};
