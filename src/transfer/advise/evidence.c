/* From taps to scores. Every sample is seen once: where there are few they all run through the taps, as a
 * fit's own samples do; of many only some of the training part. */
#include "transfer/advise/advise.h"
#include "transfer/advise/linalg.h"
#include "transfer/advise/words.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

/* As many for whoever asks, so that fit, compare and advise say the same of the same data. Of 5,452 questions
 * of TREC 500 would halve what judging costs, two seconds with all-MiniLM-L6-v2, and put its head, which
 * learns from so few then, five points lower. */
enum { MOST = 1000, A_CLASS = 5 };
/* Multiply-adds of one look at all samples, above which the probe is made with one weight decay and three
 * folds. */
static const double LONG_PROBE = 1e7;

typedef struct gathering {
    graft_model_evidence *e;
    graft_arena *arena; /* of what the evidence keeps */
    graft_arena *scratch;
    const graft_env *env;
    const graft_model *m;
    graft_data *data;
    const graft_evidence_options *o;
    graft_taps taps;
    graft_features *features;
    int64_t *samples; /* [n] judged by */
    int32_t *y;
    int64_t n;
    float *source; /* [n, logits.width] */
} gathering;

/* At most `most` of the members, of each class its share (a few at least), spread evenly over its order. */
static int pick(gathering *g, const int64_t *members, int64_t n, int64_t most, graft_err *err) {
    int32_t k = graft_data_n_classes(g->data);
    int64_t *counts = graft_arena_array(g->scratch, (size_t)k + 1, sizeof *counts);
    int64_t *seen = graft_arena_array(g->scratch, (size_t)k + 1, sizeof *seen);
    g->samples = graft_arena_array(g->scratch, (size_t)n + 1, sizeof *g->samples);
    g->y = graft_arena_array(g->scratch, (size_t)n + 1, sizeof *g->y);
    if (!counts || !seen || !g->samples || !g->y) return graft_err_nomem(err);
    for (int64_t i = 0; i < n; i++) counts[graft_data_sample(g->data, members[i])->label]++;
    for (int64_t i = 0; i < n; i++) {
        int32_t c = graft_data_sample(g->data, members[i])->label;
        int64_t wanted = n <= most ? counts[c] : (counts[c] * most + n - 1) / n, at = seen[c]++;
        if (wanted < A_CLASS) wanted = counts[c] < A_CLASS ? counts[c] : A_CLASS;
        if (at * wanted / counts[c] == (at + 1) * wanted / counts[c]) continue;
        g->y[g->n] = c;
        g->samples[g->n++] = members[i];
    }
    g->e->n_least = n;
    for (int32_t c = 0; c < k; c++) {
        if (counts[c] == 0) continue;
        g->e->n_classes++;
        if (counts[c] < g->e->n_least) g->e->n_least = counts[c];
        if (counts[c] > g->e->n_most) g->e->n_most = counts[c];
    }
    g->e->n_train = n;
    g->e->per_class = g->e->n_classes ? (double)n / (double)g->e->n_classes : 0.0;
    return 0;
}

static int make_rows(gathering *g, graft_err *err) {
    int64_t most = g->o->most > 0 ? g->o->most : MOST, n = 0;
    bool all = graft_data_n_samples(g->data) <= most + most / 2;
    graft_features_options o = {.dtype = g->o->dtype, .use_cache = g->o->use_cache, .check = all};
    double begun = graft_now();
    int rc = 0;
    if (all)
        rc = graft_features_new(&g->features, g->env, g->data, &g->taps.transform, g->taps.prefix, &o, err);
    else
        rc = graft_data_check(g->data, err);
    if (rc < 0) return rc;
    const int64_t *members = graft_data_members(g->data, GRAFT_TRAIN, &n);
    rc = pick(g, members, n, most, err);
    if (rc == 0 && !all) {
        o.samples = g->samples;
        o.n_samples = g->n;
        begun = graft_now();
        rc = graft_features_new(&g->features, g->env, g->data, &g->taps.transform, g->taps.prefix, &o, err);
    }
    if (rc == 0) graft_features_counts(g->features, &g->e->cached, &g->e->all);
    g->e->seconds = graft_now() - begun;
    return rc;
}

