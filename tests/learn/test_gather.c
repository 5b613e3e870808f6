#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "learn/learn.h"

typedef struct room {
    graft_arena *arena;
    graft_gather gather;
} room;

static void open_room(room *r, graft_task task, const char *const *labels, int64_t k) {
    r->arena = graft_arena_new(NULL);
    assert_non_null(r->arena);
    assert_int_equal(graft_gather_init(&r->gather, r->arena, task, labels, k, NULL), 0);
}

static void the_windows_of_a_text_answer_with_their_mean(void **state) {
    (void)state;
    static const int64_t samples[] = {3, 4, 5, 6};
    static const int32_t labels[] = {1, 0, 0, 0}, windows[] = {0, 0, 1, 2};
    static const float logits[] = {5, 6, 1, 2, 3, 0, 5, 1};
    const graft_batch b = {.n = 4, .samples = samples, .labels = labels, .windows = windows};
    room r;
    open_room(&r, GRAFT_TASK_CLASSES, NULL, 2);
    graft_gather *g = &r.gather;
    assert_false(graft_gather_continues(g, &b, 0));
    assert_int_equal(graft_gather_add(g, &b, 0, logits, NULL), 0);
    assert_false(graft_gather_continues(g, &b, 1));
    assert_int_equal(graft_gather_end(g, NULL), 0);
    assert_int_equal(g->sample, 3);
    assert_float_equal(g->logits[1], 6, 0);
    assert_int_equal(g->labels[0], 1);
    for (int64_t i = 1; i < 4; i++) {
        assert_int_equal(graft_gather_continues(g, &b, i), i > 1);
        assert_int_equal(graft_gather_add(g, &b, i, logits + 2 * i, NULL), 0);
    }
    assert_int_equal(graft_gather_end(g, NULL), 0);
    assert_int_equal(g->sample, 4);
    assert_int_equal(g->n_windows, 3);
    assert_float_equal(g->logits[0], 3, 1e-6);
    assert_float_equal(g->logits[1], 1, 1e-6);
    graft_arena_free(r.arena);
}

/* Two windows of five and four words, which share two: of these the first answers the one that it has more of
 * around it. */
static void a_word_is_answered_where_it_has_most_around_it(void **state) {
    (void)state;
    static const int64_t samples[] = {0, 1};
    static const int32_t spans[] = {0, 7, 7, 6}, windows[] = {0, 1},
                         words[] = {-1, 0, 1, 2, 3, 4, -1, -1, 3, 4, 5, 6, -1},
                         tags[] = {-1, 1, 1, 1, 1, 1, -1, -1, 1, 1, 1, 1, -1};
    static const char *const labels[] = {"A", "B"};
    const graft_batch b = {.n = 2,
                           .n_tokens = 13,
                           .samples = samples,
                           .spans = spans,
                           .windows = windows,
                           .token_words = words,
                           .token_labels = tags};
    float logits[26];
    for (int t = 0; t < 13; t++) { /* the first window says A, the second B */
        logits[2 * t] = t < 7 ? 1.0F : 0.0F;
        logits[2 * t + 1] = t < 7 ? 0.0F : 1.0F;
    }
    room r;
    open_room(&r, GRAFT_TASK_TAGGING, labels, 2);
    graft_gather *g = &r.gather;
    assert_int_equal(graft_gather_add(g, &b, 0, logits, NULL), 0);
    assert_true(graft_gather_continues(g, &b, 1));
    assert_int_equal(graft_gather_add(g, &b, 1, logits + 14, NULL), 0);
    assert_int_equal(graft_gather_end(g, NULL), 0);
    assert_int_equal(g->n, 7);
    static const int32_t expected[] = {0, 0, 0, 0, 1, 1, 1};
    for (int32_t i = 0; i < 7; i++) {
        assert_int_equal(g->words[i], i);
        assert_int_equal(g->predicted[i], expected[i]);
        assert_int_equal(g->labels[i], 1);
    }
    graft_arena_free(r.arena);
}

static void windows_from_the_end_give_words_in_their_order(void **state) {
    (void)state;
    static const int64_t samples[] = {0, 1};
    static const int32_t spans[] = {0, 2, 2, 3}, windows[] = {0, 1}, words[] = {2, 3, 0, 1, 2},
                         tags[] = {0, 0, 0, 0, 0};
    static const float logits[] = {2, 3, 0, 1, 9};
    static const char *const labels[] = {"A"};
    const graft_batch b = {.n = 2,
                           .n_tokens = 5,
                           .samples = samples,
                           .spans = spans,
                           .windows = windows,
                           .token_words = words,
                           .token_labels = tags};
    room r;
    open_room(&r, GRAFT_TASK_TAGGING, labels, 1);
    graft_gather *g = &r.gather;
    assert_int_equal(graft_gather_add(g, &b, 0, logits, NULL), 0);
    assert_int_equal(graft_gather_add(g, &b, 1, logits + 2, NULL), 0);
    assert_int_equal(graft_gather_end(g, NULL), 0);
    assert_int_equal(g->n, 4);
    for (int32_t i = 0; i < 4; i++) {
        assert_int_equal(g->words[i], i);
        assert_float_equal(g->logits[i], (float)i, 0);
    }
    graft_arena_free(r.arena);
}

/* The likeliest tags are O I-X, which IOB2 does not have; the field may choose O O or B-X I-X. */
static void a_field_decides_about_all_windows_at_once(void **state) {
    (void)state;
    static const int64_t samples[] = {0, 1};
    static const int32_t spans[] = {0, 1, 1, 1}, windows[] = {0, 1}, words[] = {0, 1}, tags[] = {0, 0};
    static const char *const labels[] = {"O", "B-X", "I-X"};
    static const float zeros[9] = {0}, logits[] = {1, 0.5F, 0, 0, 0, 2};
    const graft_batch b = {.n = 2,
                           .n_tokens = 2,
                           .samples = samples,
                           .spans = spans,
                           .windows = windows,
                           .token_words = words,
                           .token_labels = tags};
    room r;
    open_room(&r, GRAFT_TASK_TAGGING, labels, 3);
    graft_gather *g = &r.gather;
    assert_int_equal(graft_gather_field(g, zeros, zeros, zeros, NULL), 0);
    assert_int_equal(graft_gather_add(g, &b, 0, logits, NULL), 0);
    assert_int_equal(graft_gather_add(g, &b, 1, logits + 3, NULL), 0);
    assert_int_equal(graft_gather_end(g, NULL), 0);
    assert_int_equal(g->predicted[0], 1);
    assert_int_equal(g->predicted[1], 2);
    graft_arena_free(r.arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_windows_of_a_text_answer_with_their_mean),
        cmocka_unit_test(a_word_is_answered_where_it_has_most_around_it),
        cmocka_unit_test(windows_from_the_end_give_words_in_their_order),
        cmocka_unit_test(a_field_decides_about_all_windows_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
