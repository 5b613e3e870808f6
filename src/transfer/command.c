/* What to type for a run, as far as options go that several commands share. */
#include "transfer/fit.h"

static void add_text(graft_buf *b, const char *name, const char *value) {
    if (!value) return;
    graft_buf_printf(b, " --%s ", name);
    graft_buf_shell(b, value);
}

/* 0: not given; negative: given as 0. */
static void add_number(graft_buf *b, const char *name, double value) {
    if (value != 0) graft_buf_printf(b, " --%s %.10g", name, value > 0 ? value : 0.0);
}

void graft_command_reading(graft_buf *b, const graft_fit_options *o) {
    add_text(b, "family", o->family);
    add_text(b, "head", o->head);
    add_text(b, "encoder", o->encoder);
    add_text(b, "pooling", o->pooling);
    add_number(b, "max-length", (double)o->max_length);
    add_number(b, "stride", (double)o->stride);
    if (o->precision == GRAFT_PRECISION_BF16) graft_buf_text(b, " --dtype bf16");
    if (o->precision == GRAFT_PRECISION_BF16X3) graft_buf_text(b, " --dtype bf16x3");
}

void graft_command_data(graft_buf *b, const graft_data_choice *c) {
    add_text(b, "input", c->input_column);
    add_text(b, "pair", c->pair_column);
    add_text(b, "task", c->task);
    add_text(b, "label", c->label_column);
    add_text(b, "group", c->group_column);
    add_text(b, "group-pattern", c->group_pattern);
    add_text(b, "labels", c->labels_file);
    add_number(b, "max-bad", c->max_bad);
    if (c->strict) graft_buf_text(b, " --strict");
    add_number(b, "validation", c->validation);
    add_number(b, "test", c->test);
    add_number(b, "per-class", (double)c->per_class);
}
