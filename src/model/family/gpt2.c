/* GPT-2 (Radford et al. 2019): causal, norms before each part, weights stored (in, out). A text is spoken for
 * by its last token. */
#include "model/family/transformer.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct gpt2 {
    graft_transformer t;
    double range, embedding_dropout;
    bool scales, scales_by_layer; /* attention by 1 / sqrt(d), and by 1 / (layer + 1) too */
} gpt2;

static int recognise(const json_t *config, const graft_tensors *tensors) {
    if (config) {
        const char *type = json_string_value(json_object_get(config, "model_type"));
        return type && !strcmp(type, "gpt2") ? 100 : 0;
    }
    return graft_tensors_find(tensors, "transformer.h.0.attn.c_attn.weight") ||
                   graft_tensors_find(tensors, "h.0.attn.c_attn.weight")
               ? 90
               : 0;
}

static int read_config(gpt2 *p, int64_t *pad, const json_t *config, const char *origin, graft_err *err) {
    graft_transformer *t = &p->t;
    const char *act = NULL;
    int64_t layers = 0, heads = 0;
    int rc =
        graft_config_size(config, "vocab_size", 50257, &t->vocabulary, GRAFT_TRANSFORMER_ROWS, origin, err);
    if (rc == 0)
        rc = graft_config_size(config, "n_embd", 768, &t->width, GRAFT_TRANSFORMER_WIDTH, origin, err);
    if (rc == 0)
        rc = graft_config_size(config, "n_layer", 12, &layers, GRAFT_TRANSFORMER_LAYERS, origin, err);
    if (rc == 0) rc = graft_config_size(config, "n_head", 12, &heads, GRAFT_TRANSFORMER_WIDTH, origin, err);
    if (rc == 0)
        rc = graft_config_size(config, "n_inner", 4 * t->width, &t->inner, 4 * GRAFT_TRANSFORMER_WIDTH,
                               origin, err);
    if (rc == 0)
        rc = graft_config_size(config, "n_positions", 1024, &t->longest, GRAFT_TRANSFORMER_TOKENS, origin,
                               err);
    if (rc == 0) rc = graft_json_real(config, "layer_norm_epsilon", 1e-5, &t->eps, origin, err);
    if (rc == 0) rc = graft_json_real(config, "resid_pdrop", 0.1, &t->dropout, origin, err);
    if (rc == 0) rc = graft_json_real(config, "embd_pdrop", 0.1, &p->embedding_dropout, origin, err);
    if (rc == 0) rc = graft_json_real(config, "attn_pdrop", 0.1, &t->attention_dropout, origin, err);
    if (rc == 0) rc = graft_json_real(config, "initializer_range", 0.02, &p->range, origin, err);
    if (rc == 0) rc = graft_json_bool(config, "scale_attn_weights", true, &p->scales, origin, err);
    if (rc == 0)
        rc = graft_json_bool(config, "scale_attn_by_inverse_layer_idx", false, &p->scales_by_layer, origin,
                             err);
    if (rc == 0) rc = graft_json_text(config, "activation_function", "gelu_new", &act, origin, err);
    if (rc == 0) rc = graft_json_int(config, "pad_token_id", -1, pad, origin, err);
    if (rc == 0) rc = graft_transformer_activation(&t->activation, act, "activation_function", origin, err);
    if (rc < 0) return rc;
    t->n_layers = (int)layers;
    t->n_heads = (int)heads;
    return graft_transformer_check(t, origin, err);
}

