/* Samples as figures: a small picture or the text, what was said of it, where it comes from. */
#include "report/section.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 120, CHARACTERS = 280, LISTED = 12, A_CELL = 8, MOST_CELLS = 300, MOST_WORDS = 80 };

/* ---- Which ---------------------------------------------------------------------------------------------- */

typedef struct candidate {
    int64_t cell, verdict;
    double rank; /* the higher the sooner */
} candidate;

static int by_rank(const void *a, const void *b) {
    const candidate *x = a, *y = b;
    if (x->rank != y->rank) return x->rank > y->rank ? -1 : 1;
    return x->verdict < y->verdict ? -1 : x->verdict > y->verdict;
}

static int by_cell(const void *a, const void *b) {
    const candidate *x = a, *y = b;
    if (x->cell != y->cell) return x->cell < y->cell ? -1 : 1;
    return by_rank(a, b);
}

/* The first of a ranking that `taken` does not hold yet; they are put there. */
static int64_t take_first(int64_t *out, int64_t most, candidate *c, int64_t n, bool *taken) {
    int64_t found = 0;
    qsort(c, (size_t)n, sizeof *c, by_rank);
    for (int64_t i = 0; i < n && found < most; i++) {
        if (taken[c[i].verdict]) continue;
        taken[c[i].verdict] = true;
        out[found++] = c[i].verdict;
    }
    return found;
}

static int64_t take_cells(int64_t *out, candidate *c, int64_t n, int64_t a_cell, bool *taken, bool keep) {
    int64_t found = 0, within = 0;
    for (int64_t i = 0; i < n; i++) {
        within = i > 0 && c[i].cell == c[i - 1].cell ? within + 1 : 0;
        if (within >= a_cell || taken[c[i].verdict]) continue;
        if (keep && found < MOST_CELLS) {
            taken[c[i].verdict] = true;
            out[found] = c[i].verdict;
        }
        found++;
    }
    return found;
}

static void pick(graft_picks *p, const graft_story *s, candidate *c, bool *taken) {
    int64_t n = s->kept.answers.n_samples, k = s->kept.answers.k, wrong = 0, unsure = 0, cells = 0;
    for (int64_t i = 0; i < n; i++)
        if (s->verdicts[i].badness > 0.0) c[wrong++] = (candidate){0, i, s->verdicts[i].badness};
    p->n_wrong = take_first(p->wrong, LISTED, c, wrong, taken);
    for (int64_t i = 0; i < n; i++)
        if (s->verdicts[i].doubt > 0.0) c[unsure++] = (candidate){0, i, s->verdicts[i].doubt};
    p->n_unsure = take_first(p->unsure, LISTED, c, unsure, taken);
    if (s->task != GRAFT_TASK_CLASSES) return;
    for (int64_t i = 0; i < n; i++) {
        const graft_verdict *v = &s->verdicts[i];
        if (v->label < 0) continue;
        c[cells++] = (candidate){v->label * k + v->predicted, i, v->right ? v->doubt : v->badness};
    }
    qsort(c, (size_t)cells, sizeof *c, by_cell);
    int64_t a_cell = A_CELL;
    while (a_cell > 1 && take_cells(p->cells, c, cells, a_cell, taken, false) > MOST_CELLS) a_cell--;
    int64_t found = take_cells(p->cells, c, cells, a_cell, taken, true);
    p->n_cells = found < MOST_CELLS ? found : MOST_CELLS;
}

int graft_picks_make(graft_story *s, graft_err *err) {
    size_t n = (size_t)s->kept.answers.n_samples;
    graft_picks *out = &s->picks;
    if (!s->data || s->options.no_pictures || n == 0) return 0;
    candidate *c = graft_arena_array(s->arena, n, sizeof *c);
    bool *taken = graft_arena_array(s->arena, n, sizeof *taken);
    out->wrong = graft_arena_array(s->arena, LISTED, sizeof *out->wrong);
    out->unsure = graft_arena_array(s->arena, LISTED, sizeof *out->unsure);
    out->cells = graft_arena_array(s->arena, MOST_CELLS, sizeof *out->cells);
    if (!c || !taken || !out->wrong || !out->unsure || !out->cells) return graft_err_nomem(err);
    pick(out, s, c, taken);
    return 0;
}

