#include "model_room.h"

static void replay(room *r, const char *folder, graft_precision dtype, double tolerance) {
    graft_err err = {0};
    graft_tensors gold;
    assert_ok(graft_safetensors_open(&gold, r->arena, file_of(r, folder, "golden.safetensors"), &err));
    const graft_tensor *x = tensor_named(&gold, "input"), *f = tensor_named(&gold, "pooled"),
                       *z = tensor_named(&gold, "logits");
    graft_model *m = open_model(r, folder, NULL);
    graft_infer_options o = {x->shape.dims[2], x->shape.dims[3], dtype};
    graft_infer *in = NULL;
    assert_ok(graft_infer_new(&in, r->env, m, &o, &err));
    float *features = graft_arena_alloc(r->arena, f->size), *logits = graft_arena_alloc(r->arena, z->size);
    assert_ok(graft_infer_run(in, x->data, x->shape.dims[0], features, logits, &err));
    double d = room_worst(features, f->data, f->size / 4), k = room_worst(logits, z->data, z->size / 4);
    print_message("%-40s pooled %.1e logits %.1e\n", folder, d, k);
    assert_true(d < tolerance && k < tolerance);
    graft_infer_free(in);
    graft_model_close(m);
}

static void outputs_equal_those_of_transformers_and_timm(void **state) {
    for (size_t i = 0; i < GRAFT_COUNT(golden_folders); i++)
        replay(*state, golden(*state, golden_folders[i]), GRAFT_PRECISION_FP32, 1e-5);
}

static void full_size_outputs_equal_those_of_transformers_and_timm(void **state) {
    static const char *const folders[] = {"hf_resnet18", "hf_resnet50", "timm_resnet18", "timm_resnet50"};
    const char *root = getenv("GRAFT_PARITY_DIR");
    room *r = *state;
    if (!root) {
        print_message("GRAFT_PARITY_DIR names no folder of full-size golden files\n");
        skip();
    }
    for (size_t i = 0; i < GRAFT_COUNT(folders); i++)
        replay(r, file_of(r, root, folders[i]), GRAFT_PRECISION_FP32, 1e-4);
}

static void bf16_stays_near(void **state) {
    replay(*state, golden(*state, "hf_basic"), GRAFT_PRECISION_BF16, 0.05);
}

static void fill(float *x, size_t n) {
    graft_rng rng = graft_rng_at(1, 0, 0, GRAFT_RNG_TEST);
    for (size_t i = 0; i < n; i++) x[i] = (float)graft_rng_normal(&rng);
}

static void batches_of_every_size_agree(void **state) {
    room *r = *state;
    graft_err err;
    graft_model *m = open_model(r, golden(r, "hf_basic"), NULL);
    graft_infer *in = NULL;
    assert_ok(graft_infer_new(&in, r->env, m, NULL, &err));
    enum { N = 7, PIXELS = 3 * 40 * 40, CLASSES = 5 };
    float *x = graft_arena_array(r->arena, (size_t)N * PIXELS, sizeof *x);
    float all[N * CLASSES], one[CLASSES], part[3 * CLASSES];
    fill(x, (size_t)N * PIXELS);
    assert_ok(graft_infer_run(in, x, N, NULL, all, &err));
    for (int i = 0; i < N; i++) {
        assert_ok(graft_infer_run(in, x + i * PIXELS, 1, NULL, one, &err));
        assert_true(room_worst(one, all + i * CLASSES, CLASSES) < 1e-5);
    }
    /* More sizes than are kept ready, and the first again. */
    for (int n = 2; n <= 6; n++) {
        float *few = graft_arena_array(r->arena, (size_t)(n * CLASSES), sizeof *few);
        assert_ok(graft_infer_run(in, x, n, NULL, few, &err));
        assert_true(room_worst(few, all, (size_t)(n * CLASSES)) < 1e-5);
    }
    float again[N * CLASSES];
    assert_ok(graft_infer_run(in, x, N, NULL, again, &err));
    assert_memory_equal(all, again, sizeof all);
    float *place = NULL;
    const float *logits = NULL, *features = NULL;
    assert_ok(graft_infer_input(&place, in, 3, &err));
    memcpy(place, x, 3 * PIXELS * sizeof *x);
    assert_ok(graft_infer_run_input(in, 3, &features, &logits, &err));
    memcpy(part, logits, sizeof part);
    assert_true(room_worst(part, all, 3 * CLASSES) < 1e-5);
    assert_non_null(features);
    graft_program_memory needs;
    assert_ok(graft_infer_needs(in, 3, 0, &needs, &err));
    assert_true(needs.arena > 0 && needs.n_reference == 0);
    assert_error(graft_infer_run(in, x, 0, NULL, one, &err), GRAFT_EUSAGE, "batch");
    graft_infer_free(in);
    graft_model_close(m);
}

