/* Heads: their table, and putting a new one in place of the old. */
#include "model/model_impl.h"
#include <string.h>

static const graft_head *const rows[] = {
#define GRAFT_HEAD(name) &graft_head_##name,
#include "model/head/list.h"
#undef GRAFT_HEAD
};

const char *const *graft_model_heads(void) {
    static const char *const names[] = {
#define GRAFT_HEAD(name) #name,
#include "model/head/list.h"
#undef GRAFT_HEAD
        NULL,
    };
    return names;
}

const graft_head *graft_head_find(const char *name) {
    for (size_t i = 0; i < GRAFT_COUNT(rows); i++)
        if (!strcmp(rows[i]->name, name)) return rows[i];
    return NULL;
}

static int check_names(const char *const *names, size_t n, graft_arena *scratch, graft_err *err) {
    if (n == 0) return graft_err_set(err, GRAFT_EUSAGE, "a head needs at least one class");
    graft_map *seen = graft_map_new(scratch);
    if (!seen) return graft_err_nomem(err);
    for (size_t i = 0; i < n; i++) {
        if (graft_map_get_str(seen, names[i]) >= 0)
            return graft_err_set(err, GRAFT_EUSAGE, "the class '%s' is named twice", names[i]);
        if (graft_map_put_str(seen, names[i], (int64_t)i) < 0) return graft_err_nomem(err);
    }
    return graft_check_labels(names, n, err);
}

/* What is left of the head before: its labels and its parameters. */
typedef struct old_head {
    const char *const *labels;
    size_t n_labels;
    graft_param_slot **slots;
    size_t n_slots;
    const graft_head *row;
    bool trusted; /* its rows mean what their labels say */
} old_head;

/* Row i of a parameter with one row a class; both have the same shape after the first dim. */
static int keep_row(const graft_model *m, graft_param_slot *to, size_t row, const float *from,
                    size_t from_row, graft_err *err) {
    size_t n = graft_init_count(&to->param.shape) / (size_t)to->param.shape.dims[0];
    float *w = graft_slot_own(m, to);
    if (!w) return graft_err_nomem(err);
    memcpy(w + row * n, from + from_row * n, n * sizeof *w);
    return 0;
}

static bool same_rows(const graft_shape *a, const graft_shape *b) {
    if (a->rank != b->rank || a->rank < 1) return false;
    for (int i = 1; i < a->rank; i++)
        if (a->dims[i] != b->dims[i]) return false;
    return true;
}

static int keep_rows(graft_model *m, const old_head *old, graft_arena *scratch, size_t *n_kept,
                     graft_err *err) {
    graft_map *index = graft_map_new(scratch);
    if (!index) return graft_err_nomem(err);
    for (size_t i = old->n_labels; i-- > 0;)
        if (graft_map_put_str(index, old->labels[i], (int64_t)i) < 0) return graft_err_nomem(err);
    for (size_t k = 0; k < old->n_slots; k++) {
        const graft_param *p = &old->slots[k]->param;
        if (p->joins) continue;
        int64_t at = graft_map_get_str(m->index, p->name);
        if (at < 0 || !same_rows(&p->shape, &m->slots[at]->param.shape)) return 0;
    }
    for (size_t k = 0; k < old->n_slots; k++) {
        const graft_param *p = &old->slots[k]->param;
        if (p->joins) continue;
        graft_param_slot *to = m->slots[graft_map_get_str(m->index, p->name)];
        float *values = graft_arena_array(scratch, graft_init_count(&p->shape), sizeof *values);
        if (!values) return graft_err_nomem(err);
        graft_tensor_to_f32(&p->tensor, values);
        *n_kept = 0;
        for (size_t i = 0; i < m->n_labels; i++) {
            int64_t from = graft_map_get_str(index, m->labels[i]);
            if (from < 0) continue;
            int rc = keep_row(m, to, i, values, (size_t)from, err);
            if (rc < 0) return rc;
            *n_kept += 1;
        }
    }
    return 0;
}

