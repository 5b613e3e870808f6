/* Runs of the trainer: what is kept, when it stops, what it says when numbers run away. */
#include "toy.h"

static void the_best_epoch_is_kept_and_the_loss_falls(void **state) {
    room *r = *state;
    graft_err err = {0};
    toy t = toy_new(r->arena, r->env);
    t.recipe.epochs = 12;
    assert_ok(toy_run(&t, &err));
    const graft_training *g = &t.result;
    assert_int_equal(g->n_epochs, 12);
    assert_int_equal(g->n_steps, 12 * 4);
    assert_true(g->history[11].train_loss < 0.7 * g->history[0].train_loss);
    int64_t best = 0;
    for (int64_t i = 0; i < 12; i++) {
        const graft_epoch *e = &g->history[i], *b = &g->history[best];
        assert_int_equal(e->epoch, i + 1);
        assert_true(e->evaluated);
        if (e->score > b->score || (!(e->score < b->score) && e->loss < b->loss)) best = i;
    }
    assert_int_equal(g->best_epoch, best + 1);
    assert_true(g->best.score > 0.5);
    /* the state gives again what the best epoch gave */
    graft_answers a;
    graft_metrics m;
    assert_ok(graft_evaluate(&a, r->arena, r->env, t.graph, t.state, &t.validation, GRAFT_TASK_CLASSES, NULL,
                             GRAFT_PRECISION_FP32, &err));
    assert_ok(graft_metrics_compute(&m, r->arena, a.logits, a.labels, a.n, SMALL_NET_CLASSES, &err));
    assert_int_equal(a.n, 21);
    assert_true(fabs(m.accuracy - g->best.score) < 1e-12);
    assert_true(fabs(m.log_loss - g->best.loss) < 1e-6);
    toy_done(&t);
}

/* What the state answers for the validation part. */
static void judge(room *r, toy *t, double *accuracy, double *loss) {
    graft_answers a;
    graft_metrics m;
    graft_err err = {0};
    assert_ok(graft_evaluate(&a, r->arena, r->env, t->graph, t->state, &t->validation, GRAFT_TASK_CLASSES,
                             NULL, GRAFT_PRECISION_FP32, &err));
    assert_ok(graft_metrics_compute(&m, r->arena, a.logits, a.labels, a.n, SMALL_NET_CLASSES, &err));
    *accuracy = m.accuracy;
    *loss = m.log_loss;
}

/* Of the state, once a temperature suits it. */
static double refined(room *r, toy *t) {
    graft_answers a;
    graft_err err = {0};
    assert_ok(graft_evaluate(&a, r->arena, r->env, t->graph, t->state, &t->validation, GRAFT_TASK_CLASSES,
                             NULL, GRAFT_PRECISION_FP32, &err));
    return graft_calibrate(&a, GRAFT_TASK_CLASSES).after.log_loss;
}

static void by_refinement_the_epoch_of_the_least_refined_loss_is_kept(void **state) {
    room *r = *state;
    graft_err err = {0};
    double best = INFINITY, score = 0;
    int64_t epoch = 0;
    for (int64_t n = 1; n <= 8; n++) { /* the last epoch of runs of each length */
        toy t = toy_new(r->arena, r->env);
        t.recipe.epochs = n;
        t.recipe.schedule = graft_schedule_find("constant");
        t.recipe.lr = 0.2;
        t.recipe.warmup = 0.0;
        t.recipe.eval_every = n;
        assert_ok(toy_run(&t, &err));
        double loss = refined(r, &t);
        if (loss < best) {
            double unused;
            best = loss;
            epoch = n;
            judge(r, &t, &score, &unused);
        }
        toy_done(&t);
    }
    toy t = toy_new(r->arena, r->env);
    t.recipe.epochs = 8;
    t.recipe.schedule = graft_schedule_find("constant");
    t.recipe.lr = 0.2;
    t.recipe.warmup = 0.0;
    t.recipe.by_refinement = true;
    assert_ok(toy_run(&t, &err));
    assert_int_equal(t.result.best_epoch, epoch);
    assert_true(fabs(t.result.best.refined - best) < 1e-9);
    assert_true(fabs(t.result.best.score - score) < 1e-12);
    assert_true(fabs(refined(r, &t) - best) < 1e-9);
    toy_done(&t);
}

