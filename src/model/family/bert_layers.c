/* Shared by BERT and RoBERTa: embeddings, layers, names, configs. */
#include "model/family/bert.h"
#include <stdio.h>
#include <string.h>

static int read_config(graft_bert *b, int64_t *pad, const json_t *config, const char *origin,
                       graft_err *err) {
    graft_transformer *t = &b->t;
    const graft_transformer *absent = &b->kind->absent;
    const char *act = NULL, *positions = NULL;
    int64_t layers = 0, heads = 0;
    int rc = graft_config_size(config, "vocab_size", absent->vocabulary, &t->vocabulary,
                               GRAFT_TRANSFORMER_ROWS, origin, err);
    if (rc == 0)
        rc = graft_config_size(config, "hidden_size", absent->width, &t->width, GRAFT_TRANSFORMER_WIDTH,
                               origin, err);
    if (rc == 0)
        rc = graft_config_size(config, "num_hidden_layers", absent->n_layers, &layers,
                               GRAFT_TRANSFORMER_LAYERS, origin, err);
    if (rc == 0)
        rc = graft_config_size(config, "num_attention_heads", absent->n_heads, &heads,
                               GRAFT_TRANSFORMER_WIDTH, origin, err);
    if (rc == 0)
        rc = graft_config_size(config, "intermediate_size", absent->inner, &t->inner, GRAFT_TRANSFORMER_WIDTH,
                               origin, err);
    if (rc == 0)
        rc = graft_config_size(config, "max_position_embeddings", absent->longest, &t->longest,
                               GRAFT_TRANSFORMER_TOKENS, origin, err);
    if (rc == 0)
        rc = graft_config_size(config, "type_vocab_size", absent->n_types, &t->n_types, 1 << 10, origin, err);
    if (rc == 0) rc = graft_json_real(config, "layer_norm_eps", absent->eps, &t->eps, origin, err);
    if (rc == 0) rc = graft_json_real(config, "hidden_dropout_prob", 0.1, &t->dropout, origin, err);
    if (rc == 0)
        rc = graft_json_real(config, "attention_probs_dropout_prob", 0.1, &t->attention_dropout, origin, err);
    if (rc == 0)
        rc = graft_json_real(config, "classifier_dropout", t->dropout, &t->head_dropout, origin, err);
    if (rc == 0) rc = graft_json_real(config, "initializer_range", 0.02, &b->range, origin, err);
    if (rc == 0) rc = graft_json_text(config, "hidden_act", "gelu", &act, origin, err);
    if (rc == 0) rc = graft_json_text(config, "position_embedding_type", "absolute", &positions, origin, err);
    if (rc == 0) rc = graft_json_int(config, "pad_token_id", b->kind->offset ? 1 : 0, pad, origin, err);
    if (rc == 0) rc = graft_transformer_activation(&t->activation, act, "hidden_act", origin, err);
    if (rc < 0) return rc;
    if (strcmp(positions, "absolute") != 0)
        return graft_err_set(err, GRAFT_EUNSUPPORTED,
                             "%s: position_embedding_type '%s' is not supported, absolute is", origin,
                             positions);
    t->n_layers = (int)layers;
    t->n_heads = (int)heads;
    return graft_transformer_check(t, origin, err);
}

/* Without a config the shapes tell all but the number of heads, which every published size has as width / 64
 * or, in MiniLM's widths, 12. */
static int measure(graft_bert *b, const graft_tensors *tensors, const char *origin, graft_err *err) {
    graft_transformer *t = &b->t;
    int64_t width = 0;
    *t = b->kind->absent;
    t->vocabulary =
        graft_transformer_rows(tensors, b->kind->type, "embeddings.word_embeddings.weight", &t->width);
    t->longest =
        graft_transformer_rows(tensors, b->kind->type, "embeddings.position_embeddings.weight", &width);
    t->n_types =
        graft_transformer_rows(tensors, b->kind->type, "embeddings.token_type_embeddings.weight", &width);
    t->inner =
        graft_transformer_rows(tensors, b->kind->type, "encoder.layer.0.intermediate.dense.weight", &width);
    t->n_layers =
        graft_transformer_count(tensors, b->kind->type, "encoder.layer.", ".intermediate.dense.weight");
    t->n_heads = t->width == 384 ? 12 : (int)(t->width / 64);
    b->range = 0.02;
    if (!t->vocabulary || !t->longest || !t->n_types || !t->inner || !t->n_layers || t->n_heads < 1)
        return graft_err_set(err, GRAFT_EDATA,
                             "%s: its tensors are not those of a whole %s; put its config.json beside it",
                             origin, b->kind->type);
    return graft_transformer_check(t, origin, err);
}

int graft_bert_configure(const graft_bert_kind *kind, graft_hyper *out, graft_arena *arena,
                         const json_t *config, const graft_tensors *tensors, const char *origin,
                         graft_err *err) {
    graft_bert *b = graft_arena_alloc(arena, sizeof *b);
    int64_t pad = kind->offset ? 1 : 0;
    if (!b) return graft_err_nomem(err);
    *b = (graft_bert){.kind = kind};
    int rc = config ? read_config(b, &pad, config, origin, err) : measure(b, tensors, origin, err);
    if (rc < 0) return rc;
    int64_t offset = kind->offset && pad < b->t.longest ? pad + 1 : 0;
    if (kind->offset && (offset < 1 || offset >= b->t.longest))
        return graft_err_set(err, GRAFT_EFORMAT, "%s: pad_token_id %lld leaves no position", origin,
                             (long long)pad);
    *out = (graft_hyper){.feature_width = b->t.width,
                         .own = b,
                         .vocabulary = b->t.vocabulary,
                         .longest = b->t.longest - offset,
                         .position_offset = offset,
                         .n_types = b->t.n_types,
                         .head_dropout = b->t.head_dropout,
                         .pad = pad};
    return 0;
}

