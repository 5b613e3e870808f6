/* Opening: a reader lists what lies at the path, then labels become class indices, groups become numbers, and
 * the parts that the data give are gathered. Nothing is decoded here. */
#include "data/data_impl.h"
#include <stdlib.h>
#include <string.h>

void graft_data_close(graft_data *d) {
    if (!d) return;
    pthread_mutex_destroy(&d->lock);
    free(d->pixels);
    graft_arena_free(d->arena);
    free(d);
}

/* Turns the listing into samples. */
static int take_listing(graft_data *d, graft_listing *l, graft_err *err) {
    d->n = (int64_t)l->n_items;
    d->samples = graft_arena_array(d->arena, l->n_items, sizeof *d->samples);
    d->source = graft_arena_array(d->arena, l->n_items, sizeof *d->source);
    for (int part = 0; part <= GRAFT_ALL; part++) {
        d->members[part] = graft_arena_array(d->arena, l->n_items, sizeof(int64_t));
        if (!d->members[part]) return graft_err_nomem(err);
    }
    if (!d->samples || !d->source) return graft_err_nomem(err);
    for (int64_t i = 0; i < d->n; i++) {
        const graft_found *f = &l->items[i];
        d->samples[i] = (graft_sample){.path = f->path,
                                       .origin = f->origin ? f->origin : f->path,
                                       .row = f->row,
                                       .group = -1,
                                       .label = -1,
                                       .part = f->part};
        d->source[i] = f->source;
    }
    d->pixels = l->pixels;
    d->n_pixels = l->n_pixels;
    l->pixels = NULL;
    memcpy(d->part_given, l->part_given, sizeof d->part_given);
    return 0;
}

void graft_members_rebuild(graft_data *d) {
    memset(d->n_members, 0, sizeof d->n_members);
    for (int64_t i = 0; i < d->n; i++) {
        const graft_sample *s = &d->samples[i];
        if (s->state == GRAFT_BAD || (d->has_labels && s->label < 0)) continue;
        d->members[s->part][d->n_members[s->part]++] = i;
        d->members[GRAFT_ALL][d->n_members[GRAFT_ALL]++] = i;
    }
}

/* "3 classes, 120 pictures: train 100, val 20" */
static int describe(graft_data *d, const graft_listing *l, graft_err *err) {
    graft_buf b;
    graft_buf_init(&b, 0);
    graft_buf_printf(&b, "%s: %s, %lld pictures", d->path, l->description ? l->description : "pictures",
                     (long long)d->n);
    if (d->n_classes) graft_buf_printf(&b, " of %d classes", d->n_classes);
    const char *between = " (";
    for (int part = 0; part < GRAFT_N_PARTS; part++) {
        if (!d->part_given[part]) continue;
        graft_buf_printf(&b, "%s%s %lld", between, graft_part_name((graft_part)part),
                         (long long)d->n_members[part]);
        between = ", ";
    }
    if (between[0] == ',') graft_buf_text(&b, ")");
    if (!b.failed) d->description = graft_arena_strdup(d->arena, b.data);
    graft_buf_done(&b);
    if (!d->description) return graft_err_nomem(err);
    graft_env_log(d->env, GRAFT_LOG_INFO, "%s", d->description);
    return 0;
}

static int open_listed(graft_data *d, graft_listing *l, const graft_data_options *o, graft_err *err) {
    int rc = take_listing(d, l, err);
    if (rc == 0) rc = graft_classes_assign(d, l, o, err);
    if (rc == 0) rc = graft_groups_assign(d, l, o, err);
    if (rc < 0) return rc;
    graft_members_rebuild(d);
    return describe(d, l, err);
}

static int list_path(graft_listing *l, const char *path, const graft_data_options *o, graft_err *err) {
    const graft_reader *reader;
    char *own = graft_arena_strdup(l->arena, path);
    if (!own) return graft_err_nomem(err);
    for (size_t n = strlen(own); n > 1 && own[n - 1] == '/';) own[--n] = '\0';
    int rc = graft_sniff(&reader, own, o->format, o->labels, err);
    return rc < 0 ? rc : reader->list(l, own, err);
}

