/* Loss, score and rate over the epochs. */
#include "report/section.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

/* One field of all moments. */
static double *column(const graft_story *s, size_t offset) {
    double *values = graft_arena_array(s->arena, s->n_moments + 1, sizeof *values);
    for (size_t i = 0; i < s->n_moments && values; i++)
        memcpy(&values[i], (const char *)&s->moments[i] + offset, sizeof *values);
    return values;
}

static bool varies(const double *values, size_t n) {
    for (size_t i = 1; i < n; i++)
        if (isfinite(values[i]) && values[i] != values[0]) return true;
    return false;
}

#define COLUMN(field) column(s, offsetof(graft_moment, field))

static int write_curves(graft_buf *out, graft_story *s, graft_err *err) {
    size_t n = s->n_moments;
    double *epoch = COLUMN(epoch), *loss = COLUMN(loss), *val_loss = COLUMN(val_loss), *lr = COLUMN(lr),
           *score = COLUMN(val_score), *accuracy = COLUMN(accuracy);
    if (!epoch || !loss || !val_loss || !lr || !score || !accuracy) return graft_err_nomem(err);
    if (n < 2) return 0;
    for (size_t i = 1; i < n; i++) /* phases count from 1 anew: here epochs run on */
        if (epoch[i] <= epoch[i - 1]) epoch[i] = epoch[i - 1] + 1.0;
    double best = graft_story_number(s->record, "best_epoch");
    if (!(best > 0.0)) best = NAN;
    bool classes = s->task == GRAFT_TASK_CLASSES;
    const graft_series losses[] = {{"training", "tone-m", epoch, loss, n, true},
                                   {"validation", "tone-a", epoch, val_loss, n, false}};
    const graft_series scores[] = {{"validation", "tone-a", epoch, score, n, false},
                                   {"training", "tone-m", epoch, accuracy, n, true}};
    const graft_series rate[] = {{"rate", "tone-m", epoch, lr, n, false}};
    /* of tags the validation part has a share of errors in its place */
    const bool validated = varies(val_loss, n) && s->task != GRAFT_TASK_TAGGING;
    char title[64];
    snprintf(title, sizeof title, "%s",
             s->task == GRAFT_TASK_REGRESSION ? "Rank correlation"
             : classes                        ? "Accuracy"
                                              : "F1");
    const graft_chart charts[] = {
        {"Loss", "epoch", losses, validated ? 2 : 1, false, true, best, "kept"},
        {title, "epoch", scores, classes ? 2 : 1, s->task != GRAFT_TASK_REGRESSION, false, best, "kept"},
        {"Learning rate", "epoch", rate, varies(lr, n) ? 1 : 0, false, true, NAN, NULL},
    };
    graft_buf_text(out, "<div class=\"multiples\">\n");
    for (size_t i = 0; i < GRAFT_COUNT(charts); i++) graft_chart_draw(out, &charts[i]);
    graft_buf_text(out, "</div>\n");
    return 0;
}

const graft_section graft_section_curves = {"curves", "How it learnt", "Curves", write_curves};
