/* fit --encoder fasttext: the mean of a text's word vectors and a linear layer, trained as fastText trains
 * its classifier (Joulin et al. 2017) and kept as a model of word vectors like any other. A word that was not
 * in the training part counts in the mean as zeros, where fastText leaves it out: that changes how sure an
 * answer is, not which one it is, since the layer has no bias. */
#include "transfer/fit.h"

#include <stdlib.h>
#include <string.h>

/* Passes: as many as bring this many words in all, within limits. */
enum { WORDS = 4000000, LEAST_EPOCHS = 5, MOST_EPOCHS = 50, AT_ONCE = 1024 };
#define ROWS "embeddings.weight"

bool graft_is_averaged(const char *encoder) {
    return encoder && strcmp(encoder, "fasttext") == 0;
}

static int refuse(const char *option, graft_err *err) {
    return graft_err_set(
        err, GRAFT_EUSAGE,
        "--%s does not go with --encoder fasttext, which is SGD, a text at a time, at a rate "
        "that falls to nothing",
        option);
}

/* The first option given that this way of training has no place for; NULL: none is. */
static const char *first_foreign(const graft_fit_options *o) {
    const struct {
        const char *option;
        bool is_given;
    } all[] = {{"head", o->head && strcmp(o->head, "linear") != 0},
               {"optimizer", o->optimizer != NULL},
               {"schedule", o->schedule != NULL},
               {"batch", o->batch > 0},
               {"lr find", o->lr < 0},
               {"head-lr", o->head_lr > 0},
               {"backbone-lr-scale", o->backbone_lr_scale > 0},
               {"weight-decay", o->weight_decay >= 0},
               {"warmup", o->warmup >= 0},
               {"clip-norm", o->clip_norm >= 0},
               {"label-smoothing", o->label_smoothing >= 0},
               {"loss", o->loss != NULL},
               {"logit-adjust", o->logit_adjust > 0},
               {"class-weights", o->class_weights != NULL},
               {"sampler", o->sampler != NULL}};
    for (size_t i = 0; i < GRAFT_COUNT(all); i++)
        if (all[i].is_given) return all[i].option;
    return graft_regular_given(&o->regular);
}

int graft_job_averaged_defaults(graft_job *j, graft_err *err) {
    const graft_fit_options *o = &j->options;
    if (!graft_is_averaged(o->encoder)) return 0;
    if (graft_data_task(j->data) != GRAFT_TASK_CLASSES)
        return graft_err_set(
            err, GRAFT_EUSAGE,
            "--encoder fasttext tells classes apart; for other tasks there are mean, cnn, lstm");
    const char *foreign = first_foreign(o);
    if (foreign) return refuse(foreign, err);
    if (strcmp(j->plan, "full") != 0 && strcmp(j->plan, "head") != 0)
        return graft_err_set(err, GRAFT_EUSAGE, "--encoder fasttext trains full or head, not '%s'", j->plan);
    const graft_param *rows = graft_model_find_param(j->model, ROWS);
    if (!(o->lr > 0)) j->choices[0].lr = 0.1;
    j->peak_memory =
        (size_t)(2 * (rows->shape.dims[0] + j->recipe.n_classes) * rows->shape.dims[1]) * sizeof(float);
    return 0;
}

/* The training part's words, packed. */
typedef struct corpus {
    int32_t *ids, *labels;
    int64_t *starts, n, room, n_words;
} corpus;

static int append(corpus *c, const graft_batch *b, graft_err *err) {
    int64_t n_words = c->n_words + b->n_tokens;
    if (n_words > c->room) {
        int64_t room = 2 * n_words;
        int32_t *ids = realloc(c->ids, (size_t)room * sizeof *ids);
        if (!ids) return graft_err_nomem(err);
        c->ids = ids;
        c->room = room;
    }
    memcpy(c->ids + c->n_words, b->token_inputs[0].data, (size_t)b->n_tokens * sizeof *c->ids);
    for (int64_t i = 0; i < b->n; i++) {
        c->labels[c->n++] = b->labels[i];
        c->starts[c->n] = c->n_words + b->spans[2 * i] + b->spans[2 * i + 1];
    }
    c->n_words = n_words;
    return 0;
}

static int read_corpus(corpus *c, const graft_job *j, const graft_transform *plain, graft_err *err) {
    graft_loader_options o = GRAFT_LOADER_OPTIONS_INIT;
    graft_batches loader = {0};
    graft_batch b = {0};
    int64_t n = 0;
    graft_data_members(j->data, GRAFT_TRAIN, &n);
    c->labels = malloc(((size_t)n + 1) * sizeof *c->labels);
    c->starts = calloc((size_t)n + 2, sizeof *c->starts);
    if (!c->labels || !c->starts) return graft_err_nomem(err);
    o.part = GRAFT_TRAIN;
    o.batch = AT_ONCE;
    int rc = graft_loader_open(&loader, j->data, plain, &o, err);
    if (rc == 0) rc = loader.begin(loader.self, 0, 0, err);
    while (rc == 0 && (rc = loader.next(loader.self, &b, err)) == 1) rc = append(c, &b, err);
    graft_batches_close(&loader);
    return rc;
}

/* Rows that no vector gave a value begin at random; that of unknown words stays zero. */
static bool *rows_with_values(graft_arena *arena, const float *rows, int64_t n, int64_t width) {
    bool *has = graft_arena_array(arena, (size_t)n, sizeof *has);
    for (int64_t i = 0; has && i < n; i++) {
        has[i] = i == 0;
        for (int64_t k = 0; k < width && !has[i]; k++) has[i] = rows[i * width + k] != 0;
    }
    return has;
}

