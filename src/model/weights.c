/* The values of parameters: bound to the file's tensors by published name, initialised where there are none,
 * or the model's own after training. */
#include "model/model_impl.h"
#include <stdio.h>
#include <string.h>

static bool is_counter(const char *name) {
    size_t n = strlen(name), k = strlen(".num_batches_tracked");
    return n > k && !strcmp(name + n - k, ".num_batches_tracked");
}

int graft_model_publish(graft_model *m, graft_err *err) {
    graft_map *seen = graft_map_new(m->arena);
    m->published = graft_arena_array(m->arena, m->source.n_items, sizeof *m->published);
    if (!seen || !m->published) return graft_err_nomem(err);
    for (size_t i = 0; i < m->source.n_items; i++) {
        const char *name = m->source.items[i].name, *published = m->family->rename(m->arena, name);
        if (!published) return graft_err_nomem(err);
        int64_t twin = graft_map_get_str(seen, published);
        if (twin >= 0)
            return graft_err_set(err, GRAFT_EDATA, "%s: tensors '%s' and '%s' are both '%s'", m->weights_path,
                                 m->source.items[twin].name, name, published);
        if (graft_map_put_str(seen, published, (int64_t)i) < 0) return graft_err_nomem(err);
        m->published[i] = published;
    }
    m->source_index = seen;
    return 0;
}

const graft_tensor *graft_model_source(const graft_model *m, const char *published) {
    if (!m->source_index) return NULL;
    int64_t i = graft_map_get_str(m->source_index, published);
    return i < 0 ? NULL : &m->source.items[i];
}

static bool is_float(graft_dtype t) {
    return t == GRAFT_F32 || t == GRAFT_F64 || t == GRAFT_F16 || t == GRAFT_BF16;
}

/* 0, 1 when it is missing, 2 when its shape is another, or an error. */
static int bind_slot(graft_model *m, graft_param_slot *s, graft_err *err) {
    graft_param *p = &s->param;
    const graft_tensor *t = graft_model_source(m, p->name);
    if (!t) return 1;
    if (!graft_shape_equal(&t->shape, &p->shape)) return 2;
    if (!is_float(t->dtype))
        return graft_err_set(err, GRAFT_EDTYPE, "%s: tensor '%s' is %s; weights have to be floating point",
                             m->weights_path, t->name, graft_dtype_name(t->dtype));
    p->tensor = *t;
    p->tensor.name = p->name;
    return 0;
}

const graft_tensor *graft_model_pretrained(const graft_model *m, const char *name) {
    int64_t i = graft_map_get_str(m->index, name);
    const graft_param_slot *s = i >= 0 ? m->slots[i] : NULL;
    const graft_tensor *t = !s ? NULL : s->own ? &s->read : &s->param.tensor;
    return t && t->data && !s->param.adapter ? t : NULL;
}

static int misfit(const graft_model *m, const graft_param *p, bool missing, graft_err *err) {
    char want[96], have[96];
    graft_shape_print(&p->shape, want, sizeof want);
    const char *blame = m->config_path ? m->config_path : "the model recognised";
    if (missing) {
        return graft_err_set(err, GRAFT_EDATA, "%s: tensor '%s' %s is missing, which %s asks for",
                             m->weights_path, p->name, want, blame);
    }
    const graft_tensor *t = graft_model_source(m, p->name);
    graft_shape_print(&t->shape, have, sizeof have);
    return graft_err_set(err, GRAFT_ESHAPE, "%s: tensor '%s' has shape %s, but %s asks for %s",
                         m->weights_path, t->name, have, blame, want);
}

static void log_head(const graft_model *m, const graft_param *p, bool missing) {
    char want[96], have[96];
    graft_shape_print(&p->shape, want, sizeof want);
    if (missing) {
        graft_env_log(m->env, GRAFT_LOG_INFO, "%s has no head '%s': a new one for %zu classes is initialised",
                      m->weights_path, graft_model_head_module(m), m->n_labels);
        return;
    }
    const graft_tensor *t = graft_model_source(m, p->name);
    graft_shape_print(&t->shape, have, sizeof have);
    graft_env_log(
        m->env, GRAFT_LOG_WARNING,
        "%s: the head '%s' has shape %s where %s is needed for %zu classes: a new one is initialised",
        m->weights_path, t->name, have, want, m->n_labels);
}

/* Whether the norm that a counter belongs to is bound. */
static bool counts_a_norm(const graft_model *m, const char *counter) {
    char mean[256];
    int n = (int)(strrchr(counter, '.') - counter);
    int size = snprintf(mean, sizeof mean, "%.*s.running_mean", n, counter);
    return size > 0 && (size_t)size < sizeof mean && graft_model_find_param(m, mean);
}

