/* Opening: what lies at a path becomes a family with hyper-parameters, labels, preprocessing and bound
 * weights. */
#include "model/lora.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const weight_files[] = {"model.safetensors", "model.safetensors.index.json",
                                           "pytorch_model.bin", "pytorch_model.bin.index.json"};

/* "." for a name without a slash. */
static char *folder_of(graft_arena *arena, const char *path) {
    const char *name = graft_path_name(path);
    if (name == path) return graft_arena_strdup(arena, ".");
    return graft_arena_strndup(arena, path, name - path > 1 ? (size_t)(name - path - 1) : 1);
}

static bool has_file(const graft_model *m, const char *name, const char **path, graft_err *err, int *rc) {
    const char *joined = graft_path_join(m->arena, m->folder, name);
    if (!joined) {
        *rc = graft_err_nomem(err);
        return false;
    }
    if (!graft_path_is_file(joined)) return false;
    *path = joined;
    return true;
}

/* Decides which files there are: folder, config and weights, each NULL when absent. */
static int find_files(graft_model *m, graft_err *err) {
    const char *name = graft_path_name(m->base), *extension = graft_path_extension(m->base);
    int rc = 0;
    bool whole = graft_path_is_dir(m->base);
    if (!whole && !graft_path_is_file(m->base)) {
        if (access(m->base, F_OK) == 0) errno = ENOTSUP;
        return graft_err_errno(err, "open the model", m->base);
    }
    if (whole && !(m->folder = graft_arena_strdup(m->arena, m->base))) return graft_err_nomem(err);
    bool is_config = !whole && !strcmp(extension, "json");
    for (size_t i = 0; !whole && i < GRAFT_COUNT(weight_files); i++) {
        if (strcmp(name, weight_files[i]) != 0) continue;
        if (!(m->folder = folder_of(m->arena, m->base))) return graft_err_nomem(err);
        is_config = false;
        const char *config;
        whole = has_file(m, "config.json", &config, err, &rc);
        if (rc < 0) return rc;
        if (!whole) m->folder = NULL;
    }
    if (!whole) {
        if (!is_config) {
            m->weights_path = m->base;
            return 0;
        }
        m->config_path = m->base;
        m->folder = m->modules = folder_of(m->arena, m->base);
        return m->folder ? 0 : graft_err_nomem(err);
    }
    if ((rc = graft_model_find_transformer(m, err)) < 0) return rc;
    has_file(m, "config.json", &m->config_path, err, &rc);
    for (size_t i = 0; rc == 0 && !m->weights_path && i < GRAFT_COUNT(weight_files); i++)
        has_file(m, weight_files[i], &m->weights_path, err, &rc);
    if (rc == 0 && !m->config_path && !m->weights_path)
        return graft_err_set(err, GRAFT_EDATA,
                             "%s: it has neither config.json nor weights; is it a model folder?", m->base);
    return rc;
}

/* An adapter's folder that graft wrote says itself how inputs are made and what the classes are called. */
static int find_side_files(graft_model *m, graft_err *err) {
    const char *config = m->adapter ? graft_path_join(m->arena, m->adapter, GRAFT_ADAPTER_CONFIG) : NULL;
    m->weights_folder = m->weights_path != m->base ? m->folder : NULL;
    if (!m->adapter) return 0;
    if (!config) return graft_err_nomem(err);
    if (!graft_path_is_file(config)) return 0;
    m->config_path = config;
    m->folder = m->modules = m->adapter;
    return 0;
}

static int read_files(graft_model *m, graft_err *err) {
    int rc = 0;
    if (m->config_path && (rc = graft_json_read(&m->config, m->arena, m->config_path, err)) < 0) return rc;
    if (m->config && !json_is_object(m->config))
        return graft_err_set(err, GRAFT_EFORMAT, "%s: it is not a JSON object", m->config_path);
    m->is_scratch = !m->weights_path;
    if (m->is_scratch) return 0;
    rc = graft_tensors_open(&m->source, m->arena, m->weights_folder ? m->weights_folder : m->weights_path,
                            err);
    if (rc == 0 && m->source.n_items == 0)
        return graft_err_set(err, GRAFT_EDATA, "%s: it holds no tensors", m->weights_path);
    return rc;
}

static int unrecognised(const graft_model *m, graft_err *err) {
    char known[256];
    graft_family_names(known, sizeof known);
    if (m->config) {
        const char *type = json_string_value(json_object_get(m->config, "model_type"));
        const char *architecture = json_string_value(json_object_get(m->config, "architecture"));
        if (!type && !architecture)
            return graft_err_set(err, GRAFT_EUNSUPPORTED,
                                 "%s: it names neither model_type nor architecture; name a family of: %s",
                                 m->config_path, known);
        return graft_err_set(err, GRAFT_EUNSUPPORTED, "%s: %s '%s' is not supported; families are: %s",
                             m->config_path, type ? "model_type" : "architecture", type ? type : architecture,
                             known);
    }
    return graft_err_set(
        err, GRAFT_EUNSUPPORTED,
        "%s: no family is recognised by its %zu tensors (the first is '%s'); families are: %s",
        m->weights_path, m->source.n_items, m->source.items[0].name, known);
}

