/* What the tests of text models share: the golden folders, and their texts as a feed. */
#ifndef GRAFT_TESTS_MODEL_TEXT_ROOM_H
#define GRAFT_TESTS_MODEL_TEXT_ROOM_H

#include "model_room.h"

#define TEXT_GOLDEN "tests/parity/text/"

static const char *const text_folders[] = {
    "bert_classes", "bert_bare",       "bert_tags",          "bert_regression",    "bert_multilabel",
    "bert_old",     "roberta_classes", "xlm_roberta_tags",   "distilbert_classes", "distilbert_tags",
    "gpt2_classes", "gpt2_scaled",     "sentence_mean_unit", "sentence_cls",       "sentence_max_unit"};

static inline const char *text_golden(room *r, const char *name) {
    return graft_arena_printf(r->arena, TEXT_GOLDEN "%s", name);
}

static inline const graft_tensor *tensor_or_null(const graft_tensors *ts, const char *prefix,
                                                 const char *name) {
    char full[128];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    for (size_t i = 0; i < ts->n_items; i++)
        if (!strcmp(ts->items[i].name, full)) return &ts->items[i];
    return NULL;
}

/* The texts that lie in a file under names that begin with `prefix`; the feed is the arena's. */
static inline graft_feed feed_of(room *r, const graft_tensors *ts, const char *prefix) {
    static const char *const names[] = {"input_ids", "token_type_ids", "position_ids"};
    graft_tensor *items = graft_arena_array(r->arena, GRAFT_COUNT(names), sizeof *items);
    for (size_t i = 0; i < GRAFT_COUNT(names); i++) {
        const graft_tensor *t = tensor_or_null(ts, prefix, names[i]);
        if (!t) fail_msg("no '%s%s'", prefix, names[i]);
        items[i] = *t;
        items[i].name = names[i];
    }
    const graft_tensor *spans = tensor_or_null(ts, prefix, "spans");
    int32_t *copy = graft_arena_alloc(r->arena, spans->size);
    memcpy(copy, spans->data, spans->size);
    return (graft_feed){.n = spans->shape.dims[0],
                        .n_tokens = items[0].shape.dims[0],
                        .token_inputs = items,
                        .n_token_inputs = GRAFT_COUNT(names),
                        .spans = copy};
}

#endif
