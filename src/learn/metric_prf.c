/* Precision, recall, F1: what several metrics count by. */
#include "learn/metric_tasks.h"

static double ratio(double part, double whole) {
    return whole > 0.0 ? part / whole : 0.0;
}

graft_prf graft_prf_of(int64_t hits, int64_t predicted, int64_t truth) {
    return (graft_prf){.precision = ratio((double)hits, (double)predicted),
                       .recall = ratio((double)hits, (double)truth),
                       .f1 = ratio(2.0 * (double)hits, (double)predicted + (double)truth)};
}

void graft_prf_add(graft_prf *sum, const graft_prf *x, double weight) {
    sum->precision += weight * x->precision;
    sum->recall += weight * x->recall;
    sum->f1 += weight * x->f1;
}

json_t *graft_prf_json(const graft_prf *p, int64_t support) {
    json_t *o = json_pack("{s:f,s:f,s:f}", "precision", p->precision, "recall", p->recall, "f1", p->f1);
    if (!o || support < 0) return o;
    if (json_object_set_new(o, "support", json_integer((json_int_t)support)) == 0) return o;
    json_decref(o);
    return NULL;
}
