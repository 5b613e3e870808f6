/* One phase: marks → prefix | suffix → rows or pictures → trainer → metrics → values back into the model. */
#include "transfer/fit.h"

#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

typedef struct phase {
    graft_job *job;
    graft_arena *arena;
    graft_prefix *prefix;
    graft_graph *suffix;
    graft_state *state;
    graft_features *features;
    graft_transform plain; /* without augmentation */
    size_t index;
    const graft_phase_choice *choice;
    graft_shelf *last; /* weights after the last update; NULL: nothing follows */
} phase;

static int split(phase *p, const graft_phase *marks, graft_err *err) {
    graft_job *j = p->job;
    graft_graph *graph = NULL;
    graft_model_set_dropout(j->model, true);
    int rc = graft_model_graph(&graph, p->arena, j->model, 0, 0, err);
    graft_model_set_dropout(j->model, false);
    if (rc == 0) rc = graft_mark_trained(graph, j->model, marks, p->choice->statistics, err);
    if (rc == 0 && graft_model_n_adapted(j->model) && !graft_prefix_pays(graph, p->arena))
        return graft_prefix_none(&p->suffix, p->arena, graph, err);
    if (rc == 0)
        rc = graft_prefix_split(&p->prefix, &p->suffix, p->arena, j->env, graph, j->recipe.dtype, 0,
                                graft_model_longest(j->model), err);
    return rc;
}

/* Every sample is seen once here: while rows are filled, or on its own. */
static int see_samples(phase *p, graft_err *err) {
    graft_job *j = p->job;
    if (!p->prefix || !p->choice->use_cache) return j->settled ? 0 : graft_data_check(j->data, err);
    graft_features_options o = {.dtype = j->recipe.dtype,
                                .variants = p->choice->variants,
                                .seed = j->options.seed,
                                .use_cache = j->options.cache_variants >= 0,
                                .check = !j->settled};
    int rc = graft_features_new(&p->features, j->env, j->data, &j->transform, p->prefix, &o, err);
    if (rc == 0) {
        int64_t cached = 0, all = 0;
        graft_features_counts(p->features, &cached, &all);
        graft_env_log(j->env, GRAFT_LOG_INFO, "frozen part: %lld rows, %lld of them from the cache",
                      (long long)all, (long long)cached);
    }
    return rc;
}

static int open_batches(graft_batches *out, phase *p, graft_part part, bool train, graft_err *err) {
    graft_job *j = p->job;
    if (p->features) {
        graft_row_batches_options o = {.part = part,
                                       .batch = j->recipe.batch,
                                       .order = train ? j->order : GRAFT_IN_ORDER,
                                       .seed = j->options.seed,
                                       .variants = train ? p->choice->variants : 0};
        return graft_row_batches_open(out, p->features, j->data, &p->plain, p->prefix, &o, err);
    }
    graft_loader_options o = GRAFT_LOADER_OPTIONS_INIT;
    graft_batches inner = {0};
    o.part = part;
    o.batch = j->recipe.batch;
    o.order = train ? j->order : GRAFT_IN_ORDER;
    o.augment = o.mix = train;
    o.seed = j->options.seed;
    bool augments = train && p->choice->augments;
    int rc = graft_loader_open(&inner, j->data, augments ? &j->transform : &p->plain, &o, err);
    if (rc < 0) return rc;
    if (p->prefix) {
        rc = graft_prefix_batches_open(out, &inner, p->prefix, err);
        graft_batches_close(&inner);
        return rc;
    }
    *out = inner;
    return 0;
}

/* What the run's log says where a phase begins; NULL: out of memory. */
static json_t *opening(const phase *p) {
    const graft_job *j = p->job;
    const graft_phase *marks = &j->phases[p->index];
    json_int_t trained = 0;
    for (size_t s = 0; s < graft_model_n_stages(j->model); s++)
        trained += graft_phase_trained_in(marks, j->model, s);
    return json_pack("{s:I,s:I,s:s,s:I,s:I,s:f,s:I}", "phase", (json_int_t)p->index + 1, "of",
                     (json_int_t)j->n_phases, "plan", marks->plan, "first_epoch",
                     (json_int_t)j->relay.epochs + 1, "epochs", (json_int_t)j->recipe.epochs, "lr",
                     j->recipe.lr, "trained_parameters", trained);
}

