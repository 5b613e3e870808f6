/* The graph builders of all ops: each adds one node and returns its (first) result. x is (N,C,H,W) or (N,D);
 * w of a convolution (O, I/groups, KH, KW); w of a linear layer (O, I). Part of graph.h. */
#ifndef GRAFT_GRAPH_OPS_H
#define GRAFT_GRAPH_OPS_H

/* Attribute structs have no padding bytes (flags beside doubles are int64_t), so that equal attributes hash
 * equal. */
typedef struct graft_conv_attr {
    int32_t stride[2], pad[2], dilation[2], groups; /* pad on both sides; dilation 1 = dense */
    int32_t relu;                                   /* fused by fuse.c: y = max(0, ...) */
} graft_conv_attr;

typedef struct graft_pool_attr {
    int32_t kernel[2], stride[2], pad[2];
    int32_t ceil; /* of the largest value alone: a last window that reaches past the padding is taken too */
} graft_pool_attr;

typedef struct graft_norm_attr {
    double eps;
    double momentum; /* PyTorch's: running = (1 - momentum) running + momentum batch */
    int64_t relu;    /* y = max(0, norm) in one node */
} graft_norm_attr;

/** What may follow a linear layer in one node; activation.c says what each computes. */
typedef enum graft_act {
    GRAFT_ACT_NONE,
    GRAFT_ACT_RELU,
    GRAFT_ACT_GELU,      /* with erf */
    GRAFT_ACT_GELU_TANH, /* its approximation by tanh */
    GRAFT_ACT_TANH,
    GRAFT_ACT_QUICK_GELU, /* its approximation by the logistic function */
    GRAFT_ACT_SILU,
} graft_act;

typedef struct graft_linear_attr {
    int32_t act;    /* a graft_act, fused by fuse.c */
    int32_t in_out; /* w is (I, O) */
    int32_t bf16x3; /* set by precision.c: three products of bf16, where the processor is faster with them */
} graft_linear_attr;

typedef struct graft_add_attr {
    int32_t relu;
} graft_add_attr;

typedef struct graft_scale_attr {
    double factor;
} graft_scale_attr;

typedef struct graft_activation_attr {
    int32_t act; /* a graft_act but NONE and RELU */
} graft_activation_attr;

typedef struct graft_layer_norm_attr {
    double eps;
} graft_layer_norm_attr;

typedef struct graft_concat_attr {
    int64_t axis;
} graft_concat_attr;

typedef struct graft_slice_attr {
    int64_t axis, first, count;
} graft_slice_attr;

typedef enum graft_span_kind {
    GRAFT_SPAN_MEAN,
    GRAFT_SPAN_FIRST,
    GRAFT_SPAN_LAST,
    GRAFT_SPAN_MAX,
    GRAFT_SPAN_PRESENT, /* of what has a row a sample already: that row, zeros where a sample is absent */
} graft_span_kind;

typedef struct graft_span_pool_attr {
    int32_t kind; /* a graft_span_kind */
} graft_span_pool_attr;

typedef struct graft_token_window_attr {
    int32_t width;
} graft_token_window_attr;

/* Of running_update: which statistic it is; a variance of n values is stored times n / (n - 1). */
typedef struct graft_running_attr {
    double momentum;
    int64_t is_variance;
} graft_running_attr;

/* conv.c */
/** y = conv(x, w) + b + residual, then relu if asked. b and residual may be GRAFT_NONE. */
graft_value graft_conv2d(graft_graph *g, graft_value x, graft_value w, graft_value b, graft_value residual,
                         graft_conv_attr a);
/* linear.c */
/** y (N,O) = x (N,I) w^T + b, or (N,L,O) of x (N,L,I); b may be GRAFT_NONE. */
graft_value graft_linear(graft_graph *g, graft_value x, graft_value w, graft_value b);
/** The same with w (I,O), as GPT-2's files have it: y (N,O) = x (N,I) w + b. */
graft_value graft_linear_in_out(graft_graph *g, graft_value x, graft_value w, graft_value b);
/* activation.c */
graft_value graft_gelu(graft_graph *g, graft_value x);
graft_value graft_gelu_tanh(graft_graph *g, graft_value x);
graft_value graft_tanh(graft_graph *g, graft_value x);
/** Any graft_act, x itself for GRAFT_ACT_NONE. */
graft_value graft_activate(graft_graph *g, graft_value x, int32_t act);
/* layer_norm.c */
/** Layer norm of each row of x (N,D) or (N,L,D) with gamma (D) and beta (D) or GRAFT_NONE; Ba et al. 2016. */
graft_value graft_layer_norm(graft_graph *g, graft_value x, graft_value gamma, graft_value beta, double eps);
/* embedding.c */
/** (T,D): row ids[t] of table (V,D) for each t; ids (T) I32 lie in [0, V), which the caller verifies. */
graft_value graft_embedding(graft_graph *g, graft_value table, graft_value ids);
/* concat.c */
/** Two or more values behind each other along `axis`, the only one in which they may differ; not along an
 * open dim. */
