/* Adapters of a model: parameters beside those of the family, their place in the graph, merging them into the
 * weights (Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models"). */
#include "model/lora.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_RANK = 1 << 16 };

double graft_lora_scale(const graft_lora *lora, int64_t r, double alpha) {
    return lora->rslora ? alpha / sqrt((double)r) : alpha / (double)r;
}

static int add_slot(const char **name, graft_model *m, const graft_site *s, const char *leaf,
                    graft_shape shape, graft_err *err) {
    graft_param_slot *slot = graft_arena_alloc(m->arena, sizeof *slot);
    *name = graft_arena_printf(m->arena, "%s.%s.weight", s->module, leaf);
    graft_param_slot **slots = graft_arena_array(m->arena, m->n_slots + 1, sizeof *slots);
    if (!slot || !*name || !slots || graft_map_put_str(m->index, *name, (int64_t)m->n_slots) < 0)
        return graft_err_nomem(err);
    slot->param = (graft_param){.name = *name,
                                .shape = shape,
                                .kind = GRAFT_PARAM_WEIGHT,
                                .stage = graft_model_param_stage(m, s->weight),
                                .adapter = true};
    if (m->n_slots == m->slots_room) {
        slots = graft_arena_array(m->arena, 2 * m->n_slots + 2, sizeof *slots);
        if (!slots) return graft_err_nomem(err);
        memcpy(slots, m->slots, m->n_slots * sizeof *slots);
        m->slots = slots;
        m->slots_room = 2 * m->n_slots + 2;
    }
    m->slots[m->n_slots++] = slot;
    return 0;
}

int graft_lora_add(graft_adapted *out, graft_model *m, const graft_site *s, int64_t r, double alpha,
                   graft_err *err) {
    *out = (graft_adapted){
        .weight = s->weight, .r = r, .alpha = alpha, .scale = graft_lora_scale(&m->lora, r, alpha)};
    int rc = add_slot(&out->a, m, s, "lora_A", graft_site_a(s, r), err);
    return rc < 0 ? rc : add_slot(&out->b, m, s, "lora_B", graft_site_b(s, r), err);
}

/* A as PyTorch draws a linear layer's weight, B zero. */
static int draw(graft_model *m, const graft_adapted *ad, uint64_t seed, graft_err *err) {
    graft_param_slot *a = m->slots[graft_map_get_str(m->index, ad->a)],
                     *b = m->slots[graft_map_get_str(m->index, ad->b)];
    float *wa = graft_slot_own(m, a), *wb = graft_slot_own(m, b);
    if (!wa || !wb) return graft_err_nomem(err);
    graft_rng r = graft_init_stream(seed, ad->a);
    graft_init_kaiming_uniform(wa, &a->param.shape, GRAFT_FAN_IN, sqrt(5), &r);
    graft_init_constant(wb, graft_init_count(&b->param.shape), 0);
    return 0;
}

static int check(const graft_model *m, const graft_lora *l, graft_err *err) {
    if (m->n_adapted)
        return graft_err_set(err, GRAFT_EUSAGE, "%s has adapters already: merge them first", m->path);
    if (m->is_scratch || m->text.words || graft_model_first_new(m) + 1 < m->n_stages)
        return graft_err_set(err, GRAFT_EUSAGE,
                             "%s: adapters stand on trained layers, and here are layers that nothing trained",
                             m->path);
    if (l->r < 1 || l->r > MOST_RANK)
        return graft_err_set(err, GRAFT_EUSAGE, "lora: a rank of %lld", (long long)l->r);
    if (!(l->alpha > 0) || !isfinite(l->alpha))
        return graft_err_set(err, GRAFT_EUSAGE, "lora: alpha has to be above 0, not %g", l->alpha);
    if (!(l->dropout >= 0 && l->dropout < 1))
        return graft_err_set(err, GRAFT_EUSAGE, "lora: dropout has to be from 0 to below 1, not %g",
                             l->dropout);
    return 0;
}

int graft_model_adapt(graft_model *m, const graft_lora *lora, uint64_t seed, graft_err *err) {
    graft_sites sites;
    int rc = check(m, lora, err);
    if (rc == 0) rc = graft_sites_list(&sites, m->arena, m, err);
    if (rc < 0) return rc;
    bool *chosen = graft_arena_array(m->arena, sites.n + 1, sizeof *chosen);
    graft_adapted *adapted = graft_arena_array(m->arena, sites.n + 1, sizeof *adapted);
    const char *targets = lora->targets ? graft_arena_strdup(m->arena, lora->targets) : NULL;
    if (!chosen || !adapted || (lora->targets && !targets)) return graft_err_nomem(err);
    if ((rc = graft_sites_choose(chosen, &sites, targets, err)) < 0) return rc;
    size_t n = 0;
    m->lora = *lora;
    m->lora.targets = targets;
    for (size_t i = 0; i < sites.n && rc == 0; i++) {
        if (!chosen[i]) continue;
        rc = graft_lora_add(&adapted[n], m, &sites.items[i], lora->r, lora->alpha, err);
        if (rc == 0) rc = draw(m, &adapted[n++], seed, err);
    }
    m->adapted = adapted;
    m->n_adapted = rc == 0 ? n : 0;
    return rc;
}

