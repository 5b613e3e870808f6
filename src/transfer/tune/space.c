/* Axes of a search, their text form, and random draws of them (Bergstra and Bengio 2012: random search beats
 * a grid of as many trials). */
#include "transfer/tune/space.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef enum kind { TEXT, REAL, WHOLE } kind;

struct graft_axis {
    const char *name;
    kind kind;
    size_t offset; /* in graft_fit_options */
};

#define AT(field) offsetof(graft_fit_options, field)
static const graft_axis known[] = {
    {"train", TEXT, AT(train)},
    {"lr", REAL, AT(lr)},
    {"lr-scale", REAL, AT(lr_scale)},
    {"head-lr", REAL, AT(head_lr)},
    {"backbone-lr-scale", REAL, AT(backbone_lr_scale)},
    {"weight-decay", REAL, AT(weight_decay)},
    {"warmup", REAL, AT(warmup)},
    {"clip-norm", REAL, AT(clip_norm)},
    {"label-smoothing", REAL, AT(label_smoothing)},
    {"layer-decay", REAL, AT(regular.layer_decay)},
    {"l2-sp", REAL, AT(regular.l2_sp)},
    {"ema", REAL, AT(regular.ema)},
    {"swa", REAL, AT(regular.swa)},
    {"drop-path", REAL, AT(regular.drop_path)},
    {"r-drop", REAL, AT(regular.r_drop)},
    {"delta", REAL, AT(regular.delta)},
    {"bss", REAL, AT(regular.bss)},
    {"batch", WHOLE, AT(batch)},
    {"head", TEXT, AT(head)},
    {"optimizer", TEXT, AT(optimizer)},
    {"schedule", TEXT, AT(schedule)},
    {"augment", TEXT, AT(augment)},
    {"class-weights", TEXT, AT(class_weights)},
    {"sampler", TEXT, AT(sampler)},
    {"norm", TEXT, AT(norm)},
    {"pooling", TEXT, AT(pooling)},
};
#undef AT

static const graft_axis *find(const char *name, size_t size) {
    for (size_t i = 0; i < GRAFT_COUNT(known); i++)
        if (strlen(known[i].name) == size && strncmp(known[i].name, name, size) == 0) return &known[i];
    return NULL;
}

static int unknown(const char *name, size_t size, graft_err *err) {
    graft_buf names;
    graft_buf_init(&names, 0);
    for (size_t i = 0; i < GRAFT_COUNT(known); i++)
        graft_buf_printf(&names, "%s%s", i ? ", " : "", known[i].name);
    int rc =
        graft_err_set(err, GRAFT_EUSAGE, "--search: there is nothing called '%.*s' to search, one of: %s",
                      (int)size, name, names.failed ? "" : names.data);
    graft_buf_done(&names);
    return rc;
}

static bool number(double *out, const char *text, const char **end) {
    char *stop = NULL;
    *out = strtod(text, &stop);
    *end = stop;
    return stop != text && isfinite(*out);
}

static int parse_range(graft_space_axis *a, const char *value, graft_err *err) {
    const char *end = NULL;
    if (a->axis->kind != REAL || !number(&a->low, value, &end) || strncmp(end, "..", 2) != 0 ||
        !number(&a->high, end + 2, &end) || *end || !(a->low > 0 && a->low < a->high))
        return graft_err_set(err, GRAFT_EUSAGE,
                             "--search %s=%s: a range is LOW..HIGH, of numbers above 0, and rising",
                             a->axis->name, value);
    return 0;
}

static int check_value(const graft_axis *axis, const char *value, graft_err *err) {
    double x = 0;
    const char *end = value;
    bool ok = axis->kind == TEXT ? *value != '\0'
                                 : number(&x, value, &end) && !*end && x >= 0 &&
                                       (axis->kind == REAL || (x >= 1 && x <= 65536 && floor(x) == x));
    return ok ? 0
              : graft_err_set(err, GRAFT_EUSAGE, "--search %s: '%s' is no value for it", axis->name, value);
}