static int measure(gpt2 *p, const graft_tensors *tensors, const char *origin, graft_err *err) {
    graft_transformer *t = &p->t;
    int64_t width = 0;
    *p = (gpt2){
        .t = {.eps = 1e-5, .activation = GRAFT_ACT_GELU_TANH, .dropout = 0.1, .attention_dropout = 0.1},
        .range = 0.02,
        .embedding_dropout = 0.1,
        .scales = true};
    t->vocabulary = graft_transformer_rows(tensors, "transformer", "wte.weight", &t->width);
    t->longest = graft_transformer_rows(tensors, "transformer", "wpe.weight", &width);
    t->inner = graft_transformer_rows(tensors, "transformer", "h.0.mlp.c_proj.weight", &width);
    t->n_layers = graft_transformer_count(tensors, "transformer", "h.", ".mlp.c_proj.weight");
    t->n_heads = (int)(t->width / 64);
    if (!t->vocabulary || !t->longest || !t->inner || !t->n_layers || t->n_heads < 1)
        return graft_err_set(err, GRAFT_EDATA,
                             "%s: its tensors are not those of a whole GPT-2; put its config.json beside it",
                             origin);
    return graft_transformer_check(t, origin, err);
}

static int configure(graft_hyper *out, graft_arena *arena, const json_t *config, const graft_tensors *tensors,
                     const char *origin, graft_err *err) {
    gpt2 *p = graft_arena_alloc(arena, sizeof *p);
    int64_t pad = -1;
    if (!p) return graft_err_nomem(err);
    *p = (gpt2){0};
    int rc = config ? read_config(p, &pad, config, origin, err) : measure(p, tensors, origin, err);
    *out = (graft_hyper){.feature_width = p->t.width,
                         .own = p,
                         .vocabulary = p->t.vocabulary,
                         .longest = p->t.longest,
                         .head_dropout = 0.1,
                         .pad = pad};
    return rc;
}

static const char *published_name(graft_arena *arena, const char *name) {
    bool bare = !strncmp(name, "wte.", 4) || !strncmp(name, "wpe.", 4) || !strncmp(name, "h.", 2) ||
                !strncmp(name, "ln_f.", 5);
    return bare ? graft_arena_printf(arena, "transformer.%s", name) : name;
}

static bool ends_with(const char *name, const char *end) {
    size_t n = strlen(name), k = strlen(end);
    return n >= k && !strcmp(name + n - k, end);
}

/* Masks that old files keep, and the tied head of the language model. */
static bool is_buffer(const char *name) {
    return ends_with(name, ".attn.bias") || ends_with(name, ".attn.masked_bias") ||
           !strcmp(name, "lm_head.weight");
}

/* Linear layer whose weight is stored (in, out). */
static graft_value project(graft_layout *l, graft_value x, const char *module, int64_t n_in, int64_t n_out) {
    graft_value w =
        graft_layout_param(l, GRAFT_PARAM_WEIGHT, (graft_shape){2, {n_in, n_out}}, module, "weight");
    graft_value b = graft_layout_param(l, GRAFT_PARAM_BIAS, (graft_shape){1, {n_out}}, module, "bias");
    graft_graph_scope(graft_layout_graph(l), "%s", module);
    return graft_linear_in_out(graft_layout_graph(l), x, w, b);
}

static graft_value layer(graft_layout *l, const gpt2 *p, graft_value x, graft_value spans, int i) {
    graft_transformer t = p->t;
    graft_graph *g = graft_layout_graph(l);
    char name[GRAFT_TRANSFORMER_NAME];
    const size_t size = sizeof name;
    int64_t head_width = t.width / t.n_heads;
    double scale = (p->scales ? 1.0 / sqrt((double)head_width) : 1.0) / (p->scales_by_layer ? i + 1 : 1);
    snprintf(name, size, "transformer.h.%d.ln_1", i);
    graft_value y = graft_layout_layer_norm(l, x, name, t.width, t.eps);
    snprintf(name, size, "transformer.h.%d.attn.c_attn", i);
    y = project(l, y, name, t.width, 3 * t.width);
    graft_value q = graft_columns(g, y, 0, t.width), k = graft_columns(g, y, t.width, t.width),
                v = graft_columns(g, y, 2 * t.width, t.width);
    y = graft_transformer_attend(l, &t, q, k, v, spans, true, scale);
    snprintf(name, size, "transformer.h.%d.attn.c_proj", i);
    y = graft_layout_dropout(l, project(l, y, name, t.width, t.width), t.dropout);
    x = graft_add(g, graft_layout_branch(l, y, spans), x, 0);
    snprintf(name, size, "transformer.h.%d.ln_2", i);
    y = graft_layout_layer_norm(l, x, name, t.width, t.eps);
    snprintf(name, size, "transformer.h.%d.mlp.c_fc", i);
    y = graft_activate(g, project(l, y, name, t.width, t.inner), (int32_t)t.activation);
    snprintf(name, size, "transformer.h.%d.mlp.c_proj", i);
    y = graft_layout_dropout(l, project(l, y, name, t.inner, t.width), t.dropout);
    return graft_add(g, graft_layout_branch(l, y, spans), x, 0);
}

