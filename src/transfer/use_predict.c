/* graft predict: classes of pictures, in input order, as they come. */
#include "transfer/decision.h"
#include "transfer/use.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 32, TOP = 5 };

typedef struct predictor {
    graft_env *env;
    const graft_use_options *options;
    graft_arena *arena;
    graft_model *model;
    graft_data *data;
    graft_transform transform;
    graft_infer *infer;
    const char *const *labels;
    size_t n_labels, n_top;
    double *share;     /* [n_labels] softmax of one picture */
    const char **top;  /* [n_top] */
    double *top_share; /* [n_top] */
    graft_task task;
    graft_gather gather;      /* the text that is being answered */
    graft_decision decision;  /* how logits become answers */
    double scale;             /* 1 / temperature */
    graft_tagged_word *words; /* of one sentence */
    size_t words_room;
    int64_t told;            /* samples told of so far */
    int64_t n_inputs, n_bad; /* inputs told of so far, unreadable ones among them */
    int (*each)(void *user, const graft_prediction *p);
    void *user;
} predictor;

static const char *name_of(const graft_sample *s) {
    return s->row < 0 && s->path ? s->path : s->origin;
}

/* Inputs that gave no picture, up to `until`. */
static int tell_bad(predictor *p, int64_t until) {
    int rc = 0;
    for (; p->told < until && rc >= 0; p->told++) {
        const graft_sample *s = graft_data_sample(p->data, p->told);
        if (s->window > 0) continue;
        graft_prediction bad = {.input = name_of(s),
                                .problem = s->reason ? s->reason : "not readable",
                                .task = graft_task_name(p->task)};
        p->n_bad++;
        p->n_inputs++;
        rc = p->each(p->user, &bad);
    }
    return rc < 0 ? rc : 0;
}

static void softmax(predictor *p, const float *z) {
    double top = (double)z[0], sum = 0.0;
    for (size_t c = 1; c < p->n_labels; c++) top = fmax(top, (double)z[c]);
    for (size_t c = 0; c < p->n_labels; c++) sum += p->share[c] = exp(p->scale * ((double)z[c] - top));
    for (size_t c = 0; c < p->n_labels; c++) p->share[c] /= sum;
}

/* The likeliest classes first; equal ones in the model's order. */
static void choose_top(predictor *p, size_t n) {
    for (size_t i = 0; i < n; i++) {
        size_t best = 0;
        for (size_t c = 1; c < p->n_labels; c++)
            if (p->share[c] > p->share[best]) best = c;
        p->top[i] = p->labels[best];
        p->top_share[i] = p->share[best];
        p->share[best] = -1.0;
    }
}

/* By what a class is chosen: its probability, as a share of its threshold where it has one. */
static double weight(const predictor *p, size_t c) {
    return p->decision.thresholds ? p->share[c] / fmax(p->decision.thresholds[c], 1e-12) : p->share[c];
}

static void answer_classes(predictor *p, graft_prediction *answer, const float *logits) {
    size_t said = 0;
    softmax(p, logits);
    for (size_t c = 1; c < p->n_labels; c++)
        if (weight(p, c) > weight(p, said)) said = c;
    answer->confidence = p->share[said];
    answer->label = answer->confidence >= p->options->min_confidence ? p->labels[said] : NULL;
    choose_top(p, p->n_top);
    answer->n_top = p->n_top;
}

/* Every class on its own: those that apply, the likeliest first. */
static void answer_labels(predictor *p, graft_prediction *answer, const float *logits) {
    double asked = p->options->min_confidence;
    const double *thresholds = p->decision.thresholds;
    size_t n = 0;
    for (size_t c = 0; c < p->n_labels; c++) {
        double share = 1.0 / (1.0 + exp(-p->scale * (double)logits[c]));
        double least = asked > 0 ? asked : thresholds ? thresholds[c] : 0.5;
        p->share[c] = share >= least ? share : -1.0; /* what does not apply is never the likeliest */
        n += share >= least;
    }
    choose_top(p, n);
    answer->n_top = n;
    answer->label = answer->n_top ? p->top[0] : NULL;
    answer->confidence = answer->n_top ? p->top_share[0] : 0.0;
}

