/* Nguyen et al. 2020, "LEEP: A New Measure to Evaluate Transferability of Learned Representations": the mean
 * log likelihood of the classes when the model's own answers are read through their empirical joint. */
#include "transfer/advise/linalg.h"
#include "transfer/advise/scores.h"

#include <math.h>
#include <stdlib.h>

static int score(double *out, const graft_labelled *f, graft_err *err) {
    double *joint = graft_doubles(f->k, f->n_source), *marginal = graft_doubles(f->n_source, 1);
    *out = 0.0;
    if (!joint || !marginal) {
        free(joint);
        free(marginal);
        return graft_err_nomem(err);
    }
    for (int64_t i = 0; i < f->n; i++)
        for (int64_t z = 0; z < f->n_source; z++) {
            double p = (double)f->source[i * f->n_source + z];
            joint[f->y[i] * f->n_source + z] += p;
            marginal[z] += p;
        }
    for (int64_t i = 0; i < f->n; i++) {
        double p = 0;
        for (int64_t z = 0; z < f->n_source; z++)
            if (marginal[z] > 0)
                p += (double)f->source[i * f->n_source + z] * joint[f->y[i] * f->n_source + z] / marginal[z];
        *out += log(fmax(p, 1e-300)) / (double)f->n;
    }
    free(joint);
    free(marginal);
    return 0;
}

const graft_transferability graft_transferability_leep = {
    .name = "leep",
    .help = "log likelihood of the classes given the old head's answers (Nguyen et al. 2020)",
    .needs_source = true,
    .score = score};