/* ---- How ------------------------------------------------------------------------------------------------ */

static void put_picture(graft_buf *out, const graft_story *s, int64_t sample) {
    graft_buf bytes;
    graft_thumbnail info;
    graft_buf_init(&bytes, 1 << 20);
    if (graft_data_thumbnail(s->data, sample, SIDE, &bytes, &info, NULL) == 0 && !bytes.failed) {
        graft_buf_printf(out, "<img width=\"%d\" height=\"%d\"%s alt=\"", info.width, info.height,
                         info.width < SIDE / 2 && info.height < SIDE / 2 ? " class=\"tiny\"" : "");
        graft_html_text(out, graft_path_name(graft_data_sample(s->data, sample)->origin));
        graft_buf_text(out, "\" src=\"");
        graft_html_data(out, info.type, bytes.data, bytes.size);
        graft_buf_text(out, "\">");
    } else {
        graft_buf_text(out, "<p class=\"none\">The picture can no longer be read.</p>");
    }
    graft_buf_done(&bytes);
}

static void put_text(graft_buf *out, const graft_story *s, int64_t sample) {
    graft_text t;
    graft_data_text(s->data, sample, &t);
    graft_buf_text(out, "<blockquote dir=\"auto\">");
    graft_html_short(out, t.text, t.size, CHARACTERS);
    graft_buf_text(out, "</blockquote>");
    if (!t.pair) return;
    graft_buf_text(out, "<blockquote dir=\"auto\">");
    graft_html_short(out, t.pair, t.pair_size, CHARACTERS);
    graft_buf_text(out, "</blockquote>");
}

int graft_card_write(graft_buf *out, const graft_story *s, int64_t sample, const char *attributes,
                     const char *caption, graft_err *err) {
    bool texts = graft_data_modality(s->data) == GRAFT_TEXTS;
    graft_buf_printf(out, "<figure class=\"card %s\"%s>", texts ? "text" : "picture", attributes);
    if (texts)
        put_text(out, s, sample);
    else
        put_picture(out, s, sample);
    graft_buf_printf(out, "<figcaption>%s<span class=\"origin\" title=\"", caption);
    const char *origin = graft_data_sample(s->data, sample)->origin, *name = graft_path_name(origin);
    graft_html_text(out, origin);
    graft_buf_text(out, "\">");
    graft_html_short(out, name, strlen(name), 40);
    graft_buf_text(out, "</span></figcaption></figure>\n");
    return out->failed ? graft_err_nomem(err) : graft_env_check(s->env, err);
}

static void put_class(graft_buf *out, const graft_story *s, int32_t label, const char *kind) {
    const char *name = graft_story_label(s, label);
    graft_buf_printf(out, "<b class=\"%s\">", kind);
    graft_html_short(out, name, strlen(name), 40);
    graft_buf_text(out, "</b>");
}

/* Classes that apply, or were said to: values above 0.5, or above what is cut at. */
static void put_classes(graft_buf *out, const graft_story *s, const float *values, const double *cuts) {
    enum { MOST = 8 };
    int found = 0;
    for (int64_t c = 0; c < s->kept.answers.k; c++) {
        if (!((double)values[c] > (cuts ? cuts[c] : 0.5)) || found++ >= MOST) continue;
        graft_buf_text(out, found > 1 ? ", " : "");
        put_class(out, s, (int32_t)c, "");
    }
    if (found == 0) graft_buf_text(out, "none");
    if (found > MOST) graft_buf_printf(out, " and %d more", found - MOST);
}

