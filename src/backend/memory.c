#include "backend/memory.h"

#include <stdlib.h>

enum { ALIGN = 64 };

static int by_size(const void *a, const void *b) {
    const graft_span *x = *(graft_span *const *)a, *y = *(graft_span *const *)b;
    if (x->size != y->size) return x->size < y->size ? 1 : -1;
    if (x->first != y->first) return x->first < y->first ? -1 : 1;
    return x < y ? -1 : x > y; /* total, so that the plan is the same everywhere */
}

static bool together(const graft_span *a, const graft_span *b) {
    return a->first <= b->last && b->first <= a->last;
}

/* The lowest offset for `s` between the placed spans that live with it; `placed` is sorted by offset. */
static size_t lowest_gap(const graft_span *s, graft_span *const *placed, size_t n_placed) {
    size_t offset = 0;
    for (size_t i = 0; i < n_placed; i++) {
        const graft_span *p = placed[i];
        if (!together(s, p)) continue;
        if (offset + s->size <= p->offset) return offset;
        size_t end = graft_size_align(p->offset + p->size, ALIGN);
        if (end > offset) offset = end;
    }
    return offset;
}

int graft_memory_plan(graft_span *spans, size_t n, size_t *total, graft_err *err) {
    graft_span **order = calloc(2 * n + 1, sizeof *order);
    if (!order) return graft_err_nomem(err);
    graft_span **placed = order + n;
    size_t n_order = 0, n_placed = 0, end = 0;
    for (size_t i = 0; i < n; i++)
        if (spans[i].first <= spans[i].last) order[n_order++] = &spans[i];
    qsort(order, n_order, sizeof *order, by_size);
    for (size_t i = 0; i < n_order; i++) {
        graft_span *s = order[i];
        s->offset = lowest_gap(s, placed, n_placed);
        if (s->offset + s->size > end) end = s->offset + s->size;
        size_t at = n_placed++;
        for (; at > 0 && placed[at - 1]->offset > s->offset; at--) placed[at] = placed[at - 1];
        placed[at] = s;
    }
    *total = graft_size_align(end, ALIGN);
    free(order);
    return 0;
}