static int find_family(graft_model *m, const char *wanted, graft_err *err) {
    const graft_tensors *tensors = m->weights_path ? &m->source : NULL;
    char known[256];
    int best = 0;
    for (const graft_family *const *f = graft_families(); *f; f++) {
        if (wanted) {
            if (!strcmp((*f)->name, wanted)) m->family = *f;
            continue;
        }
        int score = (*f)->recognise(m->config, tensors);
        if (score <= best) continue;
        best = score;
        m->family = *f;
    }
    if (m->family) return 0;
    if (!wanted) return unrecognised(m, err);
    return graft_err_set(err, GRAFT_EUSAGE, "unknown family '%s', one of: %s", wanted,
                         graft_family_names(known, sizeof known));
}

/* A picture model of one channel beside a description of three (or the reverse) takes the mean of the
 * statistics. */
static void fit_channels(graft_model *m) {
    graft_preprocess *p = &m->preprocess;
    if (p->channels == m->hyper.channels) return;
    graft_env_log(m->env, GRAFT_LOG_WARNING,
                  "%s: its preprocessing makes %d channels where the model takes %d: adapted", m->path,
                  p->channels, m->hyper.channels);
    double mean = 0, std = 0;
    for (int c = 0; c < p->channels; c++) {
        mean += p->mean[c] / p->channels;
        std += p->std[c] / p->channels;
    }
    p->channels = m->hyper.channels;
    for (int c = 0; c < p->channels; c++) {
        p->mean[c] = mean;
        p->std[c] = std;
    }
}

/* A model of one size gets pictures of that size: what the description resizes to another is resized to its
 * own. */
static void fit_size(graft_model *m) {
    graft_preprocess *p = &m->preprocess;
    int height = 0, width = 0;
    bool fixed = graft_preprocess_output(p, &height, &width);
    if (!m->hyper.height || (fixed && height == m->hyper.height && width == m->hyper.width)) return;
    if (fixed)
        graft_env_log(m->env, GRAFT_LOG_WARNING,
                      "%s: its preprocessing makes pictures of %d x %d where the model takes %lld x %lld: "
                      "they are resized to that",
                      m->path, height, width, (long long)m->hyper.height, (long long)m->hyper.width);
    p->mode = GRAFT_RESIZE_EXACT;
    p->height = (int)m->hyper.height;
    p->width = (int)m->hyper.width;
    p->longest = p->crop_height = p->crop_width = 0;
    m->preprocess_changed = true;
}

static int read_preprocess(graft_model *m, graft_err *err) {
    bool found = false;
    m->family->preprocess(&m->preprocess, &m->hyper);
    if (m->folder) {
        int rc =
            graft_preprocess_read(&m->preprocess, &found, &m->preprocess_source, m->arena, m->folder, err);
        if (rc < 0) return rc;
    }
    fit_channels(m);
    fit_size(m);
    return graft_preprocess_check(&m->preprocess, err);
}

static int bind(graft_model *m, const graft_model_options *o, graft_err *err) {
    bool head_fits = false;
    int rc;
    bool refused = o->from_scratch && !m->is_scratch;
    m->is_scratch = m->is_scratch || o->from_scratch;
    if (!m->is_scratch) {
        if ((rc = graft_model_bind(m, &head_fits, err)) < 0) return rc;
    } else {
        graft_env_log(m->env, GRAFT_LOG_INFO, "%s: %s: a new model, initialised from seed %llu",
                      refused ? m->path : m->config_path,
                      refused ? "its weights are not used" : "no weights beside it",
                      (unsigned long long)o->seed);
    }
    m->head_is_new = !head_fits || m->repooled;
    if (m->head_is_new && o->needs_head)
        return graft_err_set(err, GRAFT_EDATA,
                             "%s: it holds no trained head for its %zu classes; adapt it with graft fit",
                             m->path, m->n_labels);
    rc = graft_model_initialise(m, o->seed, err);
    return rc < 0 ? rc : graft_adapter_attach(m, err);
}

static int open_model(graft_model *m, const graft_model_options *o, graft_err *err) {
    int rc;
    if ((rc = graft_adapter_find(m, o, err)) < 0 || (rc = find_files(m, err)) < 0 ||
        (rc = find_side_files(m, err)) < 0 || (rc = read_files(m, err)) < 0 ||
        (rc = find_family(m, o->family, err)) < 0)
        return rc;
    const graft_tensors *tensors = m->weights_path ? &m->source : NULL;
    /* A family that the caller named may be another than the config's, which then says nothing. */
    if (m->config && o->family && !m->family->recognise(m->config, tensors)) {
        if (!tensors) return unrecognised(m, err);
        m->config = NULL;
        m->config_path = NULL;
    }
    const char *origin = m->config ? m->config_path : m->weights_path;
    if ((rc = m->family->configure(&m->hyper, m->arena, m->config, tensors, origin, err)) < 0) return rc;
    bool texts = m->family->modality == GRAFT_TEXTS;
    if (!texts && m->hyper.channels != 1 && m->hyper.channels != 3)
        return graft_err_set(err, GRAFT_EUNSUPPORTED,
                             "%s: pictures of %d channels are not supported, only 1 and 3", origin,
                             m->hyper.channels);
    rc = texts ? graft_model_read_text(m, o, err) : read_preprocess(m, err);
    if (rc == 0) rc = graft_adapter_join(m, err);
    if (rc == 0 && texts && tensors) rc = graft_model_read_dense(m, err);
    if (rc < 0 || (tensors && (rc = graft_model_publish(m, err)) < 0)) return rc;
    graft_model_find_head(m);
    if ((rc = graft_model_decide_labels(m, o, err)) < 0 || (rc = graft_model_list(m, err)) < 0) return rc;
    m->description = m->family->describe(m->arena, &m->hyper);
    return m->description ? bind(m, o, err) : graft_err_nomem(err);
}

