#include "model_room.h"

#include "graph/op.h"

/* ---- A graph's outputs in double, by the ops' own references
 * --------------------------------------------------- */

typedef struct evaluation {
    room *r;
    const graft_graph *g;
    int64_t batch;
    double **values; /* per value of the graph */
} evaluation;

static graft_shape bound(const evaluation *e, graft_value v) {
    graft_shape s = graft_graph_value(e->g, v)->shape;
    for (int i = 0; i < s.rank; i++)
        if (s.dims[i] == GRAFT_DIM_BATCH) s.dims[i] = e->batch;
    return s;
}

static double *room_for(const evaluation *e, graft_value v) {
    graft_shape s = bound(e, v);
    int64_t n = 0;
    graft_shape_count(&s, &n);
    return graft_arena_array(e->r->arena, (size_t)n, sizeof(double));
}

static void put(evaluation *e, graft_value v, const float *x) {
    graft_shape s = bound(e, v);
    int64_t n = 0;
    graft_shape_count(&s, &n);
    e->values[v] = room_for(e, v);
    for (int64_t i = 0; i < n; i++) e->values[v][i] = (double)x[i];
}

static void run_node(evaluation *e, const graft_node *node) {
    const double *in[16] = {0};
    double *out[8] = {0};
    graft_shape in_shape[16] = {{0}}, out_shape[8] = {{0}};
    for (size_t i = 0; i < node->n_in; i++) {
        if (node->in[i] == GRAFT_NONE) continue;
        in[i] = e->values[node->in[i]];
        in_shape[i] = bound(e, node->in[i]);
    }
    for (size_t i = 0; i < node->n_out; i++) {
        out[i] = e->values[node->out[i]] = room_for(e, node->out[i]);
        out_shape[i] = bound(e, node->out[i]);
    }
    graft_op_call call = {in, in_shape, node->n_in, out, out_shape, node->n_out, node->attr};
    node->op->reference(&call);
}

static const double *evaluate(evaluation *e, const float *pixels, const char *output) {
    graft_err err = {0};
    e->values = graft_arena_array(e->r->arena, graft_graph_n_values(e->g), sizeof(double *));
    for (graft_value v = 0; v < (graft_value)graft_graph_n_values(e->g); v++) {
        const graft_value_info *info = graft_graph_value(e->g, v);
        graft_shape s = bound(e, v);
        int64_t n = 0;
        graft_shape_count(&s, &n);
        if (info->kind == GRAFT_INPUT) put(e, v, pixels);
        if (info->kind != GRAFT_PARAM) continue;
        float *w = graft_arena_array(e->r->arena, (size_t)n, sizeof *w);
        assert_ok(graft_source_read(&info->source, &s, w, &err));
        put(e, v, w);
    }
    for (size_t i = 0; i < graft_graph_n_nodes(e->g); i++) run_node(e, graft_graph_node_at(e->g, i));
    const graft_output *outputs;
    size_t n = graft_graph_outputs(e->g, &outputs);
    for (size_t i = 0; i < n; i++)
        if (!strcmp(outputs[i].name, output)) return e->values[outputs[i].value];
    fail_msg("no output '%s'", output);
    return NULL;
}

static double worst(const double *a, const float *b, size_t n) {
    double difference = 0, scale = 0;
    for (size_t i = 0; i < n; i++) {
        difference = fmax(difference, fabs(a[i] - (double)b[i]));
        scale = fmax(scale, fabs((double)b[i]));
    }
    return difference / scale;
}

static graft_graph *graph_of(room *r, const graft_model *m, int64_t height, int64_t width) {
    graft_graph *g = NULL;
    graft_err err = {0};
    assert_ok(graft_model_graph(&g, r->arena, m, height, width, &err));
    assert_ok(graft_graph_check(g, &err));
    return g;
}

/* ---- Tests
 * -------------------------------------------------------------------------------------------------------- */

