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
    d->modality = l->options->modality;
    d->task = l->is_tagged ? GRAFT_TASK_TAGGING : l->options->task;
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
        if (!f->fault) continue;
        graft_err fault = {.code = GRAFT_EDATA};
        (void)snprintf(fault.message, sizeof fault.message, "%s: %s", d->samples[i].origin, f->fault);
        int rc = graft_data_note_bad(d, i, &fault, err);
        if (rc < 0) return rc;
    }
    int rc = d->modality == GRAFT_TEXTS ? graft_texts_take(d, l, err) : 0;
    if (rc < 0) return rc;
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
        if (s->state == GRAFT_BAD || (d->has_labels && !graft_data_is_labelled(d, i))) continue;
        d->members[s->part][d->n_members[s->part]++] = i;
        d->members[GRAFT_ALL][d->n_members[GRAFT_ALL]++] = i;
    }
}

/* "3 classes, 120 pictures: train 100, val 20" */
static int describe(graft_data *d, const graft_listing *l, graft_err *err) {
    graft_buf b;
    graft_buf_init(&b, 0);
    const char *noun = graft_data_noun(d);
    graft_buf_printf(&b, "%s: %s, %lld %s", d->path, l->description ? l->description : noun, (long long)d->n,
                     noun);
    if (d->n_classes)
        graft_buf_printf(&b, " %s %d classes", d->task == GRAFT_TASK_TAGGING ? "with tags of" : "of",
                         d->n_classes);
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
    if (rc == 0) rc = graft_answers_assign(d, l, o, err);
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
    int rc = graft_sniff(&reader, own, o, err);
    return rc < 0 ? rc : reader->list(l, own, err);
}

/* What is to be opened: paths, or texts themselves. */
typedef struct inputs {
    const char *const *paths, *const *texts;
    size_t n;
} inputs;

static int add_texts(graft_listing *l, const inputs *in, graft_err *err) {
    for (size_t i = 0; i < in->n; i++) {
        size_t size = strlen(in->texts[i]), bad = 0;
        char *own = graft_arena_strdup(l->arena, in->texts[i]);
        graft_found f = {
            .relative = "", .row = (int64_t)i, .source = -1, .text = {.text = own, .size = size}};
        f.origin = graft_arena_printf(l->arena, "text %zu", i + 1);
        if (!own || !f.origin) return graft_err_nomem(err);
        if (!graft_is_utf8(own, size, &bad)) {
            f.fault = graft_arena_printf(l->arena, "not UTF-8 text (byte %zu)", bad);
            if (!f.fault) return graft_err_nomem(err);
        }
        int rc = graft_listing_add_text(l, &f, err);
        if (rc < 0) return rc;
    }
    return 0;
}

static int list_inputs(graft_data *d, graft_listing *l, const inputs *in, const graft_data_options *o,
                       graft_err *err) {
    int rc = in->texts ? add_texts(l, in, err) : 0;
    for (size_t i = 0; rc == 0 && in->paths && i < in->n; i++) rc = list_path(l, in->paths[i], o, err);
    if (rc == 0 && l->n_items == 0)
        rc = graft_err_set(err, GRAFT_EDATA, "'%s' holds no %s", d->path,
                           o->modality == GRAFT_TEXTS ? "text" : "picture");
    return rc < 0 ? rc : open_listed(d, l, o, err);
}

static int open_inputs(graft_data **out, const graft_env *env, const inputs *in, const graft_data_options *o,
                       graft_err *err) {
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
    d->path =
        d->arena ? graft_arena_strdup(d->arena, in->paths && in->n ? in->paths[0] : "the given texts") : NULL;
    if (!d->path) rc = graft_err_nomem(err);
    d->validation = o->validation == 0 ? 0.2 : o->validation;
    d->max_bad = o->max_bad == 0 ? 0.01 : o->max_bad < 0 ? 0 : o->max_bad;
    d->test = o->test;
    d->per_class = o->per_class;
    d->seed = o->seed;
    d->strict = o->strict;
    if (rc == 0 && !(d->validation < 1))
        rc = graft_err_set(err, GRAFT_EUSAGE, "a validation part of %g of the data: give a fraction below 1",
                           d->validation);
    if (rc == 0 && !(d->test >= 0 && d->test < 1))
        rc = graft_err_set(err, GRAFT_EUSAGE, "a test part of %g of the data: give a fraction below 1",
                           d->test);
    if (rc == 0) rc = list_inputs(d, &l, in, o, err);
    free(l.items);
    free(l.pixels);
    free(l.words);
    free(l.word_sizes);
    free(l.word_tags);
    if (rc < 0)
        graft_data_close(d);
    else
        *out = d;
    return rc;
}

int graft_data_open(graft_data **out, const graft_env *env, const char *path,
                    const graft_data_options *options, graft_err *err) {
    graft_data_options none = GRAFT_DATA_OPTIONS_INIT;
    const inputs in = {.paths = &path, .n = 1};
    return open_inputs(out, env, &in, options ? options : &none, err);
}

int graft_data_open_inputs(graft_data **out, const graft_env *env, const char *const *paths, size_t n_paths,
                           const graft_data_options *options, graft_err *err) {
    graft_data_options o = GRAFT_DATA_OPTIONS_INIT;
    if (options) o = *options;
    o.labels = GRAFT_LABELS_IGNORED;
    const inputs in = {.paths = paths, .n = n_paths};
    return open_inputs(out, env, &in, &o, err);
}

int graft_data_open_texts(graft_data **out, const graft_env *env, const char *const *texts, size_t n_texts,
                          const graft_data_options *options, graft_err *err) {
    graft_data_options o = GRAFT_DATA_OPTIONS_INIT;
    if (options) o = *options;
    o.modality = GRAFT_TEXTS;
    o.labels = GRAFT_LABELS_IGNORED;
    const inputs in = {.texts = texts, .n = n_texts};
    return open_inputs(out, env, &in, &o, err);
}

const char *graft_data_description(const graft_data *d) {
    return d->description;
}

const char *graft_data_path(const graft_data *d) {
    return d->path;
}

graft_modality graft_data_modality(const graft_data *d) {
    return d->modality;
}

graft_task graft_data_task(const graft_data *d) {
    return d->task;
}

const char *graft_data_noun(const graft_data *d) {
    return d->modality == GRAFT_PICTURES ? "pictures" : d->task == GRAFT_TASK_TAGGING ? "sentences" : "texts";
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

int64_t graft_data_n_bad(const graft_data *d) {
    return d->n_bad;
}

graft_hash graft_data_fingerprint(const graft_data *d) {
    return d->fingerprint;
}

const graft_duplicates *graft_data_duplicates(const graft_data *d) {
    return &d->duplicates;
}
