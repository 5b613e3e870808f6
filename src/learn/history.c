/* A run's history as JSON, its numbers bit for bit: in resume points. */
#include "learn/learn.h"

static json_t *epoch_json(const graft_epoch *e) {
    return json_pack("{s:I,s:o,s:o,s:o,s:o,s:b,s:o,s:o}", "epoch", (json_int_t)e->epoch, "seconds",
                     graft_json_exact(e->seconds), "lr", graft_json_exact(e->lr), "train_loss",
                     graft_json_exact(e->train_loss), "train_accuracy", graft_json_exact(e->train_accuracy),
                     "evaluated", e->evaluated, "loss", graft_json_exact(e->loss), "score",
                     graft_json_exact(e->score));
}

json_t *graft_history_json(const graft_training *t) {
    json_t *history = json_array();
    for (int64_t i = 0; i < t->n_epochs; i++) json_array_append_new(history, epoch_json(&t->history[i]));
    return history;
}

void graft_history_read(graft_training *t, const json_t *history) {
    for (size_t i = 0; i < json_array_size(history); i++) {
        const json_t *e = json_array_get(history, i);
        t->history[t->n_epochs++] = (graft_epoch){.epoch = json_integer_value(json_object_get(e, "epoch")),
                                                  .seconds = graft_json_inexact(e, "seconds"),
                                                  .lr = graft_json_inexact(e, "lr"),
                                                  .train_loss = graft_json_inexact(e, "train_loss"),
                                                  .train_accuracy = graft_json_inexact(e, "train_accuracy"),
                                                  .evaluated = json_is_true(json_object_get(e, "evaluated")),
                                                  .loss = graft_json_inexact(e, "loss"),
                                                  .score = graft_json_inexact(e, "score")};
    }
}
