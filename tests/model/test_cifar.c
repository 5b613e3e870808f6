/* The published CIFAR ResNet-20 on the pictures beside the project, against what PyTorch says of them. */
#include "model_room.h"
#include "tar_room.h"

#include "data/transform.h"

/* The class is the folder that the picture lies in. */
static void label(entry *e, const json_t *classes, const char *prefix) {
    const char *class = e->name + strlen(prefix);
    for (size_t i = 0; i < json_array_size(classes); i++) {
        const char *name = json_string_value(json_array_get(classes, i));
        if (!strncmp(class, name, strlen(name)) && class[strlen(name)] == '/') e->label = (int)i;
    }
    assert_true(e->label >= 0);
}

enum { PICTURES = 1000, BATCH = 100, PIXELS = 3 * 32 * 32, CLASSES = 10 };

static void accuracy_and_logits_are_those_of_pytorch(void **state) {
    room *r = *state;
    graft_err err;
    if (!graft_path_is_file(SHARED "cifar_resnet20.th") || !graft_path_is_file(SHARED "cifar10_small.tar")) {
        print_message("../shared/data is absent\n");
        skip();
    }
    const char *prefix = "cifar10_small/test/";
    json_t *want = read_json(r, GOLDEN "cifar/case.json");
    entry *entries = graft_arena_array(r->arena, PICTURES, sizeof *entries);
    assert_int_equal(read_tar(entries, PICTURES, r, SHARED "cifar10_small.tar", prefix), PICTURES);
    graft_model *m = open_model(r, SHARED "cifar_resnet20.th", NULL);
    graft_infer *in = NULL;
    graft_transform t;
    graft_image_scratch *scratch = graft_image_scratch_new();
    assert_ok(graft_transform_init(&t, graft_model_preprocess(m), NULL, &err));
    assert_int_equal(graft_transform_count(&t), PIXELS);
    assert_ok(graft_infer_new(&in, r->env, m, NULL, &err));
    float *logits = graft_arena_array(r->arena, PICTURES * CLASSES, sizeof *logits), *x;
    for (int i = 0; i < PICTURES; i += BATCH) {
        assert_ok(graft_infer_input(&x, in, BATCH, &err));
        for (int j = 0; j < BATCH; j++) {
            const entry *e = &entries[i + j];
            label(&entries[i + j], json_object_get(want, "classes"), prefix);
            assert_ok(
                graft_transform_run(&t, e->bytes, e->size, e->name, NULL, x + j * PIXELS, scratch, &err));
        }
        const float *z;
        assert_ok(graft_infer_run_input(in, BATCH, NULL, &z, &err));
        memcpy(logits + i * CLASSES, z, BATCH * CLASSES * sizeof *z);
    }
    int right = 0;
    for (int i = 0; i < PICTURES; i++) {
        int best = 0;
        for (int k = 1; k < CLASSES; k++)
            if (logits[i * CLASSES + k] > logits[i * CLASSES + best]) best = k;
        right += best == entries[i].label;
    }
    double accuracy = (double)right / PICTURES,
           expected = json_number_value(json_object_get(want, "accuracy"));
    graft_tensors gold;
    assert_ok(graft_safetensors_open(&gold, r->arena, GOLDEN "cifar/golden.safetensors", &err));
    const float *z = tensor_named(&gold, "logits")->data;
    const json_t *names = json_object_get(want, "names");
    double worst = 0;
    for (size_t n = 0; n < json_array_size(names); n++) {
        for (int i = 0; i < PICTURES; i++) {
            if (strcmp(entries[i].name, json_string_value(json_array_get(names, n))) != 0) continue;
            for (size_t k = 0; k < CLASSES; k++)
                worst =
                    fmax(worst, fabs((double)logits[(size_t)i * CLASSES + k] - (double)z[n * CLASSES + k]));
        }
    }
    print_message("accuracy %.4f, PyTorch's %.4f; logits differ by at most %.1e\n", accuracy, expected,
                  worst);
    assert_true(fabs(accuracy - expected) <= 0.002);
    assert_true(worst < 1e-3);
    graft_image_scratch_free(scratch);
    graft_infer_free(in);
    graft_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {room_test(accuracy_and_logits_are_those_of_pytorch)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
