/* Shared by the families of transformers: layers, and what their configs have in common. */
#include "model/family/transformer.h"
#include "model/init.h"
#include "model/model_impl.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

int graft_transformer_activation(graft_act *out, const char *name, const char *key, const char *origin,
                                 graft_err *err) {
    static const struct {
        const char *name;
        graft_act activation;
    } known[] = {
        {"gelu", GRAFT_ACT_GELU},
        {"gelu_python", GRAFT_ACT_GELU},
        {"gelu_new", GRAFT_ACT_GELU_TANH},
        {"gelu_fast", GRAFT_ACT_GELU_TANH},
        {"gelu_pytorch_tanh", GRAFT_ACT_GELU_TANH},
        {"relu", GRAFT_ACT_RELU},
        {"quick_gelu", GRAFT_ACT_QUICK_GELU},
        {"silu", GRAFT_ACT_SILU},
        {"swish", GRAFT_ACT_SILU},
    };
    for (size_t i = 0; i < GRAFT_COUNT(known); i++) {
        if (strcmp(known[i].name, name) != 0) continue;
        *out = known[i].activation;
        return 0;
    }
    return graft_err_set(err, GRAFT_EUNSUPPORTED,
                         "%s: %s '%s' is not supported; gelu, gelu_new, relu and silu are", origin, key,
                         name);
}

int graft_transformer_check(const graft_transformer *t, const char *origin, graft_err *err) {
    if (t->width % t->n_heads == 0) return 0;
    return graft_err_set(err, GRAFT_EFORMAT, "%s: %d heads do not divide a width of %lld", origin, t->n_heads,
                         (long long)t->width);
}

graft_value graft_transformer_attend(graft_layout *l, const graft_transformer *t, graft_value q,
                                     graft_value k, graft_value v, graft_value spans, bool causal,
                                     double scale) {
    graft_value seed = GRAFT_NONE;
    graft_attention_attr a = {.heads = t->n_heads, .causal = causal, .scale = scale};
    a.p = graft_layout_drops(l, t->attention_dropout, &seed);
    return graft_attention(graft_layout_graph(l), q, k, v, spans, seed, a);
}

static graft_value project(graft_layout *l, const graft_transformer *t, graft_value x, const char *module,
                           int64_t n_out) {
    if (!t->bare_attention) return graft_layout_linear(l, x, module, t->width, n_out);
    const graft_shape shape = {2, {n_out, t->width}};
    graft_value w = graft_layout_param(l, GRAFT_PARAM_WEIGHT, shape, module, "weight");
    graft_graph_scope(graft_layout_graph(l), "%s", module);
    return graft_linear(graft_layout_graph(l), x, w, GRAFT_NONE);
}

/* The part with attention, up to the sum. */
static graft_value attention_part(graft_layout *l, const graft_transformer *t, graft_value x,
                                  graft_value spans, const graft_transformer_names *names) {
    graft_value q, k, v;
    if (t->fused) {
        graft_graph *g = graft_layout_graph(l);
        graft_value all = project(l, t, x, names->query, 3 * t->width);
        q = graft_columns(g, all, 0, t->width);
        k = graft_columns(g, all, t->width, t->width);
        v = graft_columns(g, all, 2 * t->width, t->width);
    } else {
        q = project(l, t, x, names->query, t->width);
        k = project(l, t, x, names->key, t->width);
        v = project(l, t, x, names->value, t->width);
    }
    int64_t head_width = t->width / t->n_heads;
    graft_value a = graft_transformer_attend(l, t, q, k, v, spans, false, 1 / sqrt((double)head_width));
    a = graft_layout_dropout(l, graft_layout_linear(l, a, names->out, t->width, t->width), t->dropout);
    return graft_layout_branch(l, a, spans);
}

/* The feed-forward part, up to the sum. */
static graft_value forward_part(graft_layout *l, const graft_transformer *t, graft_value x, graft_value spans,
                                const graft_transformer_names *names) {
    graft_value h = graft_layout_linear(l, x, names->up, t->width, t->inner);
    h = graft_activate(graft_layout_graph(l), h, (int32_t)t->activation);
    h = graft_layout_linear(l, h, names->down, t->inner, t->width);
    return graft_layout_branch(l, graft_layout_dropout(l, h, t->dropout), spans);
}