static void the_average_is_what_is_judged_and_kept(void **state) {
    room *r = *state;
    static const struct { double ema, swa; } ways[] = {{0.9, 0}, {0, 0.5}};
    for (size_t i = 0; i < GRAFT_COUNT(ways); i++) {
        graft_err err = {0};
        double accuracy = 0, loss = 0;
        toy plain = toy_new(r->arena, r->env), t = toy_new(r->arena, r->env);
        plain.recipe.epochs = t.recipe.epochs = 12;
        t.recipe.ema = ways[i].ema;
        t.recipe.swa = ways[i].swa;
        assert_ok(toy_run(&plain, &err));
        assert_ok(toy_run(&t, &err));
        judge(r, &t, &accuracy, &loss);
        assert_true(fabs(accuracy - t.result.best.score) < 1e-12);
        assert_true(fabs(loss - t.result.best.loss) < 1e-6);
        /* the steps are those of a run without it, until the rate stays */
        for (int64_t e = 0; e < (ways[i].swa > 0 ? 6 : 12); e++)
            assert_memory_equal(&t.result.history[e].train_loss, &plain.result.history[e].train_loss,
                                sizeof(double));
        if (ways[i].swa > 0) assert_true(t.result.best_epoch > 6);
        toy_done(&plain);
        toy_done(&t);
    }
}

static void before_the_last_epochs_the_average_is_a_copy(void **state) {
    room *r = *state;
    graft_err err = {0};
    toy plain = toy_new(r->arena, r->env), t = toy_new(r->arena, r->env);
    t.recipe.swa = 0.5; /* of six epochs */
    assert_ok(toy_run(&plain, &err));
    assert_ok(toy_run(&t, &err));
    for (int64_t e = 0; e < 3; e++) {
        assert_memory_equal(&t.result.history[e].loss, &plain.result.history[e].loss, sizeof(double));
        assert_memory_equal(&t.result.history[e].score, &plain.result.history[e].score, sizeof(double));
    }
    toy_done(&plain);
    toy_done(&t);
}

static void an_early_stop_waits_for_the_average(void **state) {
    room *r = *state;
    graft_err err = {0};
    toy t = toy_new(r->arena, r->env);
    t.recipe.epochs = 40;
    t.recipe.lr = 0.05;
    t.recipe.early_stop = 2;
    t.recipe.swa = 0.25;
    assert_ok(toy_run(&t, &err));
    assert_true(t.result.n_epochs > 30 && t.result.best_epoch > 30);
    toy_done(&t);
}

static void without_a_validation_part_the_average_is_kept(void **state) {
    room *r = *state;
    graft_err err = {0};
    toy t = toy_new(r->arena, r->env);
    t.recipe.swa = 0.5;
    assert_ok(graft_state_new(&t.state, r->env, &err));
    t.io.state = t.state;
    t.io.train = &t.train;
    assert_ok(graft_trainer_run(&t.result, t.arena, &t.io, &t.recipe, &err));
    float kept[256], average[256];
    int64_t n = 0;
    assert_true(graft_shape_count(graft_state_shape(t.state, "fc.weight"), &n));
    assert_in_range(n, 1, GRAFT_COUNT(kept));
    assert_ok(graft_state_read(t.state, "fc.weight", kept, (size_t)n, &err));
    assert_ok(graft_state_read(t.state, "fc.weight" GRAFT_AVERAGE_ENDING, average, (size_t)n, &err));
    assert_memory_equal(kept, average, (size_t)n * sizeof *kept);
    toy_done(&t);
}

static void evaluations_come_every_so_many_epochs_and_last(void **state) {
    room *r = *state;
    graft_err err = {0};
    toy t = toy_new(r->arena, r->env);
    t.recipe.epochs = 8;
    t.recipe.eval_every = 3;
    assert_ok(toy_run(&t, &err));
    for (int64_t i = 0; i < 8; i++)
        assert_int_equal(t.result.history[i].evaluated, i == 2 || i == 5 || i == 7);
    toy_done(&t);
}

static void a_run_that_no_longer_gains_stops_early(void **state) {
    room *r = *state;
    graft_err err = {0};
    toy t = toy_new(r->arena, r->env);
    t.recipe.epochs = 100;
    t.recipe.lr = 0.05;
    t.recipe.early_stop = 3;
    assert_ok(toy_run(&t, &err));
    assert_true(t.result.n_epochs < 100);
    assert_int_equal(t.result.n_epochs, t.result.best_epoch + 3);
    toy_done(&t);
}