static int open_paths(graft_data **out, const graft_env *env, const char *const *paths, size_t n_paths,
                      const graft_data_options *o, graft_err *err) {
    graft_data *d = calloc(1, sizeof *d);
    *out = NULL;
    if (!d) return graft_err_nomem(err);
    if (pthread_mutex_init(&d->lock, NULL) != 0) {
        free(d);
        return graft_err_nomem(err);
    }
    graft_listing l = {.env = env, .options = o};
    int rc = 0;
    d->env = env;
    d->arena = l.arena = graft_arena_new(NULL);
    d->path = d->arena ? graft_arena_strdup(d->arena, n_paths ? paths[0] : "") : NULL;
    if (!d->path) rc = graft_err_nomem(err);
    d->validation = o->validation == 0 ? 0.2 : o->validation;
    d->max_bad = o->max_bad == 0 ? 0.01 : o->max_bad < 0 ? 0 : o->max_bad;
    d->seed = o->seed;
    d->strict = o->strict;
    if (rc == 0 && !(d->validation < 1))
        rc = graft_err_set(err, GRAFT_EUSAGE, "a validation part of %g of the data: give a fraction below 1",
                           d->validation);
    for (size_t i = 0; rc == 0 && i < n_paths; i++) rc = list_path(&l, paths[i], o, err);
    if (rc == 0 && l.n_items == 0) rc = graft_err_set(err, GRAFT_EDATA, "'%s' holds no picture", d->path);
    if (rc == 0) rc = open_listed(d, &l, o, err);
    free(l.items);
    free(l.pixels);
    if (rc < 0)
        graft_data_close(d);
    else
        *out = d;
    return rc;
}

int graft_data_open(graft_data **out, const graft_env *env, const char *path,
                    const graft_data_options *options, graft_err *err) {
    graft_data_options none = GRAFT_DATA_OPTIONS_INIT;
    return open_paths(out, env, &path, 1, options ? options : &none, err);
}

int graft_data_open_inputs(graft_data **out, const graft_env *env, const char *const *paths, size_t n_paths,
                           const graft_data_options *options, graft_err *err) {
    graft_data_options o = GRAFT_DATA_OPTIONS_INIT;
    if (options) o = *options;
    o.labels = GRAFT_LABELS_IGNORED;
    return open_paths(out, env, paths, n_paths, &o, err);
}

const char *graft_data_description(const graft_data *d) {
    return d->description;
}

const char *graft_data_path(const graft_data *d) {
    return d->path;
}

int64_t graft_data_n_samples(const graft_data *d) {
    return d->n;
}

const graft_sample *graft_data_sample(const graft_data *d, int64_t i) {
    return &d->samples[i];
}

bool graft_data_has_labels(const graft_data *d) {
    return d->has_labels;
}

int32_t graft_data_n_classes(const graft_data *d) {
    return d->n_classes;
}

const char *graft_data_class(const graft_data *d, int32_t label) {
    return label < 0 || label >= d->n_classes ? NULL : d->classes[label];
}

const int64_t *graft_data_members(const graft_data *d, graft_part part, int64_t *n) {
    *n = d->n_members[part];
    return *n ? d->members[part] : NULL;
}

int64_t graft_data_count(const graft_data *d, graft_part part, int32_t label) {
    int64_t count = 0;
    for (int64_t i = 0; i < d->n_members[part]; i++) count += d->samples[d->members[part][i]].label == label;
    return count;
}

int64_t graft_data_n_bad(const graft_data *d) {
    return d->n_bad;
}

graft_hash graft_data_fingerprint(const graft_data *d) {
    return d->fingerprint;
}

const graft_duplicates *graft_data_duplicates(const graft_data *d) {
    return &d->duplicates;
}

void graft_data_class_weights(const graft_data *d, graft_part part, float *weights) {
    int32_t present = 0;
    for (int32_t c = 0; c < d->n_classes; c++) weights[c] = 0;
    for (int64_t i = 0; i < d->n_members[part]; i++) {
        int32_t label = d->samples[d->members[part][i]].label;
        if (label >= 0) weights[label]++;
    }
    for (int32_t c = 0; c < d->n_classes; c++) present += weights[c] > 0;
    for (int32_t c = 0; c < d->n_classes; c++)
        if (weights[c] > 0)
            weights[c] = (float)((double)d->n_members[part] / ((double)present * (double)weights[c]));
}
