/* How a text model wants its texts: modules.json and what it names (sentence-transformers), the tokenizer,
 * else the family's habit. */
#include "model/model_impl.h"
#include <string.h>

static const char *const poolings[] = {[GRAFT_SPAN_FIRST] = "first",
                                       [GRAFT_SPAN_LAST] = "last",
                                       [GRAFT_SPAN_MEAN] = "mean",
                                       [GRAFT_SPAN_MAX] = "max"};

const char *graft_pooling_name(graft_span_kind p) {
    return poolings[p];
}

bool graft_pooling_find(graft_span_kind *out, const char *name) {
    for (size_t i = 0; i < GRAFT_COUNT(poolings); i++) {
        if (strcmp(poolings[i], name) != 0) continue;
        *out = (graft_span_kind)i;
        return true;
    }
    return false;
}

static int read_file(json_t **out, const graft_model *m, const char *folder, const char *name,
                     graft_err *err) {
    const char *dir = *folder ? graft_path_join(m->arena, m->modules, folder) : m->modules;
    const char *path = dir ? graft_path_join(m->arena, dir, name) : NULL;
    *out = NULL;
    if (!path) return graft_err_nomem(err);
    return graft_path_is_file(path) ? graft_json_read(out, m->arena, path, err) : 0;
}

/* A module's folder is named by a file that anybody may have written. */
static bool is_inside(const char *path) {
    return path && *path != '/' && !strstr(path, "..");
}

/* "sentence_transformers.models.Transformer" to "Transformer"; versions before had a class a family. */
static const char *kind_of(const json_t *module) {
    const char *type = json_string_value(json_object_get(module, "type"));
    const char *kind = type ? strrchr(type, '.') : NULL;
    return kind ? kind + 1 : type;
}

static bool is_transformer(const char *kind) {
    static const char *const kinds[] = {"Transformer", "BERT", "RoBERTa", "DistilBERT", "XLMRoBERTa"};
    for (size_t i = 0; i < GRAFT_COUNT(kinds); i++)
        if (strcmp(kinds[i], kind) == 0) return true;
    return false;
}

int graft_model_find_transformer(graft_model *m, graft_err *err) {
    json_t *modules = NULL;
    m->modules = m->folder;
    int rc = read_file(&modules, m, "", "modules.json", err);
    for (size_t i = 0; rc == 0 && i < json_array_size(modules); i++) {
        const json_t *module = json_array_get(modules, i);
        const char *path = json_string_value(json_object_get(module, "path")), *kind = kind_of(module);
        if (!kind || !is_transformer(kind) || !path || !*path || !is_inside(path)) continue;
        const char *inner = graft_path_join(m->arena, m->folder, path);
        if (!inner) return graft_err_nomem(err);
        if (graft_path_is_dir(inner)) m->folder = inner;
        break;
    }
    return rc;
}

static int read_pooling(graft_model *m, const char *folder, graft_err *err) {
    static const struct {
        const char *key;
        graft_span_kind pooling;
    } modes[] = {{"pooling_mode_cls_token", GRAFT_SPAN_FIRST},
                 {"pooling_mode_mean_tokens", GRAFT_SPAN_MEAN},
                 {"pooling_mode_max_tokens", GRAFT_SPAN_MAX},
                 {"pooling_mode_lasttoken", GRAFT_SPAN_LAST}};
    static const char *const others[] = {"pooling_mode_mean_sqrt_len_tokens",
                                         "pooling_mode_weightedmean_tokens"};
    static const char *const words[] = {"cls", "mean", "max", "lasttoken"};
    json_t *config = NULL;
    int n = 0, rc = read_file(&config, m, folder, "config.json", err);
    if (rc < 0) return rc;
    const char *word = json_string_value(json_object_get(config, "pooling_mode"));
    for (size_t i = 0; i < GRAFT_COUNT(modes); i++) {
        bool chosen = word ? !strcmp(word, words[i]) : json_is_true(json_object_get(config, modes[i].key));
        if (!chosen) continue;
        m->text.pooling = modes[i].pooling;
        n++;
    }
    for (size_t i = 0; i < GRAFT_COUNT(others); i++)
        n += 2 * json_is_true(json_object_get(config, others[i]));
    m->text.sentence = true; /* without a pooling it is a plain classifier: a cross-encoder */
    if (n == 1) return 0;
    return graft_err_set(err, GRAFT_EUNSUPPORTED,
                         "%s/%s/config.json: only one of mean, max, first and last token can be the pooling",
                         m->modules, folder);
}

/* The head that graft wrote: one layer without activation and an output a label, or one with tanh, as wide as
 * the features, before it. Another Dense changes the features. */
