/* Which pictures were seen before, by content, and what they look like. Where a run leaves samples out, the
 * parts have to be made of all of them before anything is computed, and near-duplicates are told by looks:
 * the runs of a sweep need not decode for that what an earlier one has. */
#include "transfer/prefix.h"

#include <stdlib.h>
#include <string.h>

typedef struct seen_row {
    graft_likeness likeness;
    uint8_t has_likeness, pad[7];
} seen_row;

static graft_cache *open_store(const graft_env *env, const graft_data *d) {
    static const char what[] = "what pictures look like";
    graft_cache *c = NULL;
    graft_err reason = {0};
    graft_hash key =
        graft_cache_key(graft_hash_bytes(what, sizeof what), (graft_hash){0, 0}, GRAFT_PRECISION_FP32, -1);
    if (graft_cache_open(&c, env, key, sizeof(seen_row), what, 0, &reason) == 0) return c;
    graft_env_log(env, GRAFT_LOG_WARNING, "%s: every picture of %s is looked at anew", reason.message,
                  graft_data_path(d));
    return NULL;
}

/* Samples that the store knows count as seen; *unknown lists the others. */
static int take_known(graft_cache *c, graft_data *d, int64_t *unknown, int64_t *n_unknown, graft_err *err) {
    int rc = 0;
    for (int64_t i = 0; i < graft_data_n_samples(d) && rc == 0; i++) {
        const graft_sample *s = graft_data_sample(d, i);
        if (s->state != GRAFT_UNSEEN) continue;
        const seen_row *row = graft_cache_get(c, s->content);
        if (row)
            rc = graft_data_note_seen(d, i, row->has_likeness ? &row->likeness : NULL, err);
        else
            unknown[(*n_unknown)++] = i;
    }
    return rc;
}

static int put(graft_cache *c, const graft_data *d, const int64_t *samples, int64_t n, graft_err *err) {
    int rc = 0;
    for (int64_t i = 0; i < n && rc == 0; i++) {
        const graft_sample *s = graft_data_sample(d, samples[i]);
        if (s->state != GRAFT_SEEN) continue;
        seen_row row = {.has_likeness = s->likeness != NULL};
        if (s->likeness) row.likeness = *s->likeness;
        rc = graft_cache_put(c, s->content, &row, err);
    }
    return rc;
}

int graft_seen_check(const graft_env *env, graft_data *d, graft_err *err) {
    size_t n = (size_t)graft_data_n_samples(d);
    int64_t n_unknown = 0, *unknown = NULL;
    graft_cache *c = graft_data_modality(d) == GRAFT_PICTURES ? open_store(env, d) : NULL;
    if (!c) return graft_data_check(d, err);
    int rc = (unknown = malloc((n + 1) * sizeof *unknown)) ? 0 : graft_err_nomem(err);
    if (rc == 0) rc = take_known(c, d, unknown, &n_unknown, err);
    if (rc == 0) rc = graft_data_check(d, err);
    if (rc == 0) rc = put(c, d, unknown, n_unknown, err);
    free(unknown);
    graft_cache_close(c);
    return rc;
}
