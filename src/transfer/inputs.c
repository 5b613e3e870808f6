/* How a model's inputs are made of samples: pictures by its preprocessing, texts by its tokenizer. */
#include "transfer/prefix.h"

#include <stdio.h>

int graft_transform_of(graft_transform *out, const graft_model *m, const graft_augment *augment,
                       graft_err *err) {
    if (graft_model_modality(m) == GRAFT_PICTURES)
        return graft_transform_init(out, graft_model_preprocess(m), augment, err);
    const graft_text_rules *rules = graft_model_text(m);
    graft_text_transform text = {.max_length = rules->max_length,
                                 .stride = rules->stride,
                                 .n_types = rules->n_types,
                                 .position_offset = (int32_t)rules->position_offset};
    int rc = graft_model_tokenizer(&text.tokenizer, m, err);
    return rc < 0 ? rc : graft_transform_init_text(out, &text, err);
}

graft_hash graft_transform_hash(const graft_transform *t) {
    if (!t->text.tokenizer) return graft_preprocess_hash(&t->preprocess);
    char key[33], text[128];
    graft_hash_hex(graft_tokenizer_hash(t->text.tokenizer), key);
    int n = snprintf(text, sizeof text, "%s %lld %d", key, (long long)t->text.max_length,
                     (int)t->text.position_offset);
    if (t->text.stride > 0)
        n += snprintf(text + n, sizeof text - (size_t)n, " windows %lld", (long long)t->text.stride);
    return graft_hash_bytes(text, (size_t)n);
}

int graft_data_cut(graft_data *d, const graft_model *m, graft_err *err) {
    graft_transform t;
    if (graft_model_modality(m) != GRAFT_TEXTS || graft_model_text(m)->stride <= 0) return 0;
    int rc = graft_transform_of(&t, m, NULL, err);
    return rc < 0 ? rc : graft_data_window(d, &t.text, err);
}

int64_t graft_model_longest(const graft_model *m) {
    return graft_model_modality(m) == GRAFT_TEXTS ? graft_model_text(m)->max_length : 0;
}