graft_value graft_concat(graft_graph *g, const graft_value *parts, size_t n_parts, int64_t axis);
/** Elements first ... first + count - 1 of x along `axis`, whose length is known. */
graft_value graft_slice(graft_graph *g, graft_value x, int64_t axis, int64_t first, int64_t count);
/** (T,count): columns first ... first + count - 1 of x (T,D), or (N,L,count) of x (N,L,D). */
graft_value graft_columns(graft_graph *g, graft_value x, int64_t first, int64_t count);
/** (T,A+B): the columns of a (T,A), then those of b (T,B). */
graft_value graft_beside(graft_graph *g, graft_value a, graft_value b);
/* repeat.c */
/** (B,...): x (1,...) once for each of the B samples of `like` (B,...), whose values are not read: a
 * parameter that all samples share, as a class token or position embeddings. */
graft_value graft_repeat(graft_graph *g, graft_value x, graft_value like);
/* unit_rows.c */
/** x (N,D) / max(|row|, 1e-12): rows of length one, rows of zeros stay. */
graft_value graft_unit_rows(graft_graph *g, graft_value x);
/* span.c: spans (N,2) I32 holds [start, length] of each sample's tokens; they do not overlap, which the
 * caller verifies, and may be empty; what lies outside x is cut off. Tokens outside all spans are padding:
 * they reach no result, and their gradient is 0. */
/** (N,D): mean, first, last or largest of each sample's rows of x (T,D), by a graft_span_kind, or its row of
 * x (N,D); 0 for an empty span. Of x (N,L,D), where each sample has L rows, spans is GRAFT_NONE. */
graft_value graft_span_pool(graft_graph *g, graft_value x, graft_value spans, int32_t kind);
/** (T, width D): beside each other the rows t - (width - 1) / 2 ... of x (T,D), zeros where they are not of
 * the same sample; a linear layer over it is a convolution along the text (Kim 2014). */
graft_value graft_token_window(graft_graph *g, graft_value x, graft_value spans, int32_t width);
/* norm.c */
/** Batch norm with given statistics (inference, or frozen in training); Ioffe and Szegedy 2015. */
graft_value graft_batch_norm(graft_graph *g, graft_value x, graft_value gamma, graft_value beta,
                             graft_value mean, graft_value variance, graft_norm_attr a);
/** Batch norm with the batch's statistics; assigns the running ones (unbiased variance, as PyTorch). */
graft_value graft_batch_norm_train(graft_graph *g, graft_value x, graft_value gamma, graft_value beta,
                                   graft_value mean, graft_value variance, graft_norm_attr a);
/* pool.c */
graft_value graft_max_pool2d(graft_graph *g, graft_value x, graft_pool_attr a);
/** Mean over the window; padding is counted (count_include_pad), as PyTorch's default. */
graft_value graft_avg_pool2d(graft_graph *g, graft_value x, graft_pool_attr a);
/** (N,C,H,W) -> (N,C): mean over H and W. */
graft_value graft_global_avg_pool(graft_graph *g, graft_value x);
/* eltwise.c */
graft_value graft_relu(graft_graph *g, graft_value x);
/** a + b of equal shape; with relu != 0 max(0, a + b) in one node. */
graft_value graft_add(graft_graph *g, graft_value a, graft_value b, int32_t relu);
/** a + b of equal shape, which may be computed in a's place; bf16 only when both are. */
graft_value graft_sum_into(graft_graph *g, graft_value a, graft_value b);
/* scale.c */
/** factor x, of any shape. */
graft_value graft_scale(graft_graph *g, graft_value x, double factor);
/* merged_weight.c */
/** w + scale b a: w and a are (O,...) and (R,...) with equal dims past the first, b is (O,R), with further
 * dims of 1 where w has more than two. */
graft_value graft_merged_weight(graft_graph *g, graft_value w, graft_value a, graft_value b, double scale);
/** factor (O) times the rows of x (O,...); the factors get no gradient. */
graft_value graft_scale_rows(graft_graph *g, graft_value x, graft_value factor);
/* reshape.c */
typedef struct graft_subsample_attr {
    int32_t stride, front, back;
} graft_subsample_attr;
/** Every stride-th row and column, then `front` and `back` zero channels: the parameter-free shortcut of He
 * et al. 2016 for CIFAR ("option A"). */