const graft_lora *graft_model_lora(const graft_model *m) {
    return m->n_adapted ? &m->lora : NULL;
}

size_t graft_model_n_adapted(const graft_model *m) {
    return m->n_adapted;
}

const char *graft_model_base(const graft_model *m) {
    return m->base;
}

int graft_model_add_adapters(graft_graph **g, graft_arena *arena, const graft_model *m, graft_err *err) {
    graft_adapter *all = graft_arena_array(arena, m->n_adapted + 1, sizeof *all);
    if (m->n_adapted == 0) return 0;
    if (!all) return graft_err_nomem(err);
    for (size_t i = 0; i < m->n_adapted; i++) {
        const graft_adapted *ad = &m->adapted[i];
        const graft_param *a = graft_model_find_param(m, ad->a), *b = graft_model_find_param(m, ad->b);
        all[i] = (graft_adapter){.weight = ad->weight,
                                 .a = ad->a,
                                 .b = ad->b,
                                 .a_shape = a->shape,
                                 .b_shape = b->shape,
                                 .a_value = &a->tensor,
                                 .b_value = &b->tensor,
                                 .scale = ad->scale,
                                 .dropout = m->drops ? m->lora.dropout : 0};
    }
    return graft_graph_adapt(g, arena, *g, all, m->n_adapted, err);
}

/* ---- Merging
 * -------------------------------------------------------------------------------------------------- */

/* Of a convolution A's inputs are those of its whole window. */
void graft_lora_merge(float *w, const graft_site *s, const float *a, const float *b, int64_t r,
                      double scale) {
    enum { PIECE = 256 };
    const graft_shape shape = graft_site_a(s, 1);
    const int64_t outs = graft_site_outs(s), ins = (int64_t)graft_init_count(&shape);
    bool turned = s->kind == GRAFT_LAYER_IN_OUT || s->kind == GRAFT_LAYER_EMBEDDING;
    double sum[PIECE];
    for (int64_t o = 0; o < outs; o++) {
        for (int64_t first = 0; first < ins; first += PIECE) {
            const int64_t n = ins - first < PIECE ? ins - first : PIECE;
            memset(sum, 0, sizeof sum);
            for (int64_t k = 0; k < r; k++) {
                const float *row = a + k * ins + first;
                const double factor = scale * (double)b[o * r + k];
                for (int64_t i = 0; i < n; i++) sum[i] += factor * (double)row[i];
            }
            for (int64_t i = 0; i < n; i++) {
                float *to = &w[turned ? (first + i) * outs + o : o * ins + first + i];
                *to = (float)((double)*to + sum[i]);
            }
        }
    }
}

static int values_of(float **out, const graft_model *m, const char *name, graft_arena *arena,
                     graft_err *err) {
    const graft_param *p = graft_model_find_param(m, name);
    *out = graft_arena_array(arena, graft_init_count(&p->shape) + 1, sizeof **out);
    if (!*out) return graft_err_nomem(err);
    graft_tensor_to_f32(&p->tensor, *out);
    return 0;
}

static int merge_one(graft_model *m, const graft_sites *sites, const graft_adapted *ad, graft_err *err) {
    graft_arena *scratch = graft_arena_new(NULL);
    const graft_site *site = graft_sites_find(sites, ad->weight);
    float *w = NULL, *a = NULL, *b = NULL;
    int rc = scratch ? 0 : graft_err_nomem(err);
    if (rc == 0) rc = values_of(&w, m, ad->weight, scratch, err);
    if (rc == 0) rc = values_of(&a, m, ad->a, scratch, err);
    if (rc == 0) rc = values_of(&b, m, ad->b, scratch, err);
    if (rc == 0) {
        graft_lora_merge(w, site, a, b, ad->r, ad->scale);
        rc = graft_model_begin_at(m, ad->weight, w, graft_init_count(&site->shape), err);
    }
    graft_arena_free(scratch);
    return rc;
}

/* The adapters' slots go; those of all others keep their order. */
static int drop_slots(graft_model *m, graft_err *err) {
    graft_map *index = graft_map_new(m->arena);
    size_t kept = 0;
    if (!index) return graft_err_nomem(err);
    for (size_t i = 0; i < m->n_slots; i++) {
        if (m->slots[i]->param.adapter) continue;
        m->slots[kept] = m->slots[i];
        if (graft_map_put_str(index, m->slots[i]->param.name, (int64_t)kept++) < 0)
            return graft_err_nomem(err);
    }
    m->n_slots = kept;
    m->index = index;
    m->n_adapted = 0;
    return 0;
}

int graft_model_merge(graft_model *m, graft_err *err) {
    graft_sites sites;
    graft_arena *scratch = m->n_adapted ? graft_arena_new(NULL) : NULL;
    if (m->n_adapted == 0) return 0;
    int rc = scratch ? graft_sites_list(&sites, scratch, m, err) : graft_err_nomem(err);
    for (size_t i = 0; i < m->n_adapted && rc == 0; i++) rc = merge_one(m, &sites, &m->adapted[i], err);
    if (rc == 0) rc = drop_slots(m, err);
    graft_arena_free(scratch);
    return rc;
}
