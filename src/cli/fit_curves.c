/* How a run learnt, for the terminal: its loss and its score over the epochs, as graft.json has them. */
#include "cli/chart.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { AXIS = 10, X_NAME = 7, ROWS = 8 }; /* places beside and below the drawing */

/* The member that is the score of the validation part; NULL: there is none. */
static const char *score_key(const json_t *epoch) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)epoch, key, value) {
        if (strncmp(key, "val_", 4) == 0 && strcmp(key, "val_loss") != 0) return key;
    }
    return NULL;
}

/* One member over the epochs. */
static graft_chart_curve curve_of(graft_arena *arena, const json_t *history, const char *name, char mark,
                                  const char *key) {
    graft_chart_curve c = {.name = name, .mark = mark};
    size_t n = json_array_size(history);
    graft_chart_point *points = graft_arena_array(arena, n + 1, sizeof *points);
    c.points = points;
    for (size_t i = 0; points && key && i < n; i++) {
        const json_t *y = json_object_get(json_array_get(history, i), key);
        if (json_is_number(y) && isfinite(json_number_value(y)))
            points[c.n++] = (graft_chart_point){(double)i + 1.0, json_number_value(y)};
    }
    return c;
}

static void draw(graft_arena *arena, const json_t *history) {
    const json_t *first = json_array_get(history, 0);
    const char *key = NULL, *no_colour = getenv("NO_COLOR");
    for (size_t i = 0; !key && i < json_array_size(history); i++) key = score_key(json_array_get(history, i));
    bool is_share = key && strcmp(key, "val_spearman") != 0,
         is_accuracy = key && strcmp(key, "val_accuracy") == 0;
    graft_chart_style style = {.title = "loss",
                               .x_name = "epoch",
                               .width = graft_console_columns() - AXIS - X_NAME,
                               .height = ROWS,
                               .plain = true,
                               .coloured = !no_colour || !*no_colour};
    const graft_chart_curve losses[] = {
        curve_of(arena, history, "validation", 'v', "val_loss"),
        curve_of(arena, history, "training", 't', json_object_get(first, "loss") ? "loss" : NULL)};
    const graft_chart_curve scores[] = {
        curve_of(arena, history, "validation", 'v', key),
        curve_of(arena, history, "training", 't', is_accuracy ? "accuracy" : NULL)};
    graft_print_chart(stderr, &style, losses, GRAFT_COUNT(losses));
    style.title = key ? key + strlen("val_") : "accuracy";
    style.plain = !is_share;
    if (key) graft_print_chart(stderr, &style, scores, GRAFT_COUNT(scores));
    fputc('\n', stderr);
}

void graft_print_fit_curves(const char *folder) {
    graft_arena *arena = graft_arena_new(NULL);
    json_t *record = NULL;
    char *path = arena ? graft_path_join(arena, folder, "graft.json") : NULL;
    int rc = path ? graft_json_read(&record, arena, path, NULL) : GRAFT_ENOMEM;
    const json_t *history = json_object_get(record, "history");
    /* the curves are an extra: a record that cannot be read is told by whoever needs it */
    if (rc == 0 && json_array_size(history) > 1) draw(arena, history);
    graft_arena_free(arena);
}
