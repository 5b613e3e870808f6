/* DistilBERT (Sanh et al. 2019): BERT without token types, under names of its own. */
#include "model/family/transformer.h"
#include <stdio.h>
#include <string.h>

typedef struct distilbert {
    graft_transformer t;
    double range;
} distilbert;

static int recognise(const json_t *config, const graft_tensors *tensors) {
    if (config) {
        const char *type = json_string_value(json_object_get(config, "model_type"));
        return type && !strcmp(type, "distilbert") ? 100 : 0;
    }
    return graft_tensors_find(tensors, "distilbert.embeddings.word_embeddings.weight") ||
                   graft_tensors_find(tensors, "transformer.layer.0.attention.q_lin.weight")
               ? 90
               : 0;
}

static int read_config(distilbert *d, int64_t *pad, const json_t *config, const char *origin,
                       graft_err *err) {
    graft_transformer *t = &d->t;
    const char *act = NULL;
    int64_t layers = 0, heads = 0;
    int rc =
        graft_config_size(config, "vocab_size", 30522, &t->vocabulary, GRAFT_TRANSFORMER_ROWS, origin, err);
    if (rc == 0) rc = graft_config_size(config, "dim", 768, &t->width, GRAFT_TRANSFORMER_WIDTH, origin, err);
    if (rc == 0)
        rc = graft_config_size(config, "n_layers", 6, &layers, GRAFT_TRANSFORMER_LAYERS, origin, err);
    if (rc == 0) rc = graft_config_size(config, "n_heads", 12, &heads, GRAFT_TRANSFORMER_WIDTH, origin, err);
    if (rc == 0)
        rc = graft_config_size(config, "hidden_dim", 3072, &t->inner, GRAFT_TRANSFORMER_WIDTH, origin, err);
    if (rc == 0)
        rc = graft_config_size(config, "max_position_embeddings", 512, &t->longest, GRAFT_TRANSFORMER_TOKENS,
                               origin, err);
    if (rc == 0) rc = graft_json_real(config, "dropout", 0.1, &t->dropout, origin, err);
    if (rc == 0) rc = graft_json_real(config, "attention_dropout", 0.1, &t->attention_dropout, origin, err);
    if (rc == 0) rc = graft_json_real(config, "seq_classif_dropout", 0.2, &t->head_dropout, origin, err);
    if (rc == 0) rc = graft_json_real(config, "initializer_range", 0.02, &d->range, origin, err);
    if (rc == 0) rc = graft_json_text(config, "activation", "gelu", &act, origin, err);
    if (rc == 0) rc = graft_json_int(config, "pad_token_id", 0, pad, origin, err);
    if (rc == 0) rc = graft_transformer_activation(&t->activation, act, "activation", origin, err);
    if (rc < 0) return rc;
    t->n_layers = (int)layers;
    t->n_heads = (int)heads;
    return graft_transformer_check(t, origin, err);
}

static int measure(distilbert *d, const graft_tensors *tensors, const char *origin, graft_err *err) {
    graft_transformer *t = &d->t;
    int64_t width = 0;
    *t = (graft_transformer){.dropout = 0.1, .attention_dropout = 0.1, .head_dropout = 0.2};
    d->range = 0.02;
    t->vocabulary =
        graft_transformer_rows(tensors, "distilbert", "embeddings.word_embeddings.weight", &t->width);
    t->longest =
        graft_transformer_rows(tensors, "distilbert", "embeddings.position_embeddings.weight", &width);
    t->inner = graft_transformer_rows(tensors, "distilbert", "transformer.layer.0.ffn.lin1.weight", &width);
    t->n_layers = graft_transformer_count(tensors, "distilbert", "transformer.layer.", ".ffn.lin1.weight");
    t->n_heads = (int)(t->width / 64);
    if (!t->vocabulary || !t->longest || !t->inner || !t->n_layers || t->n_heads < 1)
        return graft_err_set(
            err, GRAFT_EDATA,
            "%s: its tensors are not those of a whole DistilBERT; put its config.json beside it", origin);
    return graft_transformer_check(t, origin, err);
}

static int configure(graft_hyper *out, graft_arena *arena, const json_t *config, const graft_tensors *tensors,
                     const char *origin, graft_err *err) {
    distilbert *d = graft_arena_alloc(arena, sizeof *d);
    int64_t pad = 0;
    if (!d) return graft_err_nomem(err);
    *d = (distilbert){0};
    int rc = config ? read_config(d, &pad, config, origin, err) : measure(d, tensors, origin, err);
    d->t.eps = 1e-12; /* fixed in the published class */
    *out = (graft_hyper){.feature_width = d->t.width,
                         .own = d,
                         .vocabulary = d->t.vocabulary,
                         .longest = d->t.longest,
                         .head_dropout = d->t.dropout,
                         .pad = pad};
    return rc;
}

