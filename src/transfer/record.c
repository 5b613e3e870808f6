/* What graft.json keeps for whoever looks at a run later: how it was asked for, how the data were read and
 * what was found in them, what of the model was frozen, time and memory. */
#include "transfer/fit.h"

#include <string.h>

/* Names that are listed of a kind of trouble; classes whose numbers are. */
enum { LISTED = 20, MOST_CLASSES = 2000 };

static void put_text(json_t *o, const char *key, const char *text) {
    if (text) json_object_set_new(o, key, graft_json_string(text));
}

/* How the data and the base model are opened again. */
static json_t *choices_json(const graft_fit_options *f) {
    const graft_data_choice *c = &f->data;
    json_t *o = json_object();
    put_text(o, "input", c->input_column);
    put_text(o, "pair", c->pair_column);
    put_text(o, "label", c->label_column);
    put_text(o, "task", c->task);
    put_text(o, "group", c->group_column);
    put_text(o, "group_pattern", c->group_pattern);
    put_text(o, "labels", c->labels_file);
    put_text(o, "family", f->family);
    put_text(o, "pooling", f->pooling);
    json_object_set_new(o, "max_length", json_integer((json_int_t)f->max_length));
    return o;
}

static json_int_t parameters_of(const graft_model *m, size_t stage) {
    json_int_t sum = 0;
    for (size_t i = 0; i < graft_model_n_params(m); i++) {
        const graft_param *p = graft_model_param(m, i);
        int64_t count = 0;
        if ((size_t)p->stage == stage && graft_shape_count(&p->shape, &count)) sum += count;
    }
    return sum;
}

static json_int_t trained_of(const graft_job *j, size_t phase, size_t stage) {
    return (json_int_t)graft_phase_trained_in(&j->phases[phase], j->model, stage);
}

/* Stages from the input to the head; what lies below the first trained one was run once and kept. */
static json_t *stages_json(const graft_job *j) {
    json_t *stages = json_array();
    bool below = true;
    for (size_t i = 0; i < graft_model_n_stages(j->model); i++) {
        json_int_t trained = 0;
        for (size_t p = 0; p < j->n_phases; p++) {
            json_int_t n = trained_of(j, p, i);
            trained = n > trained ? n : trained;
        }
        below = below && trained == 0;
        json_array_append_new(stages,
                              json_pack("{s:s,s:I,s:I,s:b}", "name", graft_model_stage_name(j->model, i),
                                        "parameters", parameters_of(j->model, i), "trained", trained,
                                        "cached", below && j->choices[j->n_phases - 1].use_cache));
    }
    return stages;
}

static json_t *bad_json(const graft_data *d) {
    json_t *list = json_array();
    for (int64_t i = 0; i < graft_data_n_samples(d) && json_array_size(list) < LISTED; i++) {
        const graft_sample *s = graft_data_sample(d, i);
        if (s->state != GRAFT_BAD) continue;
        json_array_append_new(list, json_pack("[o,o]", graft_json_string(s->origin),
                                              graft_json_string(s->reason ? s->reason : "not readable")));
    }
    return list;
}

static json_t *twins_json(const graft_data *d) {
    const graft_duplicates *t = graft_data_duplicates(d);
    json_t *list = json_array();
    int64_t n = t ? t->n_same + t->n_near : 0;
    for (int64_t i = 0; i < n && i < LISTED; i++)
        json_array_append_new(
            list, json_pack("[o,o]", graft_json_string(graft_data_sample(d, t->pairs[i][0])->origin),
                            graft_json_string(graft_data_sample(d, t->pairs[i][1])->origin)));
    return json_pack("{s:I,s:I,s:o}", "same", (json_int_t)(t ? t->n_same : 0), "near",
                     (json_int_t)(t ? t->n_near : 0), "pairs", list);
}

static json_t *parts_json(const graft_data *d) {
    json_t *o = json_object();
    for (int p = 0; p < GRAFT_N_PARTS; p++) {
        int64_t n = 0;
        graft_data_members(d, (graft_part)p, &n);
        if (n) json_object_set_new(o, graft_part_name((graft_part)p), json_integer((json_int_t)n));
    }
    return o;
}

/* Training samples by class, in the data's order. */
static json_t *classes_json(const graft_data *d) {
    int32_t k = graft_data_n_classes(d);
    json_t *list = json_array();
    for (int32_t c = 0; c < k && k <= MOST_CLASSES; c++)
        json_array_append_new(list, json_pack("[o,I]", graft_json_string(graft_data_class(d, c)),
                                              (json_int_t)graft_data_count(d, GRAFT_TRAIN, c)));
    return list;
}

int graft_job_record(const graft_job *j, json_t *record, graft_err *err) {
    const graft_data *d = j->data;
    json_t *found =
        json_pack("{s:o,s:o,s:I,s:o,s:o}", "parts", parts_json(d), "classes", classes_json(d), "n_bad",
                  (json_int_t)graft_data_n_bad(d), "bad", bad_json(d), "twins", twins_json(d));
    json_t *more =
        json_pack("{s:o,s:o,s:o,s:f,s:f,s:I}", "choices", choices_json(&j->options), "stages", stages_json(j),
                  "found", found, "seconds", graft_now() - j->begun, "training_seconds", j->training.seconds,
                  "peak_memory", (json_int_t)j->peak_memory);
    if (more) put_text(more, "command", j->options.command);
    int rc = more && json_object_update_missing(record, more) == 0 ? 0 : graft_err_nomem(err);
    json_decref(more);
    return rc;
}