static int train(phase *p, graft_training *out, graft_err *err) {
    graft_job *j = p->job;
    graft_batches training = {0}, validation = {0};
    int64_t n_val = 0;
    graft_data_members(j->data, GRAFT_VAL, &n_val);
    graft_trainer_io io = {.env = j->env,
                           .suffix = p->suffix,
                           .state = p->state,
                           .train = &training,
                           .validation = n_val ? &validation : NULL,
                           .checkpoint_dir = graft_job_checkpoint(j, p->index),
                           .log = j->log,
                           .events_before = j->relay.events,
                           .opening = opening(p),
                           .seconds_before = j->training.seconds,
                           .last = p->last};
    if (j->class_weights) graft_data_class_weights(j->data, GRAFT_TRAIN, j->class_weights);
    j->recipe.class_weights = j->class_weights;
    graft_job_prior(j);
    int rc = io.opening && (io.checkpoint_dir || !j->out) ? 0 : graft_err_nomem(err);
    if (rc == 0) rc = graft_job_identity(j, p->index, &io.identity, err);
    if (rc == 0) rc = open_batches(&training, p, GRAFT_TRAIN, true, err);
    if (rc == 0 && n_val) rc = open_batches(&validation, p, GRAFT_VAL, false, err);
    if (rc == 0) rc = graft_trainer_run(out, p->arena, &io, &j->recipe, err);
    graft_batches_close(&training);
    graft_batches_close(&validation);
    json_decref(io.opening);
    return rc;
}

/* The validation part settles how outputs become answers, a test part shows what that is worth. */
static int decide(graft_job *j, graft_part part, const graft_answers *a, graft_err *err) {
    graft_decision *d = &j->decision;
    if (part == GRAFT_VAL)
        return graft_decision_make(d, j->arena, &j->options, j->model, a, j->recipe.task, err);
    d->has_test = part == GRAFT_TEST && d->temperature > 0.0;
    if (!d->has_test) return 0;
    d->test[0] = graft_answers_reliability(a, j->recipe.task, 1.0);
    d->test[1] = graft_answers_reliability(a, j->recipe.task, d->temperature);
    return 0;
}

static int measure(phase *p, graft_part part, graft_measures *out, graft_err *err) {
    graft_job *j = p->job;
    graft_batches batches = {0};
    graft_answers told;
    graft_task task = j->recipe.task;
    int64_t n = 0;
    size_t n_labels = 0;
    const char *const *labels = graft_model_labels(j->model, &n_labels);
    graft_data_members(j->data, part, &n);
    if (n == 0) return 0;
    int rc = open_batches(&batches, p, part, false, err);
    if (rc == 0)
        rc = graft_evaluate(&out->answers, j->arena, j->env, p->suffix, p->state, &batches, task, labels,
                            j->recipe.dtype, err);
    if (rc == 0) rc = decide(j, part, &out->answers, err);
    if (rc == 0) rc = graft_decision_apply(&told, p->arena, &j->decision, &out->answers, err);
    if (rc == 0) rc = graft_answers_score(&out->score, &told, task, labels, err);
    if (rc == 0) {
        json_decref(out->all);
        rc = graft_answers_json(&out->all, &told, task, labels, err);
        out->n = out->answers.n;
    }
    graft_batches_close(&batches);
    return rc;
}