/* Layers that the published class of a bare backbone has though nothing here reads them: a pooler beside the
 * mean of all tokens. */
static bool rides_along(const char *name) {
    return strstr(name, ".pooler.") != NULL;
}

bool graft_model_keeps(const graft_model *m, const char *extra) {
    return m->text.sentence || !rides_along(extra);
}

/* Batch counters ride along when their norm is bound; all else that is not a parameter is named in the log.
 */
static int sort_rest(graft_model *m, graft_err *err) {
    m->extras = graft_arena_array(m->arena, m->source.n_items, sizeof *m->extras);
    graft_buf names;
    graft_buf_init(&names, 0);
    size_t n_unused = 0;
    int rc = m->extras ? 0 : graft_err_nomem(err);
    for (size_t i = 0; rc == 0 && i < m->source.n_items; i++) {
        const char *name = m->published[i];
        if (graft_model_find_param(m, name)) continue;
        if (is_counter(name) && counts_a_norm(m, name)) {
            graft_tensor *t = &m->extras[m->n_extras++];
            *t = m->source.items[i];
            t->name = name;
            continue;
        }
        if (is_counter(name) || (m->family->is_buffer && m->family->is_buffer(name))) continue;
        if (m->text.sentence && rides_along(name)) {
            graft_tensor *t = &m->extras[m->n_extras++];
            *t = m->source.items[i];
            t->name = name;
            continue;
        }
        if (n_unused++ < 8)
            graft_buf_printf(&names, "%s'%s'", n_unused > 1 ? ", " : "", m->source.items[i].name);
    }
    if (rc == 0 && names.failed) rc = graft_err_nomem(err);
    if (rc == 0 && n_unused)
        graft_env_log(m->env, GRAFT_LOG_WARNING, "%s: %zu tensor%s not part of the model and left out: %s%s",
                      m->weights_path, n_unused, n_unused > 1 ? "s are" : " is", names.data,
                      n_unused > 8 ? ", …" : "");
    graft_buf_done(&names);
    return rc;
}

const char *graft_model_head_module(const graft_model *m) {
    return m->task == GRAFT_TASK_TAGGING ? m->family->tag_head : m->family->head;
}

const char *graft_model_head_name(const graft_model *m) {
    return m->head->name;
}

/* The head that the file holds, by a tensor that only that one has. */
void graft_model_find_head(graft_model *m) {
    char name[192];
    for (const char *const *h = graft_model_heads(); *h; h++) {
        const graft_head *row = graft_head_find(*h);
        if (!row->mark) continue;
        const char *at = strstr(row->mark, "%s");
        snprintf(name, sizeof name, "%s%s", at ? graft_model_head_module(m) : "", at ? at + 2 : row->mark);
        const graft_tensor *t = graft_model_source(m, name);
        bool fits = t && (!row->mark_rank || t->shape.rank == row->mark_rank);
        if (fits && (!row->reads_map || m->family->keeps_map)) m->head = row;
    }
}

/* All layers between the first stage and the head are new, and so is the head, or none is. */
static int check_new(graft_model *m, size_t n_new, bool head_fits, graft_err *err) {
    size_t n = 0;
    const graft_param *first = NULL;
    for (size_t i = 0; i < m->n_slots; i++) {
        const graft_param *p = &m->slots[i]->param;
        if (p->head || p->stage == 0) continue;
        n++;
        if (!first && !p->tensor.data) first = p;
    }
    if (n_new != n || head_fits) return misfit(m, first, true, err);
    m->first_new = first->stage;
    graft_env_log(m->env, GRAFT_LOG_INFO, "%s has no weights of its %s: they are initialised",
                  m->weights_path, m->stages[first->stage]);
    return 0;
}

int graft_model_bind(graft_model *m, bool *head_fits, graft_err *err) {
    size_t n_new = 0;
    *head_fits = true;
    for (size_t i = 0; i < m->n_slots; i++) {
        graft_param_slot *s = m->slots[i];
        if (s->param.adapter) continue;
        int rc = bind_slot(m, s, err);
        if (rc < 0) return rc;
        if (rc == 0) continue;
        if (!s->param.head && rc == 1 && m->family->grows && s->param.stage > 0) {
            n_new++;
            continue;
        }
        if (!s->param.head) return misfit(m, &s->param, rc == 1, err);
        if (*head_fits) log_head(m, &s->param, rc == 1);
        *head_fits = false;
    }
    for (size_t i = 0; !*head_fits && i < m->n_slots; i++)
        if (m->slots[i]->param.head && !m->slots[i]->param.joins)
            m->slots[i]->param.tensor = (graft_tensor){0};
    int rc = n_new ? check_new(m, n_new, *head_fits, err) : 0;
    return rc < 0 ? rc : sort_rest(m, err);
}

