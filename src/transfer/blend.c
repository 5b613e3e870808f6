/* The average of models of one architecture, parameter by parameter (Wortsman et al. 2022, "Robust
 * fine-tuning of zero-shot models" and "Model soups"). */
#include "transfer/blend.h"

#include <stdlib.h>
#include <string.h>

static bool same_labels(const graft_model *a, const graft_model *b) {
    size_t n = 0, m = 0;
    const char *const *x = graft_model_labels(a, &n), *const *y = graft_model_labels(b, &m);
    if (n != m || graft_model_task(a) != graft_model_task(b)) return false;
    if (strcmp(graft_model_head_name(a), graft_model_head_name(b)) != 0) return false;
    for (size_t i = 0; i < n; i++)
        if (strcmp(x[i], y[i]) != 0) return false;
    return true;
}

static int same_tokens(const graft_model *a, const graft_model *b, graft_err *err) {
    const graft_tokenizer *x = NULL, *y = NULL;
    if (graft_model_modality(a) != GRAFT_TEXTS) return 0;
    int rc = graft_model_tokenizer(&x, a, err);
    if (rc == 0) rc = graft_model_tokenizer(&y, b, err);
    if (rc < 0) return rc;
    graft_hash hashes[2] = {graft_tokenizer_hash(x), graft_tokenizer_hash(y)};
    if (memcmp(&hashes[0], &hashes[1], sizeof hashes[0]) == 0) return 0;
    return graft_err_set(err, GRAFT_EUSAGE, "%s and %s do not cut texts alike: their tokenizers differ",
                         graft_model_path(a), graft_model_path(b));
}

/* Whether source i has parameter p of the target to give. */
static bool gives(const graft_blend *b, size_t i, const graft_param *p) {
    return !p->head || b->has_head[i];
}

static int same_layers(const graft_blend *b, size_t i, graft_err *err) {
    const graft_model *one = b->sources[i], *t = b->target;
    if (strcmp(graft_model_family(one), graft_model_family(t)) != 0)
        return graft_err_set(err, GRAFT_EUSAGE,
                             "%s is of the family %s, %s of %s: only models of one architecture are blended",
                             graft_model_path(one), graft_model_family(one), graft_model_path(t),
                             graft_model_family(t));
    if (graft_model_is_scratch(one))
        return graft_err_set(err, GRAFT_EUSAGE, "%s has no weights to blend", graft_model_path(one));
    for (size_t k = 0; k < graft_model_n_params(t); k++) {
        const graft_param *p = graft_model_param(t, k);
        const graft_param *q = graft_model_find_param(one, p->name);
        char here[96], there[96];
        if (!gives(b, i, p) || (q && graft_shape_equal(&p->shape, &q->shape))) continue;
        return graft_err_set(
            err, GRAFT_ESHAPE, "%s is %s in %s and %s in %s: only models of one architecture are blended",
            p->name, graft_shape_print(&p->shape, there, sizeof there), graft_model_path(t),
            q ? graft_shape_print(&q->shape, here, sizeof here) : "missing", graft_model_path(one));
    }
    return same_tokens(one, t, err);
}

/* Of adapters beside the layers the mean would not be that of what they do: they go into the weights. */
static int open_merged(graft_model **out, const graft_env *env, const char *path,
                       const graft_model_options *o, graft_err *err) {
    int rc = graft_model_open(out, env, path, o, err);
    return rc < 0 ? rc : graft_model_merge(*out, err);
}

int graft_blend_open(graft_blend *b, graft_arena *arena, const graft_env *env, const char *const *paths,
                     size_t n, graft_err *err) {
    graft_model_options o = GRAFT_MODEL_OPTIONS_INIT;
    *b = (graft_blend){.sources = graft_arena_array(arena, n, sizeof(graft_model *)),
                       .has_head = graft_arena_array(arena, n, sizeof(bool))};
    if (!b->sources || !b->has_head) return graft_err_nomem(err);
    o.needs_head = true;
    int rc = open_merged(&b->target, env, paths[n - 1], &o, err);
    o.needs_head = false;
    for (; b->n < n && rc == 0; b->n++) rc = open_merged(&b->sources[b->n], env, paths[b->n], &o, err);
    for (size_t i = 0; i < n && rc == 0; i++) {
        const graft_model *one = b->sources[i];
        b->has_head[i] = !graft_model_head_is_new(one) && same_labels(one, b->target);
        rc = same_layers(b, i, err);
    }
    return rc;
}

void graft_blend_close(graft_blend *b) {
    for (size_t i = 0; i < b->n; i++) graft_model_close(b->sources[i]);
    graft_model_close(b->target);
}

/* Whether a source differs from the last one in this parameter. */
static bool differs(const graft_tensor *a, const graft_tensor *b) {
    return a->dtype != b->dtype || a->size != b->size || memcmp(a->data, b->data, a->size) != 0;
}

/* room: two rows of the parameter's size. */
static int set_one(graft_blend *b, const graft_param *p, const double *shares, float *room, double *sum,
                   size_t count, graft_err *err) {
    double whole = 0.0;
    int rc = 0;
    for (size_t k = 0; k < count; k++) sum[k] = 0.0;
    for (size_t i = 0; i < b->n; i++) whole += gives(b, i, p) ? shares[i] : 0.0;
    for (size_t i = 0; i < b->n && rc == 0; i++) {
        /* a head that none of the chosen has is the last one's */
        double share = !gives(b, i, p) ? 0.0 : whole > 0.0 ? shares[i] / whole : (double)(i + 1 == b->n);
        if (!(share > 0.0)) continue;
        rc = graft_model_get(b->sources[i], p->name, room, count, err);
        for (size_t k = 0; k < count && rc == 0; k++) sum[k] += share * (double)room[k];
    }
    for (size_t k = 0; k < count; k++) room[k] = (float)sum[k];
    return rc < 0 ? rc : graft_model_set(b->target, p->name, room, count, err);
}

static bool is_alike(const graft_blend *b, const graft_param *p) {
    const graft_param *last = graft_model_find_param(b->sources[b->n - 1], p->name);
    for (size_t i = 0; i + 1 < b->n; i++)
        if (gives(b, i, p) && differs(&graft_model_find_param(b->sources[i], p->name)->tensor, &last->tensor))
            return false;
    return true;
}

int graft_blend_set(graft_blend *b, const double *shares, graft_err *err) {
    int rc = 0;
    for (size_t k = 0; k < graft_model_n_params(b->target) && rc == 0; k++) {
        const graft_param *p = graft_model_param(b->target, k);
        int64_t count = 0;
        size_t size;
        if (!graft_shape_count(&p->shape, &count) || count < 1 || is_alike(b, p)) continue;
        if (!graft_size_mul((size_t)count, sizeof(double), &size)) return graft_err_nomem(err);
        double *sum = malloc(size);
        float *room = malloc(size);
        rc = sum && room ? set_one(b, p, shares, room, sum, (size_t)count, err) : graft_err_nomem(err);
        free(sum);
        free(room);
    }
    return rc;
}
