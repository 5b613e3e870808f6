/* Word vectors as a model of texts: each word's vector, then their mean (as in fastText's classifier, Joulin
 * et al. 2016), convolutions along the text (Kim 2014) or a recurrence in both directions (Graves and
 * Schmidhuber 2005), of which the largest over the text remains. What is stored is PyTorch's, but for a
 * convolution's weight, which lies as a linear layer over the words beside each other: (filters, words,
 * width). */
#include "model/family.h"
#include "model/init.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ROWS = 1 << 23, MOST_WIDTH = 65536, MOST_TOKENS = 1 << 16, MOST_KERNELS = 8, MOST_KERNEL = 64 };

typedef enum encoder { MEAN, CNN, LSTM } encoder;
static const char *const encoders[] = {[MEAN] = "mean", [CNN] = "cnn", [LSTM] = "lstm", NULL};

typedef struct word_vectors {
    encoder encoder;
    graft_span_kind pooling;
    int64_t vocabulary, width, longest;
    int64_t kernels[MOST_KERNELS], filters; /* cnn: words that each kernel sees, filters of each kernel */
    int n_kernels;
    int64_t hidden; /* lstm: of each direction */
    double dropout; /* of the features, before the classifier */
} word_vectors;

const char *const *graft_vectors_encoders(void) {
    return encoders;
}

static int recognise(const json_t *config, const graft_tensors *tensors) {
    (void)tensors; /* without a config nobody says which words the rows belong to */
    const char *type = json_string_value(json_object_get(config, "model_type"));
    return type && !strcmp(type, "graft_vectors") ? 100 : 0;
}

static int read_encoder(word_vectors *w, const json_t *config, const char *origin, graft_err *err) {
    const char *name = NULL, *pooling = NULL;
    int rc = graft_json_text(config, "encoder", NULL, &name, origin, err);
    if (rc == 0) rc = graft_json_text(config, "pooling", NULL, &pooling, origin, err);
    if (rc < 0) return rc;
    size_t i = 0;
    while (name && encoders[i] && strcmp(encoders[i], name) != 0) i++;
    if (!encoders[i])
        return graft_err_set(err, GRAFT_EFORMAT, "%s: encoder '%s' has to be one of: mean, cnn, lstm", origin,
                             name);
    w->encoder = (encoder)i;
    w->pooling = w->encoder == MEAN ? GRAFT_SPAN_MEAN : GRAFT_SPAN_MAX;
    if (pooling && !graft_pooling_find(&w->pooling, pooling))
        return graft_err_set(err, GRAFT_EFORMAT, "%s: pooling '%s' has to be one of: first, last, mean, max",
                             origin, pooling);
    return 0;
}

static int read_sizes(word_vectors *w, const json_t *config, const char *origin, graft_err *err) {
    int rc = graft_config_size(config, "vocab_size", 0, &w->vocabulary, MOST_ROWS, origin, err);
    if (rc == 0) rc = graft_config_size(config, "width", 0, &w->width, MOST_WIDTH, origin, err);
    if (rc == 0) rc = graft_config_size(config, "max_length", 512, &w->longest, MOST_TOKENS, origin, err);
    if (rc == 0) rc = graft_config_size(config, "filters", 100, &w->filters, MOST_WIDTH, origin, err);
    if (rc == 0) rc = graft_config_size(config, "hidden", 256, &w->hidden, MOST_WIDTH, origin, err);
    if (rc == 0)
        rc = graft_config_sizes(config, "kernels", w->kernels, MOST_KERNELS, &w->n_kernels, MOST_KERNEL,
                                origin, err);
    if (rc == 0)
        rc = graft_json_real(config, "dropout", w->encoder == MEAN ? 0 : 0.5, &w->dropout, origin, err);
    if (rc < 0) return rc;
    if (w->n_kernels == 0) {
        for (int i = 0; i < 3; i++) w->kernels[i] = 3 + i;
        w->n_kernels = 3;
    }
    if (!(w->dropout >= 0 && w->dropout < 1))
        return graft_err_set(err, GRAFT_EFORMAT, "%s: dropout has to be at least 0 and below 1", origin);
    return 0;
}

