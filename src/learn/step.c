/* One update: targets from labels, micro-batches through the step's program, the update's program at the end.
 *
 * With labels t_i, class weights w and smoothing e the target is w_c ((1 - e) [c = t_i] + e / K) and a sample
 * weighs 1 / sum_j w_{t_j} over the whole batch; with soft targets it weighs 1 / N: PyTorch's
 * CrossEntropyLoss. */
#include "learn/run.h"

#include <math.h>
#include <string.h>

/* Targets and weights of so many rows. */
static int make_room(graft_stepper *s, int64_t rows, graft_err *err) {
    if (rows <= s->rows_room) return 0;
    s->target = graft_arena_array(s->arena, (size_t)rows * (size_t)s->recipe.n_classes, sizeof *s->target);
    s->weight = graft_arena_array(s->arena, (size_t)rows, sizeof *s->weight);
    s->rows_room = rows;
    return s->target && s->weight ? 0 : graft_err_nomem(err);
}

int graft_stepper_init(graft_stepper *s, const graft_graph *suffix, graft_state *state, const graft_recipe *r,
                       graft_err *err) {
    graft_step_graphs graphs;
    *s = (graft_stepper){.arena = graft_arena_new(NULL), .recipe = graft_recipe_of_step(r), .state = state};
    if (!s->arena) return graft_err_nomem(err);
    int rc = graft_recipe_check(r, err);
    r = &s->recipe;
    if (rc == 0) rc = graft_learn_assemble(&graphs, s->arena, suffix, r, err);
    if (rc < 0) return rc;
    s->step = (graft_shapes){.graph = graphs.step, .state = state};
    s->crf = graft_learn_has_crf(suffix);
    if ((rc = make_room(s, r->batch > r->tokens ? r->batch : r->tokens, err)) < 0) return rc;
    graft_program *first = NULL;
    if ((rc = graft_shapes_get(&first, &s->step, r->micro_batch, r->tokens, err)) < 0 || !graphs.update)
        return rc;
    graft_compile_options options = {.batch = 1};
    if ((rc = graft_program_compile(&s->update, graphs.update, state, &options, err)) < 0) return rc;
    const graft_assign *assigns;
    size_t n = graft_graph_assigns(graphs.step, &assigns);
    s->gradients = graft_arena_array(s->arena, n + 1, sizeof *s->gradients);
    if (!s->gradients) return graft_err_nomem(err);
    for (size_t i = 0; i < n; i++) {
        const graft_value_info *info = graft_graph_value(graphs.step, assigns[i].target);
        if (info->kind == GRAFT_STATE) s->gradients[s->n_gradients++] = info->name;
    }
    return 0;
}

void graft_stepper_done(graft_stepper *s) {
    graft_shapes_done(&s->step);
    graft_program_free(s->update);
    graft_twins_done(&s->twins);
    graft_arena_free(s->arena);
}

/* What a row is to answer: a class, or -1 where nothing is asked. */
static int32_t label_of(const graft_stepper *s, const graft_batch *b, int64_t row) {
    return s->recipe.task == GRAFT_TASK_TAGGING ? b->token_labels[row] : b->labels[row];
}

static bool has_classes(const graft_stepper *s) {
    return s->recipe.task == GRAFT_TASK_CLASSES || s->recipe.task == GRAFT_TASK_TAGGING;
}

/* Rows of the batch that the loss looks at. */
static int64_t n_rows(const graft_stepper *s, const graft_batch *b) {
    return s->recipe.task == GRAFT_TASK_TAGGING ? b->n_tokens : b->n;
}

static int check_labels(const graft_stepper *s, const graft_batch *b, graft_err *err) {
    int64_t k = s->recipe.n_classes, n = n_rows(s, b);
    int32_t least = s->recipe.task == GRAFT_TASK_TAGGING ? -1 : 0;
    for (int64_t i = 0; i < n; i++) {
        int32_t label = label_of(s, b, i);
        if (label >= least && label < k) continue;
        return graft_err_set(err, GRAFT_EDATA, "sample %lld has class %d, the head has %lld classes",
                             (long long)(b->samples && n == b->n ? b->samples[i] : i), label, (long long)k);
    }
    return 0;
}

/* Classes as a distribution, smoothed and weighted. Returns what the row weighs. */
static double make_target(const graft_recipe *r, float *row, int32_t label, const float *soft) {
    int64_t k = r->n_classes;
    const float *cw = r->class_weights;
    double smooth = r->label_smoothing / (double)k;
    for (int64_t c = 0; c < k; c++) {
        double t = soft ? (double)soft[c] : (double)(c == label);
        double mixed = (1.0 - r->label_smoothing) * t + smooth;
        row[c] = (float)(cw && r->loss->weighs_target ? (double)cw[c] * mixed : mixed);
    }
    return soft ? 1.0 : label < 0 ? 0.0 : cw ? (double)cw[label] : 1.0;
}

static void make_targets(graft_stepper *s, const graft_batch *b) {
    const graft_recipe *r = &s->recipe;
    int64_t k = r->n_classes, n = n_rows(s, b);
    bool classes = has_classes(s);
    double total = 0.0;
    for (int64_t i = 0; i < n; i++) {
        float *row = s->target + i * k;
        const float *given = b->targets ? b->targets + i * k : NULL;
        double weight = 1.0;
        if (classes) {
            weight = make_target(r, row, given ? -1 : label_of(s, b, i), given);
        } else {
            memcpy(row, given, (size_t)k * sizeof *row);
            if (isnan(row[0])) row[0] = 0.0F, weight = 0.0; /* a number that the data do not give */
        }
        s->weight[i] = (float)(weight > 0.0 && classes && r->loss->weighs_target ? 1.0 : weight);
        total += weight;
    }
    /* a batch whose every row weighs nothing teaches nothing */
    double scale = total > 0.0 ? 1.0 / total : 0.0;
    for (int64_t i = 0; i < n; i++) s->weight[i] = (float)((double)s->weight[i] * scale);
}