int graft_model_open(graft_model **out, const graft_env *env, const char *path,
                     const graft_model_options *options, graft_err *err) {
    graft_model_options o = GRAFT_MODEL_OPTIONS_INIT;
    if (options) o = *options;
    graft_arena *arena = graft_arena_new(NULL);
    graft_model *m = arena ? graft_arena_alloc(arena, sizeof *m) : NULL;
    if (m) {
        m->env = env;
        m->arena = arena;
        m->head = graft_head_find("linear");
        m->index = graft_map_new(arena);
        m->path = graft_arena_strdup(arena, path);
    }
    int rc = m && m->index && m->path ? open_model(m, &o, err) : graft_err_nomem(err);
    if (rc == 0) {
        *out = m;
    } else {
        if (m) graft_tokenizer_close(m->tokenizer);
        graft_arena_free(arena);
    }
    return rc;
}

void graft_model_close(graft_model *m) {
    if (!m) return;
    graft_tokenizer_close(m->tokenizer);
    graft_arena_free(m->arena);
}

const char *graft_model_path(const graft_model *m) {
    return m->path;
}

const char *graft_model_family(const graft_model *m) {
    return m->family->name;
}

const char *graft_model_description(const graft_model *m) {
    return m->description;
}

bool graft_model_is_scratch(const graft_model *m) {
    return m->is_scratch;
}

bool graft_model_head_is_new(const graft_model *m) {
    return m->head_is_new;
}

graft_modality graft_model_modality(const graft_model *m) {
    return m->family->modality;
}

graft_task graft_model_task(const graft_model *m) {
    return m->task;
}

int graft_model_set_task(graft_model *m, graft_task task, graft_err *err) {
    if (task == m->task) return 0;
    if (m->family->modality == GRAFT_PICTURES)
        return graft_err_set(err, GRAFT_EUSAGE, "%s: a model of pictures answers with one class", m->path);
    if (task == GRAFT_TASK_TAGGING && !m->family->tag_head)
        return graft_err_set(err, GRAFT_EUNSUPPORTED,
                             "%s: the family %s has no head that answers for each token", m->path,
                             m->family->name);
    m->task = task;
    /* Each token answers for itself: no pooling, and no module after it. */
    if (task == GRAFT_TASK_TAGGING) m->text.sentence = m->text.unit = false;
    m->head_is_new = true; /* what the old one answered means nothing here */
    return 0;
}

void graft_model_set_dropout(graft_model *m, bool drops) {
    m->drops = drops;
}

void graft_model_set_drops(graft_model *m, double dropout, double drop_path) {
    m->has_dropout = dropout >= 0;
    m->dropout = dropout;
    m->drop_path = drop_path;
}

int graft_model_channels(const graft_model *m) {
    return m->hyper.channels;
}

int64_t graft_model_feature_width(const graft_model *m) {
    return m->hyper.feature_width;
}

const graft_preprocess *graft_model_preprocess(const graft_model *m) {
    return &m->preprocess;
}

bool graft_model_preprocess_is_changed(const graft_model *m) {
    return m->preprocess_changed;
}

int graft_model_set_preprocess(graft_model *m, const graft_preprocess *p, graft_err *err) {
    if (p->channels != m->hyper.channels)
        return graft_err_set(err, GRAFT_EUSAGE, "the preprocessing makes %d channels, %s takes %d",
                             p->channels, m->path, m->hyper.channels);
    int rc = graft_preprocess_check(p, err), height = 0, width = 0;
    if (rc < 0) return rc;
    bool fixed = graft_preprocess_output(p, &height, &width);
    if (m->hyper.height && (!fixed || height != m->hyper.height || width != m->hyper.width))
        return graft_err_set(err, GRAFT_EUSAGE, "%s takes pictures of %lld x %lld, and the preprocessing %s",
                             m->path, (long long)m->hyper.height, (long long)m->hyper.width,
                             fixed ? "makes others" : "keeps each one's size");
    if (!graft_preprocess_equal(p, &m->preprocess)) m->preprocess_changed = true;
    m->preprocess = *p;
    return 0;
}

bool graft_model_input_size(const graft_model *m, int *height, int *width) {
    return graft_preprocess_output(&m->preprocess, height, width);
}