static int64_t feature_width(const word_vectors *w) {
    return w->encoder == MEAN ? w->width : w->encoder == CNN ? w->n_kernels * w->filters : 2 * w->hidden;
}

static int configure(graft_hyper *out, graft_arena *arena, const json_t *config, const graft_tensors *tensors,
                     const char *origin, graft_err *err) {
    (void)tensors;
    if (!config)
        return graft_err_set(err, GRAFT_EDATA, "%s: word vectors need the config.json beside them", origin);
    word_vectors *w = graft_arena_alloc(arena, sizeof *w);
    if (!w) return graft_err_nomem(err);
    *w = (word_vectors){0};
    int rc = read_encoder(w, config, origin, err);
    if (rc == 0) rc = read_sizes(w, config, origin, err);
    if (rc < 0) return rc;
    *out = (graft_hyper){.feature_width = feature_width(w),
                         .own = w,
                         .vocabulary = w->vocabulary,
                         .longest = w->longest,
                         .pad = 0};
    return 0;
}

static const char *published_name(graft_arena *arena, const char *name) {
    (void)arena;
    return name;
}

static graft_span_kind pooling_of(const graft_hyper *h) {
    return ((const word_vectors *)h->own)->pooling;
}

static graft_value convolve(graft_layout *l, const word_vectors *w, graft_value x, graft_value spans) {
    graft_graph *g = graft_layout_graph(l);
    graft_value y = GRAFT_NONE;
    for (int i = 0; i < w->n_kernels; i++) {
        char module[32];
        snprintf(module, sizeof module, "cnn.%d", i);
        graft_graph_scope(g, "%s", module);
        graft_value part = graft_token_window(g, x, spans, (int32_t)w->kernels[i]);
        part = graft_relu(g, graft_layout_linear(l, part, module, w->kernels[i] * w->width, w->filters));
        y = i ? graft_beside(g, y, part) : part;
    }
    return y;
}

static graft_value recur(graft_layout *l, const word_vectors *w, graft_value x, graft_value spans,
                         bool reverse) {
    const int64_t gates = 4 * w->hidden;
    const graft_shape in = {2, {gates, w->width}}, own = {2, {gates, w->hidden}}, bias = {1, {gates}};
    const graft_lstm_values values = {
        .weight_ih = graft_layout_param(l, GRAFT_PARAM_WEIGHT, in, "lstm",
                                        reverse ? "weight_ih_l0_reverse" : "weight_ih_l0"),
        .weight_hh = graft_layout_param(l, GRAFT_PARAM_WEIGHT, own, "lstm",
                                        reverse ? "weight_hh_l0_reverse" : "weight_hh_l0"),
        .bias_ih = graft_layout_param(l, GRAFT_PARAM_BIAS, bias, "lstm",
                                      reverse ? "bias_ih_l0_reverse" : "bias_ih_l0"),
        .bias_hh = graft_layout_param(l, GRAFT_PARAM_BIAS, bias, "lstm",
                                      reverse ? "bias_hh_l0_reverse" : "bias_hh_l0")};
    graft_graph_scope(graft_layout_graph(l), reverse ? "lstm.reverse" : "lstm");
    return graft_lstm(graft_layout_graph(l), x, values, spans, reverse);
}

static graft_value read_tokens(graft_layout *l, const graft_text_values *x, const graft_hyper *h) {
    const word_vectors *w = h->own;
    graft_layout_stage(l, "embeddings");
    graft_value y = graft_layout_embedding(l, x->ids, "embeddings", w->vocabulary, w->width);
    if (w->encoder == MEAN) return y;
    graft_layout_stage(l, "encoder");
    if (w->encoder == CNN) return convolve(l, w, y, x->spans);
    graft_value onwards = recur(l, w, y, x->spans, false), backwards = recur(l, w, y, x->spans, true);
    return graft_beside(graft_layout_graph(l), onwards, backwards);
}

