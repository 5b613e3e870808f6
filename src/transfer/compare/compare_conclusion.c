/* The conclusion in plain words. A difference counts as one when its test says so after Holm's correction and
 * its sign is that of the mean; what no test shows is called chance, and the cheaper plan is then enough. */
#include "transfer/compare/compare.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const double alpha = 0.05;

typedef struct words {
    const graft_comparison *c;
    const graft_compare_evidence *e;
    size_t best;          /* of all */
    size_t scratch, head; /* n_plans: not compared */
    size_t pretrained;    /* the best of those; n_plans: none */
    size_t advised;
    const char *verdict;
    graft_buf text;
} words;

static size_t find_plan(const words *w, const char *name) {
    size_t i = 0;
    while (i < w->c->n_plans && (strcmp(w->c->plans[i].name, name) != 0 || w->e[i].score.n == 0)) i++;
    return i;
}

static size_t best_pretrained(const words *w) {
    size_t best = w->c->n_plans;
    if (!w->c->plans[w->best].from_scratch) return w->best;
    for (size_t i = 0; i < w->c->n_plans; i++) {
        if (w->c->plans[i].from_scratch || w->e[i].score.n == 0) continue;
        if (best == w->c->n_plans || w->e[i].score.mean > w->e[best].score.mean) best = i;
    }
    return best;
}

/* Plan a against b on a size; against the best of all with Holm's p. */
static int compare(graft_pairing *out, const words *w, size_t a, size_t b, size_t size, graft_err *err) {
    bool largest = size + 1 == w->c->n_sizes;
    if (!largest || a != w->best) return graft_comparison_pair(out, w->c, a, b, size, err);
    *out = w->e[b].best;
    out->p = w->e[b].p_holm;
    return 0;
}

static bool is_better(const graft_pairing *p) {
    return p->p < alpha && p->better > p->worse && p->difference.mean > 0.0;
}

static bool is_worse(const graft_pairing *p) {
    return p->p < alpha && p->better < p->worse && p->difference.mean < 0.0;
}

static const char *p_text(double p, char out[24]) {
    if (p < 0.001)
        snprintf(out, 24, "p < 0.001");
    else
        snprintf(out, 24, "p = %.*f", p < 0.1 ? 3 : 2, p);
    return out;
}

static double points(double score) {
    return 100.0 * score;
}

static const char *name_of(const words *w, size_t plan) {
    return w->c->plans[plan].name;
}

/* With few labels, where all of them show nothing. */
static int say_few_labels(words *w, const graft_pairing *all, graft_err *err) {
    char p[24], q[24];
    graft_pairing few;
    int rc = compare(&few, w, w->pretrained, w->scratch, 0, err);
    if (rc < 0) return rc;
    bool helps = w->c->n_sizes > 1 && is_better(&few);
    w->verdict = helps ? "transfer helps with few labels" : "transfer does not help";
    graft_buf_printf(
        &w->text, "%s: with all labels '%s' is %+.1f points from training from scratch, within chance (%s)",
        helps ? "Transfer helps with few labels" : "Transfer does not help here", name_of(w, w->pretrained),
        points(all->difference.mean), p_text(all->p, p));
    if (helps)
        graft_buf_printf(&w->text, "; with %.3g a class it is worth %+.1f points (%s)",
                         graft_comparison_labels(w->c, 0), points(few.difference.mean), p_text(few.p, q));
    graft_buf_text(&w->text, ". ");
    return 0;
}

/* What the weights were worth. */
static int say_transfer(words *w, graft_err *err) {
    char p[24];
    graft_pairing pair;
    if (w->scratch == w->c->n_plans || w->pretrained == w->c->n_plans) return 0;
    int rc = compare(&pair, w, w->pretrained, w->scratch, w->c->n_sizes - 1, err);
    if (rc < 0) return rc;
    if (pair.difference.n == 0) return 0;
    if (w->best == w->scratch) pair.p = w->e[w->pretrained].p_holm;
    if (is_better(&pair)) {
        w->verdict = "transfer helps";
        graft_buf_printf(
            &w->text,
            "Transfer is worth %+.1f points: '%s' reaches %.1f %%, training from scratch %.1f %% (%s). ",
            points(pair.difference.mean), name_of(w, w->pretrained), points(w->e[w->pretrained].score.mean),
            points(w->e[w->scratch].score.mean), p_text(pair.p, p));
        return 0;
    }
    if (!is_worse(&pair)) return say_few_labels(w, &pair, err);
    w->verdict = "transfer does not help";
    w->advised = w->scratch;
    graft_buf_printf(
        &w->text, "Transfer does not help here: training from scratch is %.1f points better than '%s' (%s). ",
        -points(pair.difference.mean), name_of(w, w->pretrained), p_text(pair.p, p));
    return 0;
}

