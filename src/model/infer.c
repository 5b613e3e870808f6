/* A model made ready to answer: batch norms folded, operations fused, one program for each batch size that is
 * asked for; all share one state, so that the weights are packed once. */
#include "model/model_impl.h"
#include <string.h>

/* Programs kept; the one unused for longest makes room. A reader's full batch, its last one and a single
 * picture are the common case; texts come in more sizes. */
enum { N_PROGRAMS = 16 };

typedef struct ready_program {
    graft_program *program;
    int64_t batch, tokens;
    uint64_t used;
} ready_program;

struct graft_infer {
    const graft_env *env;
    const graft_model *m;
    graft_arena *arena;
    graft_graph *graph; /* folded and fused */
    graft_state *state;
    graft_precision dtype;
    int64_t height, width;
    const graft_program *last; /* the one that ran last */
    ready_program ready[N_PROGRAMS];
    uint64_t clock;
};

static int build(graft_infer *f, graft_err *err) {
    graft_graph *plain = NULL, *chosen = NULL, *folded = NULL;
    int rc;
    if ((rc = graft_model_graph(&plain, f->arena, f->m, f->height, f->width, err)) < 0) return rc;
    if ((rc = graft_graph_choose_rows(&chosen, f->arena, plain, err)) < 0) return rc;
    if ((rc = graft_graph_fold(&folded, f->arena, chosen, err)) < 0) return rc;
    if ((rc = graft_graph_fuse(&f->graph, f->arena, folded, err)) < 0) return rc;
    return graft_graph_precision(f->graph, graft_backend_precision(f->dtype), err);
}

int graft_infer_new(graft_infer **out, const graft_env *env, const graft_model *m,
                    const graft_infer_options *options, graft_err *err) {
    graft_infer_options o = GRAFT_INFER_OPTIONS_INIT;
    if (options) o = *options;
    int h = 0, w = 0;
    if ((o.height <= 0 || o.width <= 0) && graft_model_input_size(m, &h, &w)) {
        o.height = h;
        o.width = w;
    }
    graft_arena *arena = graft_arena_new(NULL);
    graft_infer *f = arena ? graft_arena_alloc(arena, sizeof *f) : NULL;
    if (!f) {
        graft_arena_free(arena);
        return graft_err_nomem(err);
    }
    *f = (graft_infer){
        .env = env, .m = m, .arena = arena, .dtype = o.dtype, .height = o.height, .width = o.width};
    int rc = build(f, err);
    if (rc == 0) rc = graft_state_new(&f->state, env, err);
    if (rc == 0)
        *out = f;
    else
        graft_infer_free(f);
    return rc;
}

void graft_infer_free(graft_infer *f) {
    if (!f) return;
    for (size_t i = 0; i < N_PROGRAMS; i++)
        if (f->ready[i].program) graft_program_free(f->ready[i].program);
    if (f->state) graft_state_free(f->state);
    graft_arena_free(f->arena);
}

static int program_for(graft_program **out, graft_infer *f, int64_t n, int64_t tokens, graft_err *err) {
    ready_program *oldest = &f->ready[0];
    if (n < 1) return graft_err_set(err, GRAFT_EUSAGE, "a batch of %lld samples", (long long)n);
    for (size_t i = 0; i < N_PROGRAMS; i++) {
        ready_program *r = &f->ready[i];
        if (r->program && r->batch == n && r->tokens == tokens) {
            r->used = ++f->clock;
            *out = r->program;
            return 0;
        }
        if (!r->program || (oldest->program && r->used < oldest->used)) oldest = r;
    }
    graft_compile_options o = {.batch = n, .tokens = tokens};
    graft_program *p = NULL;
    int rc = graft_program_compile(&p, f->graph, f->state, &o, err);
    if (rc < 0) return rc;
    if (oldest->program) graft_program_free(oldest->program);
    *oldest = (ready_program){p, n, tokens, ++f->clock};
    *out = p;
    return 0;
}

int graft_infer_input(float **out, graft_infer *f, int64_t n, graft_err *err) {
    graft_program *p = NULL;
    int rc = program_for(&p, f, n, 0, err);
    if (rc < 0) return rc;
    size_t size = 0;
    *out = graft_program_input(p, "pixel_values", &size);
    return *out ? 0 : graft_err_set(err, GRAFT_EINTERNAL, "the program has no input 'pixel_values'");
}

static int run_program(graft_program *p, const float **features, const float **logits, graft_err *err) {
    size_t count;
    int rc = graft_program_run(p, err);
    if (rc < 0) return rc;
    if (features) *features = graft_program_output(p, "features", &count);
    if (logits) *logits = graft_program_output(p, "logits", &count);
    if ((features && !*features) || (logits && !*logits))
        return graft_err_set(err, GRAFT_EINTERNAL, "the program lacks an output");
    return 0;
}

int graft_infer_run_input(graft_infer *f, int64_t n, const float **features, const float **logits,
                          graft_err *err) {
    graft_program *p = NULL;
    int rc = program_for(&p, f, n, 0, err);
    return rc < 0 ? rc : run_program(p, features, logits, err);
}

int graft_infer_feed(graft_infer *f, const graft_feed *feed, int64_t first, int64_t n, int64_t rows,
                     const float **features, const float **logits, graft_err *err) {
    graft_program *p = NULL;
    int64_t tokens = graft_feed_tokens(feed, first, n);
    int rc = program_for(&p, f, rows, tokens ? graft_tokens_room(tokens) : 0, err);
    if (rc == 0) rc = graft_program_feed(p, feed, first, n, err);
    f->last = p;
    return rc < 0 ? rc : run_program(p, features, logits, err);
}

int graft_infer_run(graft_infer *f, const float *pixels, int64_t n, float *features, float *logits,
                    graft_err *err) {
    const float *d = NULL, *k = NULL;
    float *x = NULL;
    int rc = graft_infer_input(&x, f, n, err);
    if (rc < 0) return rc;
    size_t count = (size_t)n;
    memcpy(x, pixels,
           count * (size_t)f->m->hyper.channels * (size_t)f->height * (size_t)f->width * sizeof *x);
    if ((rc = graft_infer_run_input(f, n, &d, &k, err)) < 0) return rc;
    if (features) memcpy(features, d, count * (size_t)f->m->hyper.feature_width * sizeof *d);
    if (logits) memcpy(logits, k, count * f->m->n_labels * sizeof *k);
    return 0;
}

const float *graft_infer_output(const graft_infer *f, const char *name) {
    return f->last ? graft_program_output(f->last, name, NULL) : NULL;
}

int graft_infer_trace(graft_infer *f, const graft_feed *feed, graft_buf *out, graft_err *err) {
    graft_program *p = NULL;
    int rc = program_for(&p, f, feed->n, feed->n_tokens ? graft_tokens_room(feed->n_tokens) : 0, err);
    if (rc == 0) rc = graft_program_feed(p, feed, 0, feed->n, err);
    return rc == 0 ? graft_program_trace(p, out, err) : rc;
}

int graft_infer_needs(graft_infer *f, int64_t n, int64_t tokens, graft_program_memory *out, graft_err *err) {
    graft_program *p = NULL;
    int rc = program_for(&p, f, n, tokens ? graft_tokens_room(tokens) : 0, err);
    if (rc == 0) *out = graft_program_needs(p);
    return rc;
}