static int read_dense_module(graft_model *m, const char *folder, bool is_last, graft_err *err) {
    json_t *config = NULL;
    int64_t n = 0;
    int rc = read_file(&config, m, folder, "config.json", err);
    if (rc == 0 && config) rc = graft_json_int(config, "out_features", 0, &n, folder, err);
    if (rc < 0) return rc;
    const char *act = json_string_value(json_object_get(config, "activation_function"));
    const char *name = act ? strrchr(act, '.') : NULL;
    size_t n_labels = json_object_size(json_object_get(m->config, "id2label"));
    int64_t wanted = is_last ? (int64_t)n_labels : m->hyper.feature_width;
    if (!name || strcmp(name, is_last ? ".Identity" : ".Tanh") != 0 || n_labels < 1 || n != wanted)
        return graft_err_set(
            err, GRAFT_EUNSUPPORTED,
            "%s/%s: a Dense module is supported as a head alone: Identity, and an output for "
            "each of the %zu labels of config.json",
            m->modules, folder, n_labels);
    m->dense_folders[m->n_dense] = graft_arena_strdup(m->arena, folder);
    return m->dense_folders[m->n_dense++] ? 0 : graft_err_nomem(err);
}

/* One line of modules.json. Dense modules at the end of a folder whose config names labels are its head
 * (graft_model_read_dense); as a part of the features they are not supported. */
static int read_module(graft_model *m, const json_t *module, size_t left, graft_err *err) {
    const char *folder = json_string_value(json_object_get(module, "path")), *kind = kind_of(module);
    if (!kind || !folder)
        return graft_err_set(err, GRAFT_EFORMAT, "%s/modules.json: a module has no type or no path",
                             m->modules);
    if (*folder && !is_inside(folder))
        return graft_err_set(err, GRAFT_EFORMAT, "%s/modules.json: the path '%.80s' leaves the folder",
                             m->modules, folder);
    if (is_transformer(kind)) return 0;
    if (!strcmp(kind, "Pooling")) return read_pooling(m, folder, err);
    if (!strcmp(kind, "Normalize")) {
        m->text.unit = true;
        return 0;
    }
    if (!strcmp(kind, "Dropout")) return 0;
    if (!strcmp(kind, "Dense") && left < 2 && json_object_get(m->config, "id2label"))
        return read_dense_module(m, folder, left == 0, err);
    return graft_err_set(err, GRAFT_EUNSUPPORTED, "%s/modules.json: the module %s is not supported",
                         m->modules, kind);
}

/* It lies beside the transformer, under the family's name where that had a class of its own. */
static int read_length(graft_model *m, graft_err *err) {
    static const char *const names[] = {"sentence_bert_config.json", "sentence_roberta_config.json",
                                        "sentence_distilbert_config.json",
                                        "sentence_xlm-roberta_config.json"};
    json_t *config = NULL;
    int64_t longest = 0;
    int rc = 0;
    for (size_t i = 0; rc == 0 && !config && i < GRAFT_COUNT(names); i++) {
        const char *path = graft_path_join(m->arena, m->folder, names[i]);
        if (!path) return graft_err_nomem(err);
        if (graft_path_is_file(path)) rc = graft_json_read(&config, m->arena, path, err);
        if (rc == 0 && config) rc = graft_json_int(config, "max_seq_length", 0, &longest, names[i], err);
    }
    if (longest > 0) m->text.max_length = longest;
    return rc;
}

static int read_modules(graft_model *m, graft_err *err) {
    json_t *modules = NULL;
    int rc = read_file(&modules, m, "", "modules.json", err);
    if (rc < 0 || !modules) return rc;
    if (!json_is_array(modules) || json_array_size(modules) > 16)
        return graft_err_set(err, GRAFT_EFORMAT, "%s/modules.json: it has to be a list of modules",
                             m->modules);
    size_t n = json_array_size(modules);
    for (size_t i = 0; i < n && rc == 0; i++) rc = read_module(m, json_array_get(modules, i), n - 1 - i, err);
    if (rc == 0) rc = read_length(m, err);
    return rc;
}

static int open_tokenizer(graft_model *m, graft_err *err) {
    graft_err why = {0};
    int rc = graft_tokenizer_open(&m->tokenizer, m->folder, &why);
    if (rc < 0 && why.code == GRAFT_EDATA) return 0; /* there is none: an error only for who needs it */
    if (rc < 0) {
        if (err) *err = why;
        return rc;
    }
    size_t size = graft_tokenizer_size(m->tokenizer);
    if (size <= (size_t)m->hyper.vocabulary) return 0;
    return graft_err_set(err, GRAFT_EDATA,
                         "%s: its tokenizer makes ids up to %zu, its embedding matrix has %lld rows",
                         m->folder, size - 1, (long long)m->hyper.vocabulary);
}

/* The answer that the published class gives. */
static void read_task(graft_model *m) {
    const char *class = json_string_value(json_array_get(json_object_get(m->config, "architectures"), 0));
    const char *problem = json_string_value(json_object_get(m->config, "problem_type"));
    bool names_one = json_object_size(json_object_get(m->config, "id2label")) == 1;
    if (class && strstr(class, "ForTokenClassification"))
        m->task = GRAFT_TASK_TAGGING;
    else if (problem && !strcmp(problem, "multi_label_classification"))
        m->task = GRAFT_TASK_MULTILABEL;
    else if ((problem && !strcmp(problem, "regression")) ||
             (!problem && names_one && class && strstr(class, "ForSequenceClassification")))
        m->task = GRAFT_TASK_REGRESSION;
}

