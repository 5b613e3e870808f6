#include "transfer/prefix.h"

#include <stdlib.h>
#include <string.h>

static int name_boundary(graft_prefix *p, const graft_graph *g, const graft_plan *plan, graft_err *err) {
    size_t n = plan->n_boundary;
    p->names = graft_arena_array(p->arena, n + 1, sizeof *p->names);
    p->shapes = graft_arena_array(p->arena, n + 1, sizeof *p->shapes);
    p->counts = graft_arena_array(p->arena, n + 1, sizeof *p->counts);
    if (!p->names || !p->shapes || !p->counts) return graft_err_nomem(err);
    p->n_values = n;
    for (size_t i = 0; i < n; i++) {
        p->names[i] = graft_arena_printf(p->arena, "boundary.%zu", i);
        p->shapes[i] = graft_graph_value(g, plan->boundary[i])->shape;
        graft_shape one = p->shapes[i];
        int64_t count = 0;
        one.dims[0] = 1;
        if (!p->names[i] || !graft_shape_count(&one, &count)) return graft_err_nomem(err);
        p->counts[i] = (size_t)count;
        p->row_count += p->counts[i];
    }
    return 0;
}

static int compile_prefix(graft_prefix *p, const graft_env *env, const graft_graph *g, const graft_plan *plan,
                          graft_dtype dtype, graft_err *err) {
    graft_output *outputs = graft_arena_array(p->arena, p->n_values + 1, sizeof *outputs);
    graft_graph *part = NULL, *folded = NULL, *fused = NULL;
    if (!outputs) return graft_err_nomem(err);
    for (size_t i = 0; i < p->n_values; i++) outputs[i] = (graft_output){p->names[i], plan->boundary[i]};
    int rc = graft_graph_extract(&part, p->arena, g, NULL, NULL, 0, outputs, p->n_values, err);
    if (rc == 0) rc = graft_graph_hash(part, &p->hash, err);
    if (rc == 0) rc = graft_graph_fold(&folded, p->arena, part, err);
    if (rc == 0) rc = graft_graph_fuse(&fused, p->arena, folded, err);
    if (rc == 0) rc = graft_graph_precision(fused, dtype, err);
    if (rc == 0) rc = graft_state_new(&p->state, env, err);
    graft_compile_options options = {.batch = p->batch};
    if (rc == 0) rc = graft_program_compile(&p->program, fused, p->state, &options, err);
    if (rc == 0) p->memory = graft_program_needs(p->program).arena + graft_state_size(p->state);
    return rc;
}

int graft_prefix_split(graft_prefix **prefix, graft_graph **suffix, graft_arena *arena, const graft_env *env,
                       const graft_graph *graph, graft_dtype dtype, int64_t batch, graft_err *err) {
    graft_plan plan;
    graft_output logits = {"logits", graft_graph_find(graph, "logits")};
    int rc = graft_plan_derive(&plan, arena, graph, err);
    *prefix = NULL;
    if (rc < 0) return rc;
    if (plan.n_prefix == 0) return graft_graph_extract(suffix, arena, graph, NULL, NULL, 0, &logits, 1, err);
    graft_arena *own = graft_arena_new(NULL);
    graft_prefix *p = own ? graft_arena_alloc(own, sizeof *p) : NULL;
    if (!p) {
        graft_arena_free(own);
        return graft_err_nomem(err);
    }
    *p = (graft_prefix){.arena = own, .batch = batch};
    /* What only outputs read (the pooled features beside the logits) does not cross: boundary of the logits'
     * part. */
    graft_graph *whole = NULL;
    rc = graft_graph_extract(&whole, own, graph, NULL, NULL, 0, &logits, 1, err);
    if (rc == 0) rc = graft_plan_derive(&plan, own, whole, err);
    if (rc == 0) rc = name_boundary(p, whole, &plan, err);
    if (rc == 0) rc = compile_prefix(p, env, whole, &plan, dtype, err);
    if (rc == 0) {
        logits.value = graft_graph_find(whole, "logits");
        rc = graft_graph_extract(suffix, arena, whole, plan.boundary, p->names, p->n_values, &logits, 1, err);
    }
    if (rc < 0) {
        graft_prefix_free(p);
        return rc;
    }
    *prefix = p;
    return 0;
}

