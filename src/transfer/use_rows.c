/* Pooled features of chosen samples, for whoever looks at a run: from the bottleneck cache where it has them.
 */
#include "transfer/use.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS = 64 }; /* of a text of middling length, for a guess at what it costs */

int graft_rows_of(float **rows, int64_t *width, const graft_env *env, const graft_model *m, graft_data *data,
                  const int64_t *samples, int64_t n, bool no_cache, graft_err *err) {
    const graft_use_options options = {.no_cache = no_cache};
    graft_use_rows r = {0};
    size_t size = 0;
    *rows = NULL;
    *width = graft_model_feature_width(m);
    if (graft_model_task(m) == GRAFT_TASK_TAGGING)
        return graft_err_set(err, GRAFT_EUSAGE, "%s answers for each word: its texts have no features",
                             graft_model_path(m));
    int rc = graft_use_features_open(&r, env, m, data, samples, n, true, &options, err);
    if (rc == 0 &&
        (!graft_size_mul((size_t)n, (size_t)*width * sizeof **rows, &size) || !(*rows = malloc(size + 1))))
        rc = graft_err_nomem(err);
    for (int64_t i = 0; i < n && rc == 0; i++) {
        const float *row = graft_features_row(r.features, samples[i], -1);
        float *to = *rows + i * *width;
        if (row) memcpy(to, row, (size_t)*width * sizeof *row);
        for (int64_t j = 0; !row && j < *width; j++) to[j] = NAN;
    }
    graft_use_rows_close(&r);
    return rc;
}

double graft_rows_cost(const graft_model *m) {
    graft_arena *arena = graft_arena_new(NULL);
    graft_graph *g = NULL;
    graft_plan plan;
    double cost = 0.0;
    int rc = arena ? graft_model_graph(&g, arena, m, 0, 0, NULL) : GRAFT_ENOMEM;
    if (rc == 0) rc = graft_plan_derive(&plan, arena, g, NULL);
    if (rc == 0) {
        graft_cost c = graft_graph_cost(g, &plan);
        int64_t longest = graft_model_longest(m);
        cost = (c.frozen + c.forward) * (double)(longest == 0 ? 1 : longest < TOKENS ? longest : TOKENS);
    }
    graft_arena_free(arena);
    return cost;
}
