/* One line an op; included where the rows are declared and where the table is made. */
GRAFT_OP(relu)
GRAFT_OP(relu_grad)        /* dy, y -> dx where y > 0 */
GRAFT_OP(add)              /* a, b; attr graft_add_attr {relu} */
GRAFT_OP(sum_into)         /* a, b -> a + b: accumulation of gradients, output may overwrite a */
GRAFT_OP(scale)            /* x -> y; attr graft_scale_attr {factor} */
GRAFT_OP(conv2d)           /* x, w, b?, residual? -> y */
GRAFT_OP(conv2d_dx)        /* dy, w, x (shape only) -> dx */
GRAFT_OP(conv2d_dw)        /* x, dy, w (shape only) -> dw, db */
GRAFT_OP(linear)           /* x, w, b?, residual? -> y; attr graft_linear_attr */
GRAFT_OP(linear_dx)        /* dy, w, sum? -> dx + sum */
GRAFT_OP(linear_dw)        /* x, dy -> dw, db */
GRAFT_OP(batch_norm)       /* x, gamma, beta, mean, var -> y; attr relu */
GRAFT_OP(batch_norm_grad)  /* x, dy, gamma, beta (shape only), mean, var -> dx, dgamma, dbeta */
GRAFT_OP(batch_norm_train) /* x, gamma, beta, residual? -> y, mean, var (biased), mask (U8; no relu: one 1) */
/* x, dy, gamma, beta (shape), mean, var, mask?, dy2? (added to dy) -> dx, dgamma, dbeta, dresidual */
GRAFT_OP(batch_norm_train_grad)
GRAFT_OP(running_update)  /* running, batch, x (shape only); attr graft_running_attr -> running' */
GRAFT_OP(max_pool2d)      /* x -> y, index (I32: offset within the window, first of equals) */
GRAFT_OP(max_pool2d_grad) /* dy, index, x (shape only) -> dx */
GRAFT_OP(avg_pool2d)
GRAFT_OP(avg_pool2d_grad) /* dy, x (shape only) -> dx */
GRAFT_OP(global_avg_pool)
GRAFT_OP(global_avg_pool_grad) /* dy, x (shape only) -> dx */
GRAFT_OP(subsample_pad)
GRAFT_OP(subsample_pad_grad) /* dy, x (shape only) -> dx */
GRAFT_OP(flatten)
GRAFT_OP(flatten_grad)       /* dy, x (shape only) -> dx; a view */
GRAFT_OP(dropout)            /* x, seed -> y */
GRAFT_OP(dropout_grad)       /* dy, seed -> dx */
GRAFT_OP(drop_path)          /* x, seed, spans? -> y; attr graft_dropout_attr */
GRAFT_OP(patches)            /* x, positions, first, second? -> y */
GRAFT_OP(patches_grad)       /* dy, x (shape only) -> dx, dpositions, dfirst, dsecond */
GRAFT_OP(attention)          /* q, k, v, spans?, seed? -> y, lse (T,heads) */
GRAFT_OP(attention_grad)     /* q, k, v, spans?, seed?, y, lse, dy -> dq, dk, dv */
GRAFT_OP(attention_one)      /* q (N,D), k, v, spans, seed? -> y (N,D), lse (N,heads) */
GRAFT_OP(attention_one_grad) /* q, k, v, spans, seed?, y, lse, dy -> dq, dk, dv */
GRAFT_OP(cross_entropy)      /* logits, target, weight -> loss, probabilities */
GRAFT_OP(cross_entropy_grad) /* dloss?, probabilities, target, weight -> dlogits */
GRAFT_OP(bce_logits)         /* logits, target, weight -> loss */
GRAFT_OP(bce_logits_grad)    /* dloss?, logits, target, weight */
GRAFT_OP(focal)              /* logits, target, weight; attr graft_focal_attr -> loss */
GRAFT_OP(focal_grad)         /* dloss?, logits, target, weight */
GRAFT_OP(focal_logits)       /* logits, target, weight; attr graft_focal_attr -> loss */
GRAFT_OP(focal_logits_grad)  /* dloss?, logits, target, weight */
GRAFT_OP(add_row)            /* x, row */
GRAFT_OP(mse)                /* y, target, weight -> loss */
GRAFT_OP(mse_grad)           /* dloss?, y, target, weight */
GRAFT_OP(twin_kl)            /* logits, weight -> loss */
GRAFT_OP(twin_kl_grad)       /* dloss?, logits, weight -> dlogits */
GRAFT_OP(spectral_tail)      /* x, weight, part -> loss, tail; attr graft_spectral_tail_attr {k} */
GRAFT_OP(spectral_tail_grad) /* dloss?, tail -> dx */
GRAFT_OP(sgd)                /* w, dw, velocity?, lr, g_scale? -> w', velocity' (without momentum one 0) */
GRAFT_OP(adam)               /* w, dw, m, v, lr, step, g_scale? -> w', m', v' */
GRAFT_OP(clip_scale)         /* gradients... -> scale */
GRAFT_OP(merged_weight)      /* w, a, b -> w + scale b a; attr graft_scale_attr */
GRAFT_OP(merged_weight_grad) /* dy, a, b -> da, db */
GRAFT_OP(scale_rows)         /* x, factor -> y */
GRAFT_OP(lerp)               /* a, b, share -> (1 - share) a + share b */
GRAFT_OP(pull)               /* dw, w, w0 -> dw + alpha (w - w0); attr graft_pull_attr {alpha} */

GRAFT_OP(activation)        /* x -> y; attr graft_activation_attr {act} */
GRAFT_OP(activation_grad)   /* dy, x -> dx */
GRAFT_OP(layer_norm)        /* x, gamma, beta? -> y, mean, rstd */
GRAFT_OP(layer_norm_grad)   /* dy, x, gamma, mean, rstd -> dx, dgamma, dbeta */
GRAFT_OP(embedding)         /* table, ids -> y */
GRAFT_OP(embedding_dw)      /* dy, ids, table (shape only) -> dtable */
GRAFT_OP(span_pool)         /* x, spans? -> y; attr graft_span_pool_attr {kind} */
GRAFT_OP(span_pool_grad)    /* dy, spans?, x (shape only) -> dx: mean, first, last */
GRAFT_OP(span_max_grad)     /* dy, spans?, x -> dx */
GRAFT_OP(token_window)      /* x, spans -> y; attr graft_token_window_attr {width} */
GRAFT_OP(token_window_grad) /* dy, spans -> dx */
GRAFT_OP(concat)            /* x... -> y; attr graft_concat_attr {axis} */
GRAFT_OP(slice)             /* x -> y; attr graft_slice_attr {axis, first, count} */
GRAFT_OP(slice_grad)        /* dy, x (shape only) -> dx */
GRAFT_OP(repeat)            /* x (1,...), like (shape only: its first dim) -> y */
GRAFT_OP(repeat_grad)       /* dy, x (shape only) -> dx */
GRAFT_OP(unit_rows)         /* x -> y */
GRAFT_OP(unit_rows_grad)    /* dy, x -> dx */
GRAFT_OP(lstm)              /* pre, w_hh, b_hh?, spans -> y, gates, cells; attr graft_lstm_attr {reverse} */
GRAFT_OP(lstm_grad)         /* dy, y, gates, cells, w_hh, spans -> dpre, h before each token */
GRAFT_OP(crf_nll) /* emissions, transitions, start, end, allowed?, tags, weight, spans -> loss, filtered */
GRAFT_OP(crf_nll_grad) /* the same, filtered, dloss? -> demissions, dtransitions, dstart, dend */
