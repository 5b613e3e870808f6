#include "transfer/advise/candidates.h"

#include <math.h>
#include <string.h>

static json_t *number(double x) {
    return isfinite(x) ? json_real(x) : json_null();
}

static void add_word(graft_buf *b, const char *word) {
    graft_buf_text(b, " ");
    graft_buf_shell(b, word);
}

/* What to type to train the candidate. */
static json_t *command_json(const graft_candidates *c, const graft_candidate *x) {
    const graft_fit_options *o = c->options;
    graft_buf b;
    graft_buf_init(&b, 0);
    graft_buf_printf(&b, "graft fit");
    add_word(&b, x->model->path);
    add_word(&b, c->data_path);
    graft_buf_text(&b, " --train");
    add_word(&b, x->model->plans[x->plan]);
    graft_command_reading(&b, o);
    graft_command_data(&b, &o->data);
    if (o->seed) graft_buf_printf(&b, " --seed %llu", (unsigned long long)o->seed);
    graft_buf_printf(&b, " -o OUT");
    json_t *out = b.failed ? NULL : graft_json_string(b.data);
    graft_buf_done(&b);
    return out;
}

static json_t *candidate_json(const graft_candidates *c, const graft_candidate *x) {
    const graft_plan_cost *cost = &x->model->costs[x->plan];
    const graft_model_evidence *e = &x->model->evidence;
    double head = graft_expected_accuracy(e, "head");
    json_t *o = json_pack(
        "{s:o,s:s,s:f,s:f,s:o,s:f,s:f,s:I,s:I,s:o}", "model", graft_json_string(x->model->path), "plan",
        x->model->plans[x->plan], "expected", x->expected, "gain", x->expected - head, "standard_error",
        number(e->boundaries[0].probe.error), "rank_score", x->rank, "seconds", cost->seconds, "memory",
        (json_int_t)cost->memory, "epochs", (json_int_t)cost->epochs, "command", command_json(c, x));
    if (o && x->n_runs) {
        json_object_set_new(o, "measured", number(x->measured));
        json_object_set_new(o, "measured_epochs", json_integer((json_int_t)x->epochs));
        json_object_set_new(o, "measured_seconds", json_real(x->seconds));
    }
    if (o && x->diverged) json_object_set_new(o, "diverged", graft_json_string(x->diverged));
    return o;
}

static json_t *model_json(const graft_judged *m) {
    graft_cell cell = m->cell;
    return json_pack(
        "{s:o,s:s,s:s,s:s,s:s,s:f,s:s,s:b,s:b,s:f,s:o}", "model", graft_json_string(m->path), "plan",
        m->plans[m->chosen], "description", m->description, "size", cell.small ? "small" : "large",
        "similarity", cell.similar ? "similar" : "different", "known", cell.known, "why", cell.why,
        "transfer_helps", !graft_transfer_is_useless(&m->evidence) && !m->evidence.is_scratch, "from_scratch",
        m->evidence.is_scratch, "standing", m->standing, "evidence", graft_evidence_json(&m->evidence));
}

static json_t *list(const graft_candidates *c, bool models) {
    json_t *a = json_array();
    size_t n = models ? c->n_models : c->n_items;
    for (size_t i = 0; a && i < n; i++)
        json_array_append_new(a, models ? model_json(&c->models[i]) : candidate_json(c, &c->items[i]));
    return a;
}

/* The answer in one sentence. */
static json_t *verdict_json(const graft_candidates *c) {
    const graft_candidate *best = &c->items[0];
    const graft_judged *m = best->model;
    const char *plan = m->plans[best->plan];
    if (m->evidence.is_scratch)
        return json_string("transfer does not help here: random weights are expected to do as well");
    if (graft_transfer_is_useless(&m->evidence))
        return json_string(
            "transfer does not help here: a linear head on the input itself does as well as on "
            "any boundary of the model");
    if (!best->n_runs) plan = m->plans[m->chosen];
    if (strcmp(plan, "head") == 0)
        return json_sprintf(
            "a linear head is enough: on %s nothing more is %s to gain what could be told from noise",
            graft_path_name(m->path), best->n_runs ? "seen" : "expected");
    return json_sprintf("train %s of %s", plan, graft_path_name(m->path));
}

json_t *graft_candidates_json(const graft_candidates *c) {
    const graft_candidate *best = &c->items[0];
    const char *plan =
        best->n_runs ? best->model->plans[best->plan] : best->model->plans[best->model->chosen];
    return json_pack("{s:o,s:o,s:s,s:o,s:o,s:o,s:f,s:f}", "data", graft_json_string(c->data_path), "model",
                     graft_json_string(best->model->path), "plan", plan, "verdict", verdict_json(c), "models",
                     list(c, true), "ranking", list(c, false), "seconds", graft_now() - c->begun,
                     "probe_seconds", c->probed);
}