/* Samples that turned out to have no row leave. */
static void drop_missing(gathering *g) {
    int64_t kept = 0;
    for (int64_t i = 0; i < g->n; i++) {
        if (!graft_features_row(g->features, g->samples[i], -1)) continue;
        g->y[kept] = g->y[i];
        g->samples[kept++] = g->samples[i];
    }
    g->e->n_used = g->n = kept;
}

/* Columns of a tap, [n, width] in the scratch arena. */
static float *columns(gathering *g, const graft_tap *tap) {
    float *x = graft_arena_array(g->scratch, (size_t)g->n * tap->width + 1, sizeof *x);
    for (int64_t i = 0; x && i < g->n; i++)
        memcpy(x + (size_t)i * tap->width, graft_features_row(g->features, g->samples[i], -1) + tap->first,
               tap->width * sizeof *x);
    return x;
}

/* The old head's logits become probabilities. */
static int take_source(gathering *g, graft_err *err) {
    size_t k = g->taps.logits.width;
    if (k == 0) return 0;
    g->source = columns(g, &g->taps.logits);
    if (!g->source) return graft_err_nomem(err);
    for (int64_t i = 0; i < g->n; i++) {
        float *z = g->source + (size_t)i * k, most = z[0];
        double sum = 0;
        for (size_t c = 1; c < k; c++) most = z[c] > most ? z[c] : most;
        for (size_t c = 0; c < k; c++) sum += exp((double)(z[c] - most));
        for (size_t c = 0; c < k; c++) z[c] = (float)(exp((double)(z[c] - most)) / sum);
    }
    return 0;
}

static int probe(graft_probe_result *out, const gathering *g, const graft_labelled *f, graft_err *err) {
    bool is_long = (double)f->n * (double)f->rank * (double)f->k > LONG_PROBE;
    const graft_probe_options o = {.decay = is_long ? 1e-3 : 0.0,
                                   .folds = is_long ? 3 : 0,
                                   .tolerance = is_long ? 5e-4 : 0.0,
                                   .threads = graft_env_threads(g->env)};
    return graft_probe_cross_validate(out, f, &o, err);
}

static int judge_boundary(gathering *g, size_t i, graft_labelled *above, graft_err *err) {
    const graft_tap *tap = &g->taps.boundaries[i];
    graft_boundary_evidence *b = &g->e->boundaries[i];
    graft_labelled f;
    size_t n_rows = 0;
    const graft_transferability *const *rows = graft_transferabilities(&n_rows);
    float *x = columns(g, tap);
    *b = (graft_boundary_evidence){.plan = graft_arena_strdup(g->arena, tap->plan),
                                   .width = (int64_t)tap->width,
                                   .scores = graft_arena_array(g->arena, n_rows, sizeof *b->scores),
                                   .alike = NAN};
    if (!x || !b->plan || !b->scores) return graft_err_nomem(err);
    int rc = graft_labelled_make(&f, g->scratch, x, g->n, b->width, g->y, graft_data_n_classes(g->data),
                                 g->source, (int64_t)g->taps.logits.width, err);
    if (rc == 0) rc = probe(&b->probe, g, &f, err);
    if (rc == 0) rc = graft_knn_accuracy(&b->knn, NULL, &f, err);
    for (size_t s = 0; s < n_rows && rc == 0; s++) {
        b->scores[s] = NAN;
        if (!rows[s]->needs_source || g->source) rc = rows[s]->score(&b->scores[s], &f, err);
    }
    if (rc == 0 && i > 0) rc = graft_cka(&b->alike, above, &f, err);
    *above = f;
    return rc;
}

/* What a linear head makes of pixels or words themselves. */
static int judge_input(gathering *g, graft_err *err) {
    graft_labelled f;
    int64_t width = (int64_t)g->taps.input.width;
    float *x = NULL;
    if (width)
        x = columns(g, &g->taps.input);
    else if (graft_data_modality(g->data) == GRAFT_TEXTS)
        x = graft_words_hashed(g->scratch, g->data, g->samples, g->n, &width);
    if (!x) {
        g->e->input = (graft_probe_result){.accuracy = NAN, .log_loss = NAN};
        return width ? graft_err_nomem(err) : 0;
    }
    int rc = graft_labelled_make(&f, g->scratch, x, g->n, width, g->y, graft_data_n_classes(g->data), NULL, 0,
                                 err);
    return rc == 0 ? probe(&g->e->input, g, &f, err) : rc;
}

