/* The classifier on averaged vectors: its steps against numpy's, its accuracy against fastText's own
 * (tests/golden/make_vectors_golden.py), and the same bits however many threads there are. */
#include "learn/learn.h"
#include "model/model_room.h"

#include <ctype.h>

#define EXPECTED "tests/golden/vectors/averaged.json"
#define SHARED   "../shared/data/"

static void near(const char *what, double got, double expected, double tolerance) {
    if (!(fabs(got - expected) <= tolerance * fmax(1.0, fabs(expected))))
        fail_msg("%s is %.9g, not %.9g", what, got, expected);
}

/* ---- Steps ---- */

static void compare_matrix(const char *what, const float *x, const graft_averaged *m, const json_t *rows) {
    size_t i, j;
    json_t *row, *value;
    json_array_foreach(rows, i, row) {
        json_array_foreach(row, j, value)
            near(what, (double)x[i * (size_t)m->stride + j], json_number_value(value), 1e-5);
        for (j = (size_t)m->width; j < (size_t)m->stride; j++)
            near(what, (double)x[i * (size_t)m->stride + j], 0, 0);
    }
}

static void compare_steps(room *r, const json_t *o) {
    enum { MOST = 100, WIDTH = 5, WORDS = 9 };
    int32_t ids[MOST], labels[MOST];
    int64_t starts[MOST] = {0};
    float start[WORDS * WIDTH];
    size_t i, j, n_ids = 0;
    json_t *item, *value;
    graft_err err = {0};
    graft_averaged m;
    json_array_foreach(json_object_get(o, "texts"), i, item) {
        json_array_foreach(item, j, value) ids[n_ids++] = (int32_t)json_integer_value(value);
        starts[i + 1] = (int64_t)n_ids;
    }
    const graft_texts texts = {ids, starts, (int64_t)i};
    json_array_foreach(json_object_get(o, "labels"), i, item) labels[i] = (int32_t)json_integer_value(item);
    json_array_foreach(json_object_get(o, "start"), i, item) json_array_foreach(item, j, value)
        start[i * WIDTH + j] = (float)json_number_value(value);
    const graft_averaged_options options = {.n_words = WORDS,
                                            .n_classes = json_integer_value(json_object_get(o, "n_classes")),
                                            .width = WIDTH,
                                            .epochs = json_integer_value(json_object_get(o, "epochs")),
                                            .lr = json_number_value(json_object_get(o, "lr")),
                                            .start = start,
                                            .keep_order = true,
                                            .group = json_integer_value(json_object_get(o, "group"))};
    assert_ok(graft_averaged_fit(&m, r->arena, r->env, &texts, labels, &options, &err));
    compare_matrix("a row", m.rows, &m, json_object_get(o, "rows"));
    compare_matrix("the head", m.head, &m, json_object_get(o, "head"));
    json_array_foreach(json_object_get(o, "loss"), i, item)
        near("the loss", m.loss[i], json_number_value(item), 1e-5);
}

static void steps_equal_those_of_numpy(void **state) {
    room *r = *state;
    const json_t *steps = json_object_get(read_json(r, EXPECTED), "steps");
    size_t i;
    json_t *o;
    json_array_foreach(steps, i, o) compare_steps(r, o);
    assert_true(i >= 3);
}

/* ---- Made-up texts ---- */

enum { N_TEXTS = 600, N_WORDS = 300, N_CLASSES = 4, LENGTH = 40 };

typedef struct corpus {
    int32_t ids[N_TEXTS * LENGTH], labels[N_TEXTS];
    int64_t starts[N_TEXTS + 1];
} corpus;

