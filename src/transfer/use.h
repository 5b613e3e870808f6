/* What eval, predict, embed and inspect share: a model opened for use, and its pooled features over data.
 * Private to transfer/. */
#ifndef GRAFT_TRANSFER_USE_H
#define GRAFT_TRANSFER_USE_H

#include "transfer/fit.h"
#include "transfer/prefix.h"

/** Opens a model as the options say, adapters merged into its weights. `adapter`: a peft folder over the
 * model at `path`; NULL: none, or `path` is one. */
int graft_use_model(graft_model **out, const graft_env *env, const char *path, const char *adapter,
                    const graft_use_options *options, bool needs_head, graft_err *err);
/** The one adapter of the options; EUSAGE when they name several. */
int graft_use_one_adapter(const char **out, const graft_use_options *options, graft_err *err);
/** The element type to compute in: bf16 only where asked for and the processor has it. */
graft_precision graft_use_dtype(const graft_use_options *options);
/** Data options as a choice says, for samples of the model's kind without labels. */
graft_data_options graft_use_data_options(const graft_data_choice *choice, const graft_model *m);
/** What is to be answered, unlabelled, in its order: files, or the texts themselves where the options say so.
 * Up to `max_bad` of it may be unreadable unless the options name a share. EUSAGE: texts for a model of
 * pictures. */
int graft_use_inputs(graft_data **out, const graft_env *env, const graft_model *m, const char *const *inputs,
                     size_t n_inputs, double max_bad, const graft_use_options *options, graft_err *err);

/** Everything below the head run over data, kept in the bottleneck cache and shared with every fit that
 * trains the head alone. */
typedef struct graft_use_rows {
    graft_arena *arena;
    graft_transform transform;
    graft_prefix *prefix;
    graft_graph *suffix; /* the head: rows to "logits"; NULL of features */
    graft_features *features;
} graft_use_rows;

/** What the head reads, as rows of `samples` (n; NULL: of all). `m` and `data` have to outlive *out. Settles
 * the data. */
int graft_use_rows_open(graft_use_rows *out, const graft_env *env, const graft_model *m, graft_data *data,
                        const int64_t *samples, int64_t n, const graft_use_options *options, graft_err *err);
/** The pooled features as rows. `partial`: no other sample is read, and the data are left unsettled. */
int graft_use_features_open(graft_use_rows *out, const graft_env *env, const graft_model *m, graft_data *data,
                            const int64_t *samples, int64_t n, bool partial, const graft_use_options *options,
                            graft_err *err);
void graft_use_rows_close(graft_use_rows *r);

#endif
