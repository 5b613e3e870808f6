/* The score that a run is judged by, with the interval that so many samples allow. */
#include "report/story.h"

#include <math.h>
#include <stdlib.h>

enum { RESAMPLES = 500 };

/* What one sample adds to a micro F1. */
typedef struct tally {
    int32_t hits, predicted, truth;
} tally;

static double f1_of(int64_t hits, int64_t predicted, int64_t truth) {
    return predicted + truth > 0 ? 2.0 * (double)hits / (double)(predicted + truth) : 0.0;
}

static void count_labels(tally *t, const graft_story *s, int64_t i) {
    const graft_answers *a = &s->kept.answers;
    for (int64_t c = 0; c < a->k; c++) {
        bool truth = a->targets[i * a->k + c] > 0.5F, said = (double)a->logits[i * a->k + c] > s->cuts[c];
        t->hits += truth && said;
        t->predicted += said;
        t->truth += truth;
    }
}

static int count_entities(tally *t, graft_arena *arena, const graft_story *s, int64_t row, int64_t n) {
    const graft_answers *a = &s->kept.answers;
    graft_entity_metrics m;
    int rc = graft_entity_metrics_compute(&m, arena, a->labels + row, a->predicted + row, &n, 1, s->labels,
                                          s->n_labels, NULL);
    if (rc == GRAFT_EDATA) return 0; /* a sentence without a word that is labelled */
    for (size_t i = 0; i < m.n_types && rc == 0; i++) {
        t->hits += (int32_t)m.types[i].n_hits;
        t->predicted += (int32_t)m.types[i].n_predicted;
        t->truth += (int32_t)m.types[i].support;
    }
    return rc;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The percentile bootstrap over samples (Efron 1979). */
static void resample(const tally *t, int64_t n, double *low, double *high) {
    double scores[RESAMPLES];
    for (int b = 0; b < RESAMPLES; b++) {
        graft_rng rng = graft_rng_at(0, (uint64_t)b, 0, GRAFT_RNG_ORDER);
        int64_t hits = 0, predicted = 0, truth = 0;
        for (int64_t i = 0; i < n; i++) {
            const tally *one = &t[graft_rng_below(&rng, (uint64_t)n)];
            hits += one->hits;
            predicted += one->predicted;
            truth += one->truth;
        }
        scores[b] = f1_of(hits, predicted, truth);
    }
    qsort(scores, RESAMPLES, sizeof *scores, by_value);
    *low = scores[(int)(0.025 * RESAMPLES)];
    *high = scores[(int)(0.975 * RESAMPLES)];
}

static void interval_of_f1(const graft_story *s, double *low, double *high) {
    const graft_answers *a = &s->kept.answers;
    graft_arena *arena = graft_arena_new(NULL);
    tally *t = arena && a->n_samples > 1 ? graft_arena_array(arena, (size_t)a->n_samples, sizeof *t) : NULL;
    int64_t row = 0;
    int rc = t ? 0 : GRAFT_ENOMEM;
    for (int64_t i = 0; i < a->n_samples && rc == 0; i++) {
        if (s->task == GRAFT_TASK_TAGGING)
            rc = count_entities(&t[i], arena, s, row, a->words[i]);
        else
            count_labels(&t[i], s, i);
        row += a->words[i];
    }
    if (rc == 0) resample(t, a->n_samples, low, high);
    graft_arena_free(arena);
}

/* Fisher's z of a rank correlation (Bonett and Wright 2000). */
static void interval_of_correlation(double r, double n, double *low, double *high) {
    if (!(n > 3.0) || !(fabs(r) < 1.0)) return;
    double half = 1.959963984540054 * sqrt((1.0 + r * r / 2.0) / (n - 3.0));
    *low = tanh(atanh(r) - half);
    *high = tanh(atanh(r) + half);
}

double graft_story_score(const graft_story *s, double *low, double *high) {
    double score = graft_story_number(s->metrics, s->score_name), n = graft_story_number(s->metrics, "n");
    *low = *high = NAN;
    if (!isfinite(score) || !(n > 0.0 && n < 1e15)) return score;
    if (s->task == GRAFT_TASK_CLASSES)
        graft_share_wilson(low, high, score * n, (int64_t)n, 0.95);
    else if (s->task == GRAFT_TASK_REGRESSION)
        interval_of_correlation(score, n, low, high);
    else if (s->kept.answers.n_samples > 1)
        interval_of_f1(s, low, high);
    return score;
}