static void answer_whole(predictor *p, graft_prediction *answer, const float *logits) {
    if (p->task == GRAFT_TASK_REGRESSION)
        answer->value = (double)logits[0];
    else if (p->task == GRAFT_TASK_MULTILABEL)
        answer_labels(p, answer, logits);
    else
        answer_classes(p, answer, logits);
}

/* The sentence's words, none of them answered yet. */
static int make_words(predictor *p, const graft_words *w, graft_err *err) {
    if (w->n > p->words_room) {
        p->words = graft_arena_array(p->arena, 2 * w->n, sizeof *p->words);
        p->words_room = p->words ? 2 * w->n : 0;
        if (!p->words_room) return graft_err_nomem(err);
    }
    for (size_t i = 0; i < w->n; i++)
        p->words[i] = (graft_tagged_word){.text = w->words[i], .size = w->sizes[i]};
    return 0;
}

static int answer_words(predictor *p, graft_prediction *answer, graft_err *err) {
    const graft_gather *g = &p->gather;
    graft_words words;
    graft_data_words(p->data, g->sample, &words);
    int rc = make_words(p, &words, err);
    for (int64_t i = 0; i < g->n && rc == 0; i++) {
        if ((size_t)g->words[i] >= words.n) continue;
        graft_tagged_word *w = &p->words[g->words[i]];
        softmax(p, g->logits + (size_t)i * p->n_labels);
        w->label = p->labels[g->predicted[i]];
        choose_top(p, 1);
        w->confidence = p->top_share[0];
    }
    answer->n_words = words.n;
    answer->words = p->words;
    return rc;
}

/* Tells the gathered text, and before it the inputs that gave none. */
static int tell(predictor *p, graft_err *err) {
    graft_gather *g = &p->gather;
    if (!g->is_open) return 0;
    int rc = graft_gather_end(g, err);
    if (rc == 0) rc = tell_bad(p, g->sample);
    if (rc < 0) return rc;
    graft_prediction answer = {.input = name_of(graft_data_sample(p->data, g->sample)),
                               .task = graft_task_name(p->task),
                               .top_labels = p->top,
                               .top_confidences = p->top_share};
    if (p->task != GRAFT_TASK_TAGGING)
        answer_whole(p, &answer, g->logits);
    else if ((rc = answer_words(p, &answer, err)) < 0)
        return rc;
    p->told = g->last + 1;
    p->n_inputs++;
    rc = p->each(p->user, &answer);
    return rc < 0 ? rc : 0;
}

static int run_batch(predictor *p, graft_batch *b, int64_t batch, graft_err *err) {
    const graft_feed feed = graft_batch_feed(b);
    const float *logits = NULL, *transitions = NULL;
    bool tags = p->task == GRAFT_TASK_TAGGING;
    int rc = graft_infer_feed(p->infer, &feed, 0, b->n, batch, NULL, &logits, err);
    if (rc == 0 && tags && (transitions = graft_infer_output(p->infer, "crf.transitions")))
        rc =
            graft_gather_field(&p->gather, transitions, graft_infer_output(p->infer, "crf.start_transitions"),
                               graft_infer_output(p->infer, "crf.end_transitions"), err);
    for (int64_t i = 0; i < b->n && rc == 0; i++) {
        size_t row = tags ? (size_t)b->spans[2 * i] : (size_t)i;
        if (!graft_gather_continues(&p->gather, b, i)) rc = tell(p, err);
        if (rc == 0) rc = graft_gather_add(&p->gather, b, i, logits + row * p->n_labels, err);
    }
    return rc;
}

static int run(predictor *p, graft_err *err) {
    int64_t n = graft_data_n_samples(p->data), most = p->options->batch > 0 ? p->options->batch : BATCH;
    graft_loader_options o = GRAFT_LOADER_OPTIONS_INIT;
    graft_infer_options how = GRAFT_INFER_OPTIONS_INIT;
    graft_batches loader = {0};
    graft_batch b = {0};
    int64_t *samples = graft_arena_array(p->arena, (size_t)n + 1, sizeof *samples);
    if (!samples) return graft_err_nomem(err);
    for (int64_t i = 0; i < n; i++) samples[i] = i;
    o.samples = samples;
    o.n_samples = n;
    o.batch = n < most ? n : most;
    o.check = true;
    how.dtype = graft_use_dtype(p->options);
    int rc = graft_transform_of(&p->transform, p->model, NULL, err);
    if (rc == 0) rc = graft_infer_new(&p->infer, p->env, p->model, &how, err);
    if (rc == 0) rc = graft_loader_open(&loader, p->data, &p->transform, &o, err);
    if (rc == 0) rc = loader.begin(loader.self, 0, 0, err);
    while (rc == 0 && (rc = loader.next(loader.self, &b, err)) == 1) {
        rc = b.n ? run_batch(p, &b, o.batch, err) : 0;
        if (rc == 0) rc = graft_env_check(p->env, err);
    }
    graft_batches_close(&loader);
    if (rc == 0) rc = tell(p, err);
    return rc < 0 ? rc : tell_bad(p, n);
}