/* What graft was told when it wrote the folder: how texts are cut is no part of the families' configs. */
static int read_choice(graft_model *m, graft_err *err) {
    const json_t *choice = json_object_get(m->config, "graft");
    int64_t longest = 0;
    if (!json_is_object(choice)) return 0;
    m->text.chosen = true;
    int rc = graft_json_int(choice, "max_length", 0, &longest, "config.json", err);
    if (rc == 0) rc = graft_json_int(choice, "stride", 0, &m->text.stride, "config.json", err);
    if (rc < 0) return rc;
    if (longest > 0) m->text.max_length = longest;
    if (m->text.stride >= 0 && m->text.stride <= INT32_MAX) return 0;
    return graft_err_set(err, GRAFT_EFORMAT, "%s: config.json: windows that share %lld tokens", m->path,
                         (long long)m->text.stride);
}

int graft_model_read_text(graft_model *m, const graft_model_options *o, graft_err *err) {
    const bool decides = m->family->pooling_of != NULL;
    m->text = (graft_text_rules){.pooling = decides ? m->family->pooling_of(&m->hyper) : m->family->pooling,
                                 .words = m->family->grows,
                                 .position_offset = m->hyper.position_offset,
                                 .vocabulary = m->hyper.vocabulary,
                                 .n_types = m->hyper.n_types};
    int rc = 0;
    read_task(m);
    if (m->folder) rc = read_modules(m, err);
    if (rc == 0 && m->folder) rc = open_tokenizer(m, err);
    if (rc < 0) return rc;
    if (m->task == GRAFT_TASK_TAGGING) m->text.sentence = m->text.unit = false;
    const char *pooling = o->pooling ? o->pooling : m->text.sentence || decides ? NULL : o->else_pooling;
    if (pooling) {
        graft_span_kind said = m->text.pooling;
        if (!graft_pooling_find(&m->text.pooling, pooling))
            return graft_err_set(err, GRAFT_EUSAGE, "unknown pooling '%s', one of: first, last, mean, max",
                                 pooling);
        m->repooled = m->text.pooling != said && m->task != GRAFT_TASK_TAGGING;
        if (!decides && m->text.pooling != m->family->pooling && m->task != GRAFT_TASK_TAGGING)
            m->text.sentence = true;
    }
    if (m->text.max_length == 0 && m->tokenizer)
        m->text.max_length = graft_tokenizer_max_length(m->tokenizer);
    if ((rc = read_choice(m, err)) < 0) return rc;
    if (m->text.max_length <= 0 || m->text.max_length > m->hyper.longest)
        m->text.max_length = m->hyper.longest;
    if (o->max_length > m->hyper.longest)
        return graft_err_set(err, GRAFT_EUSAGE, "--max-length %lld: %s takes %lld tokens at most",
                             (long long)o->max_length, m->path, (long long)m->hyper.longest);
    if (o->max_length > 0) m->text.max_length = o->max_length;
    if (o->stride) m->text.stride = o->stride > 0 ? o->stride : 0;
    m->text.chosen = m->text.chosen || o->max_length > 0 || o->stride != 0;
    if (2 * m->text.stride <= m->text.max_length) return 0;
    return graft_err_set(err, GRAFT_EUSAGE,
                         "--stride %lld: windows of %lld tokens share at most half of them",
                         (long long)m->text.stride, (long long)m->text.max_length);
}

static int read_dense(graft_model *m, const char *folder, const char *module, graft_err *err) {
    const char *dir = graft_path_join(m->arena, m->modules, folder);
    const char *path = dir ? graft_path_join(m->arena, dir, "model.safetensors") : NULL;
    graft_tensors dense, all;
    if (!path) return graft_err_nomem(err);
    int rc = graft_tensors_open(&dense, m->arena, path, err);
    if (rc == 0) rc = graft_tensors_join(&all, m->arena, &m->source, &dense, module, path, err);
    if (rc == 0) m->source = all;
    return rc;
}

int graft_model_read_dense(graft_model *m, graft_err *err) {
    int rc = 0;
    for (size_t i = 0; i < m->n_dense && rc == 0; i++) {
        const char *module = m->n_dense == 1 ? m->family->head
                                             : graft_arena_printf(m->arena, "%s.%s", m->family->head,
                                                                  i == 0 ? "dense" : "out_proj");
        rc = module ? read_dense(m, m->dense_folders[i], module, err) : graft_err_nomem(err);
    }
    return rc;
}

const graft_text_rules *graft_model_text(const graft_model *m) {
    return &m->text;
}

int graft_model_tokenizer(const graft_tokenizer **out, const graft_model *m, graft_err *err) {
    *out = m->tokenizer;
    if (m->tokenizer) return 0;
    return graft_err_set(err, GRAFT_EDATA,
                         "%s: it has no tokenizer; put its tokenizer.json beside the weights", m->path);
}

int64_t graft_model_pad(const graft_model *m) {
    int64_t pad = m->hyper.pad >= 0 ? m->hyper.pad : m->tokenizer ? graft_tokenizer_pad(m->tokenizer) : -1;
    return pad >= 0 ? pad : m->hyper.vocabulary - 1;
}
