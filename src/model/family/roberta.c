/* RoBERTa (Liu et al. 2019) and XLM-RoBERTa (Conneau et al. 2020): BERT whose positions begin behind the id
 * that fills. */
#include "model/family/bert.h"
#include <string.h>

static const graft_bert_kind kind = {.type = "roberta",
                                     .alias = "xlm-roberta",
                                     .dense = "classifier.dense",
                                     .buffer = "lm_head.",
                                     .absent = {.vocabulary = 50265,
                                                .width = 768,
                                                .inner = 3072,
                                                .longest = 514,
                                                .n_types = 1,
                                                .n_layers = 12,
                                                .n_heads = 12,
                                                .eps = 1e-12,
                                                .dropout = 0.1,
                                                .attention_dropout = 0.1,
                                                .head_dropout = 0.1},
                                     .offset = true};

static int recognise(const json_t *config, const graft_tensors *tensors) {
    return graft_bert_recognise(&kind, config, tensors);
}

static int configure(graft_hyper *out, graft_arena *arena, const json_t *config, const graft_tensors *tensors,
                     const char *origin, graft_err *err) {
    return graft_bert_configure(&kind, out, arena, config, tensors, origin, err);
}

static const char *published_name(graft_arena *arena, const char *name) {
    return graft_bert_rename(&kind, arena, name);
}

static bool is_buffer(const char *name) {
    return graft_bert_is_buffer(&kind, name);
}

static char *describe(graft_arena *arena, const graft_hyper *h) {
    const graft_transformer *t = &((const graft_bert *)h->own)->t;
    return graft_arena_printf(arena, "RoBERTa of %d layers, %lld wide", t->n_layers, (long long)t->width);
}

static int write_config(json_t *config, const graft_model *m, const graft_hyper *h, graft_err *err) {
    const char *type = json_string_value(json_object_get(config, "model_type"));
    bool many = type && !strcmp(type, kind.alias);
    int rc = graft_bert_complete(config, h, err);
    if (rc < 0) return rc;
    if (many)
        return graft_transformer_write(config, m, kind.alias, "XLMRobertaModel",
                                       "XLMRobertaForSequenceClassification",
                                       "XLMRobertaForTokenClassification", err);
    return graft_transformer_write(config, m, kind.type, "RobertaModel", "RobertaForSequenceClassification",
                                   "RobertaForTokenClassification", err);
}

const graft_family graft_family_roberta = {
    .name = "roberta",
    .modality = GRAFT_TEXTS,
    .head = "classifier.out_proj",
    .tag_head = "classifier",
    .library = "transformers",
    .recognise = recognise,
    .configure = configure,
    .labels = graft_config_id2label,
    .rename = published_name,
    .is_buffer = is_buffer,
    .read = graft_bert_read,
    .pooling = GRAFT_SPAN_FIRST,
    .join = graft_bert_join,
    .initialise = graft_bert_initialise,
    .describe = describe,
    .write_config = write_config,
};
