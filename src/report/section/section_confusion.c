/* What was taken for what. Of many classes the matrix shows those with the most mistakes; the commonest
 * mistakes are listed beside it. */
#include "report/section.h"

#include <stdlib.h>
#include <string.h>

enum { LISTED = 12 };

typedef struct pair {
    int32_t label, predicted;
    int64_t count;
} pair;

typedef struct matrix {
    pair *pairs; /* by label, then prediction; none is 0 */
    int64_t n, room;
    int64_t *mistakes, *all; /* [k] either way; samples of the class */
    int32_t *shown;          /* [n_shown] in the model's order */
    int32_t n_shown;
    bool thinned; /* counted from a share of the answers */
} matrix;

static int by_pair(const void *a, const void *b) {
    const pair *x = a, *y = b;
    if (x->label != y->label) return x->label < y->label ? -1 : 1;
    return x->predicted < y->predicted ? -1 : x->predicted > y->predicted;
}

static int by_count(const void *a, const void *b) {
    const pair *x = a, *y = b;
    if (x->count != y->count) return x->count > y->count ? -1 : 1;
    return by_pair(a, b);
}

/* From the counts in graft.json. */
static int from_json(matrix *m, const graft_story *s, const json_t *rows, graft_err *err) {
    size_t k = s->n_labels;
    for (size_t r = 0; r < k; r++)
        for (size_t c = 0; c < k; c++)
            m->room += json_integer_value(json_array_get(json_array_get(rows, r), c)) > 0;
    m->pairs = graft_arena_array(s->arena, (size_t)m->room + 1, sizeof *m->pairs);
    if (!m->pairs) return graft_err_nomem(err);
    for (size_t r = 0; r < k; r++) {
        for (size_t c = 0; c < k; c++) {
            json_int_t n = json_integer_value(json_array_get(json_array_get(rows, r), c));
            if (n > 0 && n <= INT32_MAX) m->pairs[m->n++] = (pair){(int32_t)r, (int32_t)c, n};
        }
    }
    return 0;
}

static int from_answers(matrix *m, const graft_story *s, graft_err *err) {
    int64_t n = s->kept.answers.n_samples, end = 0;
    m->thinned = n < s->kept.n_all;
    m->pairs = graft_arena_array(s->arena, (size_t)n + 1, sizeof *m->pairs);
    if (!m->pairs) return graft_err_nomem(err);
    for (int64_t i = 0; i < n; i++)
        if (s->verdicts[i].label >= 0)
            m->pairs[m->n++] = (pair){s->verdicts[i].label, s->verdicts[i].predicted, 1};
    qsort(m->pairs, (size_t)m->n, sizeof *m->pairs, by_pair);
    for (int64_t i = 0; i < m->n; i++) {
        if (end > 0 && by_pair(&m->pairs[end - 1], &m->pairs[i]) == 0)
            m->pairs[end - 1].count++;
        else
            m->pairs[end++] = m->pairs[i];
    }
    m->n = end;
    return 0;
}

/* The classes with the most mistakes, in their own order. */
static int choose_shown(matrix *m, const graft_story *s, graft_err *err) {
    size_t k = s->n_labels;
    m->mistakes = graft_arena_array(s->arena, k + 1, sizeof *m->mistakes);
    m->all = graft_arena_array(s->arena, k + 1, sizeof *m->all);
    m->shown = graft_arena_array(s->arena, GRAFT_MATRIX_CLASSES, sizeof *m->shown);
    pair *ranked = graft_arena_array(s->arena, k + 1, sizeof *ranked);
    bool *in = graft_arena_array(s->arena, k + 1, sizeof *in);
    if (!m->mistakes || !m->all || !m->shown || !ranked || !in) return graft_err_nomem(err);
    for (int64_t i = 0; i < m->n; i++) {
        const pair *p = &m->pairs[i];
        m->all[p->label] += p->count;
        if (p->label == p->predicted) continue;
        m->mistakes[p->label] += p->count;
        m->mistakes[p->predicted] += p->count;
    }
    for (size_t c = 0; c < k; c++) ranked[c] = (pair){(int32_t)c, 0, m->mistakes[c]};
    qsort(ranked, k, sizeof *ranked, by_count);
    for (size_t c = 0; c < k && c < GRAFT_MATRIX_CLASSES; c++) in[ranked[c].label] = true;
    for (size_t c = 0; c < k; c++)
        if (in[c]) m->shown[m->n_shown++] = (int32_t)c;
    return 0;
}

static int64_t count_of(const matrix *m, int32_t label, int32_t predicted) {
    const pair key = {label, predicted, 0};
    const pair *found = bsearch(&key, m->pairs, (size_t)m->n, sizeof *m->pairs, by_pair);
    return found ? found->count : 0;
}

static void put_name(graft_buf *out, const graft_story *s, int32_t label, size_t most) {
    const char *name = graft_story_label(s, label);
    graft_buf_text(out, " title=\"");
    graft_html_text(out, name);
    graft_buf_text(out, "\"><span>");
    graft_html_short(out, name, strlen(name), most);
    graft_buf_text(out, "</span></th>");
}