graft_value graft_subsample_pad(graft_graph *g, graft_value x, int32_t stride, int32_t front, int32_t back);
/** (N,C,H,W) -> (N, C H W). */
graft_value graft_flatten(graft_graph *g, graft_value x);
/* patches.c */
/** The tokens of pictures, (N,L,D), L = 1 + H W, or 2 + H W where there is a second token: `first` and
 * `second` (1,1,D; GRAFT_NONE: none) of every sample, then the places of x (N,D,H,W) row by row, each with
 * its row of positions (1,L,D) added (Dosovitskiy et al. 2021, "An image is worth 16x16 words"). */
graft_value graft_patches(graft_graph *g, graft_value x, graft_value positions, graft_value first,
                          graft_value second);
/* dropout.c */
typedef struct graft_dropout_attr {
    double p;      /* the part that is dropped, 0 <= p < 1 */
    int64_t salt;  /* tells the dropouts of one graph apart: their number before this one */
    int64_t lasts; /* drops what is frozen too: training begins with it (plan.c) */
} graft_dropout_attr;
/** x / (1 - p) where a hash of (seed input, this dropout's place in the graph, sample, element) keeps it,
 * else 0 (mix.h). seed is an input (2,) I32, to be set anew before each step. */
graft_value graft_dropout(graft_graph *g, graft_value x, graft_value seed, double p);
/** The same, which lasts: a plan never takes it into the frozen prefix, where nothing is dropped. */
graft_value graft_dropout_lasting(graft_graph *g, graft_value x, graft_value seed, double p);
/* drop_path.c */
/** A residual branch x (N,...), or x (T,D) with spans (N,2) (else GRAFT_NONE), that is x / (1 - p) for a
 * sample that a hash of (seed, this node's place in the graph, sample) keeps, else 0. */
graft_value graft_drop_path(graft_graph *g, graft_value x, graft_value seed, graft_value spans, double p);

/* attention.c */
typedef struct graft_attention_attr {
    int64_t heads,
        causal;   /* head h has the columns [h D/heads, (h+1) D/heads); causal: token i sees j <= i */
    double scale; /* of the scores, above 0: usually 1/sqrt(D/heads) */
    double p;     /* the part of the probabilities that is dropped, 0 <= p < 1 */
    int64_t salt; /* tells the attentions of one graph apart; graft_attention sets it */
} graft_attention_attr;
/** softmax(scale q k^T) v within each span and head (Vaswani et al. 2017). q, k, v (T,D) -> (T,D); spans
 * (N,2) I32: [first row, rows] of each sample, which may not overlap; rows of no span give 0. With spans
 * GRAFT_NONE q, k, v are (N,L,D), each sample having L rows. seed (2,) I32 is an input to be set anew before
 * each step, GRAFT_NONE without dropout. The node's second result is each row's log-sum-exp (T,heads), for
 * the gradient. */
graft_value graft_attention(graft_graph *g, graft_value q, graft_value k, graft_value v, graft_value spans,
                            graft_value seed, graft_attention_attr a);
/* attention_one.c: made by chosen_rows.c alone */
typedef struct graft_attention_one_attr {
    int64_t heads, causal;
    double scale, p;
    int64_t salt; /* as in graft_attention_attr */
    int64_t kind; /* GRAFT_SPAN_FIRST or LAST: which token of a span the row of q is */
} graft_attention_one_attr;

/* loss.c: scalars []. weight (N,) multiplies a sample's loss; the caller puts 1/(sum of weights) into it, so
 * that a micro-batch of a larger batch is scaled as the whole. target (N,K) carries smoothing and class
 * weights. */
/** sum_i weight_i sum_c -target_ic log softmax(logits_i)_c */
graft_value graft_cross_entropy(graft_graph *g, graft_value logits, graft_value target, graft_value weight);
/** sum_i weight_i (1/K) sum_c [max(z,0) - z t + log(1 + exp(-|z|))] */
graft_value graft_bce_logits(graft_graph *g, graft_value logits, graft_value target, graft_value weight);
/** sum_i weight_i (1/K) sum_c (y - t)^2 */
graft_value graft_mse(graft_graph *g, graft_value y, graft_value target, graft_value weight);

/* auxiliary.c: further terms of a loss, scalars [], of few numbers: no backend has kernels of its own */
/** sum_i (weight_2i + weight_2i+1) / 2 (KL(p|q) + KL(q|p)) of the softmax of rows 2i and 2i + 1. */
graft_value graft_twin_kl(graft_graph *g, graft_value logits, graft_value weight);
typedef struct graft_spectral_tail_attr {
    int64_t k;
} graft_spectral_tail_attr;
/** part times the sum of the k smallest squared singular values of the rows of x (N,D) whose weight (N) is
 * above 0; part (1) is an input. */
graft_value graft_spectral_tail(graft_graph *g, graft_value x, graft_value weight, graft_value part,
                                int64_t k);
