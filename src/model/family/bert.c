/* BERT (Devlin et al. 2019), and what is built like it: MiniLM, BGE, E5. */
#include "model/family/bert.h"

static const graft_bert_kind kind = {.type = "bert",
                                     .dense = "bert.pooler.dense",
                                     .buffer = "cls.",
                                     .absent = {.vocabulary = 30522,
                                                .width = 768,
                                                .inner = 3072,
                                                .longest = 512,
                                                .n_types = 2,
                                                .n_layers = 12,
                                                .n_heads = 12,
                                                .eps = 1e-12,
                                                .dropout = 0.1,
                                                .attention_dropout = 0.1,
                                                .head_dropout = 0.1}};

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
    return graft_arena_printf(arena, "BERT of %d layers, %lld wide", t->n_layers, (long long)t->width);
}

static int write_config(json_t *config, const graft_model *m, const graft_hyper *h, graft_err *err) {
    int rc = graft_bert_complete(config, h, err);
    if (rc < 0) return rc;
    return graft_transformer_write(config, m, "bert", "BertModel", "BertForSequenceClassification",
                                   "BertForTokenClassification", err);
}

const graft_family graft_family_bert = {
    .name = "bert",
    .modality = GRAFT_TEXTS,
    .head = "classifier",
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
