/* Tokens a second of the classifier on averaged vectors, and words a second of a search for neighbours, on
 * made-up texts and vectors whose words are as frequent as in language (Zipf).
 *
 *     bench_vectors [--threads T] [--width D] [--classes K] [--length L] [--texts N] [--ngrams W]
 *
 * Prints one JSON object: tokens_per_second of all threads together, and of one thread; processor seconds are
 * what the latter counts, so that a loaded machine does not change it much. */
#include "bench.h"

#include "learn/averaged.h"
#include "model/model.h"

enum { WORDS = 100000 };

typedef struct sizes {
    int64_t threads, width, classes, length, texts, ngrams;
} sizes;

/* Ranks are exp(u ln n): frequencies fall as one over the rank. */
static int32_t zipf(graft_rng *rng) {
    return (int32_t)(exp(graft_rng_uniform(rng) * log((double)WORDS)) - 1);
}

static int make_texts(graft_texts *out, int32_t **labels, graft_arena *arena, const sizes *s) {
    graft_rng rng = graft_rng_at(1, 0, 0, GRAFT_RNG_TEST);
    int32_t *ids = graft_arena_array(arena, (size_t)(s->texts * s->length), sizeof *ids);
    int64_t *starts = graft_arena_array(arena, (size_t)s->texts + 1, sizeof *starts);
    *labels = graft_arena_array(arena, (size_t)s->texts, sizeof **labels);
    if (!ids || !starts || !*labels) return -1;
    for (int64_t i = 0; i < s->texts * s->length; i++) ids[i] = zipf(&rng);
    for (int64_t i = 0; i < s->texts; i++) {
        starts[i + 1] = (i + 1) * s->length;
        (*labels)[i] = (int32_t)(ids[i * s->length] % s->classes);
    }
    *out = (graft_texts){ids, starts, s->texts};
    return 0;
}

/* Tokens a second: by the clock, and by processor time. */
static int train(double *by_clock, double *by_cpu, const sizes *s, int threads, graft_err *err) {
    graft_env_options eo = {.threads = threads};
    graft_env *env = NULL;
    graft_averaged m = {0};
    graft_texts texts;
    int32_t *labels;
    graft_arena *arena = graft_arena_new(NULL);
    const graft_averaged_options o = {.n_words = WORDS,
                                      .n_classes = s->classes,
                                      .width = (int)s->width,
                                      .word_ngrams = (int)s->ngrams,
                                      .bucket = 1000000,
                                      .epochs = 1};
    int rc = graft_env_new(&env, &eo, err);
    if (rc == 0 && (!arena || make_texts(&texts, &labels, arena, s) < 0)) rc = graft_err_nomem(err);
    if (rc == 0) {
        double cpu = bench_cpu(), begun = graft_now();
        rc = graft_averaged_fit(&m, arena, env, &texts, labels, &o, err);
        /* initial rows are no training: the clock of the epochs alone, and their share of the processor */
        double share = m.seconds / (graft_now() - begun);
        double tokens = (double)(s->texts * s->length);
        *by_clock = tokens / m.seconds;
        *by_cpu = tokens / ((bench_cpu() - cpu) * share);
    }
    graft_arena_free(arena);
    graft_env_free(env);
    return rc;
}

/* Vectors a second of one search through a file of word2vec's binary format. */
static int search(double *rate, const sizes *s, graft_err *err) {
    graft_buf file;
    graft_vectors *v = NULL;
    graft_neighbour found[10];
    size_t n_found;
    float *x = calloc((size_t)s->width, sizeof *x);
    graft_buf_init(&file, 0);
    graft_buf_printf(&file, "%d %d\n", WORDS, (int)s->width);
    for (int i = 0; x && i < WORDS; i++) {
        bench_noise(x, (size_t)s->width);
        x[i % s->width] += 1;
        graft_buf_printf(&file, "word%d ", i);
        graft_buf_append(&file, x, (size_t)s->width * sizeof *x);
    }
    int rc = x && !file.failed ? graft_vectors_parse(&v, NULL, file.data, file.size, "noise", err)
                               : graft_err_nomem(err);
    double begun = graft_now();
    if (rc == 0) rc = graft_vectors_similar(found, &n_found, v, NULL, x, 10, NULL, 0, err);
    *rate = WORDS / (graft_now() - begun);
    graft_vectors_close(v);
    graft_buf_done(&file);
    free(x);
    return rc;
}

static int64_t *field(sizes *s, const char *name) {
    if (!strcmp(name, "--threads")) return &s->threads;
    if (!strcmp(name, "--width")) return &s->width;
    if (!strcmp(name, "--classes")) return &s->classes;
    if (!strcmp(name, "--length")) return &s->length;
    if (!strcmp(name, "--texts")) return &s->texts;
    return strcmp(name, "--ngrams") ? NULL : &s->ngrams;
}

int main(int argc, char **argv) {
    sizes s = {.width = 100, .classes = 4, .length = 40, .texts = 50000, .ngrams = 1};
    graft_err err = {0};
    double one, one_cpu, all, all_cpu, searched;
    for (int i = 1; i + 1 < argc; i += 2) {
        int64_t *to = field(&s, argv[i]);
        if (!to) {
            fprintf(stderr, "bench_vectors: unknown option %s\n", argv[i]);
            return 2;
        }
        *to = strtoll(argv[i + 1], NULL, 10);
    }
    int rc = train(&one, &one_cpu, &s, 1, &err);
    if (rc == 0) rc = train(&all, &all_cpu, &s, (int)s.threads, &err);
    if (rc == 0) rc = search(&searched, &s, &err);
    if (rc < 0) {
        fprintf(stderr, "bench_vectors: %s\n", err.message);
        return 1;
    }
    printf("{\"bench\": \"vectors\", \"width\": %lld, \"classes\": %lld, \"length\": %lld, "
           "\"tokens_per_second_one_thread\": %.0f, \"tokens_per_cpu_second\": %.0f, "
           "\"tokens_per_second\": %.0f, \"tokens_per_cpu_second_all_threads\": %.0f, "
           "\"vectors_searched_per_second\": %.0f}\n",
           (long long)s.width, (long long)s.classes, (long long)s.length, one, one_cpu, all, all_cpu,
           searched);
    return 0;
}