/* What training more than the head was worth. */
static int say_head(words *w, graft_err *err) {
    char p[24];
    graft_pairing pair;
    if (w->head == w->c->n_plans || w->advised == w->scratch) return 0;
    if (w->pretrained == w->head) {
        bool alone = true; /* of the pretrained plans */
        for (size_t i = 0; i < w->c->n_plans; i++)
            alone = alone && (i == w->head || w->c->plans[i].from_scratch || w->e[i].score.n == 0);
        if (alone) return 0;
        if (strcmp(w->verdict, "transfer does not help") != 0) w->verdict = "a linear head is enough";
        graft_buf_text(&w->text,
                       "A linear head is enough: no plan that trains more of the model is better. ");
        return 0;
    }
    int rc = compare(&pair, w, w->pretrained, w->head, w->c->n_sizes - 1, err);
    if (rc < 0 || pair.difference.n == 0) return rc;
    bool helps = strcmp(w->verdict, "transfer does not help") != 0;
    if (is_better(&pair)) {
        if (helps) w->verdict = "fine-tuning is worth it";
        graft_buf_printf(&w->text, "Fine-tuning by '%s' is worth %+.1f points over a linear head (%s). ",
                         name_of(w, w->pretrained), points(pair.difference.mean), p_text(pair.p, p));
        return 0;
    }
    if (helps) w->verdict = "a linear head is enough";
    w->advised = w->head;
    graft_buf_printf(&w->text, "A linear head is enough: '%s' is %+.1f points from it, within chance (%s). ",
                     name_of(w, w->pretrained), points(pair.difference.mean), p_text(pair.p, p));
    return 0;
}

static void say_more_labels(words *w) {
    const graft_compare_evidence *e = &w->e[w->best];
    if (!e->has_curve) {
        graft_buf_printf(&w->text, "What more labels would gain cannot be told: %s. ", e->curve_problem);
        return;
    }
    bool little = e->gain_high < 0.005;
    bool by_class = graft_data_task(w->c->facts.data) == GRAFT_TASK_CLASSES;
    graft_buf_printf(&w->text, "%s%.0f more labels%s would gain '%s' about %+.1f points (%.1f to %.1f). ",
                     little ? "More labels of the same kind would gain little: " : "", e->more,
                     by_class ? " a class" : "", name_of(w, w->best), points(e->gain), points(e->gain_low),
                     points(e->gain_high));
}

/* The score of always giving one answer: the share of the largest class among the samples that judge. */
static double score_of_one_answer(const words *w) {
    const graft_data *d = w->c->facts.data;
    int64_t n = 0, most = 0;
    graft_part part = strcmp(w->c->judged, "validation") == 0 ? GRAFT_VAL : GRAFT_TEST;
    if (graft_data_task(d) != GRAFT_TASK_CLASSES) return 0.0;
    graft_data_members(d, part, &n);
    for (int32_t k = 0; k < w->c->n_classes; k++) {
        int64_t count = graft_data_count(d, part, k);
        most = count > most ? count : most;
    }
    return n ? (double)most / (double)n : 0.0;
}

static bool say_nothing_was_learned(words *w) {
    double one = score_of_one_answer(w), score = w->e[w->best].score.mean;
    if (score > one) return false;
    w->verdict = "nothing was learned";
    graft_buf_printf(&w->text,
                     "No plan learned anything: the best reaches %.1f %%, always giving one answer %.1f %%. ",
                     points(score), points(one));
    return true;
}

static void say_caution(words *w) {
    const char *judged = w->c->judged;
    if (w->c->n_seeds == 1)
        graft_buf_text(&w->text, "One seed: how far runs differ by chance is not known. ");
    if (strcmp(judged, "validation") == 0)
        graft_buf_text(&w->text,
                       "The validation part judged, which chose the epochs too: scores are too high. ");
    for (size_t p = 0; p < w->c->n_plans; p++)
        if (graft_comparison_lost(w->c, p, w->c->n_sizes - 1))
            graft_buf_printf(&w->text, "'%s' diverged and is left out. ", name_of(w, p));
    if (!w->c->finished) graft_buf_text(&w->text, "Not every run was made. ");
}

int graft_comparison_conclude(json_t **out, const graft_comparison *c, const graft_compare_evidence *e,
                              size_t best, graft_err *err) {
    words w = {.c = c, .e = e, .best = best, .advised = best, .verdict = "compared"};
    graft_buf_init(&w.text, 4096);
    w.scratch = find_plan(&w, "scratch");
    w.head = find_plan(&w, "head");
    w.pretrained = best_pretrained(&w);
    if (w.pretrained < c->n_plans) w.advised = w.pretrained;
    bool learned = !say_nothing_was_learned(&w);
    int rc = learned ? say_transfer(&w, err) : 0;
    if (rc == 0 && learned) rc = say_head(&w, err);
    if (rc == 0 && w.text.size == 0)
        graft_buf_printf(&w.text, "'%s' is the best with %.1f %%. ", name_of(&w, best),
                         points(e[best].score.mean));
    if (learned) say_more_labels(&w);
    say_caution(&w);
    if (rc == 0 && !w.text.failed) {
        w.text.data[w.text.size - 1] = '\0'; /* the last blank */
        *out = json_pack("{s:s,s:o,s:s}", "verdict", w.verdict, "text", graft_json_string(w.text.data),
                         "plan", name_of(&w, w.advised));
    }
    if (rc == 0 && (w.text.failed || !*out)) rc = graft_err_nomem(err);
    graft_buf_done(&w.text);
    return rc;
}