static int prepare(predictor *p, graft_err *err) {
    int64_t wanted = p->options->top > 0 ? p->options->top : TOP;
    p->labels = graft_model_labels(p->model, &p->n_labels);
    p->task = graft_model_task(p->model);
    p->n_top = (size_t)wanted < p->n_labels ? (size_t)wanted : p->n_labels;
    p->share = graft_arena_array(p->arena, p->n_labels + 1, sizeof *p->share);
    p->top = graft_arena_array(p->arena, p->n_labels + 1, sizeof *p->top);
    p->top_share = graft_arena_array(p->arena, p->n_labels + 1, sizeof *p->top_share);
    if (!p->share || !p->top || !p->top_share) return graft_err_nomem(err);
    int rc = p->options->uncalibrated ? 0 : graft_decision_read(&p->decision, p->arena, p->model, err);
    if (rc < 0) return rc;
    p->scale = p->decision.temperature > 0.0 ? 1.0 / p->decision.temperature : 1.0;
    return graft_gather_init(&p->gather, p->arena, p->task, p->labels, (int64_t)p->n_labels, err);
}

/* One model's answers. */
static int predict(graft_env *env, const char *model, const char *adapter, const char *const *inputs,
                   size_t n_inputs, const graft_use_options *options,
                   int (*each)(void *user, const graft_prediction *p), void *user, graft_err *err) {
    predictor p = {
        .env = env, .options = options, .arena = graft_arena_new(NULL), .each = each, .user = user};
    if (!p.arena) return graft_err_nomem(err);
    int rc = graft_use_model(&p.model, env, model, adapter, p.options, true, err);
    if (rc == 0) rc = prepare(&p, err);
    /* each bad one is told of in its place */
    if (rc == 0) rc = graft_use_inputs(&p.data, env, p.model, inputs, n_inputs, 1, p.options, err);
    if (rc == 0) rc = run(&p, err);
    if (rc == 0 && p.n_bad > 0)
        rc = graft_err_set(err, GRAFT_EIO, "%lld of %lld inputs could not be read", (long long)p.n_bad,
                           (long long)p.n_inputs);
    graft_infer_free(p.infer);
    graft_data_close(p.data);
    graft_model_close(p.model);
    graft_arena_free(p.arena);
    return rc;
}

typedef struct named_answers {
    const char *adapter;
    int (*each)(void *user, const graft_prediction *p);
    void *user;
} named_answers;

static int name_answer(void *user, const graft_prediction *p) {
    const named_answers *n = user;
    graft_prediction named = *p;
    named.adapter = n->adapter;
    return n->each(n->user, &named);
}

/* Adapters one after the other: of a base's first adapted layer on nothing is common to them, and the mapped
 * base is in memory once. */
int graft_predict(graft_env *env, const char *model, const char *const *inputs, size_t n_inputs,
                  const graft_use_options *options, int (*each)(void *user, const graft_prediction *p),
                  void *user, graft_err *err) {
    static const graft_use_options none = GRAFT_USE_OPTIONS_INIT;
    int rc = 0;
    if (!options) options = &none;
    graft_precision_tell(env, options->precision);
    if (!options->n_adapters) return predict(env, model, NULL, inputs, n_inputs, options, each, user, err);
    for (size_t i = 0; i < options->n_adapters && rc == 0; i++) {
        named_answers named = {.adapter = options->adapters[i], .each = each, .user = user};
        rc = predict(env, model, options->adapters[i], inputs, n_inputs, options, name_answer, &named, err);
    }
    return rc;
}
