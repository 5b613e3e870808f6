/* Texts as rows of a matrix: words, and runs of words by hash; their mean; logits. */
#include "learn/averaged_impl.h"

#include <omp.h>
#include <string.h>

/* ---- Rows ---- */

static bool is_known(const graft_averaged *m, int32_t id) {
    return id >= 0 && id < m->n_words;
}

/* The hash of a run that goes on with a word: Fibonacci's multiplier, the upper half folded down. */
static uint64_t hash_on(uint64_t h, int32_t id) {
    h = (h ^ ((uint64_t)(uint32_t)id + 1)) * UINT64_C(0x9E3779B97F4A7C15);
    return h ^ h >> 32;
}

/* Adds the rows of one text; returns how many. `words` has room for the text. */
static int64_t rows_of(const graft_averaged *m, const int32_t *ids, int64_t n, int32_t *words,
                       uint32_t *rows) {
    int64_t n_words = 0, n_rows = 0;
    for (int64_t i = 0; i < n; i++)
        if (is_known(m, ids[i])) words[n_words++] = ids[i];
    for (int64_t i = 0; i < n_words; i++) rows[n_rows++] = (uint32_t)words[i];
    if (!m->bucket) return n_rows;
    for (int64_t i = 0; i < n_words; i++) {
        uint64_t h = hash_on(0, words[i]);
        for (int64_t j = i + 1; j < n_words && j < i + m->word_ngrams; j++) {
            h = hash_on(h, words[j]);
            rows[n_rows++] = (uint32_t)(m->n_words + (int64_t)(h % (uint64_t)m->bucket));
        }
    }
    return n_rows;
}

int graft_averaged_rows(graft_row_lists *out, graft_arena *arena, const graft_averaged *m,
                        const graft_texts *texts, graft_err *err) {
    int64_t longest = 0;
    size_t room = 0;
    for (int64_t i = 0; i < texts->n; i++) {
        int64_t n = texts->starts[i + 1] - texts->starts[i];
        if (n < 0) return graft_err_set(err, GRAFT_EUSAGE, "starts of texts fall at text %lld", (long long)i);
        if (n > longest) longest = n;
    }
    size_t n_ids = texts->n ? (size_t)texts->starts[texts->n] : 0;
    if (!graft_size_mul(n_ids, m->bucket ? (size_t)m->word_ngrams : 1, &room)) return graft_err_nomem(err);
    graft_arena *scratch = graft_arena_new(arena);
    int32_t *words = scratch ? graft_arena_array(scratch, (size_t)longest, sizeof *words) : NULL;
    out->rows = graft_arena_array(arena, room, sizeof *out->rows);
    out->starts = graft_arena_array(arena, (size_t)texts->n + 1, sizeof *out->starts);
    int rc = words && out->rows && out->starts ? 0 : graft_err_nomem(err);
    for (int64_t i = 0; i < texts->n && rc == 0; i++) {
        int64_t begin = texts->starts[i], n = texts->starts[i + 1] - begin;
        out->starts[i + 1] =
            out->starts[i] + rows_of(m, texts->ids + begin, n, words, out->rows + out->starts[i]);
    }
    graft_arena_free(scratch);
    return rc;
}

/* ---- Logits ---- */

const graft_averaged_kernels *graft_averaged_choose(void) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return &graft_averaged_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &graft_averaged_avx2;
#endif
    return &graft_averaged_base;
}

int graft_averaged_logits(float *logits, const graft_averaged *m, const graft_env *env,
                          const graft_texts *texts, graft_err *err) {
    graft_arena *arena = graft_arena_new(NULL);
    const graft_averaged_kernels *kernels = graft_averaged_choose();
    graft_row_lists lists = {0};
    int threads = graft_env_threads(env);
    size_t stride = (size_t)m->stride;
    int rc = arena ? graft_averaged_rows(&lists, arena, m, texts, err) : graft_err_nomem(err);
    float *means = NULL;
    if (rc == 0) {
        means = graft_arena_alloc_aligned(arena, (size_t)threads * stride * sizeof *means, 64);
        if (!means) rc = graft_err_nomem(err);
    }
    if (rc == 0) {
#pragma omp parallel for num_threads(threads) schedule(static)
        for (int64_t i = 0; i < texts->n; i++) {
            float *mean = means + (size_t)omp_get_thread_num() * stride;
            int64_t at = lists.starts[i];
            kernels->mean(mean, m->rows, stride, lists.rows + at, lists.starts[i + 1] - at);
            kernels->dots(logits + i * m->n_classes, m->head, stride, mean, m->n_classes);
        }
    }
    graft_arena_free(arena);
    return rc;
}