static void without_a_validation_part_the_last_epoch_is_kept(void **state) {
    room *r = *state;
    graft_err err = {0};
    toy t = toy_new(r->arena, r->env);
    assert_ok(graft_state_new(&t.state, r->env, &err));
    t.io.state = t.state;
    t.io.train = &t.train;
    assert_ok(graft_trainer_run(&t.result, r->arena, &t.io, &t.recipe, &err));
    assert_int_equal(t.result.best_epoch, 0);
    assert_int_equal(t.result.n_epochs, 6);
    assert_false(t.result.history[5].evaluated);
    toy_done(&t);
}

static void frozen_parameters_and_statistics_are_not_in_the_state(void **state) {
    room *r = *state;
    graft_err err = {0};
    toy t = toy_new(r->arena, r->env);
    for (size_t v = 0; v < graft_graph_n_values(t.graph); v++)
        graft_graph_value_mut(t.graph, (graft_value)v)->trained = false;
    small_net_mark(t.graph, "fc", false);
    assert_ok(toy_run(&t, &err));
    const char *const *names;
    size_t n = graft_state_names(t.state, &names), n_fc = 0;
    for (size_t i = 0; i < n; i++) n_fc += !strncmp(names[i], "fc", 2);
    assert_int_equal(n, n_fc);
    assert_true(n > 0);
    toy_done(&t);
}

/* ---- Numbers that run away ---------------------------------------------------------------------------------- */

static void a_loss_that_is_not_finite_names_epoch_batch_and_parameter(void **state) {
    room *r = *state;
    graft_err err;
    toy t = toy_new(r->arena, r->env);
    t.recipe.optimiser = graft_optimiser_find("sgd");
    t.recipe.clip_norm = 0;
    t.recipe.warmup = 0;
    t.recipe.lr = 1e6;
    t.recipe.epochs = 50;
    t.recipe.schedule = graft_schedule_find("constant");
    assert_error(toy_run(&t, &err), GRAFT_EDIVERGED, "not finite at epoch ");
    print_message("%s\n", err.message);
    assert_non_null(strstr(err.message, ", batch "));
    assert_non_null(strstr(err.message, "it began in the layer"));
    assert_non_null(strstr(err.message, "learning rate"));
    toy_done(&t);
}

static void the_layer_where_numbers_run_away_is_named(void **state) {
    room *r = *state;
    graft_err err;
    toy t = toy_new(r->arena, r->env);
    t.recipe.clip_norm = 1;
    t.recipe.warmup = 0;
    graft_value_info *fc = graft_graph_value_mut(t.graph, graft_graph_find(t.graph, "fc.weight"));
    graft_tensor *huge = graft_arena_alloc(r->arena, sizeof *huge);
    *huge = *fc->source.tensor;
    float *values = graft_arena_alloc(r->arena, huge->size);
    for (size_t i = 0; i < huge->size / sizeof *values; i++) values[i] = 3e38F;
    huge->data = values;
    fc->source.tensor = huge;
    assert_error(toy_run(&t, &err), GRAFT_EDIVERGED, "the loss is not finite at epoch 1, batch 1: ");
    print_message("%s\n", err.message);
    assert_non_null(strstr(err.message, "it began in the layer fc;"));
    assert_non_null(strstr(err.message, "a learning rate of 0.001, a tenth, or a warm-up"));
    /* the update that would have spoilt the weights was not made */
    float bias[SMALL_NET_CLASSES];
    assert_ok(graft_state_read(t.state, "fc.bias", bias, SMALL_NET_CLASSES, &err));
    for (int c = 0; c < SMALL_NET_CLASSES; c++) assert_true(isfinite(bias[c]));
    toy_done(&t);
}

/* Good samples until `from_epoch`, then pixels that are no numbers. */
typedef struct poisoned {
    graft_batches good;
    int64_t from_epoch, epoch;
} poisoned;

static int poisoned_begin(void *self, int64_t epoch, int64_t first_batch, graft_err *err) {
    poisoned *p = self;
    p->epoch = epoch;
    return p->good.begin(p->good.self, epoch, first_batch, err);
}