static const char *published_name(graft_arena *arena, const char *name) {
    if (!strncmp(name, "embeddings.", 11) || !strncmp(name, "transformer.layer.", 18)) {
        name = graft_arena_printf(arena, "distilbert.%s", name);
        if (!name) return NULL;
    }
    return graft_rename_affine(arena, name, "LayerNorm");
}

static bool is_buffer(const char *name) {
    return strstr(name, "embeddings.position_ids") || !strncmp(name, "vocab_", 6);
}

static void layer_names(graft_transformer_names *n, int i) {
    const size_t size = GRAFT_TRANSFORMER_NAME;
    snprintf(n->query, size, "distilbert.transformer.layer.%d.attention.q_lin", i);
    snprintf(n->key, size, "distilbert.transformer.layer.%d.attention.k_lin", i);
    snprintf(n->value, size, "distilbert.transformer.layer.%d.attention.v_lin", i);
    snprintf(n->out, size, "distilbert.transformer.layer.%d.attention.out_lin", i);
    snprintf(n->attention_norm, size, "distilbert.transformer.layer.%d.sa_layer_norm", i);
    snprintf(n->up, size, "distilbert.transformer.layer.%d.ffn.lin1", i);
    snprintf(n->down, size, "distilbert.transformer.layer.%d.ffn.lin2", i);
    snprintf(n->norm, size, "distilbert.transformer.layer.%d.output_layer_norm", i);
}

static graft_value read_tokens(graft_layout *l, const graft_text_values *x, const graft_hyper *h) {
    const graft_transformer *t = &((const distilbert *)h->own)->t;
    graft_graph *g = graft_layout_graph(l);
    graft_transformer_names names;
    graft_layout_stage(l, "embeddings");
    graft_value y =
        graft_layout_embedding(l, x->ids, "distilbert.embeddings.word_embeddings", t->vocabulary, t->width);
    y = graft_add(g, y,
                  graft_layout_embedding(l, x->positions, "distilbert.embeddings.position_embeddings",
                                         t->longest, t->width),
                  0);
    y = graft_layout_layer_norm(l, y, "distilbert.embeddings.LayerNorm", t->width, t->eps);
    y = graft_layout_dropout(l, y, t->dropout);
    for (int i = 0; i < t->n_layers; i++) {
        graft_layout_stage(l, "layer%d", i);
        graft_layout_depth(l, i, t->n_layers);
        layer_names(&names, i);
        y = graft_transformer_layer(l, t, y, x->spans, &names);
    }
    return y;
}

static graft_value join(graft_layout *l, graft_value features, const graft_hyper *h) {
    const graft_transformer *t = &((const distilbert *)h->own)->t;
    graft_value y = graft_layout_linear(l, features, "pre_classifier", t->width, t->width);
    return graft_layout_dropout(l, graft_relu(graft_layout_graph(l), y), t->head_dropout);
}

static void initialise(const graft_param *p, const graft_hyper *h, float *out, graft_rng *r) {
    graft_transformer_initialise(p, ((const distilbert *)h->own)->range, out, r);
}

static char *describe(graft_arena *arena, const graft_hyper *h) {
    const graft_transformer *t = &((const distilbert *)h->own)->t;
    return graft_arena_printf(arena, "DistilBERT of %d layers, %lld wide", t->n_layers, (long long)t->width);
}

static int complete(json_t *config, const graft_hyper *h) {
    const graft_transformer *t = &((const distilbert *)h->own)->t;
    return json_object_set_new(config, "vocab_size", json_integer(t->vocabulary)) |
           json_object_set_new(config, "dim", json_integer(t->width)) |
           json_object_set_new(config, "n_layers", json_integer(t->n_layers)) |
           json_object_set_new(config, "n_heads", json_integer(t->n_heads)) |
           json_object_set_new(config, "hidden_dim", json_integer(t->inner)) |
           json_object_set_new(config, "max_position_embeddings", json_integer(t->longest)) |
           json_object_set_new(config, "activation", json_string("gelu")) |
           json_object_set_new(config, "pad_token_id", json_integer(h->pad));
}

static int write_config(json_t *config, const graft_model *m, const graft_hyper *h, graft_err *err) {
    if (!json_object_get(config, "model_type") && complete(config, h)) return graft_err_nomem(err);
    return graft_transformer_write(config, m, "distilbert", "DistilBertModel",
                                   "DistilBertForSequenceClassification", "DistilBertForTokenClassification",
                                   err);
}

const graft_family graft_family_distilbert = {
    .name = "distilbert",
    .modality = GRAFT_TEXTS,
    .head = "classifier",
    .tag_head = "classifier",
    .library = "transformers",
    .recognise = recognise,
    .configure = configure,
    .labels = graft_config_id2label,
    .rename = published_name,
    .is_buffer = is_buffer,
    .read = read_tokens,
    .pooling = GRAFT_SPAN_FIRST,
    .join = join,
    .initialise = initialise,
    .describe = describe,
    .write_config = write_config,
};