static int gather(gathering *g, graft_err *err) {
    int rc = graft_linalg_check(err); /* before an hour of features */
    if (rc == 0)
        rc = graft_taps_open(&g->taps, g->env, g->m, g->o->boundaries, g->o->source, g->o->dtype, err);
    if (rc == 0) rc = make_rows(g, err);
    if (rc < 0) return rc;
    drop_missing(g);
    if (g->n < 4 || g->e->n_classes < 2)
        return graft_err_set(err, GRAFT_EDATA,
                             "%lld training samples of %lld classes are too few to judge features by",
                             (long long)g->n, (long long)g->e->n_classes);
    graft_labelled above = {0};
    rc = take_source(g, err);
    for (size_t i = 0; i < g->taps.n_boundaries && rc == 0; i++) {
        rc = judge_boundary(g, i, &above, err);
        g->e->n_boundaries = i + 1;
    }
    if (rc == 0) rc = judge_input(g, err);
    if (rc == 0 && g->o->model_path && strcmp(g->taps.boundaries[0].plan, "head") == 0)
        rc = graft_likeness_measure(&g->e->likeness, columns(g, &g->taps.boundaries[0]), g->n,
                                    (int64_t)g->taps.boundaries[0].width, g->o->model_path, err);
    return rc;
}

int graft_evidence_gather(graft_model_evidence *out, graft_arena *arena, const graft_env *env,
                          const graft_model *m, graft_data *data, const graft_evidence_options *options,
                          graft_err *err) {
    gathering g = {.e = out,
                   .arena = arena,
                   .scratch = graft_arena_new(NULL),
                   .env = env,
                   .m = m,
                   .data = data,
                   .o = options};
    *out = (graft_model_evidence){.is_scratch = graft_model_is_scratch(m),
                                  .n_stages = graft_model_n_stages(m) - 1,
                                  .texts = graft_model_modality(m) == GRAFT_TEXTS};
    const int threads_before = omp_get_max_threads(); /* OpenBLAS takes as many as OpenMP would */
    omp_set_num_threads(graft_env_threads(env));
    int rc = g.scratch ? gather(&g, err) : graft_err_nomem(err);
    omp_set_num_threads(threads_before);
    graft_features_free(g.features);
    graft_taps_close(&g.taps);
    graft_arena_free(g.scratch);
    return rc;
}

/* ---- JSON ------------------------------------------------------------------------------------------------ */

static json_t *number(double x) {
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *probe_json(const graft_probe_result *p) {
    return json_pack("{s:o,s:o,s:o,s:I,s:I}", "accuracy", number(p->accuracy), "standard_error",
                     number(p->error), "log_loss", number(p->log_loss), "n", (json_int_t)p->n,
                     "classes_of_one_example", (json_int_t)p->n_alone);
}

static json_t *boundary_json(const graft_boundary_evidence *b) {
    size_t n = 0;
    const graft_transferability *const *rows = graft_transferabilities(&n);
    json_t *o = json_pack("{s:s,s:I,s:o,s:o,s:o}", "plan", b->plan, "width", (json_int_t)b->width, "probe",
                          probe_json(&b->probe), "knn", number(b->knn), "cka_with_above", number(b->alike));
    for (size_t i = 0; o && i < n; i++) json_object_set_new(o, rows[i]->name, number(b->scores[i]));
    return o;
}

json_t *graft_evidence_json(const graft_model_evidence *e) {
    json_t *boundaries = json_array();
    for (size_t i = 0; boundaries && i < e->n_boundaries; i++)
        json_array_append_new(boundaries, boundary_json(&e->boundaries[i]));
    json_t *likeness = e->likeness.known
                           ? json_pack("{s:o,s:o,s:o}", "frechet", number(e->likeness.frechet), "mmd",
                                       number(e->likeness.mmd), "proxy_a", number(e->likeness.proxy_a))
                           : json_null();
    return json_pack("{s:I,s:I,s:I,s:f,s:I,s:I,s:I,s:o,s:o,s:o}", "n_train", (json_int_t)e->n_train,
                     "n_judged", (json_int_t)e->n_used, "n_classes", (json_int_t)e->n_classes, "per_class",
                     e->per_class, "rarest_class", (json_int_t)e->n_least, "commonest_class",
                     (json_int_t)e->n_most, "stages", (json_int_t)e->n_stages, "input", probe_json(&e->input),
                     "boundaries", boundaries, "distance_to_reference", likeness);
}