/* A third of a text's words are its class's own. Ids that are not known are strewn in. */
static graft_texts make_corpus(corpus *c) {
    graft_rng rng = graft_rng_at(5, 0, 0, GRAFT_RNG_TEST);
    int64_t n = 0;
    for (int64_t i = 0; i < N_TEXTS; i++) {
        int64_t length = (int64_t)graft_rng_below(&rng, LENGTH);
        c->labels[i] = (int32_t)graft_rng_below(&rng, N_CLASSES);
        c->starts[i] = n;
        for (int64_t k = 0; k < length; k++) {
            int64_t own = c->labels[i] * 10 + (int64_t)graft_rng_below(&rng, 10);
            int64_t any = 40 + (int64_t)graft_rng_below(&rng, N_WORDS - 40);
            c->ids[n++] = graft_rng_below(&rng, 20) == 0 ? (k % 2 ? -1 : N_WORDS)
                                                         : (int32_t)(graft_rng_below(&rng, 3) ? any : own);
        }
    }
    c->starts[N_TEXTS] = n;
    return (graft_texts){c->ids, c->starts, N_TEXTS};
}

static graft_env *env_of(int threads) {
    graft_env_options o = GRAFT_ENV_OPTIONS_INIT;
    graft_env *env = NULL;
    o.threads = threads;
    if (graft_env_new(&env, &o, NULL) < 0) fail_msg("no environment");
    return env;
}

static void threads_change_no_bit(void **state) {
    room *r = *state;
    static corpus c;
    const graft_texts texts = make_corpus(&c);
    const graft_averaged_options options = {.n_words = N_WORDS,
                                            .n_classes = N_CLASSES,
                                            .width = 500,
                                            .word_ngrams = 3,
                                            .bucket = 1000,
                                            .lr = 0.5,
                                            .seed = 7,
                                            .group = 32}; /* work enough for several threads */
    graft_averaged m[4];
    for (int t = 0; t < 4; t++) {
        graft_err err = {0};
        graft_env *env = env_of(1 + 2 * (t % 3));
        graft_averaged_options o = options;
        o.seed += t == 3;
        assert_ok(graft_averaged_fit(&m[t], r->arena, env, &texts, c.labels, &o, &err));
        size_t rows = (size_t)(N_WORDS + 1000) * (size_t)m[t].stride * sizeof(float);
        size_t head = N_CLASSES * (size_t)m[t].stride * sizeof(float);
        bool same = memcmp(m[t].rows, m[0].rows, rows) == 0 && memcmp(m[t].head, m[0].head, head) == 0;
        assert_int_equal(same, t != 3); /* another seed, another classifier */
        graft_env_free(env);
    }
    assert_true(m[0].accuracy[4] > 0.9);
    assert_true(m[0].loss[4] < m[0].loss[0]);
}

static double accuracy_of(room *r, const graft_averaged *m, const graft_texts *texts, const int32_t *labels) {
    graft_err err = {0};
    graft_metrics metrics;
    float *logits = graft_arena_array(r->arena, (size_t)(texts->n * m->n_classes), sizeof *logits);
    assert_ok(graft_averaged_logits(logits, m, r->env, texts, &err));
    assert_ok(graft_metrics_compute(&metrics, r->arena, logits, labels, texts->n, m->n_classes, &err));
    return metrics.accuracy;
}

enum { FROZEN_WIDTH = 48 };

