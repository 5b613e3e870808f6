/* What the transformer encoders share: one layer with attention and a feed-forward part, in the two
 * published orders, and what their configs have in common. A family says how its modules are called. */
#ifndef GRAFT_MODEL_FAMILY_TRANSFORMER_H
#define GRAFT_MODEL_FAMILY_TRANSFORMER_H

#include "model/family.h"

enum {
    GRAFT_TRANSFORMER_NAME = 128,       /* bytes of a module's name */
    GRAFT_TRANSFORMER_LAYERS = 1000,    /* the most layers that a config may ask for */
    GRAFT_TRANSFORMER_WIDTH = 1 << 16,  /* the widest */
    GRAFT_TRANSFORMER_TOKENS = 1 << 20, /* the longest text */
    GRAFT_TRANSFORMER_ROWS = 1 << 23,   /* the largest vocabulary */
};

typedef struct graft_transformer {
    int64_t vocabulary, width, inner, longest, n_types;
    int n_layers, n_heads;
    graft_act activation;
    bool bare_attention; /* query, key and value have no bias */
    bool fused;          /* and are one layer, called as the query's is: rows q, k, v of its weight */
    double eps;          /* of the layer norms */
    double dropout, attention_dropout, head_dropout;
} graft_transformer;

/** The modules of one layer. */
typedef struct graft_transformer_names {
    char query[GRAFT_TRANSFORMER_NAME], key[GRAFT_TRANSFORMER_NAME], value[GRAFT_TRANSFORMER_NAME],
        out[GRAFT_TRANSFORMER_NAME], attention_norm[GRAFT_TRANSFORMER_NAME], up[GRAFT_TRANSFORMER_NAME],
        down[GRAFT_TRANSFORMER_NAME], norm[GRAFT_TRANSFORMER_NAME];
} graft_transformer_names;

/** "gelu", "gelu_new", "relu" and their aliases; EUNSUPPORTED, naming `key`, for others. */
int graft_transformer_activation(graft_act *out, const char *name, const char *key, const char *origin,
                                 graft_err *err);
/** EFORMAT when heads do not divide the width. */
int graft_transformer_check(const graft_transformer *t, const char *origin, graft_err *err);

/** softmax(scale q k^T) v within each text; q, k, v (T, width). `spans` GRAFT_NONE: within each sample, of
 * (N, L, width). */
graft_value graft_transformer_attend(graft_layout *l, const graft_transformer *t, graft_value q,
                                     graft_value k, graft_value v, graft_value spans, bool causal,
                                     double scale);
/** One layer with its norms after each part (Vaswani et al. 2017; Devlin et al. 2019): x (T, width). */
graft_value graft_transformer_layer(graft_layout *l, const graft_transformer *t, graft_value x,
                                    graft_value spans, const graft_transformer_names *names);

/** The same with its norms before each part (Xiong et al. 2020, "On layer normalization in the transformer
 * architecture"); x (T, width), or (N, L, width) with `spans` GRAFT_NONE. */
graft_value graft_transformer_layer_before(graft_layout *l, const graft_transformer *t, graft_value x,
                                           graft_value spans, const graft_transformer_names *names);

/** Weights normal with standard deviation `range`, biases 0, norms at rest: BERT's and GPT-2's start. */
void graft_transformer_initialise(const graft_param *p, double range, float *out, graft_rng *r);
/** Rows and width of a matrix in a file without a config, called `name` or `prefix`.`name`; 0 when it is not
 * there. */
int64_t graft_transformer_rows(const graft_tensors *tensors, const char *prefix, const char *name,
                               int64_t *width);
/** How many layers there are, by the matrix `before`N`behind` of each. */
int graft_transformer_count(const graft_tensors *tensors, const char *prefix, const char *before,
                            const char *behind);
/** Completes a config: the class, the names of the labels and what kind of answer they are. `bare`,
 * `sequence` and `tokens` are Transformers' classes for a backbone alone, for whole texts and for each token.
 */
int graft_transformer_write(json_t *config, const graft_model *m, const char *type, const char *bare,
                            const char *sequence, const char *tokens, graft_err *err);

#endif
