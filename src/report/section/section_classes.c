/* Precision and recall of each class, or kind of entity; sortable. Of very many, the worst. */
#include "report/section.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 200 };

typedef struct line {
    const char *name;
    const json_t *row;
    double f1;
    size_t order;
} line;

static int by_f1(const void *a, const void *b) {
    const line *x = a, *y = b;
    if (x->f1 != y->f1) return x->f1 < y->f1 ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static int by_order(const void *a, const void *b) {
    const line *x = a, *y = b;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* In the model's order where there is one. */
static size_t gather(line *lines, const graft_story *s, json_t *classes) {
    const char *name;
    json_t *row;
    size_t n = 0;
    if (s->task == GRAFT_TASK_TAGGING) {
        json_object_foreach(classes, name, row) {
            lines[n] = (line){name, row, graft_story_number(row, "f1"), n};
            n++;
        }
        return n;
    }
    for (size_t c = 0; c < s->n_labels; c++) {
        row = json_object_get(classes, s->labels[c]);
        if (row) lines[n++] = (line){s->labels[c], row, graft_story_number(row, "f1"), c};
    }
    return n;
}

static void put_value(graft_buf *out, const json_t *row, const char *key) {
    double x = graft_story_number(row, key);
    graft_buf_printf(out, "<td data-v=\"%.6g\">", isfinite(x) ? x : -1.0);
    if (isfinite(x))
        graft_buf_printf(out, "<span class=\"bar\" style=\"--v:%.3f\"></span>%.3f", x, x);
    else
        graft_buf_text(out, "–");
    graft_buf_text(out, "</td>");
}

static void put_line(graft_buf *out, const line *l, bool has_ap) {
    double support = graft_story_number(l->row, "support");
    graft_buf_text(out, "<tr><th scope=\"row\" title=\"");
    graft_html_text(out, l->name);
    graft_buf_text(out, "\">");
    graft_html_short(out, l->name, strlen(l->name), 48);
    graft_buf_text(out, "</th>");
    put_value(out, l->row, "precision");
    put_value(out, l->row, "recall");
    put_value(out, l->row, "f1");
    if (has_ap) put_value(out, l->row, "average_precision");
    graft_buf_printf(out, "<td data-v=\"%.6g\">", isfinite(support) ? support : 0.0);
    graft_html_number(out, support);
    graft_buf_text(out, "</td></tr>\n");
}

static int write_classes(graft_buf *out, graft_story *s, graft_err *err) {
    bool tags = s->task == GRAFT_TASK_TAGGING, labels = s->task == GRAFT_TASK_MULTILABEL;
    json_t *classes = json_object_get(s->metrics, tags ? "types" : "classes");
    size_t n = json_object_size(classes);
    if (n == 0) return 0;
    line *lines = graft_arena_array(s->arena, n + s->n_labels + 1, sizeof *lines);
    if (!lines) return graft_err_nomem(err);
    size_t all = n = gather(lines, s, classes);
    if (n > MOST) {
        qsort(lines, n, sizeof *lines, by_f1);
        n = MOST;
        qsort(lines, n, sizeof *lines, by_order);
        graft_buf_printf(out, "<p>The %d of %zu with the lowest F1; all are in graft.json.</p>\n", MOST, all);
    }
    graft_buf_printf(out,
                     "<div class=\"scroll\"><table class=\"sortable\"><thead><tr><th scope=\"col\">%s</th>",
                     tags ? "entity" : "class");
    graft_buf_text(out,
                   "<th scope=\"col\">precision</th><th scope=\"col\">recall</th><th scope=\"col\">F1</th>");
    if (labels) graft_buf_text(out, "<th scope=\"col\">average precision</th>");
    graft_buf_printf(out, "<th scope=\"col\">%s</th></tr></thead><tbody>\n", tags ? "entities" : "samples");
    for (size_t i = 0; i < n; i++) put_line(out, &lines[i], labels);
    graft_buf_text(out, "</tbody></table></div>\n");
    return 0;
}

const graft_section graft_section_classes = {"classes", "Class by class", "Classes", write_classes};