static int poisoned_next(void *self, graft_batch *out, graft_err *err) {
    poisoned *p = self;
    int rc = p->good.next(p->good.self, out, err);
    if (rc == 1 && p->epoch >= p->from_epoch) ((toy_data *)p->good.self)->batch[5] = NAN;
    return rc;
}

static void the_best_weights_are_kept_when_numbers_run_away(void **state) {
    room *r = *state;
    graft_err err = {0};
    toy good = toy_new(r->arena, r->env), bad = toy_new(r->arena, r->env);
    good.recipe.epochs = bad.recipe.epochs = 3;
    poisoned p = {.good = bad.train, .from_epoch = 2};
    bad.train.self = &p;
    bad.train.begin = poisoned_begin;
    bad.train.next = poisoned_next;
    assert_error(toy_run(&bad, &err), GRAFT_EDIVERGED, "epoch 3");
    assert_non_null(strstr(err.message, "best weights so far are kept"));
    assert_non_null(strstr(err.message, "the x of sample "));
    assert_int_equal(bad.result.n_epochs, 2);
    assert_true(bad.result.best_epoch >= 1);
    graft_answers a;
    graft_metrics m;
    assert_ok(graft_evaluate(&a, r->arena, r->env, bad.graph, bad.state, &bad.validation, GRAFT_TASK_CLASSES,
                             NULL, GRAFT_PRECISION_FP32, &err));
    assert_ok(graft_metrics_compute(&m, r->arena, a.logits, a.labels, a.n, SMALL_NET_CLASSES, &err));
    assert_true(fabs(m.log_loss - bad.result.best.loss) < 1e-6);
    toy_done(&good);
    toy_done(&bad);
}

/* The first of the averaged epochs is not evaluated, the second runs away. */
static void a_run_that_diverges_while_it_averages_keeps_what_came_before(void **state) {
    room *r = *state;
    graft_err err = {0};
    toy t = toy_new(r->arena, r->env);
    t.recipe.epochs = 6;
    t.recipe.eval_every = 2;
    t.recipe.swa = 4.0 / 6.0;
    poisoned p = {.good = t.train, .from_epoch = 3};
    t.train.self = &p;
    t.train.begin = poisoned_begin;
    t.train.next = poisoned_next;
    assert_int_equal(graft_recipe_first_averaged(&t.recipe), 2);
    assert_error(toy_run(&t, &err), GRAFT_EDIVERGED, "epoch 4");
    assert_int_equal(t.result.best_epoch, 2);
    toy_done(&t);
}

/* However good the epochs before: the best is one of the averages. */
static void a_run_that_averages_ends_with_an_average(void **state) {
    room *r = *state;
    graft_err err = {0};
    toy t = toy_new(r->arena, r->env);
    t.recipe.epochs = 6;
    t.recipe.swa = 0.5;
    assert_ok(toy_run(&t, &err));
    assert_true(t.result.best_epoch > graft_recipe_first_averaged(&t.recipe));
    toy_done(&t);
}

static void a_label_that_the_head_has_not_is_named(void **state) {
    room *r = *state;
    graft_err err;
    toy t = toy_new(r->arena, r->env);
    ((toy_data *)t.train.self)->labels[17] = SMALL_NET_CLASSES;
    assert_error(toy_run(&t, &err), GRAFT_EDATA, "sample 17 has class 3");
    ((toy_data *)t.train.self)->labels[17] = -1;
    assert_error(toy_run(&t, &err), GRAFT_EDATA, "sample 17 has class -1");
    toy_done(&t);
}

static void a_batch_of_classes_that_weigh_nothing_teaches_nothing(void **state) {
    room *r = *state;
    graft_err err = {0};
    toy t = toy_new(r->arena, r->env);
    const float none[SMALL_NET_CLASSES] = {0};
    t.recipe.class_weights = none;
    t.recipe.epochs = 1;
    assert_ok(toy_run(&t, &err));
    assert_true(fabs(t.result.history[0].train_loss) < 1e-30);
    toy_done(&t);
}