static int gather_old(old_head *old, const graft_model *m, graft_arena *scratch, graft_err *err) {
    *old = (old_head){.labels = m->labels, .n_labels = m->n_labels, .row = m->head};
    old->trusted = m->labels_known && !m->head_is_new;
    old->slots = graft_arena_array(scratch, m->n_slots, sizeof(graft_param_slot *));
    if (!old->slots) return graft_err_nomem(err);
    for (size_t i = 0; i < m->n_slots; i++)
        if (m->slots[i]->param.head) old->slots[old->n_slots++] = m->slots[i];
    return 0;
}

/* The layers between features and classifier go on as they are. */
static void keep_join(graft_model *m, const old_head *old) {
    for (size_t k = 0; k < old->n_slots; k++) {
        const graft_param_slot *from = old->slots[k];
        int64_t at = graft_map_get_str(m->index, from->param.name);
        if (at < 0 || !from->param.joins) continue;
        graft_param_slot *to = m->slots[at];
        if (!graft_shape_equal(&to->param.shape, &from->param.shape)) continue;
        to->param.tensor = from->param.tensor;
        to->own = from->own;
        to->read = from->read;
    }
}

static int replace(graft_model *m, const graft_head *row, const char *const *names, size_t n, uint64_t seed,
                   graft_arena *scratch, size_t *n_kept, graft_err *err) {
    old_head old;
    int rc;
    if ((rc = check_names(names, n, scratch, err)) < 0) return rc;
    if ((rc = gather_old(&old, m, scratch, err)) < 0) return rc;
    const char **copy = graft_arena_array(m->arena, n, sizeof *copy);
    if (!copy) return graft_err_nomem(err);
    for (size_t i = 0; i < n; i++)
        if (!(copy[i] = graft_arena_strdup(m->arena, names[i]))) return graft_err_nomem(err);
    m->labels = copy;
    m->n_labels = n;
    m->labels_known = true;
    m->head = row;
    if ((rc = graft_model_list(m, err)) < 0) return rc;
    keep_join(m, &old);
    if ((rc = graft_model_initialise(m, seed, err)) < 0) return rc;
    *n_kept = 0;
    if (old.trusted && old.row == row && row->rows_are_classes) rc = keep_rows(m, &old, scratch, n_kept, err);
    if (rc == 0) m->head_is_new = *n_kept == 0;
    return rc;
}

int graft_model_head(graft_model *m, const char *head, const char *const *names, size_t n, uint64_t seed,
                     size_t *n_kept, graft_err *err) {
    const graft_head *row = graft_head_find(head);
    if (!row) {
        graft_buf known;
        graft_buf_init(&known, 0);
        for (const char *const *h = graft_model_heads(); *h; h++)
            graft_buf_printf(&known, "%s%s", known.size ? ", " : "", *h);
        int rc = graft_err_set(err, GRAFT_EUSAGE, "unknown head '%s', one of: %s", head,
                               known.failed ? "" : known.data);
        graft_buf_done(&known);
        return rc;
    }
    if (row->reads_map && !m->family->keeps_map)
        return graft_err_set(err, GRAFT_EUSAGE,
                             "the head '%s' reads more than the pooled features, which models of the family "
                             "%s do not give; take linear or mlp",
                             head, m->family->name);
    graft_arena *scratch = graft_arena_new(NULL);
    if (!scratch) return graft_err_nomem(err);
    size_t kept = 0;
    int rc = replace(m, row, names, n, seed, scratch, &kept, err);
    graft_arena_free(scratch);
    if (rc < 0) return rc;
    if (n_kept) *n_kept = kept;
    if (kept)
        graft_env_log(m->env, GRAFT_LOG_INFO,
                      "a new head of %zu classes; the rows of %zu are kept from the old one", n, kept);
    else
        graft_env_log(m->env, GRAFT_LOG_INFO, "a new head of %zu classes, initialised from seed %llu", n,
                      (unsigned long long)seed);
    return 0;
}
