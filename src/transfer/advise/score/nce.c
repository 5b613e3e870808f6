/* Tran et al. 2019, "Transferability and Hardness of Supervised Classification Tasks": minus the conditional
 * entropy of the classes given the class that the old head finds likeliest. */
#include "transfer/advise/linalg.h"
#include "transfer/advise/scores.h"

#include <math.h>
#include <stdlib.h>

static int64_t likeliest(const float *p, int64_t n) {
    int64_t best = 0;
    for (int64_t z = 1; z < n; z++)
        if (p[z] > p[best]) best = z;
    return best;
}

static int score(double *out, const graft_labelled *f, graft_err *err) {
    double *joint = graft_doubles(f->k, f->n_source), *marginal = graft_doubles(f->n_source, 1);
    *out = 0.0;
    if (!joint || !marginal) {
        free(joint);
        free(marginal);
        return graft_err_nomem(err);
    }
    for (int64_t i = 0; i < f->n; i++) {
        int64_t z = likeliest(f->source + i * f->n_source, f->n_source);
        joint[f->y[i] * f->n_source + z] += 1.0 / (double)f->n;
        marginal[z] += 1.0 / (double)f->n;
    }
    for (int64_t i = 0; i < f->k * f->n_source; i++)
        if (joint[i] > 0) *out += joint[i] * log(joint[i] / marginal[i % f->n_source]);
    free(joint);
    free(marginal);
    return 0;
}

const graft_transferability graft_transferability_nce = {
    .name = "nce",
    .help = "minus the classes' entropy given the old head's likeliest class (Tran et al. 2019)",
    .needs_source = true,
    .score = score};
