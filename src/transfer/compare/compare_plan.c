/* What is to be run: plans and sizes from their texts, held against the model and the data before the first
 * run, since a plan that does not fit should not be found out after an hour. */
#include "transfer/compare/compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char default_plans[] = "scratch,head,top:1,full,lora";
static const char default_sizes[] = "5,10,20,50,all";

/* The parts of a list between its commas, blanks around them left out; or between its semicolons, where it
 * has some. */
static int cut(const char ***out, size_t *n, graft_arena *arena, const char *text, graft_err *err) {
    bool semicolons = strchr(text, ';') != NULL;
    char *copy = graft_arena_strdup(arena, text);
    const char **parts = graft_arena_array(arena, strlen(text) + 1, sizeof *parts);
    if (!copy || !parts) return graft_err_nomem(err);
    *n = 0;
    for (char *rest = copy, *part; (part = strsep(&rest, semicolons ? ";" : ","));) {
        part += strspn(part, " ");
        for (size_t size = strlen(part); size && part[size - 1] == ' ';) part[--size] = '\0';
        if (!semicolons && *n && graft_strategy_goes_on(parts[*n - 1], part)) {
            parts[*n - 1] = graft_arena_printf(arena, "%s,%s", parts[*n - 1], part);
            if (!parts[*n - 1]) return graft_err_nomem(err);
        } else if (*part) {
            parts[(*n)++] = part;
        }
    }
    *out = parts;
    return 0;
}

static const char *about(graft_arena *arena, const char *name) {
    if (strcmp(name, "scratch") == 0) return "from scratch";
    if (strcmp(name, "head") == 0) return "pretrained, head only";
    if (strcmp(name, "full") == 0) return "pretrained, all layers";
    if (strncmp(name, "top:", 4) == 0) return graft_arena_printf(arena, "pretrained, top %s", name + 4);
    if (strncmp(name, "lora", 4) == 0) return "pretrained, adapters";
    return graft_arena_printf(arena, "pretrained, %s", name);
}

static int read_plans(graft_comparison *c, graft_err *err) {
    const char **names;
    size_t n;
    int rc = cut(&names, &n, c->arena, c->options.plans ? c->options.plans : default_plans, err);
    if (rc < 0) return rc;
    if (n == 0) return graft_err_set(err, GRAFT_EUSAGE, "--plans names none");
    if (n > GRAFT_COMPARE_MOST_PLANS)
        return graft_err_set(err, GRAFT_EUSAGE, "%zu plans; at most %d can be compared", n,
                             GRAFT_COMPARE_MOST_PLANS);
    c->plans = graft_arena_array(c->arena, n, sizeof *c->plans);
    if (!c->plans) return graft_err_nomem(err);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < i; k++)
            if (strcmp(names[k], names[i]) == 0)
                return graft_err_set(err, GRAFT_EUSAGE, "--plans has '%s' twice", names[i]);
        bool scratch = strcmp(names[i], "scratch") == 0;
        c->plans[i] =
            (graft_compare_plan){names[i], scratch ? "full" : names[i], about(c->arena, names[i]), scratch};
        if (!c->plans[i].about) return graft_err_nomem(err);
    }
    c->n_plans = n;
    return 0;
}

static int by_size(const void *x, const void *y) {
    int64_t a = ((const graft_compare_size *)x)->per_class, b = ((const graft_compare_size *)y)->per_class;
    if (a == 0 || b == 0) return (a == 0) - (b == 0); /* all is the largest */
    return a < b ? -1 : a > b;
}

static int read_sizes(graft_comparison *c, graft_err *err) {
    const char **parts;
    size_t n;
    int rc = cut(&parts, &n, c->arena, c->options.per_class ? c->options.per_class : default_sizes, err);
    if (rc < 0) return rc;
    if (n == 0 || n > GRAFT_COMPARE_MOST_SIZES)
        return graft_err_set(err, GRAFT_EUSAGE, "--per-class needs 1 to %d sizes such as 5,10,20,all",
                             GRAFT_COMPARE_MOST_SIZES);
    c->sizes = graft_arena_array(c->arena, n, sizeof *c->sizes);
    if (!c->sizes) return graft_err_nomem(err);
    for (size_t i = 0; i < n; i++) {
        char *end = NULL;
        long long size = strcmp(parts[i], "all") == 0 ? 0 : strtoll(parts[i], &end, 10);
        if (end && (*end || end == parts[i] || size < 2 || size > 1000000000))
            return graft_err_set(err, GRAFT_EUSAGE,
                                 "--per-class '%s': give numbers of 2 and more, and all, such as 5,10,20,all",
                                 parts[i]);
        c->sizes[i].per_class = size;
    }
    qsort(c->sizes, n, sizeof *c->sizes, by_size);
    for (size_t i = 0; i < n; i++) /* each once */
        if (i == 0 || c->sizes[i].per_class != c->sizes[c->n_sizes - 1].per_class)
            c->sizes[c->n_sizes++] = c->sizes[i];
    return 0;
}