/* The loss of a text counts as much as its words: the mean is over the words of the batch. */
static void weigh_texts(graft_stepper *s, const graft_batch *b) {
    int64_t n = 0;
    for (int64_t t = 0; t < b->n_tokens; t++) n += b->token_labels[t] >= 0;
    for (int64_t i = 0; i < b->n; i++) s->weight[i] = n ? 1.0F / (float)n : 0.0F;
}

static void count_hits(graft_stepper *s, const float *logits, const graft_batch *b, int64_t first,
                       int64_t n) {
    int64_t k = s->recipe.n_classes;
    for (int64_t i = 0; i < n && has_classes(s); i++) {
        const float *z = logits + i * k;
        int32_t label = label_of(s, b, first + i);
        int64_t best = 0;
        for (int64_t c = 1; c < k; c++)
            if (z[c] > z[best]) best = c;
        s->judged += label >= 0;
        s->hits += best == label;
    }
}

static void set_scalar(const graft_program *p, const char *name, double value) {
    float *to = graft_program_input(p, name, NULL);
    if (to) *to = (float)value;
}

static void set_rate(const graft_stepper *s, const graft_program *p, int64_t update, int64_t n_updates) {
    set_scalar(p, "lr", graft_recipe_rate(&s->recipe, update, n_updates));
    set_scalar(p, "step", (double)(update + 1));
}

/* Rows [first, first + n) of what the loss reads, and nothing of what the program has beyond them. */
static void put_rows(const graft_program *p, const char *name, const float *from, int64_t first, int64_t n,
                     size_t width) {
    size_t room = 0, size = (size_t)n * width * sizeof *from;
    unsigned char *to = graft_program_input(p, name, &room);
    memcpy(to, from + (size_t)first * width, size);
    memset(to + size, 0, room - size);
}

/* Tags of tokens [first, first + n) where a whole text is the target; beyond them there is none. */
static void put_tags(const graft_program *p, const graft_batch *b, int64_t first, int64_t n) {
    size_t room = 0;
    int32_t *to = graft_program_input(p, "tags", &room);
    memcpy(to, b->token_labels + first, (size_t)n * sizeof *to);
    for (size_t i = (size_t)n; i < room / sizeof *to; i++) to[i] = -1;
}

static int run_micro(graft_stepper *s, const graft_batch *b, int64_t first, int64_t n, int64_t update,
                     int64_t n_updates, graft_err *err) {
    graft_program *p = NULL;
    bool tags = s->recipe.task == GRAFT_TASK_TAGGING;
    int rc = graft_shapes_feed(&p, &s->step, b, first, n, s->recipe.micro_batch, err);
    if (rc < 0) return rc;
    int64_t row = tags ? b->spans[2 * first] : first, last = first + n - 1,
            rows = tags ? (int64_t)b->spans[2 * last] + b->spans[2 * last + 1] - row : n;
    if (graft_program_input(p, "tags", NULL)) {
        put_tags(p, b, row, rows);
        put_rows(p, "weight", s->weight, first, n, 1);
    } else {
        put_rows(p, "target", s->target, row, rows, (size_t)s->recipe.n_classes);
        put_rows(p, "weight", s->weight, row, rows, 1);
    }
    set_rate(s, p, update, n_updates);
    set_scalar(p, "part", (double)n / (double)b->n);
    int32_t *seed = graft_program_input(p, "seed", NULL);
    if (seed) {
        seed[0] = (int32_t)((s->recipe.updates_before + update) * s->recipe.batch + first);
        seed[1] = (int32_t)(uint32_t)(s->recipe.seed ^ s->recipe.seed >> 32);
    }
    if ((rc = graft_program_run(p, err)) < 0) return rc;
    s->loss += (double)*graft_program_output(p, "loss", NULL);
    count_hits(s, graft_program_output(p, "logits", NULL), b, row, rows);
    return 0;
}

int graft_stepper_run(graft_stepper *s, const graft_batch *b, int64_t update, int64_t n_updates,
                      graft_err *err) {
    graft_batch twins;
    int rc = 0;
    if (s->recipe.r_drop > 0.0) {
        if ((rc = graft_twins_put(&s->twins, &twins, b, s->recipe.n_classes, err)) < 0) return rc;
        b = &twins;
    }
    if (b->n > s->recipe.batch) {
        return graft_err_set(err, GRAFT_EINTERNAL, "a batch of %lld samples came where %lld were announced",
                             (long long)b->n, (long long)s->recipe.batch);
    }
    if (!b->targets && (rc = check_labels(s, b, err)) < 0) return rc;
    if ((rc = make_room(s, n_rows(s, b), err)) < 0) return rc;
    if (s->crf)
        weigh_texts(s, b);
    else
        make_targets(s, b);
    s->loss = 0.0;
    s->hits = s->judged = 0;
    for (int64_t first = 0; first < b->n && rc == 0; first += s->recipe.micro_batch) {
        int64_t left = b->n - first;
        rc = run_micro(s, b, first, left < s->recipe.micro_batch ? left : s->recipe.micro_batch, update,
                       n_updates, err);
    }
    if (rc < 0 || !s->update) return rc;
    set_rate(s, s->update, update, n_updates);
    rc = graft_program_run(s->update, err);
    for (size_t i = 0; i < s->n_gradients; i++) graft_state_zero(s->state, s->gradients[i]);
    return rc;
}