static int parse_list(graft_space_axis *a, graft_arena *arena, char *value, graft_err *err) {
    size_t n = 1;
    for (const char *s = value; *s; s++) n += *s == '|';
    a->values = graft_arena_array(arena, n, sizeof *a->values);
    if (!a->values) return graft_err_nomem(err);
    for (char *bar; value; value = bar) {
        if ((bar = strchr(value, '|'))) *bar++ = '\0';
        int rc = check_value(a->axis, value, err);
        if (rc < 0) return rc;
        a->values[a->n_values++] = value;
    }
    return 0;
}

static int parse_axis(graft_space_axis *a, graft_arena *arena, char *word, graft_err *err) {
    char *equal = strchr(word, '=');
    if (!equal)
        return graft_err_set(err, GRAFT_EUSAGE, "--search %s: what for? give %s=A|B or %s=LOW..HIGH", word,
                             word, word);
    a->axis = find(word, (size_t)(equal - word));
    if (!a->axis) return unknown(word, (size_t)(equal - word), err);
    char *value = equal + 1;
    return a->axis->kind == REAL && strstr(value, "..") ? parse_range(a, value, err)
                                                        : parse_list(a, arena, value, err);
}

int graft_space_parse(graft_space *out, graft_arena *arena, const char *text, graft_err *err) {
    static const char blanks[] = " \t\n";
    *out = (graft_space){0};
    char *own = graft_arena_strdup(arena, text), *rest = NULL;
    out->axes = graft_arena_array(arena, GRAFT_COUNT(known), sizeof *out->axes);
    if (!own || !out->axes) return graft_err_nomem(err);
    for (char *word = strtok_r(own, blanks, &rest); word; word = strtok_r(NULL, blanks, &rest)) {
        graft_space_axis a = {0};
        int rc = parse_axis(&a, arena, word, err);
        if (rc < 0) return rc;
        for (size_t i = 0; i < out->n; i++)
            if (out->axes[i].axis == a.axis)
                return graft_err_set(err, GRAFT_EUSAGE, "--search names %s twice", a.axis->name);
        out->axes[out->n++] = a;
    }
    if (out->n == 0) return graft_err_set(err, GRAFT_EUSAGE, "--search names nothing to search");
    return 0;
}

static json_t *draw_value(const graft_space_axis *a, graft_rng *rng) {
    if (!a->values) return json_real(a->low * pow(a->high / a->low, graft_rng_uniform(rng)));
    const char *value = a->values[graft_rng_below(rng, a->n_values)];
    switch (a->axis->kind) {
    case TEXT:
        return json_string(value);
    case WHOLE:
        return json_integer(strtoll(value, NULL, 10));
    case REAL:
        return json_real(strtod(value, NULL));
    }
    return NULL;
}

void graft_space_hash(const graft_space *s, graft_hasher *h) {
    for (size_t i = 0; i < s->n; i++) {
        const graft_space_axis *a = &s->axes[i];
        const double numbers[] = {a->low, a->high, (double)a->n_values};
        graft_hasher_text(h, a->axis->name);
        graft_hasher_add(h, numbers, sizeof numbers);
        for (size_t v = 0; v < a->n_values; v++) graft_hasher_text(h, a->values[v]);
    }
}

json_t *graft_space_draw(const graft_space *s, uint64_t seed, int64_t number_of_trial) {
    json_t *o = json_object();
    for (size_t i = 0; i < s->n && number_of_trial > 0 && o; i++) {
        /* a stream an axis, so that one more axis leaves the others' draws alone */
        const char *name = s->axes[i].axis->name;
        uint64_t stream = graft_hash_bytes(name, strlen(name)).lo;
        graft_rng rng = graft_rng_at(seed, (uint64_t)number_of_trial, stream, GRAFT_RNG_SEARCH);
        if (json_object_set_new(o, name, draw_value(&s->axes[i], &rng)) < 0) {
            json_decref(o);
            o = NULL;
        }
    }
    return o;
}

int graft_space_apply(graft_fit_options *o, const json_t *settings, graft_err *err) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)settings, key, value) {
        const graft_axis *axis = find(key, strlen(key));
        if (!axis) return unknown(key, strlen(key), err);
        void *field = (char *)o + axis->offset;
        switch (axis->kind) {
        case TEXT:
            *(const char **)field = json_string_value(value);
            break;
        case WHOLE:
            *(int64_t *)field = json_integer_value(value);
            break;
        case REAL:
            *(double *)field = json_number_value(value);
            break;
        }
    }
    return 0;
}
