/* From a plan's text to phases. */
#include "transfer/strategies.h"

#include <stdlib.h>
#include <string.h>

#define GRAFT_STRATEGY(name) &graft_strategy_##name,
static const graft_strategy *const strategies[] = {
#include "transfer/strategy/list.h"
};
#undef GRAFT_STRATEGY

/* Without a wish: everything when there is nothing to keep; the head alone when there are few pictures a
 * class, whose number cannot pay for more than a linear layer; the last stage too when there are more;
 * everything when there are many (Kornblith et al. 2019: fine-tuning overtakes a linear head at some dozens
 * to hundreds a class). Layers that nothing has trained yet train in any case. NULL: out of memory. */
static const char *choose(graft_arena *arena, const graft_model *m, const graft_evidence *e) {
    if (e->is_scratch) return "full";
    int64_t per_class = e->n_train / (e->n_classes > 0 ? e->n_classes : 1);
    const bool head_will_do = per_class < 30 && !e->shapes_features;
    size_t first = graft_model_first_new(m);
    if (per_class < 200 && first + 1 < graft_model_n_stages(m))
        return graft_arena_printf(arena, "from:%s", graft_model_stage_name(m, first));
    /* Word vectors move with the words of the training texts alone, which leaves the others behind: on TREC
     * with fastText's vectors head and full were equal at 16 questions a class, full better from 80 on. */
    if (graft_model_modality(m) == GRAFT_TEXTS && graft_model_text(m)->words)
        return head_will_do ? "head" : "full";
    /* An encoder's last vector was made for likeness or for lost words, not for the question at hand. Test
     * scores of all-MiniLM-L6-v2's head, top:2 and full, means of two draws of 400 samples: entity F1 of
     * WNUT-17 16.7, 32.4, 44.4; Spearman of STS-B's pairs 32.7, 56.4, 73.5; F1 of TREC's coarse and fine
     * labels at once 67.5, 84.1, 89.4. With 200 samples full was the best in five draws of six; in the sixth,
     * of WNUT-17, they reached 11.2, 0.9 and 4.8. */
    if (graft_model_modality(m) == GRAFT_TEXTS && graft_model_n_stages(m) > 3) return "full";
    if (head_will_do) return "head";
    return per_class < 200 ? "top:1" : "full";
}

/* The row whose name the first `size` characters of a plan are; NULL: none. */
static const graft_strategy *find(const char *plan, size_t size) {
    for (size_t i = 0; i < GRAFT_COUNT(strategies); i++) {
        const char *names[] = {strategies[i]->name, strategies[i]->alias};
        for (size_t k = 0; k < GRAFT_COUNT(names); k++)
            if (names[k] && strlen(names[k]) == size && strncmp(names[k], plan, size) == 0)
                return strategies[i];
    }
    return NULL;
}

bool graft_strategy_is_row(const char *text) {
    return find(text, strcspn(text, ":")) != NULL;
}

static int unknown(const graft_model *m, const char *plan, graft_err *err) {
    graft_buf usages;
    if (graft_model_find_stage(m, plan) >= 0)
        return graft_err_set(err, GRAFT_EUSAGE,
                             "--train %s: a stage alone is no plan: from:%s, surgical:%s, or '%s,head'", plan,
                             plan, plan, plan);
    const char *near = NULL;
    size_t least = strlen(plan) / 3 + 1;
    graft_buf_init(&usages, 0);
    for (size_t i = 0; i < GRAFT_COUNT(strategies); i++) {
        const graft_strategy *s = strategies[i];
        size_t d = graft_text_distance(plan, s->name);
        if (d < least || (d == least && !near)) near = s->name, least = d;
        graft_buf_printf(&usages, "%s%s", i ? ", " : "", s->usage);
    }
    int rc = graft_err_set(
        err, GRAFT_EUSAGE,
        "unknown plan '%s' for --train%s%s%s, one of: %s, and schedules such as head@3,full", plan,
        near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "", usages.failed ? "" : usages.data);
    graft_buf_done(&usages);
    return rc;
}

int graft_phases_plan(graft_phases *p, const char *plan, graft_err *err) {
    size_t before = p->n;
    const char *colon = strchr(plan, ':');
    const graft_strategy *s = find(plan, colon ? (size_t)(colon - plan) : strlen(plan));
    bool named = s != NULL;
    if (!named && !colon && strpbrk(plan, "*?[.,!")) s = &graft_strategy_params;
    if (!s) return unknown(p->model, plan, err);
    int rc = s->phases(p, named && colon ? colon + 1 : named ? NULL : plan, err);
    for (size_t i = before; i < p->n && rc == 0; i++) {
        if (!p->items[i].plan) p->items[i].plan = graft_arena_strdup(p->arena, plan);
        if (!p->items[i].plan) rc = graft_err_nomem(err);
    }
    return rc;
}

/* ---- Schedules ---------------------------------------------------------------------------------------------- */

enum { MOST_EPOCHS = 1000000, MOST_PHASES = 1000 };

/* The length of the first entry of a schedule; what follows @ in it is a number and ends it. *at is where the
 * @ stands, `length` when there is none. */
static size_t entry(const char *plan, size_t *at) {
    for (const char *c = plan; (c = strchr(c, '@')); c++) {
        size_t digits = strspn(c + 1, "0123456789");
        if (!digits || (c[1 + digits] && c[1 + digits] != ',')) continue;
        *at = (size_t)(c - plan);
        return *at + 1 + digits;
    }
    return *at = strlen(plan);
}