static void frozen_rows_stay_and_those_of_ngrams_are_trained(void **state) {
    room *r = *state;
    static corpus c;
    static float start[N_WORDS * FROZEN_WIDTH];
    static bool has_start[N_WORDS];
    const graft_texts texts = make_corpus(&c);
    graft_err err = {0};
    graft_averaged m, untrained;
    graft_rng rng = graft_rng_at(6, 0, 0, GRAFT_RNG_TEST);
    for (size_t i = 0; i < N_WORDS * FROZEN_WIDTH; i++) start[i] = (float)graft_rng_normal(&rng);
    for (size_t i = 0; i < N_WORDS; i++) has_start[i] = i % 5 != 0;
    graft_averaged_options o = {.n_words = N_WORDS,
                                .n_classes = N_CLASSES,
                                .width = FROZEN_WIDTH,
                                .start = start,
                                .has_start = has_start,
                                .frozen = true,
                                .lr = 0.5,
                                .epochs = 20};
    assert_ok(graft_averaged_fit(&m, r->arena, r->env, &texts, c.labels, &o, &err));
    for (size_t i = 0; i < N_WORDS; i++) {
        if (has_start[i])
            assert_memory_equal(m.rows + i * (size_t)m.stride, start + i * FROZEN_WIDTH,
                                FROZEN_WIDTH * sizeof(float));
        else
            assert_true(fabsf(m.rows[i * (size_t)m.stride]) <= 1.0F / FROZEN_WIDTH);
    }
    assert_true(accuracy_of(r, &m, &texts, c.labels) > 0.6);
    o.word_ngrams = 2;
    o.bucket = 50;
    assert_ok(graft_averaged_fit(&m, r->arena, r->env, &texts, c.labels, &o, &err));
    o.lr = 1e-30;
    assert_ok(graft_averaged_fit(&untrained, r->arena, r->env, &texts, c.labels, &o, &err));
    size_t words = N_WORDS * (size_t)m.stride;
    assert_memory_equal(m.rows, untrained.rows, words * sizeof(float));
    assert_memory_not_equal(m.rows + words, untrained.rows + words, 50 * (size_t)m.stride * sizeof(float));
}

static void what_cannot_be_trained_is_refused(void **state) {
    room *r = *state;
    const int32_t ids[] = {0, 1, 5}, unknown[] = {7, -1, 9}, good[] = {0, 1}, bad[] = {0, 2};
    const int64_t starts[] = {0, 2, 3}, falling[] = {0, 3, 2};
    graft_texts texts = {ids, starts, 2};
    graft_averaged_options o = {.n_words = 6, .n_classes = 2, .width = 4};
    graft_err err = {0};
    graft_averaged m;
    assert_error(graft_averaged_fit(&m, r->arena, r->env, &texts, bad, &o, &err), GRAFT_EDATA,
                 "text 1 has label 2");
    texts.ids = unknown;
    assert_error(graft_averaged_fit(&m, r->arena, r->env, &texts, good, &o, &err), GRAFT_EDATA,
                 "no text has a word");
    texts.ids = ids;
    texts.starts = falling;
    assert_error(graft_averaged_fit(&m, r->arena, r->env, &texts, good, &o, &err), GRAFT_EUSAGE,
                 "fall at text 1");
    texts.starts = starts;
    o.lr = -1;
    assert_error(graft_averaged_fit(&m, r->arena, r->env, &texts, good, &o, &err), GRAFT_EUSAGE,
                 "is not possible");
    static const float large[24] = {1e30F, -1e30F, 1e30F, 1e30F, -1e30F, 1e30F, 1e30F, 1e30F};
    o.lr = 1e30;
    o.start = large;
    assert_error(graft_averaged_fit(&m, r->arena, r->env, &texts, good, &o, &err), GRAFT_EDATA,
                 "no finite number");
    o.lr = 0.1;
    o.start = NULL;
    graft_env_cancel(r->env);
    assert_error(graft_averaged_fit(&m, r->arena, r->env, &texts, good, &o, &err), GRAFT_EINTERRUPTED,
                 "interrupted");
}

/* ---- Real texts ---- */

typedef struct reading {
    graft_map *words, *classes;
    int64_t n_words, n_classes;
} reading;

typedef struct real_texts {
    graft_texts texts;
    int32_t *labels;
} real_texts;

/* Words in lower case, apart by spaces, and "</s>" behind each text, as fastText reads a line. */
static void read_text(room *r, reading *d, char *line, int label_column, int text_column, bool learn,
                      int32_t *ids, int64_t *n, int32_t *label) {
    char *columns[3] = {line, NULL, NULL}, *place = NULL;
    for (int i = 1; i < 3 && columns[i - 1]; i++) {
        char *tab = strchr(columns[i - 1], '\t');
        if (tab) *tab = '\0';
        columns[i] = tab ? tab + 1 : NULL;
    }
    int64_t class = graft_map_get_str(d->classes, columns[label_column]);
    if (class < 0) graft_map_put_str(d->classes, columns[label_column], class = d->n_classes++);
    *label = (int32_t) class;
    for (char *p = columns[text_column]; *p; p++) *p = (char)tolower((unsigned char)*p);
    char *text = graft_arena_printf(r->arena, "%s </s>", columns[text_column]);
    for (char *w = strtok_r(text, " ", &place); w; w = strtok_r(NULL, " ", &place)) {
        int64_t id = graft_map_get_str(d->words, w);
        if (id < 0 && learn) graft_map_put_str(d->words, w, id = d->n_words++);
        ids[(*n)++] = (int32_t)id;
    }
}

