/* OUT/runs.jsonl: one finished run a line. A later comparison takes back the runs that are its own: those of
 * the same weights, contents, options, plan, size and seed, whatever else it compares. Losses of classes are
 * a string of 0 and 1 a run, so that a hundred runs over a hundred thousand samples stay readable. */
#include "transfer/compare/compare.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CEILING = 1 << 30 };

/* What names a run among all that the file may hold. */
static int key_of(char out[33], const graft_comparison *c, size_t plan, size_t size, size_t seed,
                  graft_err *err) {
    graft_arena *arena = graft_arena_new(NULL);
    graft_hasher *h = arena ? graft_hasher_new(arena) : NULL;
    if (h) {
        const uint64_t numbers[] = {(uint64_t)c->sizes[size].per_class, c->options.fit.seed + seed};
        graft_hasher_add(h, &c->identity, sizeof c->identity);
        graft_hasher_text(h, c->plans[plan].name);
        graft_hasher_add(h, numbers, sizeof numbers);
        graft_hash_hex(graft_hasher_end(h), out);
    }
    graft_arena_free(arena);
    return h ? 0 : graft_err_nomem(err);
}

/* ---- Writing ---- */

static json_t *history_json(const graft_compare_run *r) {
    json_t *list = json_array();
    for (int64_t i = 0; i < r->n_epochs; i++) {
        const graft_epoch *e = &r->history[i];
        json_array_append_new(list, json_pack("[f,f,f,o,o]", e->seconds, e->train_loss, e->train_accuracy,
                                              graft_json_number(e->evaluated ? e->loss : NAN),
                                              graft_json_number(e->evaluated ? e->score : NAN)));
    }
    return list;
}

static json_t *losses_json(const graft_compare_run *r, graft_task task) {
    if (task != GRAFT_TASK_CLASSES) {
        json_t *list = json_array();
        for (int64_t i = 0; i < r->n; i++) json_array_append_new(list, json_real((double)r->loss[i]));
        return list;
    }
    char *text = malloc((size_t)r->n + 1);
    if (!text) return NULL;
    for (int64_t i = 0; i < r->n; i++) text[i] = r->loss[i] > 0.0f ? '1' : '0';
    json_t *o = json_stringn(text, (size_t)r->n);
    free(text);
    return o;
}

static json_t *samples_json(const int64_t *samples, int64_t n) {
    json_t *list = json_array();
    for (int64_t i = 0; i < n; i++) json_array_append_new(list, json_integer(samples[i]));
    return list;
}

static json_t *doubts_json(const graft_compare_run *r) {
    if (r->n_doubts == 0) return json_null();
    json_t *list = json_array();
    for (int64_t i = 0; i < r->n_doubts; i++)
        json_array_append_new(list, json_pack("[I,i,f]", (json_int_t)r->doubt_samples[i],
                                              (int)r->predicted[i], (double)r->margin[i]));
    return list;
}

/* Samples that judge are the test part's in every run, and need no list of their own then. */
static bool judges_are_the_test_part(const graft_comparison *c, const graft_compare_run *r) {
    int64_t n = 0;
    const int64_t *test = graft_data_members(c->facts.data, GRAFT_TEST, &n);
    return n == r->n && n > 0 && memcmp(test, r->samples, (size_t)n * sizeof *test) == 0;
}

static json_t *whole_json(const graft_comparison *c, const graft_compare_run *r, const char *key, size_t plan,
                          size_t size, size_t seed) {
    json_t *samples = judges_are_the_test_part(c, r) ? json_null() : samples_json(r->samples, r->n);
    return json_pack("{s:s,s:s,s:I,s:I,s:o,s:o,s:o,s:f,s:I,s:I,s:I,s:I,s:I,s:o,s:o,s:o,s:o}", "key", key,
                     "plan", c->plans[plan].name, "seed", (json_int_t)(c->options.fit.seed + seed),
                     "per_class", (json_int_t)c->sizes[size].per_class, "score", graft_json_number(r->score),
                     "validation", graft_json_number(r->validation), "train", graft_json_number(r->train),
                     "seconds", r->seconds, "labels", (json_int_t)r->labels, "n_train",
                     (json_int_t)r->n_train, "n_validation", (json_int_t)r->n_validation, "best_epoch",
                     (json_int_t)r->best_epoch, "memory", (json_int_t)r->memory, "history", history_json(r),
                     "samples", samples, "losses", losses_json(r, graft_data_task(c->facts.data)), "doubts",
                     doubts_json(r));
}

static json_t *run_json(const graft_comparison *c, const graft_compare_run *r, const char *key, size_t plan,
                        size_t size, size_t seed) {
    bool is_lost = r->diverged && !isfinite(r->score);
    json_t *o = is_lost ? json_pack("{s:s,s:s,s:I,s:I,s:f}", "key", key, "plan", c->plans[plan].name, "seed",
                                    (json_int_t)(c->options.fit.seed + seed), "per_class",
                                    (json_int_t)c->sizes[size].per_class, "seconds", r->seconds)
                        : whole_json(c, r, key, plan, size, seed);
    if (o && r->diverged) json_object_set_new(o, "diverged", graft_json_string(r->diverged));
    return o;
}