static int add_entry(graft_phases *p, const char *text, const char *epochs, graft_err *err) {
    size_t before = p->n;
    long n = epochs ? strtol(epochs, NULL, 10) : 0;
    if (epochs && (n < 1 || n > MOST_EPOCHS))
        return graft_err_set(err, GRAFT_EUSAGE, "--train: %s@%s wants at least one epoch, and at most %d",
                             text, epochs, MOST_EPOCHS);
    int rc = graft_phases_plan(p, text, err);
    if (rc < 0 || !epochs) return rc;
    if (p->n != before + 1)
        return graft_err_set(err, GRAFT_EUSAGE,
                             "--train: %s is a schedule itself and takes no @%s: give --epochs", text,
                             epochs);
    p->items[before].epochs = n;
    return 0;
}

static int add_schedule(graft_phases *p, const char *plan, graft_err *err) {
    for (;;) {
        size_t at = 0, length = entry(plan, &at);
        char *text = graft_arena_strndup(p->arena, plan, at),
             *epochs = at < length ? graft_arena_strndup(p->arena, plan + at + 1, length - at - 1) : NULL;
        if (!text || (at < length && !epochs)) return graft_err_nomem(err);
        int rc = add_entry(p, text, epochs, err);
        if (rc < 0 || !plan[length]) return rc;
        plan += length + 1;
        if (p->n > MOST_PHASES)
            return graft_err_set(err, GRAFT_EUSAGE, "--train: a schedule of more than %d phases",
                                 MOST_PHASES);
    }
}

/* The row that the plan `text`, which has no epochs, comes to in the end; *argument is what follows its
 * colon. */
static const graft_strategy *row_of(const char *text, const char **argument) {
    const char *colon = strchr(text, ':');
    const graft_strategy *s = find(text, colon ? (size_t)(colon - text) : strlen(text));
    while (s && s->nests && colon) {
        text = colon + 1;
        colon = strchr(text, ':');
        s = find(text, colon ? (size_t)(colon - text) : strlen(text));
    }
    *argument = colon ? colon + 1 : NULL;
    return s;
}

bool graft_strategy_goes_on(const char *before, const char *part) {
    const char *last = strrchr(before, ','), *argument = NULL;
    if (part[0] == '!' || strchr(last ? last : before, '@')) return true;
    for (size_t at = 0, length; (length = entry(before, &at)) > at && before[length];) before += length + 1;
    const graft_strategy *s = row_of(before, &argument);
    return s && s->is_setting && argument ? s->is_setting(part) : strchr(part, '=') && !strchr(part, ':');
}

/* Asks the row of the plan `text`, which has no epochs; *is_asked when it wants something of the model. */
static int prepare_entry(graft_model *m, const char *text, uint64_t seed, bool *is_asked, graft_err *err) {
    const char *argument = NULL;
    const graft_strategy *s = row_of(text, &argument);
    if (!s || !s->prepare) return 0;
    *is_asked = true;
    return s->prepare(m, argument, seed, err);
}

int graft_strategy_prepare(graft_model *m, const char *plan, uint64_t seed, graft_err *err) {
    bool is_asked = false;
    int rc = 0;
    while (rc == 0 && plan && *plan) {
        size_t at = 0, length = entry(plan, &at);
        char *text = strndup(plan, at);
        rc = text ? prepare_entry(m, text, seed, &is_asked, err) : graft_err_nomem(err);
        free(text);
        plan += length + (plan[length] == ',');
    }
    return rc < 0 || is_asked ? rc : graft_model_merge(m, err);
}

/* ---- What cannot be meant ----------------------------------------------------------------------------------- */

/* The base of adapters stays as it is: the folder that is written names it. */
static int check_base(const graft_phases *p, graft_err *err) {
    const graft_model *m = p->model;
    for (size_t i = 0; i < p->n && graft_model_n_adapted(m); i++) {
        for (size_t k = 0; k < graft_model_n_params(m); k++) {
            const graft_param *param = graft_model_param(m, k);
            if (param->adapter || param->head || !p->items[i].trains[k]) continue;
            return graft_err_set(
                err, GRAFT_EUSAGE,
                "--train %s trains '%s', beside or below which adapters stand: with lora the "
                "layers themselves stay frozen",
                p->items[i].plan, param->name);
        }
    }
    return 0;
}

static int check(const graft_phases *p, graft_err *err) {
    const graft_model *m = p->model;
    size_t n_stages = graft_model_n_stages(m);
    bool head = false;
    for (size_t i = 0; i < p->n; i++) {
        int64_t n = 0, in_head = graft_phase_trained_in(&p->items[i], m, n_stages - 1);
        for (size_t k = 0; k < n_stages; k++) n += graft_phase_trained_in(&p->items[i], m, k);
        if (n == 0)
            return graft_err_set(err, GRAFT_EUSAGE,
                                 "--train %s freezes everything, the head too: nothing is left to train",
                                 p->items[i].plan);
        head |= in_head > 0;
    }
    if (head || !graft_model_head_is_new(m)) return 0;
    return graft_err_set(err, GRAFT_EUSAGE,
                         "--train %s freezes the head, which is new and would stay random: leave the head in",
                         p->items[0].plan);
}

int graft_strategy_phases(graft_phase **out, size_t *n_phases, const char **chosen, graft_arena *arena,
                          const graft_model *m, const char *plan, const graft_evidence *evidence,
                          graft_err *err) {
    graft_phases p = {.arena = arena, .model = m, .evidence = evidence};
    if (!plan) plan = choose(arena, m, evidence);
    if (!plan || !(*chosen = graft_arena_strdup(arena, plan))) return graft_err_nomem(err);
    int rc = add_schedule(&p, plan, err);
    for (size_t i = 0; i < p.n; i++) graft_phase_mark_statistics(&p.items[i], m);
    if (rc == 0) rc = check(&p, err);
    if (rc == 0) rc = check_base(&p, err);
    *out = p.items;
    *n_phases = p.n;
    return rc;
}