static int64_t most_trained(const graft_job *j) {
    int64_t most = 0;
    for (size_t i = 0; i < j->n_phases; i++) {
        int64_t n = 0;
        for (size_t s = 0; s < graft_model_n_stages(j->model); s++)
            n += graft_phase_trained_in(&j->phases[i], j->model, s);
        most = n > most ? n : most;
    }
    return most;
}

/* Multiply-adds of a run by samples and tokens, which all plans have alike; and of an update. */
static int plan_work(graft_compare_plan *out, const graft_job *j, graft_err *err) {
    graft_arena *arena = graft_arena_new(NULL);
    int rc = arena ? 0 : graft_err_nomem(err);
    double rows_of_batch = (double)(j->recipe.tokens ? j->recipe.tokens : j->recipe.batch);
    for (size_t i = 0; i < j->n_phases && rc == 0; i++) {
        const graft_phase_choice *choice = &j->choices[i];
        graft_graph *g = NULL;
        graft_plan plan;
        rc = graft_model_graph(&g, arena, j->model, 0, 0, err);
        if (rc == 0) rc = graft_mark_trained(g, j->model, &j->phases[i], choice->statistics, err);
        if (rc == 0) rc = graft_plan_derive(&plan, arena, g, err);
        if (rc < 0) break;
        graft_cost cost = graft_graph_cost(g, &plan);
        double rows = choice->use_cache ? 1.0 + (double)choice->variants : (double)choice->epochs;
        double step = cost.forward + cost.backward;
        out->work += rows * cost.frozen + (double)choice->epochs * step;
        out->update = fmax(out->update, rows_of_batch * step);
    }
    graft_arena_free(arena);
    return rc;
}

/* A job of the plan that opens and chooses everything, and trains nothing. */
static int try_plan(graft_job *j, graft_comparison *c, graft_compare_plan *plan, graft_err *err) {
    *j = (graft_job){.env = graft_voice_env(c->opening),
                     .model_path = c->model,
                     .data_path = c->data,
                     .options = c->options.fit,
                     .arena = c->arena,
                     .lock = -1,
                     .begun = graft_now()};
    j->options.train = plan->train;
    j->options.from_scratch = plan->from_scratch;
    j->options.dry_run = true;
    int rc = graft_job_run(j, err);
    if (rc < 0) return rc;
    plan->n_trained = most_trained(j);
    plan->memory = j->peak_memory;
    return plan_work(plan, j, err);
}

/* Is what went wrong the plan's own fault, so that the others can go on? */
static bool is_the_plans(int rc) {
    return rc == GRAFT_EUSAGE || rc == GRAFT_EUNSUPPORTED;
}

/* Drops plans of the default list that this model does not have; one that was asked for is an error. The
 * first pretrained one's job stays open. */
static int check_plans(graft_comparison *c, graft_err *err) {
    size_t kept = 0;
    bool have_facts = false;
    for (size_t i = 0; i < c->n_plans; i++) {
        graft_job job;
        graft_err why = {0};
        int rc = try_plan(&job, c, &c->plans[i], &why);
        bool takes_facts =
            rc == 0 && (!have_facts || (graft_model_is_scratch(c->facts.model) && !c->plans[i].from_scratch));
        if (takes_facts && have_facts) graft_job_close(&c->facts);
        if (takes_facts)
            c->facts = job;
        else
            graft_job_close(&job);
        have_facts = have_facts || takes_facts;
        if (rc < 0 && (c->options.plans || !is_the_plans(rc) || (kept == 0 && i + 1 == c->n_plans)))
            return graft_err_set(err, rc, "%s", why.message);
        if (rc < 0) {
            graft_env_log(c->env, GRAFT_LOG_INFO, "not compared: %s (%s)", c->plans[i].name, why.message);
            continue;
        }
        c->plans[kept++] = c->plans[i];
    }
    c->n_plans = kept;
    if (graft_model_is_scratch(c->facts.model) && (kept > 1 || !c->plans[0].from_scratch))
        graft_env_log(c->env, GRAFT_LOG_WARNING, "'%s' has no pretrained weights: nothing can be transferred",
                      c->model);
    return 0;
}

/* Labelled samples of a class that a run may use: those for training, and for the validation part that it
 * makes. */
static int64_t labels_of(const graft_comparison *c, int32_t label) {
    const graft_data *d = c->facts.data;
    int64_t n = 0;
    if (graft_data_task(d) != GRAFT_TASK_CLASSES) {
        int64_t n_val = 0;
        graft_data_members(d, GRAFT_TRAIN, &n);
        graft_data_members(d, GRAFT_VAL, &n_val);
        return c->validation_is_made ? n + n_val : n;
    }
    n = graft_data_count(d, GRAFT_TRAIN, label);
    return c->validation_is_made ? n + graft_data_count(d, GRAFT_VAL, label) : n;
}