static void outputs_equal_those_of_transformers_and_timm(void **state) {
    room *r = *state;
    graft_err err;
    for (size_t i = 0; i < GRAFT_COUNT(golden_folders); i++) {
        graft_tensors gold;
        const char *folder = golden(r, golden_folders[i]);
        assert_ok(graft_safetensors_open(&gold, r->arena, file_of(r, folder, "golden.safetensors"), &err));
        const graft_tensor *x = tensor_named(&gold, "input"), *y;
        graft_model *m = open_model(r, folder, NULL);
        evaluation e = {
            .r = r, .g = graph_of(r, m, x->shape.dims[2], x->shape.dims[3]), .batch = x->shape.dims[0]};
        y = tensor_named(&gold, "pooled");
        double pooled = worst(evaluate(&e, x->data, "features"), y->data, y->size / 4);
        y = tensor_named(&gold, "logits");
        double logits = worst(evaluate(&e, x->data, "logits"), y->data, y->size / 4);
        print_message("%-20s pooled %.1e logits %.1e\n", golden_folders[i], pooled, logits);
        assert_true(pooled < 1e-6 && logits < 1e-6);
        graft_model_close(m);
    }
}

static void folding_and_fusing_change_nothing(void **state) {
    room *r = *state;
    graft_err err;
    for (size_t i = 0; i < GRAFT_COUNT(golden_folders); i++) {
        graft_tensors gold;
        const char *folder = golden(r, golden_folders[i]);
        assert_ok(graft_safetensors_open(&gold, r->arena, file_of(r, folder, "golden.safetensors"), &err));
        const graft_tensor *x = tensor_named(&gold, "input"), *y = tensor_named(&gold, "logits");
        graft_model *m = open_model(r, folder, NULL);
        graft_graph *g = graph_of(r, m, x->shape.dims[2], x->shape.dims[3]), *folded, *fused;
        assert_ok(graft_graph_fold(&folded, r->arena, g, &err));
        assert_ok(graft_graph_fuse(&fused, r->arena, folded, &err));
        evaluation e = {.r = r, .g = fused, .batch = x->shape.dims[0]};
        assert_true(worst(evaluate(&e, x->data, "logits"), y->data, y->size / 4) < 1e-5);
        assert_true(graft_graph_n_nodes(fused) < graft_graph_n_nodes(g) / 2);
        graft_model_close(m);
    }
}

static void the_input_has_the_size_of_the_preprocessing(void **state) {
    room *r = *state;
    graft_err err;
    graft_graph *g = NULL;
    graft_model *m = open_model(r, golden(r, "hf_grey"), NULL);
    g = graph_of(r, m, 0, 0);
    const graft_shape want = {4, {GRAFT_DIM_BATCH, 1, 40, 40}};
    graft_value x = graft_graph_find(g, "pixel_values");
    assert_true(graft_shape_equal(&graft_graph_value(g, x)->shape, &want));
    graft_preprocess p = *graft_model_preprocess(m);
    p.mode = GRAFT_RESIZE_NONE;
    p.crop_height = p.crop_width = 0;
    assert_ok(graft_model_set_preprocess(m, &p, &err));
    assert_true(graft_model_preprocess_is_changed(m));
    assert_error(graft_model_graph(&g, r->arena, m, 0, 0, &err), GRAFT_EUSAGE, "size");
    p.channels = 3;
    assert_error(graft_model_set_preprocess(m, &p, &err), GRAFT_EUSAGE, "3 channels");
    graft_model_close(m);
}

static void parameters_of_the_graph_are_those_of_the_table(void **state) {
    room *r = *state;
    graft_model *m = open_model(r, golden(r, "timm_bottleneck"), NULL);
    graft_graph *g = graph_of(r, m, 64, 64);
    size_t n = 0;
    for (graft_value v = 0; v < (graft_value)graft_graph_n_values(g); v++) {
        const graft_value_info *info = graft_graph_value(g, v);
        if (info->kind != GRAFT_PARAM) continue;
        const graft_param *p = graft_model_find_param(m, info->name);
        if (!p) fail_msg("'%s' is not in the table", info->name);
        assert_ptr_equal(info->source.tensor, &p->tensor);
        n++;
    }
    assert_int_equal(n, graft_model_n_params(m));
    graft_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        room_test(outputs_equal_those_of_transformers_and_timm),
        room_test(folding_and_fusing_change_nothing),
        room_test(the_input_has_the_size_of_the_preprocessing),
        room_test(parameters_of_the_graph_are_those_of_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