static void put_cell(graft_buf *out, const graft_story *s, const matrix *m, int32_t label,
                     int32_t predicted) {
    int64_t n = count_of(m, label, predicted);
    bool right = label == predicted;
    if (n == 0) {
        graft_buf_text(out, right ? "<td class=\"hit\">0</td>" : "<td></td>");
        return;
    }
    double share = m->all[label] > 0 ? (double)n / (double)m->all[label] : 0.0;
    graft_buf_printf(
        out, "<td class=\"%s\" style=\"--v:%.2f\"><button type=\"button\" data-cell=\"%d-%d\" aria-label=\"",
        right ? "hit" : "miss", share, (int)label, (int)predicted);
    graft_html_text(out, graft_story_label(s, label));
    graft_buf_text(out, " taken for ");
    graft_html_text(out, graft_story_label(s, predicted));
    graft_buf_printf(out, ": %lld\">%lld</button></td>", (long long)n, (long long)n);
}

static void put_matrix(graft_buf *out, const graft_story *s, const matrix *m) {
    graft_buf_printf(
        out,
        "<div class=\"scroll\"><table class=\"matrix%s\"><thead><tr><td class=\"corner\">label ↓ "
        "answer →</td>",
        m->n_shown > 16 ? " dense" : "");
    for (int32_t c = 0; c < m->n_shown; c++) {
        graft_buf_text(out, "<th scope=\"col\"");
        put_name(out, s, m->shown[c], 18);
    }
    graft_buf_text(out, "</tr></thead><tbody>\n");
    for (int32_t r = 0; r < m->n_shown; r++) {
        graft_buf_text(out, "<tr><th scope=\"row\"");
        put_name(out, s, m->shown[r], 24);
        for (int32_t c = 0; c < m->n_shown; c++) put_cell(out, s, m, m->shown[r], m->shown[c]);
        graft_buf_text(out, "</tr>\n");
    }
    graft_buf_text(out, "</tbody></table></div>\n");
}

/* The commonest mistakes, where the matrix is too large to be read at a glance. */
static void put_commonest(graft_buf *out, const graft_story *s, const matrix *m) {
    pair *sorted = graft_arena_array(s->arena, (size_t)m->n + 1, sizeof *sorted);
    int64_t n = 0;
    for (int64_t i = 0; i < m->n && sorted; i++)
        if (m->pairs[i].label != m->pairs[i].predicted) sorted[n++] = m->pairs[i];
    if (n == 0) return;
    qsort(sorted, (size_t)n, sizeof *sorted, by_count);
    graft_buf_text(out, "<h3>Commonest mistakes</h3><ol class=\"pairs\">\n");
    for (int64_t i = 0; i < n && i < LISTED; i++) {
        graft_buf_printf(out, "<li><button type=\"button\" data-cell=\"%d-%d\"><b>", (int)sorted[i].label,
                         (int)sorted[i].predicted);
        graft_html_text(out, graft_story_label(s, sorted[i].label));
        graft_buf_text(out, "</b> taken for <b>");
        graft_html_text(out, graft_story_label(s, sorted[i].predicted));
        graft_buf_printf(out, "</b> <span class=\"n\">%lld</span></button></li>\n",
                         (long long)sorted[i].count);
    }
    graft_buf_text(out, "</ol>\n");
}

static int put_examples(graft_buf *out, const graft_story *s, graft_err *err) {
    int rc = 0;
    graft_buf_text(out, "<div id=\"cell\" class=\"cell\" role=\"region\" aria-live=\"polite\" "
                        "aria-label=\"Examples of the chosen cell\"></div>\n");
    if (s->picks.n_cells == 0) return 0;
    graft_buf_text(out, "<template id=\"shelf\">\n");
    for (int64_t i = 0; i < s->picks.n_cells && rc == 0; i++)
        rc = graft_card_verdict(out, s, s->picks.cells[i], err);
    graft_buf_text(out, "</template>\n");
    return rc;
}

static int write_confusion(graft_buf *out, graft_story *s, graft_err *err) {
    const json_t *rows = json_object_get(s->metrics, "confusion");
    matrix m = {0};
    if (s->task != GRAFT_TASK_CLASSES || s->n_labels < 2) return 0;
    int rc = json_array_size(rows) == s->n_labels ? from_json(&m, s, rows, err) : from_answers(&m, s, err);
    if (rc < 0 || m.n == 0) return rc;
    if ((rc = choose_shown(&m, s, err)) < 0) return rc;
    graft_buf_text(out, "<p>Each row is what the label says, each column what the model answered.");
    if ((size_t)m.n_shown < s->n_labels) {
        graft_buf_printf(out, " Of %zu classes, the %d with the most mistakes are shown.", s->n_labels,
                         (int)m.n_shown);
    }
    if (m.thinned)
        graft_buf_printf(out, " Counted from %lld of %lld samples.", (long long)s->kept.answers.n_samples,
                         (long long)s->kept.n_all);
    graft_buf_text(out, s->picks.n_cells ? " Choose a number to see examples.</p>\n" : "</p>\n");
    put_matrix(out, s, &m);
    if (s->n_labels > 8) put_commonest(out, s, &m);
    return put_examples(out, s, err);
}

const graft_section graft_section_confusion = {"confusion", "What was taken for what", "Confusion",
                                               write_confusion};
