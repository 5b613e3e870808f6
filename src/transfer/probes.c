/* Probes: a few samples as a model reads them, kept in its folder, and the folder held against them. */
#include "transfer/fit.h"

#include <string.h>

enum { N_PROBES = 5 };

/* Spread over the validation part, so that several classes are among them, then over the training part. */
static int64_t pick_probes(const graft_data *d, int64_t *picked) {
    static const graft_part parts[] = {GRAFT_VAL, GRAFT_TRAIN};
    int64_t n_picked = 0;
    for (size_t p = 0; p < GRAFT_COUNT(parts); p++) {
        int64_t n = 0, wanted = N_PROBES - n_picked;
        const int64_t *members = graft_data_members(d, parts[p], &n);
        if (wanted > n) wanted = n;
        for (int64_t i = 0; i < wanted; i++) picked[n_picked++] = members[i * n / wanted];
    }
    return n_picked;
}

static void *copy(graft_arena *arena, const void *from, size_t size) {
    void *to = graft_arena_alloc(arena, size + 1);
    if (to && size) memcpy(to, from, size);
    return to;
}

static graft_tensor *copy_tensors(graft_arena *arena, const graft_tensor *from, size_t n) {
    graft_tensor *to = copy(arena, from, n * sizeof *from);
    for (size_t i = 0; to && i < n; i++)
        if (!(to[i].data = copy(arena, from[i].data, from[i].size))) return NULL;
    return to;
}

/* Everything of a batch that the next one would overwrite. */
static int keep_feed(graft_feed *out, graft_arena *arena, const graft_batch *b, graft_err *err) {
    *out = (graft_feed){.n = b->n,
                        .n_tokens = b->n_tokens,
                        .inputs = copy_tensors(arena, b->inputs, b->n_inputs),
                        .n_inputs = b->n_inputs,
                        .token_inputs = copy_tensors(arena, b->token_inputs, b->n_token_inputs),
                        .n_token_inputs = b->n_token_inputs};
    if (b->spans) out->spans = copy(arena, b->spans, 2 * (size_t)b->n * sizeof *b->spans);
    bool ok = out->inputs && out->token_inputs && (out->spans || !b->spans);
    return ok ? 0 : graft_err_nomem(err);
}

/* A few samples as the model reads them: what graft verify replays. */
int graft_probes_make(graft_feed *out, graft_arena *arena, const graft_model *m, graft_data *data,
                      graft_err *err) {
    graft_transform plain;
    graft_batches loader = {0};
    graft_batch b = {0};
    graft_loader_options o = GRAFT_LOADER_OPTIONS_INIT;
    int64_t picked[N_PROBES], n_picked = pick_probes(data, picked);
    o.samples = picked;
    o.n_samples = n_picked;
    o.batch = N_PROBES;
    int rc = graft_transform_of(&plain, m, NULL, err);
    if (rc == 0) rc = graft_loader_open(&loader, data, &plain, &o, err);
    if (rc == 0) rc = loader.begin(loader.self, 0, 0, err);
    if (rc == 0) rc = loader.next(loader.self, &b, err);
    if (rc == 1)
        rc = keep_feed(out, arena, &b, err);
    else if (rc == 0)
        rc = graft_err_set(err, GRAFT_EDATA, "no sample is left to keep as a probe");
    graft_batches_close(&loader);
    return rc;
}

/* The saved folder, opened anew, must answer as the model did. */
int graft_folder_replay(double *difference, const graft_env *env, const char *out, graft_err *err) {
    graft_verification v;
    int rc = graft_model_verify(&v, env, out, err);
    if (rc < 0) return rc;
    *difference = v.max_difference;
    if (v.n_differ == 0 && v.max_difference <= 1e-4 * (1.0 + v.max_logit)) return 0;
    return graft_err_set(
        err, GRAFT_EINTERNAL,
        "%s was written but answers differently than the model in memory (by %g): do not use it", out,
        v.max_difference);
}
