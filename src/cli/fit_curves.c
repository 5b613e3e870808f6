/* How a run learns, for the terminal: its loss and its score over the epochs, in two charts. While it runs
 * they are gathered epoch by epoch and lie side by side above the bar, or the score alone where that is too
 * wide; at its end they are drawn larger, as graft.json has them. */
#include "cli/chart.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { AXIS = 10, X_NAME = 7, ROWS = 8 }; /* places beside and below the drawing */
enum {
    LIVE_ROWS = 5,
    LEGEND = 38,
    AROUND = 6
}; /* rows of a small chart around its drawing, a bar included */

int graft_fit_curves_add(graft_fit_curves *c, const graft_fit_point *p) {
    if (c->n == c->room) {
        size_t room = c->room ? 2 * c->room : 64;
        graft_fit_point *points = realloc(c->points, room * sizeof *points);
        if (!points) return GRAFT_ENOMEM;
        c->points = points;
        c->room = room;
    }
    c->points[c->n++] = *p;
    return 0;
}

void graft_fit_curves_done(graft_fit_curves *c) {
    free(c->points);
    *c = (graft_fit_curves){0};
}

/* ---- Two charts -------------------------------------------------------------------------------------------- */

/* Of each the validation part's curve, then the training part's. */
typedef struct charts {
    graft_chart_point *points;
    graft_chart_curve loss[2], score[2];
} charts;

static graft_chart_curve curve_of(const graft_fit_curves *c, graft_chart_point *points, size_t offset,
                                  char mark) {
    graft_chart_curve curve = {
        .name = mark == 'v' ? "validation" : "training", .mark = mark, .points = points};
    for (size_t i = 0; i < c->n; i++) {
        double y = *(const double *)((const char *)&c->points[i] + offset);
        if (isfinite(y)) points[curve.n++] = (graft_chart_point){c->points[i].epoch, y};
    }
    return curve;
}

static int charts_init(charts *out, const graft_fit_curves *c) {
    out->points = calloc(4 * c->n + 1, sizeof *out->points);
    if (!out->points) return GRAFT_ENOMEM;
    out->loss[0] = curve_of(c, out->points, offsetof(graft_fit_point, val_loss), 'v');
    out->loss[1] = curve_of(c, out->points + c->n, offsetof(graft_fit_point, loss), 't');
    out->score[0] = curve_of(c, out->points + 2 * c->n, offsetof(graft_fit_point, score), 'v');
    out->score[1] = curve_of(c, out->points + 3 * c->n, offsetof(graft_fit_point, accuracy), 't');
    if (strcmp(c->score, "accuracy") != 0) out->score[1].n = 0; /* the training part's is another score */
    return 0;
}

static void print_loss(FILE *f, const charts *c, graft_chart_style style) {
    style.title = "loss";
    style.plain = true;
    graft_print_chart(f, &style, c->loss, GRAFT_COUNT(c->loss));
}

static void print_score(FILE *f, const charts *c, const char *score, graft_chart_style style) {
    style.title = score;
    style.plain = strcmp(score, "spearman") == 0; /* the others are shares */
    graft_print_chart(f, &style, c->score, GRAFT_COUNT(c->score));
}

static graft_chart_style style_of(const graft_fit_curves *c, int width, int height) {
    const char *no_colour = getenv("NO_COLOR");
    return (graft_chart_style){.x_name = "epoch",
                               .right = c->last,
                               .width = width > AXIS + X_NAME ? width - AXIS - X_NAME : 1,
                               .height = height,
                               .coloured = !no_colour || !*no_colour};
}

/* ---- While it runs ----------------------------------------------------------------------------------------- */

/* Places that the first `size` characters of a line take: escape sequences none. */
static int places(const char *line, size_t size) {
    int n = 0;
    for (size_t i = 0; i < size; i++) {
        if (line[i] != '\033')
            n++;
        else
            while (i < size && line[i] != 'm') i++;
    }
    return n;
}

/* The lines of `left`, each with that of `right` (NULL: none) from place `width` on, without the empty one
 * that a chart begins with. How many. */