static void recipes_that_cannot_be_followed_are_refused(void **state) {
    room *r = *state;
    graft_err err;
    toy t = toy_new(r->arena, r->env);
    const graft_recipe good = t.recipe;
    t.recipe.lr = NAN;
    assert_error(toy_run(&t, &err), GRAFT_EUSAGE, "learning rate");
    t.recipe = good;
    t.recipe.lr = -1;
    assert_error(toy_run(&t, &err), GRAFT_EUSAGE, "learning rate");
    t.recipe = good;
    t.recipe.epochs = 0;
    assert_error(toy_run(&t, &err), GRAFT_EUSAGE, "epochs");
    t.recipe = good;
    t.recipe.micro_batch = 0;
    assert_error(toy_run(&t, &err), GRAFT_EUSAGE, "micro-batch");
    t.recipe = good;
    t.recipe.micro_batch = TOY_BATCH + 1;
    assert_error(toy_run(&t, &err), GRAFT_EUSAGE, "micro-batch");
    t.recipe = good;
    t.recipe.label_smoothing = 1.5;
    assert_error(toy_run(&t, &err), GRAFT_EUSAGE, "smoothing");
    t.recipe = good;
    t.train.n_batches = 0;
    assert_error(toy_run(&t, &err), GRAFT_EDATA, "no sample");
    t.train = toy_batches(r->arena, 30, true);
    for (size_t v = 0; v < graft_graph_n_values(t.graph); v++)
        graft_graph_value_mut(t.graph, (graft_value)v)->trained = false;
    assert_error(toy_run(&t, &err), GRAFT_EUSAGE, "nothing is trained");
    toy_done(&t);
}

/* ---- Memory ------------------------------------------------------------------------------------------------- */

static void memory_is_known_before_the_run(void **state) {
    room *r = *state;
    static const struct {
        int64_t micro_batch;
        int segments;
        double ema, swa;
    } ways[] = {{8, 0, 0, 0},   {8, 3, 0, 0},   {3, 0, 0, 0},   {1, 4, 0, 0},
                {8, 0, 0.9, 0}, {3, 0, 0.9, 0}, {8, 0, 0, 0.5}, {3, 2, 0, 0.5}};
    for (size_t i = 0; i < GRAFT_COUNT(ways); i++) {
        graft_err err = {0};
        size_t planned = 0;
        toy t = toy_new(r->arena, r->env);
        t.recipe.micro_batch = ways[i].micro_batch;
        t.recipe.segments = ways[i].segments;
        t.recipe.ema = ways[i].ema;
        t.recipe.swa = ways[i].swa;
        assert_ok(graft_learn_memory(&planned, r->env, t.graph, &t.recipe, &err));
        assert_ok(toy_run(&t, &err));
        print_message("micro-batch %d, %d segments: %zu bytes planned, %zu held\n", (int)ways[i].micro_batch,
                      ways[i].segments, planned, t.result.peak_memory);
        assert_int_equal(t.result.peak_memory, planned);
        toy_done(&t);
    }
}

static void a_limit_is_kept_with_the_batch_unchanged(void **state) {
    room *r = *state;
    for (int frozen = 0; frozen < 2; frozen++) {
        graft_err err = {0};
        size_t whole = 0, least = 0;
        toy t = toy_new(r->arena, r->env);
        if (frozen) {
            for (size_t v = 0; v < graft_graph_n_values(t.graph); v++)
                graft_graph_value_mut(t.graph, (graft_value)v)->trained = false;
            small_net_mark(t.graph, "", false);
        }
        assert_ok(graft_learn_memory(&whole, r->env, t.graph, &t.recipe, &err));
        graft_recipe smallest = t.recipe;
        smallest.micro_batch = 1;
        smallest.segments = 12;
        assert_ok(graft_learn_memory(&least, r->env, t.graph, &smallest, &err));
        assert_true(least < whole);
        assert_ok(graft_learn_fit_memory(&t.recipe, r->env, t.graph, whole, 1, &err));
        assert_int_equal(t.recipe.micro_batch, TOY_BATCH);
        assert_int_equal(t.recipe.segments, 0);
        for (int k = 2; k <= 4; k += 2) {
            size_t limit = least + (whole - least) * (size_t)(4 - k) / 4;
            assert_ok(graft_learn_fit_memory(&t.recipe, r->env, t.graph, limit, 1, &err));
            assert_int_equal(t.recipe.batch, TOY_BATCH);
            assert_ok(toy_run(&t, &err));
            print_message("limit %zu: micro-batch %d, %d segments, %zu held\n", limit,
                          (int)t.recipe.micro_batch, t.recipe.segments, t.result.peak_memory);
            assert_true(t.result.peak_memory <= limit);
        }
        assert_error(graft_learn_fit_memory(&t.recipe, r->env, t.graph, 1000, 1, &err), GRAFT_EUSAGE,
                     "one sample at a time needs 0.1 MiB");
        toy_done(&t);
    }
}