/* Samples that nobody has labelled yet: what the trained model says of them is what to label next. */
static int answer_unlabelled(phase *p, graft_err *err) {
    graft_job *j = p->job;
    size_t n_all = (size_t)graft_data_n_samples(j->data), n_labels = 0;
    const char *const *labels = graft_model_labels(j->model, &n_labels);
    int64_t *samples = graft_arena_array(p->arena, n_all + 1, sizeof *samples);
    graft_batches inner = {0}, batches = {0};
    graft_loader_options o = GRAFT_LOADER_OPTIONS_INIT;
    if (!samples) return graft_err_nomem(err);
    for (size_t i = 0; i < n_all; i++) {
        const graft_sample *s = graft_data_sample(j->data, (int64_t)i);
        if (s->label < 0 && s->state != GRAFT_BAD) samples[o.n_samples++] = (int64_t)i;
    }
    if (o.n_samples == 0 || j->recipe.task != GRAFT_TASK_CLASSES) return 0;
    o.samples = samples;
    o.batch = j->recipe.batch;
    int rc = graft_loader_open(&inner, j->data, &p->plain, &o, err);
    if (rc == 0 && p->prefix) rc = graft_prefix_batches_open(&batches, &inner, p->prefix, err);
    if (rc == 0)
        rc = graft_evaluate(&j->unlabelled, j->arena, j->env, p->suffix, p->state,
                            p->prefix ? &batches : &inner, j->recipe.task, labels, j->recipe.dtype, err);
    graft_batches_close(&batches);
    graft_batches_close(&inner);
    return rc;
}

/* The most tokens of a batch of the training part: those of its longest texts. */
static int64_t most_tokens(const graft_job *j) {
    int64_t n = 0, longest = 0, total = 0;
    const int64_t *members = graft_data_members(j->data, GRAFT_ALL, &n);
    for (int64_t i = 0; i < n; i++) {
        int64_t tokens = graft_data_tokens(j->data, members[i]);
        longest = tokens > longest ? tokens : longest;
        total += tokens > 0 ? tokens : 0;
    }
    int64_t most = longest * j->recipe.batch;
    return most < total ? most : total;
}

/* Texts become tokens before anything is planned: how many there are decides the memory. */
static int make_tokens(phase *p, graft_err *err) {
    graft_job *j = p->job;
    graft_batches loader = {0};
    graft_loader_options o = GRAFT_LOADER_OPTIONS_INIT;
    o.part = GRAFT_ALL;
    if (graft_data_modality(j->data) != GRAFT_TEXTS) return 0;
    int rc = graft_loader_open(&loader, j->data, &p->plain, &o, err);
    graft_batches_close(&loader);
    j->recipe.tokens = rc == 0 ? most_tokens(j) : 0;
    return rc;
}

/* ---- A phase ------------------------------------------------------------------------------------------------ */

static int open_phase(phase *p, graft_job *j, size_t i, graft_err *err) {
    *p = (phase){.job = j, .index = i, .choice = &j->choices[i], .arena = graft_arena_new(NULL)};
    if (!p->arena) return graft_err_nomem(err);
    graft_job_recipe(j, i);
    int rc = graft_transform_of(&p->plain, j->model, NULL, err);
    if (rc == 0) rc = make_tokens(p, err);
    return rc < 0 ? rc : split(p, &j->phases[i], err);
}

static void close_phase(phase *p) {
    graft_shelf_free(p->last);
    graft_features_free(p->features);
    graft_state_free(p->state);
    graft_prefix_free(p->prefix);
    graft_arena_free(p->arena);
}

/* ---- Memory ---------------------------------------------------------------------------------------------- */

/* Bytes that may be used: what was asked, else most of what is free now. */
static size_t memory_limit(const graft_job *j) {
    struct sysinfo info;
    if (j->options.memory) return (size_t)j->options.memory;
    if (sysinfo(&info) < 0) return SIZE_MAX;
    return (size_t)((double)(info.freeram + info.bufferram) * (double)info.mem_unit * 0.9);
}

/* Bytes beside those of training. */
static size_t own_memory(const phase *p) {
    return (p->prefix ? p->prefix->memory : 0) + graft_relay_size(p->job, p->index);
}

