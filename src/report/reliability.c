/* Is what is said with a confidence of 0.8 right four times in five? */
#include "report/maths.h"

#include <math.h>

void graft_reliability_add(graft_reliability_bins *r, double confidence, bool is_right) {
    if (isnan(confidence)) return;
    int bin = (int)ceil(confidence * GRAFT_RELIABILITY_BINS) - 1;
    bin = bin < 0 ? 0 : bin >= GRAFT_RELIABILITY_BINS ? GRAFT_RELIABILITY_BINS - 1 : bin;
    r->n++;
    r->counts[bin]++;
    r->confidence[bin] += confidence;
    r->right[bin] += is_right;
}

double graft_reliability_error(const graft_reliability_bins *r) {
    double sum = 0.0;
    for (int b = 0; b < GRAFT_RELIABILITY_BINS; b++) sum += fabs(r->confidence[b] - r->right[b]);
    return r->n > 0 ? sum / (double)r->n : 0.0;
}