static graft_value read_tokens(graft_layout *l, const graft_text_values *x, const graft_hyper *h) {
    const gpt2 *p = h->own;
    const graft_transformer *t = &p->t;
    graft_graph *g = graft_layout_graph(l);
    graft_layout_stage(l, "embeddings");
    graft_value y = graft_layout_embedding(l, x->ids, "transformer.wte", t->vocabulary, t->width);
    y = graft_add(g, y, graft_layout_embedding(l, x->positions, "transformer.wpe", t->longest, t->width), 0);
    y = graft_layout_dropout(l, y, p->embedding_dropout);
    for (int i = 0; i < t->n_layers; i++) {
        graft_layout_stage(l, "layer%d", i);
        graft_layout_depth(l, i, t->n_layers);
        y = layer(l, p, y, x->spans, i);
    }
    return graft_layout_layer_norm(l, y, "transformer.ln_f", t->width, t->eps);
}

static void initialise(const graft_param *p, const graft_hyper *h, float *out, graft_rng *r) {
    graft_transformer_initialise(p, ((const gpt2 *)h->own)->range, out, r);
}

static char *describe(graft_arena *arena, const graft_hyper *h) {
    const graft_transformer *t = &((const gpt2 *)h->own)->t;
    return graft_arena_printf(arena, "GPT-2 of %d layers, %lld wide", t->n_layers, (long long)t->width);
}

static int complete(json_t *config, const graft_hyper *h) {
    const graft_transformer *t = &((const gpt2 *)h->own)->t;
    return json_object_set_new(config, "vocab_size", json_integer(t->vocabulary)) |
           json_object_set_new(config, "n_embd", json_integer(t->width)) |
           json_object_set_new(config, "n_layer", json_integer(t->n_layers)) |
           json_object_set_new(config, "n_head", json_integer(t->n_heads)) |
           json_object_set_new(config, "n_inner", json_integer(t->inner)) |
           json_object_set_new(config, "n_positions", json_integer(t->longest)) |
           json_object_set_new(config, "activation_function", json_string("gelu_new"));
}

/* Without an id that fills, Transformers refuses batches: any will do, for it looks at the last other token.
 */
static int write_config(json_t *config, const graft_model *m, const graft_hyper *h, graft_err *err) {
    const json_t *pad = json_object_get(config, "pad_token_id");
    if (!json_object_get(config, "model_type") && complete(config, h)) return graft_err_nomem(err);
    if (!json_is_integer(pad) &&
        json_object_set_new(config, "pad_token_id", json_integer(graft_model_pad(m))) < 0)
        return graft_err_nomem(err);
    return graft_transformer_write(config, m, "gpt2", "GPT2Model", "GPT2ForSequenceClassification",
                                   "GPT2ForTokenClassification", err);
}

const graft_family graft_family_gpt2 = {
    .name = "gpt2",
    .modality = GRAFT_TEXTS,
    .head = "score",
    .tag_head = "classifier",
    .head_without_bias = true,
    .library = "transformers",
    .recognise = recognise,
    .configure = configure,
    .labels = graft_config_id2label,
    .rename = published_name,
    .is_buffer = is_buffer,
    .read = read_tokens,
    .pooling = GRAFT_SPAN_LAST,
    .initialise = initialise,
    .describe = describe,
    .write_config = write_config,
};