static real_texts read_texts(room *r, reading *d, const char *path, bool is_trec, bool learn) {
    enum { MOST = 8000, MOST_IDS = 300000 };
    graft_err err = {0};
    char *data, *place = NULL;
    size_t size;
    int32_t *ids = graft_arena_array(r->arena, MOST_IDS, sizeof *ids);
    int64_t *starts = graft_arena_array(r->arena, MOST, sizeof *starts), n = 0, n_ids = 0;
    real_texts out = {.labels = graft_arena_array(r->arena, MOST, sizeof *out.labels)};
    assert_ok(graft_file_read(&data, &size, r->arena, path, 1 << 24, &err));
    char *line = strtok_r(data, "\r\n", &place);
    if (is_trec) line = strtok_r(NULL, "\r\n", &place);
    for (; line && n + 1 < MOST; line = strtok_r(NULL, "\r\n", &place), n++) {
        read_text(r, d, line, is_trec ? 0 : 1, is_trec ? 2 : 0, learn, ids, &n_ids, &out.labels[n]);
        starts[n + 1] = n_ids;
    }
    out.texts = (graft_texts){ids, starts, n};
    return out;
}

static void compare_accuracy(room *r, const json_t *o) {
    const char *name = json_string_value(json_object_get(o, "data"));
    bool is_trec = strcmp(name, "trec") == 0;
    reading d = {.words = graft_map_new(r->arena), .classes = graft_map_new(r->arena)};
    real_texts train =
        read_texts(r, &d, graft_arena_printf(r->arena, SHARED "%s/train.tsv", name), is_trec, true);
    real_texts test =
        read_texts(r, &d, graft_arena_printf(r->arena, SHARED "%s/%s.tsv", name, is_trec ? "test" : "dev"),
                   is_trec, false);
    double expected = json_number_value(json_object_get(o, "accuracy")), got = 0;
    enum { SEEDS = 3 };
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        graft_err err = {0};
        graft_averaged m;
        const graft_averaged_options options = {.n_words = d.n_words,
                                                .n_classes = d.n_classes,
                                                .width = (int)json_integer_value(json_object_get(o, "dim")),
                                                .word_ngrams =
                                                    (int)json_integer_value(json_object_get(o, "wordNgrams")),
                                                .bucket = 200000,
                                                .epochs = json_integer_value(json_object_get(o, "epoch")),
                                                .lr = json_number_value(json_object_get(o, "lr")),
                                                .seed = seed};
        assert_ok(graft_averaged_fit(&m, r->arena, r->env, &train.texts, train.labels, &options, &err));
        got += accuracy_of(r, &m, &test.texts, test.labels) / SEEDS;
    }
    print_message("%s: accuracy %.4f, fastText's %.4f\n", name, got, expected);
    assert_true(got > expected - 0.01);
}

static void accuracy_is_within_a_point_of_fasttext(void **state) {
    room *r = *state;
    size_t i;
    json_t *o;
    if (!graft_path_is_dir(SHARED "trec")) {
        print_message("skipped: no %strec\n", SHARED);
        skip();
    }
    json_array_foreach(json_object_get(read_json(r, EXPECTED), "programs"), i, o) compare_accuracy(r, o);
    assert_true(i >= 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        room_test(steps_equal_those_of_numpy),
        room_test(threads_change_no_bit),
        room_test(frozen_rows_stay_and_those_of_ngrams_are_trained),
        room_test(what_cannot_be_trained_is_refused),
        room_test(accuracy_is_within_a_point_of_fasttext),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