static int give_rows(graft_job *j, const char *name, const float *rows, int64_t n, const graft_averaged *m,
                     graft_err *err) {
    size_t width = (size_t)m->width;
    float *packed = malloc((size_t)n * width * sizeof *packed + 1);
    if (!packed) return graft_err_nomem(err);
    for (int64_t i = 0; i < n; i++)
        memcpy(packed + (size_t)i * width, rows + (size_t)i * (size_t)m->stride, width * sizeof *packed);
    int rc = graft_model_set(j->model, name, packed, (size_t)n * width, err);
    free(packed);
    return rc;
}

static int give_model(graft_job *j, const graft_averaged *m, bool frozen, graft_err *err) {
    float *zeros = calloc((size_t)m->n_classes, sizeof *zeros);
    if (!zeros) return graft_err_nomem(err);
    int rc = frozen ? 0 : give_rows(j, ROWS, m->rows, m->n_words, m, err);
    if (rc == 0) rc = give_rows(j, "classifier.weight", m->head, m->n_classes, m, err);
    if (rc == 0) rc = graft_model_set(j->model, "classifier.bias", zeros, (size_t)m->n_classes, err);
    free(zeros);
    return rc;
}

static int keep_history(graft_job *j, const graft_averaged *m, int64_t n_texts, graft_err *err) {
    graft_training *t = &j->training;
    int64_t n = j->recipe.epochs;
    int rc = 0;
    j->records[0] =
        (graft_phase_record){.first_epoch = 1, .n_epochs = n, .n_steps = n * n_texts, .best_epoch = n};
    *t = (graft_training){.n_epochs = n, .best_epoch = n, .n_steps = n * n_texts, .seconds = m->seconds};
    t->history = graft_arena_array(j->arena, (size_t)n, sizeof *t->history);
    if (!t->history) return graft_err_nomem(err);
    for (int64_t i = 0; i < n && rc == 0; i++) {
        graft_epoch *e = &t->history[i];
        *e = (graft_epoch){.epoch = i + 1,
                           .seconds = m->seconds / (double)n,
                           .lr = j->recipe.lr * (1.0 - (double)i / (double)n),
                           .train_loss = m->loss[i],
                           .train_accuracy = m->accuracy[i]};
        rc = graft_runlog_write(j->log, "epoch",
                                json_pack("{s:I,s:f,s:f,s:f,s:f,s:I}", "epoch", (json_int_t)e->epoch,
                                          "seconds", e->seconds, "lr", e->lr, "loss", e->train_loss,
                                          "accuracy", e->train_accuracy, "updates",
                                          (json_int_t)((i + 1) * n_texts)),
                                err);
    }
    return rc;
}

static void choose_epochs(graft_job *j, const corpus *c) {
    int64_t epochs = WORDS / (c->n_words ? c->n_words : 1);
    if (j->options.epochs <= 0)
        j->choices[0].epochs = epochs < LEAST_EPOCHS  ? LEAST_EPOCHS
                               : epochs > MOST_EPOCHS ? MOST_EPOCHS
                                                      : epochs;
    graft_job_recipe(j, 0);
}

static int train(graft_job *j, const corpus *c, graft_arena *arena, graft_err *err) {
    const graft_param *rows = graft_model_find_param(j->model, ROWS);
    const float *start = rows->tensor.data;
    const graft_texts texts = {c->ids, c->starts, c->n};
    graft_averaged m;
    graft_averaged_options o = {.n_words = rows->shape.dims[0],
                                .width = (int)rows->shape.dims[1],
                                .n_classes = j->recipe.n_classes,
                                .epochs = j->recipe.epochs,
                                .lr = j->recipe.lr,
                                .seed = j->recipe.seed,
                                .start = start,
                                .frozen = strcmp(j->plan, "head") == 0};
    if (start && !o.frozen && !(o.has_start = rows_with_values(arena, start, o.n_words, o.width)))
        return graft_err_nomem(err);
    graft_env_log(j->env, GRAFT_LOG_INFO,
                  "training %s as fastText does: %lld epochs over %lld words, SGD at %g, seed %llu", j->plan,
                  (long long)o.epochs, (long long)c->n_words, o.lr, (unsigned long long)o.seed);
    int rc = graft_averaged_fit(&m, arena, j->env, &texts, c->labels, &o, err);
    if (rc == 0) rc = give_model(j, &m, o.frozen, err);
    if (rc < 0) return rc;
    graft_env_log(j->env, GRAFT_LOG_INFO, "%.2f million words a second",
                  m.seconds > 0 ? (double)m.n_rows / m.seconds / 1e6 : 0.0);
    return keep_history(j, &m, c->n, err);
}

int graft_job_averaged(graft_job *j, graft_err *err) {
    corpus c = {0};
    graft_transform plain;
    graft_arena *arena = graft_arena_new(NULL);
    int rc = arena ? graft_data_check(j->data, err) : graft_err_nomem(err);
    if (rc == 0) rc = graft_transform_of(&plain, j->model, NULL, err);
    if (rc == 0) rc = read_corpus(&c, j, &plain, err);
    if (rc == 0) choose_epochs(j, &c);
    if (rc == 0) rc = train(j, &c, arena, err);
    free(c.ids);
    free(c.labels);
    free(c.starts);
    graft_arena_free(arena);
    return rc < 0 ? rc : graft_job_measure(j, 0, err);
}