static void more_memory_never_gets_a_slower_way(void **state) {
    room *r = *state;
    enum { LIMITS = 24 };
    for (int frozen = 0; frozen < 2; frozen++) {
        graft_err err = {0};
        size_t whole = 0;
        int64_t batch = 0;
        int segments = 0;
        toy t = toy_new(r->arena, r->env);
        for (size_t v = 0; frozen && v < graft_graph_n_values(t.graph); v++)
            graft_graph_value_mut(t.graph, (graft_value)v)->trained = false;
        if (frozen) small_net_mark(t.graph, "", false);
        assert_ok(graft_learn_memory(&whole, r->env, t.graph, &t.recipe, &err));
        for (size_t i = 1; i <= LIMITS; i++) {
            if (graft_learn_fit_memory(&t.recipe, r->env, t.graph, whole * i / LIMITS, 1, &err) < 0) {
                assert_int_equal(batch, 0); /* too little so far */
                continue;
            }
            assert_true(t.recipe.micro_batch >= batch);
            if (t.recipe.micro_batch == batch) assert_true(t.recipe.segments <= segments);
            batch = t.recipe.micro_batch;
            segments = t.recipe.segments;
        }
        assert_int_equal(batch, TOY_BATCH);
        assert_int_equal(segments, 0);
        toy_done(&t);
    }
}

static void trained_batch_norms_are_computed_again_before_their_batch_is_cut(void **state) {
    room *r = *state;
    graft_err err = {0};
    size_t whole = 0, cut = 0;
    toy t = toy_new(r->arena, r->env);
    assert_ok(graft_learn_memory(&whole, r->env, t.graph, &t.recipe, &err));
    assert_ok(graft_learn_fit_memory(&t.recipe, r->env, t.graph, whole - 1, 1, &err));
    assert_int_equal(t.recipe.micro_batch, TOY_BATCH);
    assert_true(t.recipe.segments > 0);
    assert_null(strstr(r->log.data ? r->log.data : "", "batch norms see"));
    graft_recipe small = toy_recipe();
    small.micro_batch = 1;
    small.segments = 12;
    assert_ok(graft_learn_memory(&cut, r->env, t.graph, &small, &err));
    assert_ok(graft_learn_fit_memory(&t.recipe, r->env, t.graph, cut, 1, &err));
    assert_non_null(strstr(r->log.data, "batch norms see"));
    toy_done(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        room_test(the_best_epoch_is_kept_and_the_loss_falls),
        room_test(by_refinement_the_epoch_of_the_least_refined_loss_is_kept),
        room_test(the_average_is_what_is_judged_and_kept),
        room_test(before_the_last_epochs_the_average_is_a_copy),
        room_test(an_early_stop_waits_for_the_average),
        room_test(without_a_validation_part_the_average_is_kept),
        room_test(evaluations_come_every_so_many_epochs_and_last),
        room_test(a_run_that_no_longer_gains_stops_early),
        room_test(without_a_validation_part_the_last_epoch_is_kept),
        room_test(frozen_parameters_and_statistics_are_not_in_the_state),
        room_test(a_loss_that_is_not_finite_names_epoch_batch_and_parameter),
        room_test(the_layer_where_numbers_run_away_is_named),
        room_test(the_best_weights_are_kept_when_numbers_run_away),
        room_test(a_run_that_diverges_while_it_averages_keeps_what_came_before),
        room_test(a_run_that_averages_ends_with_an_average),
        room_test(a_label_that_the_head_has_not_is_named),
        room_test(a_batch_of_classes_that_weigh_nothing_teaches_nothing),
        room_test(recipes_that_cannot_be_followed_are_refused),
        room_test(memory_is_known_before_the_run),
        room_test(a_limit_is_kept_with_the_batch_unchanged),
        room_test(more_memory_never_gets_a_slower_way),
        room_test(trained_batch_norms_are_computed_again_before_their_batch_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