/* No micro-batch of fewer samples than `least`. */
static int fit_memory(phase *p, int64_t least, graft_err *err) {
    graft_job *j = p->job;
    size_t limit = memory_limit(j), own = own_memory(p);
    if (own >= limit)
        return graft_err_set(err, GRAFT_EUSAGE,
                             "the frozen part and what earlier phases hand on need %.1f MiB, the %.1f MiB "
                             "allowed leave nothing to train in: raise --memory",
                             (double)own / 0x1p20, (double)limit / 0x1p20);
    return graft_learn_fit_memory(&j->recipe, j->env, p->suffix, limit - own, least, err);
}

/* Whether batch norms train their statistics by default alone: they need not. */
static bool may_keep_statistics(const phase *p) {
    const graft_job *j = p->job;
    bool any = false;
    for (size_t k = 0; k < graft_model_n_params(j->model) && !any; k++)
        any = j->phases[p->index].trains[k] && graft_model_param(j->model, k)->kind == GRAFT_PARAM_STATISTIC;
    return any && p->choice->statistics && !j->options.norm && !graft_job_learns_anew(j);
}

/* The phase anew, its statistics trained or not. */
static int reopen(phase *p, bool statistics, graft_err *err) {
    graft_job *j = p->job;
    size_t i = p->index;
    close_phase(p);
    j->choices[i].statistics = statistics;
    return open_phase(p, j, i, err);
}

/* Statistics of a few samples at a time are noise. Where the limit leaves no more the pretrained ones stay,
 * unless it is so tight that those do not fit at all: norms are joined with their relu only while they train.
 */
static int make_fit(phase *p, graft_err *err) {
    graft_job *j = p->job;
    if (!may_keep_statistics(p)) return fit_memory(p, 1, err);
    int rc = fit_memory(p, GRAFT_LEAST_FOR_STATISTICS, err);
    if (rc != GRAFT_EUSAGE) return rc;
    if ((rc = reopen(p, false, err)) < 0) return rc;
    rc = fit_memory(p, 1, err);
    if (rc == 0)
        graft_env_log(j->env, GRAFT_LOG_WARNING,
                      "batch norms keep their pretrained statistics: within %.1f MiB there is no room for "
                      "eight samples at a time, and those of fewer are noise (--norm train trains them all "
                      "the same)",
                      (double)memory_limit(j) / 0x1p20);
    if (rc != GRAFT_EUSAGE) return rc;
    if ((rc = reopen(p, true, err)) < 0) return rc;
    return fit_memory(p, 1, err);
}

static int plan_memory(phase *p, graft_err *err) {
    graft_job *j = p->job;
    size_t needs = 0, limit = memory_limit(j);
    j->recipe.micro_batch = j->recipe.batch;
    j->recipe.segments = 0;
    int rc = j->options.memory ? make_fit(p, err) : 0;
    if (rc == 0) rc = graft_learn_memory(&needs, j->env, p->suffix, &j->recipe, err);
    if (rc < 0) return rc;
    needs += own_memory(p);
    if (needs > j->peak_memory) j->peak_memory = needs;
    graft_env_log(j->env, needs > limit ? GRAFT_LOG_WARNING : GRAFT_LOG_INFO,
                  "peak memory of programs and weights: %.1f MiB%s", (double)needs / 0x1p20,
                  needs > limit ? ", more than is free: --memory makes it fit" : "");
    if (j->recipe.micro_batch < j->recipe.batch || j->recipe.segments) {
        graft_env_log(
            j->env, GRAFT_LOG_INFO,
            "to stay within %.1f MiB: micro-batches of %lld gathered to %lld, activations recomputed in %d "
            "segments",
            (double)limit / 0x1p20, (long long)j->recipe.micro_batch, (long long)j->recipe.batch,
            j->recipe.segments);
    }
    return 0;
}

/* ---- Its run ------------------------------------------------------------------------------------------------ */

/* Can the answers to the training part be kept? Those to very many samples of very many classes would fill
 * the memory. */
static bool train_fits(const graft_job *j) {
    enum { MOST_LOGITS = 1 << 26 };
    int64_t n = 0;
    graft_data_members(j->data, GRAFT_TRAIN, &n);
    return n <= MOST_LOGITS / j->recipe.n_classes;
}

