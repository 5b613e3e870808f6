#include "data/data_files.h"
#include <stdatomic.h>

/* Every allocation of the process is counted; a sanitizer has an allocator of its own, then nothing is. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { COUNTED = 0 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
enum { COUNTED = 0 };
#else
#define COUNT_THEM 1
#endif
#else
#define COUNT_THEM 1
#endif

static atomic_long n_allocations;

#ifdef COUNT_THEM
enum { COUNTED = 1 };
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);

void *malloc(size_t size) {
    atomic_fetch_add(&n_allocations, 1);
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size) {
    atomic_fetch_add(&n_allocations, 1);
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t size) {
    atomic_fetch_add(&n_allocations, 1);
    return __libc_realloc(p, size);
}
#endif

/* Decoders of picture files allocate inside their libraries; rows of arrays go through graft's own code
 * alone. */
static void a_warm_loader_allocates_nothing(void **state) {
    bench *b = *state;
    if (!COUNTED) {
        print_message("skipped: the sanitizer's allocator is not counted\n");
        skip();
    }
    static unsigned char pixels[40 * 20 * 20];
    int64_t labels[40];
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (unsigned char)(i * 31 % 251);
    for (int i = 0; i < 40; i++) labels[i] = i % 4;
    bench_npy(b, "d/images.npy", GRAFT_U8, pixels, 3, (const int64_t[]){40, 20, 20});
    bench_npy(b, "d/labels.npy", GRAFT_I64, labels, 1, (const int64_t[]){40});
    graft_data *d = bench_open(b, "d", NULL);
    graft_preprocess p;
    graft_augment a;
    graft_transform t;
    graft_preprocess_plain(&p, 3, 32, 32);
    assert_int_equal(graft_augment_parse(&a, "strong,mixup=1", &b->err), 0);
    assert_int_equal(graft_transform_init(&t, &p, &a, &b->err), 0);
    graft_loader_options o = {
        .part = GRAFT_ALL, .batch = 8, .order = GRAFT_SHUFFLED, .augment = true, .mix = true};
    graft_batches l;
    graft_batch batch;
    assert_int_equal(graft_loader_open(&l, d, &t, &o, &b->err), 0);
    long spent = 1;
    for (int64_t epoch = 0; epoch < 20 && spent; epoch++) { /* at first each thread's working memory grows */
        assert_int_equal(l.begin(l.self, epoch, 0, &b->err), 0);
        long before = atomic_load(&n_allocations);
        int n = 0;
        while (l.next(l.self, &batch, &b->err) == 1) n++;
        assert_int_equal(n, 5);
        spent = atomic_load(&n_allocations) - before;
    }
    assert_int_equal(spent, 0);
    graft_batches_close(&l);
    graft_data_close(d);
}

/* The tokens of all texts are there when the loader is open: no batch of any epoch allocates. */
static void a_text_loader_allocates_nothing(void **state) {
    bench *b = *state;
    if (!COUNTED) {
        print_message("skipped: the sanitizer's allocator is not counted\n");
        skip();
    }
    static const char json[] =
        "{\"added_tokens\": [], \"pre_tokenizer\": {\"type\": \"Whitespace\"}, \"model\": "
        "{\"type\": \"WordPiece\", \"unk_token\": \"?\", \"continuing_subword_prefix\": "
        "\"##\", \"max_input_chars_per_word\": 9, \"vocab\": {\"?\": 0, \"a\": 1}}}";
    graft_tokenizer *tokenizer = NULL;
    if (graft_tokenizer_parse(&tokenizer, json, sizeof json - 1, "json", &b->err) < 0)
        fail_msg("%s", b->err.message);
    bench_text(b, "t.csv", "text,label\na b,x\na,y\nb b b b,x\na b a,y\nb,x\n");
    graft_data_options data = GRAFT_DATA_OPTIONS_INIT;
    data.modality = GRAFT_TEXTS;
    graft_data *d = bench_open(b, "t.csv", &data);
    const graft_text_transform text = {tokenizer, 8, 0};
    graft_transform t;
    assert_int_equal(graft_transform_init_text(&t, &text, &b->err), 0);
    graft_loader_options o = {.part = GRAFT_ALL, .batch = 2, .order = GRAFT_SHUFFLED};
    graft_batches l;
    graft_batch batch;
    assert_int_equal(graft_loader_open(&l, d, &t, &o, &b->err), 0);
    long before = atomic_load(&n_allocations);
    for (int64_t epoch = 0; epoch < 3; epoch++) {
        assert_int_equal(l.begin(l.self, epoch, 0, &b->err), 0);
        while (l.next(l.self, &batch, &b->err) == 1) assert_true(batch.n_tokens > 0);
    }
    assert_int_equal(atomic_load(&n_allocations) - before, 0);
    graft_batches_close(&l);
    graft_data_close(d);
    graft_tokenizer_close(tokenizer);
}

int main(void) {
    const struct CMUnitTest tests[] = {BENCH_TEST(a_warm_loader_allocates_nothing),
                                       BENCH_TEST(a_text_loader_allocates_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