/* A size that no class fills is the same as all. One that some do not fill is said. */
static void check_sizes(graft_comparison *c) {
    size_t kept = 0;
    bool has_all = c->sizes[c->n_sizes - 1].per_class == 0, dropped = false;
    for (size_t i = 0; i < c->n_sizes; i++) {
        graft_compare_size s = c->sizes[i];
        int64_t n_more = 0, least = INT64_MAX;
        int32_t shortest = -1;
        for (int32_t k = 0; k < c->n_classes && s.per_class; k++) {
            int64_t n = labels_of(c, k);
            s.n_short_classes += n < s.per_class;
            n_more += n > s.per_class;
            if (n < least) {
                least = n;
                shortest = k;
            }
        }
        if (s.per_class && n_more == 0) {
            graft_env_log(c->env, GRAFT_LOG_INFO, "%lld labels a class are no fewer than all: not run twice",
                          (long long)s.per_class);
            dropped = true;
            continue;
        }
        if (s.n_short_classes)
            graft_env_log(
                c->env, GRAFT_LOG_WARNING,
                "%lld of %lld classes have fewer than %lld labels, such as '%s' with %lld: they give what "
                "they have",
                (long long)s.n_short_classes, (long long)c->n_classes, (long long)s.per_class,
                graft_data_class(c->facts.data, shortest), (long long)least);
        c->sizes[kept++] = s;
    }
    if (dropped && !has_all) c->sizes[kept++] = (graft_compare_size){0};
    c->n_sizes = kept;
}

/* Parts as every run will have them, and what the runs are judged by. */
static int settle(graft_comparison *c, graft_err *err) {
    graft_data *d = c->facts.data;
    int64_t given = 0, test = 0, validation = 0;
    graft_data_members(d, GRAFT_VAL, &validation);
    graft_data_members(d, GRAFT_TEST, &given);
    c->validation_is_made = validation == 0;
    int rc = graft_data_hash(d, err);
    if (rc == 0) rc = graft_data_settle(d, err);
    if (rc < 0) return rc;
    graft_data_members(d, GRAFT_TEST, &test);
    graft_data_members(d, GRAFT_VAL, &validation);
    c->judged = given ? "given" : test ? "held out" : "validation";
    c->n_classes = graft_data_task(d) == GRAFT_TASK_CLASSES ? graft_data_n_classes(d) : 1;
    if (test == 0 && validation == 0)
        return graft_err_set(err, GRAFT_EDATA,
                             "'%s': no part is left to judge by; give more samples, or a test part", c->data);
    if (test == 0)
        graft_env_log(c->env, GRAFT_LOG_WARNING,
                      "there is no test part: the validation part, which chooses the epochs, judges too");
    else if (!given)
        graft_env_log(c->env, GRAFT_LOG_INFO,
                      "%lld samples are held out for the test, the same for every run", (long long)test);
    return 0;
}

/* Of weights, contents and options; plan, size and seed are each run's own. */
static int identify(graft_comparison *c, graft_err *err) {
    graft_fit_options shared = c->options.fit;
    graft_hasher *h = graft_hasher_new(c->arena);
    graft_graph *graph = NULL;
    graft_hash model, data = graft_data_fingerprint(c->facts.data);
    int rc = h ? graft_model_graph(&graph, c->arena, c->facts.model, 0, 0, err) : graft_err_nomem(err);
    if (rc == 0) rc = graft_graph_hash(graph, &model, err);
    if (rc < 0) return rc;
    shared.seed = 0;
    graft_hasher_text(h, graft_version());
    graft_hasher_add(h, &model, sizeof model);
    graft_hasher_add(h, &data, sizeof data);
    graft_trial_hash(h, &shared);
    c->identity = graft_hasher_end(h);
    return 0;
}

int graft_comparison_plan(graft_comparison *c, graft_err *err) {
    int rc = read_plans(c, err);
    if (rc == 0) rc = read_sizes(c, err);
    if (rc < 0) return rc;
    if (c->options.seeds < 0 || c->options.seeds > GRAFT_COMPARE_MOST_SEEDS)
        return graft_err_set(err, GRAFT_EUSAGE, "--seeds %lld: 1 to %d are possible",
                             (long long)c->options.seeds, GRAFT_COMPARE_MOST_SEEDS);
    c->n_seeds = c->options.seeds ? (size_t)c->options.seeds : 3;
    graft_voice_begin(c->opening, "opening", true);
    rc = check_plans(c, err);
    if (rc == 0) rc = settle(c, err);
    graft_voice_end(c->opening);
    if (rc < 0) return rc;
    check_sizes(c);
    if (c->n_seeds == 1)
        graft_env_log(c->env, GRAFT_LOG_INFO, "one seed: how far runs differ by chance cannot be told");
    c->runs = graft_arena_array(c->arena, c->n_seeds * c->n_sizes * c->n_plans, sizeof *c->runs);
    c->lost = graft_arena_array(c->arena, c->n_sizes * c->n_plans, sizeof *c->lost);
    return c->runs && c->lost ? identify(c, err) : graft_err_nomem(err);
}