void graft_prefix_free(graft_prefix *p) {
    if (!p) return;
    graft_program_free(p->program);
    graft_state_free(p->state);
    graft_arena_free(p->arena);
}

int graft_prefix_run(graft_prefix *p, const float *pixels, int64_t n, float *rows, graft_err *err) {
    for (int64_t first = 0; first < n; first += p->batch) {
        size_t size = 0;
        int64_t here = n - first < p->batch ? n - first : p->batch;
        unsigned char *in = graft_program_input(p->program, "pixel_values", &size);
        if (!in) return graft_err_set(err, GRAFT_EINTERNAL, "the prefix has no input 'pixel_values'");
        size_t one = size / (size_t)p->batch;
        memcpy(in, (const unsigned char *)pixels + (size_t)first * one, (size_t)here * one);
        memset(in + (size_t)here * one, 0, size - (size_t)here * one);
        int rc = graft_program_run(p->program, err);
        if (rc < 0) return rc;
        size_t at = 0;
        for (size_t v = 0; v < p->n_values; v++) {
            const float *out = graft_program_output(p->program, p->names[v], NULL);
            for (int64_t i = 0; i < here; i++)
                memcpy(rows + (size_t)(first + i) * p->row_count + at, out + (size_t)i * p->counts[v],
                       p->counts[v] * sizeof *rows);
            at += p->counts[v];
        }
    }
    return 0;
}

/* ---- Batches with the prefix run over their pictures ------------------------------------------------------- */

typedef struct prefix_batches {
    graft_batches inner;
    graft_prefix *prefix;
    float *rows;           /* [batch, row_count] */
    float *values;         /* the same, value by value */
    graft_tensor *tensors; /* [n_values] over values */
} prefix_batches;

static int begin(void *self, int64_t epoch, int64_t first_batch, graft_err *err) {
    const prefix_batches *b = self;
    return b->inner.begin(b->inner.self, epoch, first_batch, err);
}

static int next(void *self, graft_batch *out, graft_err *err) {
    prefix_batches *b = self;
    const graft_prefix *p = b->prefix;
    int rc = b->inner.next(b->inner.self, out, err);
    if (rc != 1) return rc;
    rc = graft_prefix_run(b->prefix, out->inputs[0].data, out->n, b->rows, err);
    if (rc < 0) return rc;
    float *to = b->values;
    size_t at = 0;
    for (size_t v = 0; v < p->n_values; v++) {
        b->tensors[v].data = to;
        b->tensors[v].shape.dims[0] = out->n;
        b->tensors[v].size = (size_t)out->n * p->counts[v] * sizeof *to;
        for (int64_t i = 0; i < out->n; i++, to += p->counts[v])
            memcpy(to, b->rows + (size_t)i * p->row_count + at, p->counts[v] * sizeof *to);
        at += p->counts[v];
    }
    out->inputs = b->tensors;
    out->n_inputs = p->n_values;
    return 1;
}

static void close_batches(void *self) {
    prefix_batches *b = self;
    graft_batches_close(&b->inner);
    free(b->rows);
    free(b->values);
    free(b->tensors);
    free(b);
}

int graft_prefix_batches_open(graft_batches *out, graft_batches *inner, graft_prefix *prefix,
                              graft_err *err) {
    prefix_batches *b = calloc(1, sizeof *b);
    size_t count = (size_t)inner->batch * prefix->row_count;
    if (b) {
        b->rows = malloc(count * sizeof *b->rows);
        b->values = malloc(count * sizeof *b->values);
        b->tensors = calloc(prefix->n_values, sizeof *b->tensors);
    }
    if (!b || !b->rows || !b->values || !b->tensors) {
        if (b) close_batches(b);
        return graft_err_nomem(err);
    }
    b->prefix = prefix;
    for (size_t v = 0; v < prefix->n_values; v++)
        b->tensors[v] =
            (graft_tensor){.name = prefix->names[v], .dtype = GRAFT_F32, .shape = prefix->shapes[v]};
    *out = *inner;
    b->inner = *inner;
    *inner = (graft_batches){0};
    out->self = b;
    out->begin = begin;
    out->next = next;
    out->close = close_batches;
    return 0;
}