/* focal.c: losses as those above. */
typedef struct graft_focal_attr {
    double gamma; /* 0 or more; 0 is the plain loss */
} graft_focal_attr;
/** sum_i weight_i sum_c -target_ic (1 - p_ic)^gamma log p_ic, p = softmax(logits_i) */
graft_value graft_focal(graft_graph *g, graft_value logits, graft_value target, graft_value weight,
                        double gamma);
/** sum_i weight_i (1/K) sum_c -t (1-p)^gamma log p - (1-t) p^gamma log(1-p), p = sigmoid(z) */
graft_value graft_focal_logits(graft_graph *g, graft_value logits, graft_value target, graft_value weight,
                               double gamma);
/** x (N,K) plus row (K) in every row. The row gets no gradient. */
graft_value graft_add_row(graft_graph *g, graft_value x, graft_value row);

/* lstm.c */
typedef struct graft_lstm_attr {
    int64_t reverse; /* from the last token of a span to the first */
} graft_lstm_attr;
/** Parameters of one direction of a layer, as PyTorch names and orders them (gates i, f, g, o). */
typedef struct graft_lstm_values {
    graft_value weight_ih, weight_hh; /* (4H,I), (4H,H) */
    graft_value bias_ih, bias_hh;     /* (4H), or GRAFT_NONE */
} graft_lstm_values;
/** x (T,I) -> (T,H): the hidden state at each token, each span from a state of zeros; rows of no span are 0.
 */
graft_value graft_lstm(graft_graph *g, graft_value x, graft_lstm_values w, graft_value spans, bool reverse);
/* crf.c */
/** Parameters of a linear-chain conditional random field over K tags. */
typedef struct graft_crf_values {
    graft_value transitions; /* (K,K): from, to */
    graft_value start, end;  /* (K) */
    graft_value allowed; /* (K+2,K), or GRAFT_NONE: all. Steps that exist are above 0: row i < K from i, row K
                            from the start, row K+1 to the end */
} graft_crf_values;
/** Score of a step that does not exist: far below any other, and finite. */
enum { GRAFT_CRF_FORBIDDEN = -10000 };
/** sum_i weight_i nll_i. emissions (T,K), tags (T) I32: tokens whose tag is not in [0,K) are passed over, the
 * others of a span are a chain; weight (N), spans (N,2) I32. Gradients reach emissions and parameters. */
graft_value graft_crf_nll(graft_graph *g, graft_value emissions, graft_crf_values crf, graft_value tags,
                          graft_value weight, graft_value spans);

/* optim.c: updates of one parameter; every one assigns w and its own state, named "<param>/momentum" or
 * "<param>/exp_avg" and "<param>/exp_avg_sq". lr (1,) is an input; g_scale (1,) multiplies the gradient
 * (clipping; GRAFT_NONE: 1); where it is no number nothing is changed. */
typedef struct graft_sgd_attr {
    double momentum, weight_decay, lr_scale; /* decay is added to the gradient (PyTorch's SGD) */
    int64_t nesterov;
} graft_sgd_attr;
typedef struct graft_adam_attr {
    double beta1, beta2, eps, weight_decay, lr_scale;
    /* AdamW (Loshchilov and Hutter 2019): decay multiplies w by 1 - lr decay; else it is added to the
     * gradient */
    int64_t decoupled;
    double steps_before; /* updates that w had before `step` began to count */
} graft_adam_attr;
void graft_sgd(graft_graph *g, graft_value w, graft_value dw, graft_value lr, graft_value g_scale,
               graft_sgd_attr a);
/** step (1,) F32 input: 1 for the first update (bias correction; Kingma and Ba 2015). */
void graft_adam(graft_graph *g, graft_value w, graft_value dw, graft_value lr, graft_value step,
                graft_value g_scale, graft_adam_attr a);
typedef struct graft_clip_attr {
    double max_norm;
} graft_clip_attr;
/** (1,): min(1, max_norm / (||all gradients|| + 1e-6)), as PyTorch's clip_grad_norm_; no number where a
 * gradient is not finite. */
graft_value graft_clip_scale(graft_graph *g, const graft_value *grads, size_t n_grads, double max_norm);

/* toward.c */
/** (1 - share) a + share b of equal shape, which may be computed in a's place; share (1,) F32. With share 1
 * it has b's bits. */
graft_value graft_lerp(graft_graph *g, graft_value a, graft_value b, graft_value share);
typedef struct graft_pull_attr {
    double alpha;
} graft_pull_attr;
/** dw + alpha (w - w0): the gradient with that of alpha / 2 |w - w0|^2. */
graft_value graft_pull(graft_graph *g, graft_value dw, graft_value w, graft_value w0, double alpha);

#endif
