/* Where numbers stopped being finite: the batch's samples go one by one through the suffix, every result of
 * which is looked at, with the weights from before the update that was not made. */
#include "learn/run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_SAMPLES = 256 };

static bool all_finite(const float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i])) return false;
    return true;
}

/* An input of the batch that is none, and the sample that has it. */
static const char *find_input(const graft_batch *b, int64_t *sample) {
    for (size_t k = 0; k < b->n_inputs; k++) {
        const graft_tensor *t = &b->inputs[k];
        size_t width = t->size / sizeof(float) / (size_t)(b->n ? b->n : 1);
        for (int64_t i = 0; t->dtype == GRAFT_F32 && i < b->n; i++) {
            if (all_finite((const float *)t->data + (size_t)i * width, width)) continue;
            *sample = b->samples ? b->samples[i] : i;
            return t->name;
        }
    }
    return NULL;
}

/* The suffix as training runs it, without dropout, with every floating result as an output "0", "1", …;
 * layers[i] made it. */
static int open_up(graft_graph **out, const char ***layers, size_t *n, graft_arena *arena,
                   const graft_graph *suffix, graft_err *err) {
    graft_graph *still = NULL, *normed = NULL;
    int rc = graft_graph_without_dropout(&still, arena, suffix, err);
    if (rc == 0) rc = graft_graph_train_norms(&normed, arena, still, err);
    if (rc < 0) return rc;
    size_t n_nodes = graft_graph_n_nodes(normed);
    graft_output *outputs = graft_arena_array(arena, n_nodes + 1, sizeof *outputs);
    *layers = graft_arena_array(arena, n_nodes + 1, sizeof **layers);
    if (!outputs || !*layers) return graft_err_nomem(err);
    for (size_t i = 0; i < n_nodes; i++) {
        const graft_node *node = graft_graph_node_at(normed, i);
        if (graft_graph_value(normed, node->out[0])->dtype != GRAFT_F32) continue;
        const char *name = graft_arena_printf(arena, "%zu", *n);
        if (!name) return graft_err_nomem(err);
        (*layers)[*n] = node->name && *node->name ? node->name : "without a name";
        outputs[(*n)++] = (graft_output){.name = name, .value = node->out[0]};
    }
    return graft_graph_extract(out, arena, normed, NULL, NULL, 0, outputs, *n, err);
}

/* Whether norms see the batch, so that its samples cannot go one by one. */
static bool sees_batch(const graft_graph *suffix) {
    static const char ending[] = ".running_mean";
    for (size_t v = 0; v < graft_graph_n_values(suffix); v++) {
        const graft_value_info *info = graft_graph_value(suffix, (graft_value)v);
        size_t n = info->name ? strlen(info->name) : 0;
        if (info->kind == GRAFT_PARAM && info->trained && n >= sizeof ending &&
            strcmp(info->name + n - sizeof ending + 1, ending) == 0)
            return true;
    }
    return false;
}

/* The first layer, in the order of computing, that answers with a number that is none. */
static const char *find_layer(const graft_graph *suffix, graft_state *state, const graft_batch *b,
                              int64_t rows, graft_arena *arena, int64_t *sample) {
    graft_graph *g = NULL;
    const char **layers = NULL, *found = NULL;
    size_t n = 0;
    if (!sees_batch(suffix)) rows = 1;
    if (open_up(&g, &layers, &n, arena, suffix, NULL) < 0) return NULL;
    graft_shapes shapes = {.graph = g, .state = state};
    for (int64_t i = 0; i < b->n && i < MOST_SAMPLES && !found; i += rows) {
        graft_program *p = NULL;
        int64_t here = b->n - i < rows ? b->n - i : rows;
        if (graft_shapes_feed(&p, &shapes, b, i, here, rows, NULL) < 0 || graft_program_run(p, NULL) < 0)
            break;
        for (size_t k = 0; k < n && !found; k++) {
            char name[24];
            size_t size = 0;
            snprintf(name, sizeof name, "%zu", k);
            const float *x = graft_program_output(p, name, &size);
            if (x && !all_finite(x, size / sizeof *x)) found = layers[k];
        }
        *sample = rows > 1 ? -1 : b->samples ? b->samples[i] : i;
    }
    graft_shapes_done(&shapes);
    return found;
}

void graft_diverged_where(char *out, size_t room, bool *is_data, const graft_graph *suffix,
                          graft_state *state, const graft_batch *b, int64_t rows, const char *parameter) {
    int64_t sample = 0;
    graft_arena *arena = graft_arena_new(NULL);
    const char *input = b ? find_input(b, &sample) : NULL;
    *is_data = input != NULL;
    *out = '\0';
    if (input) {
        snprintf(out, room, "the %s of sample %lld are", input, (long long)sample);
    } else if (parameter) {
        snprintf(out, room, "it began in the layer of %s", parameter);
    } else if (b && arena) {
        const char *layer = find_layer(suffix, state, b, rows, arena, &sample);
        if (!layer)
            snprintf(out, room, "it began in the gradient");
        else if (sample < 0)
            snprintf(out, room, "it began in the layer %s", layer);
        else
            snprintf(out, room, "it began in the layer %s at sample %lld", layer, (long long)sample);
    } else {
        snprintf(out, room, "it began in the model's outputs");
    }
    graft_arena_free(arena);
}
