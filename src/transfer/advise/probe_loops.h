/* The inner loops of the linear probe: hundreds of looks at the same rows, and so few classes that a general
 * matrix product spends more on copying and on threads than on numbers. */
#ifndef GRAFT_TRANSFER_ADVISE_PROBE_LOOPS_H
#define GRAFT_TRANSFER_ADVISE_PROBE_LOOPS_H

#include <stdint.h>

/** Numbers of a row that go together; rows are whole lanes, filled up with zeros. */
enum { GRAFT_PROBE_LANES = 8 };

/** One table an instruction set; all give the same bits. Rows of x are [n, size], of w and g [k, size]. */
typedef struct graft_probe_loops {
    /** z [n, k] = x w'. */
    void (*logits)(double *z, const double *x, const double *w, int64_t n, int64_t k, int64_t size);
    /** g += e' x, of e [n, k]. */
    void (*gather)(double *g, const double *x, const double *e, int64_t n, int64_t k, int64_t size);
    /** a . b */
    double (*dot)(const double *a, const double *b, int64_t size);
} graft_probe_loops;

extern const graft_probe_loops graft_probe_base, graft_probe_avx2, graft_probe_avx512;
/** The fastest table that this processor has. probe_base.c */
const graft_probe_loops *graft_probe_loops_choose(void);

#endif
