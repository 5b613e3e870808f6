/* The mathematics of the report's pictures: planes to lay samples out on, label errors, calibration. Plain
 * arrays in, plain arrays out; nothing here knows of pages. Private to report/. */
#ifndef GRAFT_REPORT_MATHS_H
#define GRAFT_REPORT_MATHS_H

#include "base/base.h"

/** The first two principal components: out [n, 2] of rows [n, d], centred; a component's largest loading is
 * positive. By subspace iteration with Rayleigh-Ritz steps (Halko, Martinsson and Tropp 2011), the same for
 * the same rows. Errors: EDATA when n is 0, ENOMEM. */
int graft_pca_plane(float *out, const float *rows, int64_t n, int64_t d, graft_err *err);

typedef struct graft_tsne_options {
    double perplexity;  /* 0: 30, never more than (n - 1) / 3 */
    int64_t iterations; /* 0: 1000; the first quarter exaggerated */
} graft_tsne_options;

/** Most samples that graft_tsne takes: a step costs n * n. */
enum { GRAFT_TSNE_MOST = 4000 };

/** t-SNE (van der Maaten and Hinton 2008): out [n, 2] of rows [n, d]. Attraction is that of the 3 *
 * perplexity nearest neighbours (van der Maaten 2014), repulsion is exact; it begins from the principal
 * plane, so that no chance is in it. *kl (may be NULL): the divergence reached. n of at least 5. Errors:
 * EDATA for too few or too many rows, EINTERRUPTED, ENOMEM. */
int graft_tsne(float *out, double *kl, const graft_env *env, const float *rows, int64_t n, int64_t d,
               const graft_tsne_options *options, graft_err *err);

/** A sample whose label is likely wrong. */
typedef struct graft_suspect {
    int64_t row;
    int32_t label, likely;
    double given, other; /* probabilities of the label and of the likely class */
} graft_suspect;

/** Confident learning (Northcutt, Jiang and Chuang 2021): probabilities [n, k] that were not learnt from the
 * labels [n] they are held against (-1: none). A sample counts as another class's when that class's
 * probability reaches the mean of those who bear its label and is the largest that does. *out, the widest
 * margin first, lives in the arena. Errors: ENOMEM. */
int graft_confident_errors(graft_suspect **out, int64_t *n_out, graft_arena *arena,
                           const float *probabilities, const int32_t *labels, int64_t n, int64_t k,
                           graft_err *err);

/** Class shares [n, k] among each row's `nearest` neighbours by cosine, itself left out. Errors: ENOMEM. */
int graft_neighbour_shares(float *out, const graft_env *env, const float *rows, const int32_t *labels,
                           int64_t n, int64_t d, int64_t k, int64_t nearest, graft_err *err);

enum { GRAFT_RELIABILITY_BINS = 15 };

/** How often what was said with some confidence was right; bins are (b / 15, (b + 1) / 15]. A
 * confidence that is no number counts nowhere. */
typedef struct graft_reliability_bins {
    int64_t n, counts[GRAFT_RELIABILITY_BINS];
    double confidence[GRAFT_RELIABILITY_BINS], right[GRAFT_RELIABILITY_BINS]; /* sums */
} graft_reliability_bins;

void graft_reliability_add(graft_reliability_bins *r, double confidence, bool is_right);
/** Expected calibration error (Guo et al. 2017); 0 when empty. */
double graft_reliability_error(const graft_reliability_bins *r);

#endif