graft_value graft_transformer_layer(graft_layout *l, const graft_transformer *t, graft_value x,
                                    graft_value spans, const graft_transformer_names *names) {
    graft_graph *g = graft_layout_graph(l);
    graft_value a = attention_part(l, t, x, spans, names);
    x = graft_layout_layer_norm(l, graft_add(g, a, x, 0), names->attention_norm, t->width, t->eps);
    graft_value h = forward_part(l, t, x, spans, names);
    return graft_layout_layer_norm(l, graft_add(g, h, x, 0), names->norm, t->width, t->eps);
}

graft_value graft_transformer_layer_before(graft_layout *l, const graft_transformer *t, graft_value x,
                                           graft_value spans, const graft_transformer_names *names) {
    graft_graph *g = graft_layout_graph(l);
    graft_value y = graft_layout_layer_norm(l, x, names->attention_norm, t->width, t->eps);
    x = graft_add(g, attention_part(l, t, y, spans, names), x, 0);
    y = graft_layout_layer_norm(l, x, names->norm, t->width, t->eps);
    return graft_add(g, forward_part(l, t, y, spans, names), x, 0);
}

void graft_transformer_initialise(const graft_param *p, double range, float *out, graft_rng *r) {
    size_t n = graft_init_count(&p->shape);
    if (p->kind == GRAFT_PARAM_NORM)
        graft_init_norm(p, out);
    else if (p->kind == GRAFT_PARAM_BIAS)
        graft_init_constant(out, n, 0);
    else
        for (size_t i = 0; i < n; i++) out[i] = (float)(range * graft_rng_normal(r));
}

int64_t graft_transformer_rows(const graft_tensors *tensors, const char *prefix, const char *name,
                               int64_t *width) {
    char full[2 * GRAFT_TRANSFORMER_NAME];
    snprintf(full, sizeof full, "%s.%s", prefix, name);
    const graft_tensor *t = graft_tensors_find(tensors, full);
    if (!t) t = graft_tensors_find(tensors, name);
    if (!t || t->shape.rank != 2) return 0;
    *width = t->shape.dims[1];
    return t->shape.dims[0];
}

int graft_transformer_count(const graft_tensors *tensors, const char *prefix, const char *before,
                            const char *behind) {
    int n = 0;
    for (; n < GRAFT_TRANSFORMER_LAYERS; n++) {
        char name[GRAFT_TRANSFORMER_NAME];
        int64_t width;
        snprintf(name, sizeof name, "%s%d%s", before, n, behind);
        if (!graft_transformer_rows(tensors, prefix, name, &width)) break;
    }
    return n;
}

int graft_transformer_write(json_t *config, const graft_model *m, const char *type, const char *bare,
                            const char *sequence, const char *tokens, graft_err *err) {
    static const char *const problems[] = {[GRAFT_TASK_CLASSES] = "single_label_classification",
                                           [GRAFT_TASK_MULTILABEL] = "multi_label_classification",
                                           [GRAFT_TASK_REGRESSION] = "regression"};
    graft_task task = graft_model_task(m);
    const char *name = m->text.sentence ? bare : task == GRAFT_TASK_TAGGING ? tokens : sequence;
    if (!name)
        return graft_err_set(err, GRAFT_EUNSUPPORTED, "Transformers has no %s that answers for each token",
                             type);
    int bad = json_object_set_new(config, "model_type", json_string(type));
    bad |= json_object_set_new(config, "architectures", json_pack("[s]", name));
    bad |= json_object_set_new(config, "dtype", json_string("float32"));
    bad |= json_object_set_new(config, "torch_dtype", json_string("float32"));
    if (task == GRAFT_TASK_TAGGING)
        json_object_del(config, "problem_type");
    else
        bad |= json_object_set_new(config, "problem_type", json_string(problems[task]));
    return bad ? graft_err_nomem(err) : graft_config_set_id2label(config, m, err);
}