static int print_beside(FILE *f, const char *left, const char *right, int width) {
    int n = 0;
    if (*left) left++; /* of numbers that are none there is no chart */
    if (right && *right) right++;
    for (; *left; n++) {
        size_t size = strcspn(left, "\n");
        fwrite(left, 1, size, f);
        if (right) {
            size_t other = strcspn(right, "\n");
            fprintf(f, "%*s%.*s", width - places(left, size), "", (int)other, right);
            right += other + (right[other] == '\n');
        }
        fputc('\n', f);
        left += size + (left[size] == '\n');
    }
    return n;
}

static char *chart_text(const charts *c, const char *score, const graft_chart_style *style) {
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    if (!f) return NULL;
    if (score)
        print_score(f, c, score, *style);
    else
        print_loss(f, c, *style);
    if (fclose(f) == 0) return text;
    free(text);
    return NULL;
}

bool graft_fit_curves_have_room(int columns, int rows) {
    return columns > LEGEND && rows > LIVE_ROWS + AROUND;
}

int graft_fit_curves_draw(FILE *f, const graft_fit_curves *c, int columns, int rows) {
    charts all = {0};
    if (c->n < 2 || !graft_fit_curves_have_room(columns, rows) || charts_init(&all, c) < 0) return 0;
    const bool pair = columns > 2 * LEGEND + 1, judged = all.score[0].n + all.score[1].n > 0;
    const int width = pair ? columns / 2 : columns;
    const graft_chart_style style = style_of(c, width - 1, LIVE_ROWS);
    char *loss = pair || !judged ? chart_text(&all, NULL, &style) : NULL,
         *score = judged ? chart_text(&all, c->score, &style) : NULL;
    char *left = loss ? loss : score;
    int n = left ? print_beside(f, left, left == loss ? score : NULL, width) : 0;
    free(loss);
    free(score);
    free(all.points);
    return n;
}

/* ---- At its end -------------------------------------------------------------------------------------------- */

static double number(const json_t *epoch, const char *key) {
    const json_t *y = json_object_get(epoch, key);
    return json_is_number(y) ? json_number_value(y) : NAN;
}

/* The member that is the score of the validation part; NULL: there is none. */
static const char *score_key(const json_t *epoch) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)epoch, key, value) {
        if (strncmp(key, "val_", 4) == 0 && strcmp(key, "val_loss") != 0) return key;
    }
    return NULL;
}

static int take_history(graft_fit_curves *out, const json_t *history) {
    const char *key = NULL;
    int rc = 0;
    for (size_t i = 0; !key && i < json_array_size(history); i++) key = score_key(json_array_get(history, i));
    snprintf(out->score, sizeof out->score, "%s", key ? key + strlen("val_") : "accuracy");
    for (size_t i = 0; i < json_array_size(history) && rc == 0; i++) {
        const json_t *epoch = json_array_get(history, i);
        const graft_fit_point p = {.epoch = (double)i + 1.0,
                                   .loss = number(epoch, "loss"),
                                   .accuracy = key ? number(epoch, "accuracy") : NAN,
                                   .val_loss = number(epoch, "val_loss"),
                                   .score = key ? number(epoch, key) : NAN};
        rc = graft_fit_curves_add(out, &p);
    }
    return rc;
}

void graft_print_fit_curves(const char *folder) {
    graft_arena *arena = graft_arena_new(NULL);
    graft_fit_curves curves = {0};
    charts all = {0};
    json_t *record = NULL;
    char *path = arena ? graft_path_join(arena, folder, "graft.json") : NULL;
    int rc = path ? graft_json_read(&record, arena, path, NULL) : GRAFT_ENOMEM;
    /* the curves are an extra: a record that cannot be read is told by whoever needs it */
    if (rc == 0) rc = take_history(&curves, json_object_get(record, "history"));
    if (rc == 0 && curves.n > 1 && charts_init(&all, &curves) == 0) {
        const graft_chart_style style = style_of(&curves, graft_console_columns(), ROWS);
        print_loss(stderr, &all, style);
        print_score(stderr, &all, curves.score, style);
        fputc('\n', stderr);
    }
    free(all.points);
    graft_fit_curves_done(&curves);
    graft_arena_free(arena);
}