/* ---- Reading ---- */

static double real_of(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

static int64_t integer_of(const json_t *o, const char *key) {
    return json_integer_value(json_object_get(o, key));
}

static bool read_history(graft_compare_run *r, graft_arena *arena, const json_t *list) {
    r->n_epochs = (int64_t)json_array_size(list);
    r->history = graft_arena_array(arena, (size_t)r->n_epochs + 1, sizeof *r->history);
    for (int64_t i = 0; r->history && i < r->n_epochs; i++) {
        const json_t *row = json_array_get(list, (size_t)i);
        const json_t *score = json_array_get(row, 4);
        r->history[i] = (graft_epoch){.epoch = i + 1,
                                      .seconds = json_number_value(json_array_get(row, 0)),
                                      .train_loss = json_number_value(json_array_get(row, 1)),
                                      .train_accuracy = json_number_value(json_array_get(row, 2)),
                                      .evaluated = json_is_number(score),
                                      .loss = json_number_value(json_array_get(row, 3)),
                                      .score = json_number_value(score)};
    }
    return r->history && json_is_array(list);
}

/* The samples that judge, and their losses; false when they are not this data's. */
static bool read_losses(graft_compare_run *r, const graft_comparison *c, const json_t *o) {
    const json_t *samples = json_object_get(o, "samples"), *losses = json_object_get(o, "losses");
    int64_t n_all = graft_data_n_samples(c->facts.data), n_test = 0;
    const int64_t *test = graft_data_members(c->facts.data, GRAFT_TEST, &n_test);
    bool listed = json_is_array(samples), text = json_is_string(losses);
    size_t n = listed ? json_array_size(samples) : (size_t)n_test;
    if (n == 0 || n != (text ? json_string_length(losses) : json_array_size(losses))) return false;
    r->n = (int64_t)n;
    r->samples = graft_arena_array(c->arena, n, sizeof *r->samples);
    r->loss = graft_arena_array(c->arena, n, sizeof *r->loss);
    if (!r->samples || !r->loss) return false;
    for (size_t i = 0; i < n; i++) {
        r->samples[i] = listed ? json_integer_value(json_array_get(samples, i)) : test[i];
        r->loss[i] = text ? (float)(json_string_value(losses)[i] == '1')
                          : (float)json_number_value(json_array_get(losses, i));
        if (r->samples[i] < 0 || r->samples[i] >= n_all) return false;
    }
    return true;
}

static bool read_doubts(graft_compare_run *r, const graft_comparison *c, const json_t *list) {
    size_t n = json_array_size(list);
    int64_t n_all = graft_data_n_samples(c->facts.data);
    r->n_doubts = (int64_t)n;
    r->doubt_samples = graft_arena_array(c->arena, n + 1, sizeof *r->doubt_samples);
    r->predicted = graft_arena_array(c->arena, n + 1, sizeof *r->predicted);
    r->margin = graft_arena_array(c->arena, n + 1, sizeof *r->margin);
    if (!r->doubt_samples || !r->predicted || !r->margin) return false;
    for (size_t i = 0; i < n; i++) {
        const json_t *row = json_array_get(list, i);
        int64_t predicted = json_integer_value(json_array_get(row, 1));
        r->doubt_samples[i] = json_integer_value(json_array_get(row, 0));
        r->margin[i] = (float)json_number_value(json_array_get(row, 2));
        if (r->doubt_samples[i] < 0 || r->doubt_samples[i] >= n_all || predicted < 0 ||
            predicted >= c->n_classes)
            return false;
        r->predicted[i] = (int32_t)predicted;
    }
    return true;
}

/* NULL when the record is not whole: the run is then made again. */
static graft_compare_run *read_run(const graft_comparison *c, const json_t *o) {
    graft_compare_run *r = graft_arena_alloc(c->arena, sizeof *r);
    if (!r) return NULL;
    *r = (graft_compare_run){.score = real_of(o, "score"),
                             .validation = real_of(o, "validation"),
                             .train = real_of(o, "train"),
                             .seconds = real_of(o, "seconds"),
                             .labels = integer_of(o, "labels"),
                             .n_train = integer_of(o, "n_train"),
                             .n_validation = integer_of(o, "n_validation"),
                             .best_epoch = integer_of(o, "best_epoch"),
                             .memory = (size_t)integer_of(o, "memory")};
    const char *diverged = json_string_value(json_object_get(o, "diverged"));
    if (diverged && !(r->diverged = graft_arena_strdup(c->arena, diverged))) return NULL;
    if (diverged && !json_object_get(o, "score")) return r;
    bool whole = isfinite(r->score) && isfinite(r->seconds) && r->labels > 0;
    whole = whole && read_history(r, c->arena, json_object_get(o, "history")) && read_losses(r, c, o);
    return whole && read_doubts(r, c, json_object_get(o, "doubts")) ? r : NULL;
}

/* What is compared is what the file says, in its digits, so that a comparison that was taken up says the same
 * as one that went through. */
static void read_back(graft_compare_run **run, const graft_comparison *c, const json_t *o) {
    char *text = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(12));
    json_t *again = text ? json_loads(text, 0, NULL) : NULL;
    graft_compare_run *r = again ? read_run(c, again) : NULL;
    if (r) *run = r;
    json_decref(again);
    free(text);
}

