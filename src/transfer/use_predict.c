/* graft predict: classes of pictures, in input order, as they come. */
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
    double *share;       /* [n_labels] softmax of one picture */
    const char **top;    /* [n_top] */
    double *top_share;   /* [n_top] */
    int64_t told, n_bad; /* inputs told of so far, unreadable ones among them */
    int (*each)(void *user, const graft_prediction *p);
    void *user;
} predictor;

static const char *name_of(const graft_sample *s) {
    return s->row < 0 ? s->path : s->origin;
}

/* Inputs that gave no picture, up to `until`. */
static int tell_bad(predictor *p, int64_t until) {
    int rc = 0;
    for (; p->told < until && rc >= 0; p->told++) {
        const graft_sample *s = graft_data_sample(p->data, p->told);
        graft_prediction bad = {.input = name_of(s), .problem = s->reason ? s->reason : "not readable"};
        p->n_bad++;
        rc = p->each(p->user, &bad);
    }
    return rc < 0 ? rc : 0;
}

static void softmax(predictor *p, const float *z) {
    double top = (double)z[0], sum = 0.0;
    for (size_t c = 1; c < p->n_labels; c++) top = fmax(top, (double)z[c]);
    for (size_t c = 0; c < p->n_labels; c++) sum += p->share[c] = exp((double)z[c] - top);
    for (size_t c = 0; c < p->n_labels; c++) p->share[c] /= sum;
}

/* The likeliest classes first; equal ones in the model's order. */
static void choose_top(predictor *p) {
    for (size_t i = 0; i < p->n_top; i++) {
        size_t best = 0;
        for (size_t c = 1; c < p->n_labels; c++)
            if (p->share[c] > p->share[best]) best = c;
        p->top[i] = p->labels[best];
        p->top_share[i] = p->share[best];
        p->share[best] = -1.0;
    }
}

static int tell(predictor *p, int64_t sample, const float *logits) {
    int rc = tell_bad(p, sample);
    if (rc < 0) return rc;
    softmax(p, logits);
    choose_top(p);
    bool sure = p->top_share[0] >= p->options->min_confidence;
    graft_prediction answer = {.input = name_of(graft_data_sample(p->data, sample)),
                               .label = sure ? p->top[0] : NULL,
                               .confidence = p->top_share[0],
                               .n_top = p->n_top,
                               .top_labels = p->top,
                               .top_confidences = p->top_share};
    p->told = sample + 1;
    rc = p->each(p->user, &answer);
    return rc < 0 ? rc : 0;
}

/* One program serves all batches: what a batch lacks is zero, so that the others' bits do not depend on it.
 */
static int run_batch(predictor *p, const graft_batch *b, int64_t batch, graft_err *err) {
    float *in = NULL;
    const float *logits = NULL;
    size_t one = graft_transform_count(&p->transform);
    int rc = graft_infer_input(&in, p->infer, batch, err);
    if (rc < 0) return rc;
    memcpy(in, b->inputs[0].data, (size_t)b->n * one * sizeof *in);
    memset(in + (size_t)b->n * one, 0, (size_t)(batch - b->n) * one * sizeof *in);
    rc = graft_infer_run_input(p->infer, batch, NULL, &logits, err);
    for (int64_t i = 0; i < b->n && rc == 0; i++)
        rc = tell(p, b->samples[i], logits + (size_t)i * p->n_labels);
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
    int rc = graft_transform_init(&p->transform, graft_model_preprocess(p->model), NULL, err);
    if (rc == 0) rc = graft_infer_new(&p->infer, p->env, p->model, &how, err);
    if (rc == 0) rc = graft_loader_open(&loader, p->data, &p->transform, &o, err);
    if (rc == 0) rc = loader.begin(loader.self, 0, 0, err);
    while (rc == 0 && (rc = loader.next(loader.self, &b, err)) == 1) {
        rc = b.n ? run_batch(p, &b, o.batch, err) : 0;
        if (rc == 0) rc = graft_env_check(p->env, err);
    }
    graft_batches_close(&loader);
    return rc < 0 ? rc : tell_bad(p, n);
}

static int prepare(predictor *p, graft_err *err) {
    int64_t wanted = p->options->top > 0 ? p->options->top : TOP;
    p->labels = graft_model_labels(p->model, &p->n_labels);
    p->n_top = (size_t)wanted < p->n_labels ? (size_t)wanted : p->n_labels;
    p->share = graft_arena_array(p->arena, p->n_labels + 1, sizeof *p->share);
    p->top = graft_arena_array(p->arena, p->n_top + 1, sizeof *p->top);
    p->top_share = graft_arena_array(p->arena, p->n_top + 1, sizeof *p->top_share);
    return p->share && p->top && p->top_share ? 0 : graft_err_nomem(err);
}

int graft_predict(graft_env *env, const char *model, const char *const *inputs, size_t n_inputs,
                  const graft_use_options *options, int (*each)(void *user, const graft_prediction *p),
                  void *user, graft_err *err) {
    static const graft_use_options none = GRAFT_USE_OPTIONS_INIT;
    predictor p = {.env = env,
                   .options = options ? options : &none,
                   .arena = graft_arena_new(NULL),
                   .each = each,
                   .user = user};
    if (!p.arena) return graft_err_nomem(err);
    graft_data_options o = graft_use_data_options(&p.options->data);
    if (!(o.max_bad > 0)) o.max_bad = 1; /* each bad one is told of in its place */
    int rc = graft_use_model(&p.model, env, model, p.options, true, err);
    if (rc == 0) rc = prepare(&p, err);
    if (rc == 0) rc = graft_data_open_inputs(&p.data, env, inputs, n_inputs, &o, err);
    if (rc == 0) rc = run(&p, err);
    if (rc == 0 && p.n_bad > 0)
        rc = graft_err_set(err, GRAFT_EIO, "%lld of %lld inputs could not be read", (long long)p.n_bad,
                           (long long)p.told);
    graft_infer_free(p.infer);
    graft_data_close(p.data);
    graft_model_close(p.model);
    graft_arena_free(p.arena);
    return rc;
}