static int measure_all(phase *p, graft_err *err) {
    int rc = measure(p, GRAFT_VAL, &p->job->validation, err);
    if (rc == 0) rc = measure(p, GRAFT_TEST, &p->job->test, err);
    if (rc == 0 && p->job->extras.train && train_fits(p->job))
        rc = measure(p, GRAFT_TRAIN, &p->job->train, err);
    return rc == 0 && p->job->extras.unlabelled ? answer_unlabelled(p, err) : rc;
}

int graft_job_measure(graft_job *j, size_t i, graft_err *err) {
    phase p;
    int rc = open_phase(&p, j, i, err);
    if (rc == 0) rc = see_samples(&p, err);
    if (rc == 0) rc = graft_state_new(&p.state, j->env, err);
    if (rc == 0) rc = measure_all(&p, err);
    close_phase(&p);
    return rc;
}

/* --lr find, before the first phase. */
static int find_rate(phase *p, graft_err *err) {
    graft_job *j = p->job;
    graft_batches training = {0};
    if (j->class_weights) graft_data_class_weights(j->data, GRAFT_TRAIN, j->class_weights);
    j->recipe.class_weights = j->class_weights;
    graft_job_prior(j);
    int rc = open_batches(&training, p, GRAFT_TRAIN, true, err);
    if (rc == 0) rc = graft_job_rate_find(j, p->suffix, &training, err);
    graft_batches_close(&training);
    graft_job_recipe(j, p->index);
    return rc;
}

/* Phase i ran into numbers that are not finite: it is the last one, or where it has no good epoch the one
 * before it is. Without that either there is nothing to keep. */
static int end_early(graft_job *j, size_t i, bool has_best, const graft_err *why) {
    if (!has_best && i == 0) return why->code;
    j->diverged = *why;
    j->n_phases = has_best ? i + 1 : i;
    return 0;
}

static int run_phase(phase *p, graft_err *err) {
    graft_job *j = p->job;
    graft_training training = {0};
    graft_err why = {0};
    int rc = see_samples(p, err);
    j->settled = rc == 0;
    if (rc == 0 && p->index + 1 < j->n_phases) rc = graft_shelf_new(&p->last, err);
    if (rc == 0) rc = graft_state_new(&p->state, j->env, err);
    if (rc == 0) rc = graft_relay_moments(j, p->index, p->state, err);
    if (rc < 0) return rc;
    if (j->options.lr < 0 && (rc = find_rate(p, err)) < 0) return rc;
    rc = train(p, &training, &why);
    if (rc == GRAFT_EDIVERGED) rc = end_early(j, p->index, training.best_epoch > 0, &why);
    if (rc < 0) return graft_err_set(err, rc, "%s", why.message);
    if (j->n_phases == p->index) return graft_relay_end_before(j, p->index, err);
    bool is_last = p->index + 1 == j->n_phases;
    if (rc == 0) rc = graft_relay_take(j, p->index, p->suffix, p->state, p->last, &training, err);
    if (rc == 0 && is_last && j->relay.best_phase == p->index) rc = measure_all(p, err);
    return rc;
}

int graft_job_phase(graft_job *j, size_t i, graft_err *err) {
    phase p;
    if (j->n_phases > 1)
        graft_env_log(j->env, GRAFT_LOG_INFO, "phase %zu of %zu: %s, %lld epochs at %g", i + 1, j->n_phases,
                      j->phases[i].plan, (long long)j->choices[i].epochs, j->choices[i].lr);
    int rc = open_phase(&p, j, i, err);
    if (rc == 0) rc = plan_memory(&p, err);
    if (rc == 0 && !j->options.dry_run) rc = run_phase(&p, err);
    close_phase(&p);
    if (j->options.dry_run) j->relay.next = i + 1;
    bool elsewhere = i + 1 >= j->n_phases && j->relay.best_phase != i && !j->options.dry_run;
    return rc == 0 && elsewhere ? graft_job_measure(j, j->relay.best_phase, err) : rc;
}
