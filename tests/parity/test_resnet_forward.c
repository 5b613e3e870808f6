/* Compiled forward passes on the CPU backend, folded and fused, against Transformers and timm. */
#include "parity.h"

/* Differences of pooled features and logits for one folder. */
static void forward(parity *p, const char *folder, graft_dtype dtype, double *pooled, double *logits) {
    graft_err err = {0};
    graft_infer *infer = NULL;
    graft_infer_options o = GRAFT_INFER_OPTIONS_INIT;
    graft_tensors gold = tensors_of(p, path_in(p, folder, "golden.safetensors"));
    const graft_tensor *x = tensor_named(&gold, "input"), *features = tensor_named(&gold, "pooled"),
                       *y = tensor_named(&gold, "logits");
    graft_model *m = open_model(p, folder);
    float *f = graft_arena_array(p->arena, features->size, 1), *z = graft_arena_array(p->arena, y->size, 1);
    o.height = x->shape.dims[2];
    o.width = x->shape.dims[3];
    o.dtype = dtype;
    assert_ok(graft_infer_new(&infer, p->env, m, &o, &err));
    assert_ok(graft_infer_run(infer, x->data, x->shape.dims[0], f, z, &err));
    *pooled = difference(f, features);
    *logits = difference(z, y);
    print_message("%-40s %s  pooled %.1e  logits %.1e\n", folder, dtype == GRAFT_BF16 ? "bf16" : "fp32",
                  *pooled, *logits);
    graft_infer_free(infer);
    graft_model_close(m);
}

static void forward_folders(parity *p, const char *root) {
    size_t n = 0;
    double pooled, logits;
    for (char **name = names_in(p, root, ""); *name; name++) {
        const char *folder = path_in(p, root, *name);
        if (!graft_path_is_file(path_in(p, folder, "model.safetensors"))) continue;
        forward(p, folder, GRAFT_F32, &pooled, &logits);
        assert_true(pooled <= 1e-4 && logits <= 1e-4);
        if (graft_backend_has_bf16()) {
            forward(p, folder, GRAFT_BF16, &pooled, &logits);
            assert_true(pooled <= 0.05 && logits <= 0.05);
        }
        n++;
    }
    assert_true(n >= 4);
}

static void logits_are_those_of_transformers_and_timm(void **state) {
    forward_folders(*state, GOLDEN);
}

static void logits_at_full_size_are_those_of_transformers_and_timm(void **state) {
    if (!full_size()) {
        print_message(
            "skipped: GRAFT_PARITY_DIR names no folder made by tests/parity/resnet/make.py --full\n");
        skip();
    }
    forward_folders(*state, full_size());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        parity_test(logits_are_those_of_transformers_and_timm),
        parity_test(logits_at_full_size_are_those_of_transformers_and_timm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
