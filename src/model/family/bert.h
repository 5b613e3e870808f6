/* BERT and RoBERTa differ in a prefix, in where positions begin and in the layers before the classifier. */
#ifndef GRAFT_MODEL_FAMILY_BERT_H
#define GRAFT_MODEL_FAMILY_BERT_H

#include "model/family/transformer.h"

/** What tells the one from the other. */
typedef struct graft_bert_kind {
    const char *type;         /* model_type, and the prefix of all names */
    const char *alias;        /* another model_type with the same names; NULL: none */
    const char *dense;        /* module of the layer between the first token and the classifier */
    const char *buffer;       /* names that begin so belong to other heads */
    graft_transformer absent; /* values of absent keys */
    bool offset;              /* positions begin behind the id that fills */
} graft_bert_kind;

typedef struct graft_bert {
    graft_transformer t;
    const graft_bert_kind *kind;
    double range; /* of initial weights */
} graft_bert;

int graft_bert_configure(const graft_bert_kind *kind, graft_hyper *out, graft_arena *arena,
                         const json_t *config, const graft_tensors *tensors, const char *origin,
                         graft_err *err);
int graft_bert_recognise(const graft_bert_kind *kind, const json_t *config, const graft_tensors *tensors);
const char *graft_bert_rename(const graft_bert_kind *kind, graft_arena *arena, const char *name);
bool graft_bert_is_buffer(const graft_bert_kind *kind, const char *name);
graft_value graft_bert_read(graft_layout *l, const graft_text_values *x, const graft_hyper *h);
graft_value graft_bert_join(graft_layout *l, graft_value features, const graft_hyper *h);
/** Sets the keys that a source without a config lacks. */
int graft_bert_complete(json_t *config, const graft_hyper *h, graft_err *err);
void graft_bert_initialise(const graft_param *p, const graft_hyper *h, float *out, graft_rng *r);

#endif