int graft_bert_recognise(const graft_bert_kind *kind, const json_t *config, const graft_tensors *tensors) {
    if (config) {
        const char *type = json_string_value(json_object_get(config, "model_type"));
        bool mine = type && (!strcmp(type, kind->type) || (kind->alias && !strcmp(type, kind->alias)));
        return mine ? 100 : 0;
    }
    char name[GRAFT_TRANSFORMER_NAME];
    snprintf(name, sizeof name, "%s.embeddings.word_embeddings.weight", kind->type);
    if (graft_tensors_find(tensors, name)) return 90;
    return graft_tensors_find(tensors, "embeddings.token_type_embeddings.weight") && !kind->offset ? 80 : 0;
}

static bool begins(const char *name, const char *with) {
    return strncmp(name, with, strlen(with)) == 0;
}

const char *graft_bert_rename(const graft_bert_kind *kind, graft_arena *arena, const char *name) {
    if (begins(name, "embeddings.") || begins(name, "encoder.") || begins(name, "pooler.")) {
        name = graft_arena_printf(arena, "%s.%s", kind->type, name);
        if (!name) return NULL;
    }
    return graft_rename_affine(arena, name, "LayerNorm");
}

bool graft_bert_is_buffer(const graft_bert_kind *kind, const char *name) {
    return strstr(name, "embeddings.position_ids") || begins(name, kind->buffer);
}

static void layer_names(graft_transformer_names *n, const char *type, int i) {
    const size_t size = GRAFT_TRANSFORMER_NAME;
    snprintf(n->query, size, "%s.encoder.layer.%d.attention.self.query", type, i);
    snprintf(n->key, size, "%s.encoder.layer.%d.attention.self.key", type, i);
    snprintf(n->value, size, "%s.encoder.layer.%d.attention.self.value", type, i);
    snprintf(n->out, size, "%s.encoder.layer.%d.attention.output.dense", type, i);
    snprintf(n->attention_norm, size, "%s.encoder.layer.%d.attention.output.LayerNorm", type, i);
    snprintf(n->up, size, "%s.encoder.layer.%d.intermediate.dense", type, i);
    snprintf(n->down, size, "%s.encoder.layer.%d.output.dense", type, i);
    snprintf(n->norm, size, "%s.encoder.layer.%d.output.LayerNorm", type, i);
}

static graft_value embed(graft_layout *l, const graft_bert *b, const char *leaf, graft_value ids,
                         int64_t n_rows) {
    char name[GRAFT_TRANSFORMER_NAME];
    snprintf(name, sizeof name, "%s.embeddings.%s", b->kind->type, leaf);
    return graft_layout_embedding(l, ids, name, n_rows, b->t.width);
}

graft_value graft_bert_read(graft_layout *l, const graft_text_values *x, const graft_hyper *h) {
    const graft_bert *b = h->own;
    const graft_transformer *t = &b->t;
    graft_graph *g = graft_layout_graph(l);
    graft_transformer_names names;
    char norm[GRAFT_TRANSFORMER_NAME];
    graft_layout_stage(l, "embeddings");
    graft_value y = embed(l, b, "word_embeddings", x->ids, t->vocabulary);
    y = graft_add(g, y, embed(l, b, "token_type_embeddings", x->types, t->n_types), 0);
    y = graft_add(g, y, embed(l, b, "position_embeddings", x->positions, t->longest), 0);
    snprintf(norm, sizeof norm, "%s.embeddings.LayerNorm", b->kind->type);
    y = graft_layout_dropout(l, graft_layout_layer_norm(l, y, norm, t->width, t->eps), t->dropout);
    for (int i = 0; i < t->n_layers; i++) {
        graft_layout_stage(l, "layer%d", i);
        graft_layout_depth(l, i, t->n_layers);
        layer_names(&names, b->kind->type, i);
        y = graft_transformer_layer(l, t, y, x->spans, &names);
    }
    return y;
}

graft_value graft_bert_join(graft_layout *l, graft_value features, const graft_hyper *h) {
    const graft_bert *b = h->own;
    if (b->kind->offset) features = graft_layout_dropout(l, features, b->t.head_dropout);
    graft_value y = graft_layout_linear(l, features, b->kind->dense, b->t.width, b->t.width);
    return graft_layout_dropout(l, graft_tanh(graft_layout_graph(l), y), b->t.head_dropout);
}

int graft_bert_complete(json_t *config, const graft_hyper *h, graft_err *err) {
    const graft_bert *b = h->own;
    const graft_transformer *t = &b->t;
    if (json_object_get(config, "model_type")) return 0;
    int bad = json_object_set_new(config, "vocab_size", json_integer(t->vocabulary)) |
              json_object_set_new(config, "hidden_size", json_integer(t->width)) |
              json_object_set_new(config, "num_hidden_layers", json_integer(t->n_layers)) |
              json_object_set_new(config, "num_attention_heads", json_integer(t->n_heads)) |
              json_object_set_new(config, "intermediate_size", json_integer(t->inner)) |
              json_object_set_new(config, "max_position_embeddings", json_integer(t->longest)) |
              json_object_set_new(config, "type_vocab_size", json_integer(t->n_types)) |
              json_object_set_new(config, "layer_norm_eps", json_real(t->eps)) |
              json_object_set_new(config, "hidden_act", json_string("gelu")) |
              json_object_set_new(config, "pad_token_id", json_integer(h->pad));
    return bad ? graft_err_nomem(err) : 0;
}

void graft_bert_initialise(const graft_param *p, const graft_hyper *h, float *out, graft_rng *r) {
    graft_transformer_initialise(p, ((const graft_bert *)h->own)->range, out, r);
}