static void put_verdict(graft_buf *out, const graft_story *s, int64_t i) {
    const graft_verdict *v = &s->verdicts[i];
    const graft_answers *a = &s->kept.answers;
    switch (s->task) {
    case GRAFT_TASK_CLASSES:
        put_class(out, s, v->predicted, v->right ? "yes" : "no");
        graft_buf_text(out, " ");
        graft_html_percent(out, v->confidence);
        if (v->right) break;
        graft_buf_text(out, "<br>labelled ");
        put_class(out, s, v->label, "");
        break;
    case GRAFT_TASK_MULTILABEL:
        graft_buf_text(out, "said ");
        put_classes(out, s, a->logits + i * a->k, s->cuts);
        graft_buf_text(out, "<br>labelled ");
        put_classes(out, s, a->targets + i * a->k, NULL);
        break;
    case GRAFT_TASK_REGRESSION:
        graft_buf_text(out, "said ");
        graft_html_number(out, v->confidence);
        graft_buf_text(out, "<br>labelled ");
        graft_html_number(out, (double)a->targets[i * a->k]);
        break;
    case GRAFT_TASK_TAGGING:
        graft_buf_printf(out, "%.0f %s", v->badness, v->badness == 1.0 ? "tag wrong" : "tags wrong");
    }
}

/* A sentence with its tags: what was missed, what was wrongly said. Rows are the words that have a token. */
static void put_words(graft_buf *out, const graft_story *s, int64_t i) {
    const graft_answers *a = &s->kept.answers;
    graft_words w;
    int64_t row = 0;
    for (int64_t before = 0; before < i; before++) row += a->words[before];
    graft_data_words(s->data, s->verdicts[i].sample, &w);
    graft_buf_text(out, "<p class=\"words\" dir=\"auto\">");
    for (size_t k = 0; k < w.n && k < MOST_WORDS; k++) {
        int32_t truth = (int64_t)k < a->words[i] ? a->labels[row + (int64_t)k] : -1;
        int32_t said = (int64_t)k < a->words[i] ? a->predicted[row + (int64_t)k] : -1;
        bool plain = truth < 0 || (truth == said && strcmp(graft_story_label(s, truth), "O") == 0);
        if (k) graft_buf_text(out, " ");
        graft_buf_text(out, plain ? "" : truth == said ? "<span class=\"right\">" : "<span class=\"wrong\">");
        graft_html_short(out, w.words[k], w.sizes[k], 40);
        if (plain) continue;
        graft_buf_text(out, "<sub>");
        graft_html_text(out, graft_story_label(s, said));
        if (truth != said) {
            graft_buf_text(out, " for ");
            graft_html_text(out, graft_story_label(s, truth));
        }
        graft_buf_text(out, "</sub></span>");
    }
    graft_buf_text(out, w.n > MOST_WORDS ? " …</p>" : "</p>");
}

int graft_card_verdict(graft_buf *out, const graft_story *s, int64_t verdict, graft_err *err) {
    const graft_verdict *v = &s->verdicts[verdict];
    graft_buf caption;
    char attributes[96] = "";
    if (s->task == GRAFT_TASK_TAGGING) {
        graft_buf_text(out, "<figure class=\"card sentence\">");
        put_words(out, s, verdict);
        graft_buf_text(out, "<figcaption>");
        put_verdict(out, s, verdict);
        graft_buf_text(out, "<span class=\"origin\">");
        graft_html_text(out, graft_path_name(graft_data_sample(s->data, v->sample)->origin));
        graft_buf_text(out, "</span></figcaption></figure>\n");
        return out->failed ? graft_err_nomem(err) : 0;
    }
    graft_buf_init(&caption, 0);
    put_verdict(&caption, s, verdict);
    if (s->task == GRAFT_TASK_CLASSES)
        snprintf(attributes, sizeof attributes, " data-cell=\"%d-%d\"", (int)v->label, (int)v->predicted);
    int rc = caption.failed ? graft_err_nomem(err)
                            : graft_card_write(out, s, v->sample, attributes, caption.data, err);
    graft_buf_done(&caption);
    return rc;
}