static graft_value join(graft_layout *l, graft_value features, const graft_hyper *h) {
    return graft_layout_dropout(l, features, ((const word_vectors *)h->own)->dropout);
}

/* As torch.nn.Conv1d and torch.nn.LSTM begin; vectors of a new model as torch.nn.Embedding, but smaller. */
static void initialise(const graft_param *p, const graft_hyper *h, float *out, graft_rng *r) {
    const word_vectors *w = h->own;
    const size_t n = graft_init_count(&p->shape);
    if (!strncmp(p->name, "cnn.", 4)) {
        long i = strtol(p->name + 4, NULL, 10);
        graft_init_linear(p, w->kernels[i < w->n_kernels ? i : 0] * w->width, out, r);
    } else if (!strncmp(p->name, "lstm.", 5)) {
        double bound = 1 / sqrt((double)w->hidden);
        graft_init_uniform(out, n, -bound, bound, r);
    } else {
        for (size_t i = 0; i < n; i++) out[i] = (float)(0.1 * graft_rng_normal(r));
    }
}

static char *describe(graft_arena *arena, const graft_hyper *h) {
    const word_vectors *w = h->own;
    static const char *const by[] = {"their mean", "a CNN", "a BiLSTM"};
    return graft_arena_printf(arena, "Word vectors of %lld words, %lld wide, read by %s",
                              (long long)w->vocabulary, (long long)w->width, by[w->encoder]);
}

static int write_encoder(json_t *config, const graft_model *m, const word_vectors *w) {
    int bad =
        json_object_set_new(config, "model_type", json_string("graft_vectors")) |
        json_object_set_new(config, "encoder", json_string(encoders[w->encoder])) |
        json_object_set_new(config, "vocab_size", json_integer(w->vocabulary)) |
        json_object_set_new(config, "width", json_integer(w->width)) |
        json_object_set_new(config, "max_length", json_integer(w->longest)) |
        json_object_set_new(config, "dropout", json_real(w->dropout)) |
        json_object_set_new(config, "pooling", json_string(graft_pooling_name(graft_model_text(m)->pooling)));
    if (w->encoder == LSTM) bad |= json_object_set_new(config, "hidden", json_integer(w->hidden));
    if (w->encoder != CNN) return bad;
    json_t *kernels = json_array();
    for (int i = 0; i < w->n_kernels; i++) bad |= json_array_append_new(kernels, json_integer(w->kernels[i]));
    return bad | json_object_set_new(config, "filters", json_integer(w->filters)) |
           json_object_set_new(config, "kernels", kernels);
}

/* Task and classes are named as Transformers names them, so that they are read back by the same rules. */
static int write_config(json_t *config, const graft_model *m, const graft_hyper *h, graft_err *err) {
    static const char *const problems[] = {[GRAFT_TASK_CLASSES] = "single_label_classification",
                                           [GRAFT_TASK_MULTILABEL] = "multi_label_classification",
                                           [GRAFT_TASK_REGRESSION] = "regression"};
    const bool tags = graft_model_task(m) == GRAFT_TASK_TAGGING;
    int bad = write_encoder(config, m, h->own) |
              json_object_set_new(config, "architectures",
                                  json_pack("[s]", tags ? "VectorsForTokenClassification"
                                                        : "VectorsForSequenceClassification"));
    if (tags)
        json_object_del(config, "problem_type");
    else
        bad |= json_object_set_new(config, "problem_type", json_string(problems[graft_model_task(m)]));
    return bad ? graft_err_nomem(err) : graft_config_set_id2label(config, m, err);
}

const graft_family graft_family_word_vectors = {
    .name = "word_vectors",
    .modality = GRAFT_TEXTS,
    .head = "classifier",
    .tag_head = "classifier",
    .library = "graft",
    .recognise = recognise,
    .configure = configure,
    .labels = graft_config_id2label,
    .rename = published_name,
    .read = read_tokens,
    .pooling = GRAFT_SPAN_MEAN,
    .pooling_of = pooling_of,
    .grows = true,
    .join = join,
    .initialise = initialise,
    .describe = describe,
    .write_config = write_config,
};