float *graft_slot_own(const graft_model *m, graft_param_slot *s) {
    if (s->own) return s->own;
    size_t n = graft_init_count(&s->param.shape);
    s->own = graft_arena_array(m->arena, n, sizeof *s->own);
    if (!s->own) return NULL;
    s->read = s->param.tensor;
    s->param.tensor = (graft_tensor){.name = s->param.name,
                                     .dtype = GRAFT_F32,
                                     .shape = s->param.shape,
                                     .data = s->own,
                                     .size = n * sizeof *s->own};
    return s->own;
}

/* A config of a few bytes must not ask for more memory than any picture model needs. */
static int check_total(const graft_model *m, graft_err *err) {
    const size_t most = (size_t)1 << 31;
    size_t total = 0;
    for (size_t i = 0; i < m->n_slots; i++) {
        size_t n = m->slots[i]->param.tensor.data ? 0 : graft_init_count(&m->slots[i]->param.shape);
        if (n > most || (total += n) > most)
            return graft_err_set(err, GRAFT_EUNSUPPORTED, "%s: it asks for more than %zu parameters", m->path,
                                 most);
    }
    return 0;
}

int graft_model_initialise(graft_model *m, uint64_t seed, graft_err *err) {
    int rc = check_total(m, err);
    if (rc < 0) return rc;
    for (size_t i = 0; i < m->n_slots; i++) {
        graft_param_slot *s = m->slots[i];
        if (s->param.tensor.data) continue;
        float *w = graft_slot_own(m, s);
        if (!w) return graft_err_nomem(err);
        graft_rng r = graft_init_stream(seed, s->param.name);
        if (s->param.head)
            m->head->initialise(&s->param, m->hyper.feature_width, w, &r);
        else
            m->family->initialise(&s->param, &m->hyper, w, &r);
    }
    return 0;
}

static int find_slot(graft_param_slot **out, const graft_model *m, const char *name, size_t count,
                     graft_err *err) {
    int64_t i = graft_map_get_str(m->index, name);
    if (i < 0) return graft_err_set(err, GRAFT_EUSAGE, "%s has no parameter '%s'", m->path, name);
    graft_param_slot *s = m->slots[i];
    if (count != graft_init_count(&s->param.shape)) {
        char shape[96];
        graft_shape_print(&s->param.shape, shape, sizeof shape);
        return graft_err_set(err, GRAFT_ESHAPE, "parameter '%s' has shape %s, not %zu elements", name, shape,
                             count);
    }
    *out = s;
    return 0;
}

int graft_model_set(graft_model *m, const char *name, const float *values, size_t count, graft_err *err) {
    graft_param_slot *s = NULL;
    int rc = find_slot(&s, m, name, count, err);
    if (rc < 0) return rc;
    float *own = graft_slot_own(m, s);
    if (!own) return graft_err_nomem(err);
    memcpy(own, values, count * sizeof *own);
    if (s->param.head) m->head_is_new = false;
    return 0;
}

int graft_model_begin_at(graft_model *m, const char *name, const float *values, size_t count,
                         graft_err *err) {
    int rc = graft_model_set(m, name, values, count, err);
    if (rc < 0) return rc;
    graft_param_slot *s = m->slots[graft_map_get_str(m->index, name)];
    s->own = NULL; /* the tensor's memory stays; training makes one of its own */
    s->merged = true;
    return 0;
}

bool graft_model_is_read(const graft_model *m, const char *name) {
    int64_t i = graft_map_get_str(m->index, name);
    return i >= 0 && !m->slots[i]->own && m->slots[i]->param.tensor.data;
}

bool graft_model_restore(graft_model *m, const char *name) {
    int64_t i = graft_map_get_str(m->index, name);
    if (i < 0) return false;
    graft_param_slot *s = m->slots[i];
    if (s->own && s->read.data) {
        s->param.tensor = s->read;
        s->own = NULL; /* the arena keeps the memory until the model is closed */
    }
    return graft_model_is_read(m, name);
}

void graft_model_count_batches(graft_model *m, const char *name, int64_t batches) {
    const char *end = strstr(name, ".running_mean");
    int64_t i = graft_map_get_str(m->index, name);
    if (i >= 0 && end && end[strlen(".running_mean")] == '\0') m->slots[i]->batches += batches;
}

int graft_model_get(const graft_model *m, const char *name, float *values, size_t count, graft_err *err) {
    graft_param_slot *s = NULL;
    int rc = find_slot(&s, m, name, count, err);
    if (rc < 0) return rc;
    graft_tensor_to_f32(&s->param.tensor, values);
    return 0;
}