int graft_comparison_note(graft_compare_run **run, graft_comparison *c, size_t plan, size_t size, size_t seed,
                          graft_err *err) {
    char key[33];
    const graft_compare_run *r = *run;
    int rc = key_of(key, c, plan, size, seed, err);
    if (rc < 0) return rc;
    json_t *o = run_json(c, r, key, plan, size, seed);
    if (!o) return graft_err_nomem(err);
    read_back(run, c, o);
    return graft_runlog_write(c->log, "run", o, err);
}

/* Which run of this comparison a key names: its place in c->runs. */
static int list_keys(graft_map *keys, const graft_comparison *c, graft_err *err) {
    char key[33];
    int64_t place = 0;
    for (size_t seed = 0; seed < c->n_seeds; seed++)
        for (size_t size = 0; size < c->n_sizes; size++)
            for (size_t plan = 0; plan < c->n_plans; plan++) {
                int rc = key_of(key, c, plan, size, seed, err);
                if (rc < 0) return rc;
                if (graft_map_put_str(keys, key, place++) < 0) return graft_err_nomem(err);
            }
    return 0;
}

static int take_line(graft_comparison *c, const graft_map *keys, graft_arena *scratch, const char *line,
                     size_t size, const char *path, graft_err *err) {
    json_t *o = NULL;
    int rc = graft_json_parse(&o, scratch, line, size, path, err);
    if (rc < 0) return rc;
    const char *key = json_string_value(json_object_get(o, "key"));
    int64_t place = key ? graft_map_get_str(keys, key) : -1;
    if (place < 0) return 0;
    graft_compare_run *r = read_run(c, o);
    int64_t n_validation = 0;
    graft_data_members(c->facts.data, GRAFT_VAL, &n_validation);
    bool needs_doubts = graft_data_task(c->facts.data) == GRAFT_TASK_CLASSES && n_validation > 0 &&
                        (size_t)place / c->n_plans % c->n_sizes + 1 == c->n_sizes;
    if (r && (!needs_doubts || r->n_doubts || !isfinite(r->score)))
        graft_comparison_put(c, r, (size_t)place % c->n_plans, (size_t)place / c->n_plans % c->n_sizes,
                             (size_t)place / c->n_plans / c->n_sizes);
    return 0;
}

static int take_back(graft_comparison *c, const char *path, graft_err *err) {
    graft_arena *scratch = graft_arena_new(NULL);
    graft_map *keys = scratch ? graft_map_new(scratch) : NULL;
    graft_arena *line_arena = scratch ? graft_arena_new(scratch) : NULL;
    char *text = NULL;
    size_t size = 0, n_taken = 0;
    int rc = keys && line_arena ? list_keys(keys, c, err) : graft_err_nomem(err);
    if (rc == 0) rc = graft_file_read(&text, &size, scratch, path, CEILING, err);
    for (size_t at = 0, end, number = 1; rc == 0 && at < size; at = end + 1, number++) {
        const char *newline = memchr(text + at, '\n', size - at);
        end = newline ? (size_t)(newline - text) : size;
        graft_err why = {0};
        rc = take_line(c, keys, line_arena, text + at, end - at, path, &why);
        graft_arena_reset(line_arena);
        if (rc < 0 && rc != GRAFT_EFORMAT) graft_err_set(err, rc, "%s", why.message);
        if (rc != GRAFT_EFORMAT) continue;
        graft_env_log(c->env, GRAFT_LOG_WARNING, "%s: line %zu is no record of a run: not used", path,
                      number);
        rc = 0;
    }
    for (size_t i = 0; rc == 0 && i < c->n_seeds * c->n_sizes * c->n_plans; i++)
        n_taken += c->runs[i] != NULL;
    if (n_taken) graft_env_log(c->env, GRAFT_LOG_INFO, "%zu finished runs are taken from %s", n_taken, path);
    graft_arena_free(scratch);
    return rc;
}

int graft_comparison_take_out(graft_comparison *c, graft_err *err) {
    if (c->lock >= 0) return 0;
    int rc = graft_dir_make(c->out, err);
    return rc == 0 ? graft_dir_lock(&c->lock, c->out, err) : rc;
}

int graft_comparison_open_log(graft_comparison *c, graft_err *err) {
    if (!c->out) return graft_runlog_open(&c->log, NULL, err);
    char *path = graft_path_join(c->arena, c->out, "runs.jsonl");
    int rc = path ? graft_comparison_take_out(c, err) : graft_err_nomem(err);
    if (rc == 0) rc = graft_runlog_open(&c->log, path, err);
    if (rc == 0 && c->options.fit.restart) rc = graft_runlog_keep(c->log, 0, err);
    return rc == 0 ? take_back(c, path, err) : rc;
}