static void a_saved_folder_replays_its_probes(void **state) {
    room *r = *state;
    graft_err err;
    for (size_t i = 0; i < GRAFT_COUNT(golden_folders); i++) {
        graft_model *m = open_model(r, golden(r, golden_folders[i]), NULL);
        int64_t c = graft_model_channels(m);
        float *x = graft_arena_array(r->arena, (size_t)(5 * c * 40 * 40), sizeof *x);
        fill(x, (size_t)(5 * c * 40 * 40));
        graft_tensor probe = {
            "pixel_values", GRAFT_F32, {4, {5, c, 40, 40}}, x, (size_t)(5 * c * 40 * 40) * sizeof *x};
        const graft_feed feed = {.n = 5, .inputs = &probe, .n_inputs = 1};
        graft_save_info info = {.probe = &feed};
        const char *out = in_room(r, "out");
        graft_verification v;
        assert_ok(graft_model_save(m, r->env, out, &info, &err));
        assert_ok(graft_model_verify(&v, r->env, out, &err));
        assert_int_equal(v.n_inputs, 5);
        assert_int_equal(v.n_differ, 0);
        assert_true(v.max_difference <= 1e-6 * v.max_logit);
        assert_true(v.max_logit > 0);
        graft_model_close(m);
    }
}

static void a_changed_folder_is_found_out(void **state) {
    room *r = *state;
    graft_err err;
    graft_verification v;
    graft_model *m = open_model(r, golden(r, "hf_basic"), NULL);
    float *x = graft_arena_array(r->arena, 5 * 3 * 40 * 40, sizeof *x);
    fill(x, 5 * 3 * 40 * 40);
    graft_tensor probe = {"pixel_values", GRAFT_F32, {4, {5, 3, 40, 40}}, x, 5 * 3 * 40 * 40 * sizeof *x};
    graft_feed feed = {.n = 5, .inputs = &probe, .n_inputs = 1};
    graft_save_info info = {.probe = &feed};
    const char *out = in_room(r, "out");
    assert_ok(graft_model_save(m, r->env, out, &info, &err));
    graft_tensors ts = get_tensors(r, out, 0);
    graft_tensor *b = tensor_named(&ts, "classifier.1.bias");
    float moved[5];
    memcpy(moved, b->data, sizeof moved);
    moved[2] += 1;
    b->data = moved;
    put_tensors(r, out, &ts);
    assert_ok(graft_model_verify(&v, r->env, out, &err));
    assert_true(fabs(v.max_difference - 1) < 1e-4);
    /* Without its probes, or with those of another model, there is nothing to say. */
    static const char *const names[] = {"x", "y"};
    assert_ok(graft_model_head(m, "linear", names, 2, 1, NULL, &err));
    assert_ok(graft_file_copy(file_of(r, out, "graft_probe.safetensors"), in_room(r, "old"), &err));
    assert_ok(graft_model_save(m, r->env, out, NULL, &err));
    assert_error(graft_model_verify(&v, r->env, out, &err), GRAFT_EDATA, "graft_probe.safetensors");
    assert_ok(graft_file_copy(in_room(r, "old"), file_of(r, out, "graft_probe.safetensors"), &err));
    assert_error(graft_model_verify(&v, r->env, out, &err), GRAFT_EDATA, "5 classes");
    probe.shape.dims[1] = 1;
    probe.shape.dims[0] = feed.n = 15;
    assert_error(graft_model_save(m, r->env, out, &info, &err), GRAFT_ESHAPE, "probe");
    graft_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        room_test(outputs_equal_those_of_transformers_and_timm),
        room_test(full_size_outputs_equal_those_of_transformers_and_timm),
        room_test(bf16_stays_near),
        room_test(batches_of_every_size_agree),
        room_test(a_saved_folder_replays_its_probes),
        room_test(a_changed_folder_is_found_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
