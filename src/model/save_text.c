/* What makes a folder one of sentence-transformers: the list of modules, the pooling, and the head as a last
 * module of its own, whose output is the logits. */
#include "model/model_impl.h"
#include <stdio.h>
#include <string.h>

#define POOLING   "1_Pooling"
#define NORMALIZE "2_Normalize"

static int write_json(graft_arena *arena, const char *dir, const char *folder, const char *name,
                      json_t *value, graft_err *err) {
    const char *home = folder ? graft_path_join(arena, dir, folder) : dir;
    const char *path = home ? graft_path_join(arena, home, name) : NULL;
    int rc = path && value ? graft_dir_make(home, err) : graft_err_nomem(err);
    if (rc == 0) rc = graft_json_write(path, value, err);
    json_decref(value);
    return rc;
}

static json_t *module_json(int i, const char *path, const char *type) {
    char name[8], class[64];
    snprintf(name, sizeof name, "%d", i);
    snprintf(class, sizeof class, "sentence_transformers.models.%s", type);
    return json_pack("{s:i, s:s, s:s, s:s}", "idx", i, "name", name, "path", path, "type", class);
}

static int write_list(const graft_model *m, graft_arena *arena, const char *dir, const char *dense,
                      graft_err *err) {
    json_t *list = json_array();
    int i = 0;
    int bad = json_array_append_new(list, module_json(i++, "", "Transformer"));
    bad |= json_array_append_new(list, module_json(i++, POOLING, "Pooling"));
    if (m->text.unit) bad |= json_array_append_new(list, module_json(i++, NORMALIZE, "Normalize"));
    if (dense) bad |= json_array_append_new(list, module_json(i, dense, "Dense"));
    if (!bad) return write_json(arena, dir, NULL, "modules.json", list, err);
    json_decref(list);
    return graft_err_nomem(err);
}

static json_t *pooling_json(const graft_model *m) {
    graft_span_kind p = m->text.pooling;
    return json_pack("{s:I, s:b, s:b, s:b, s:b, s:b}", "word_embedding_dimension",
                     (json_int_t)m->hyper.feature_width, "pooling_mode_cls_token", p == GRAFT_SPAN_FIRST,
                     "pooling_mode_mean_tokens", p == GRAFT_SPAN_MEAN, "pooling_mode_max_tokens",
                     p == GRAFT_SPAN_MAX, "pooling_mode_mean_sqrt_len_tokens", 0, "pooling_mode_lasttoken",
                     p == GRAFT_SPAN_LAST);
}

/* The head's tensors under the names that the module has. */
static int write_dense(const graft_model *m, graft_arena *arena, const char *dir, const char *dense,
                       graft_err *err) {
    graft_tensor items[2];
    size_t n = 0;
    for (size_t i = 0; i < m->n_slots; i++) {
        const graft_param *p = &m->slots[i]->param;
        if (!p->head || n == GRAFT_COUNT(items)) continue;
        items[n] = p->tensor;
        items[n++].name = p->kind == GRAFT_PARAM_BIAS ? "linear.bias" : "linear.weight";
    }
    int rc = write_json(arena, dir, dense, "config.json",
                        json_pack("{s:I, s:I, s:b, s:s}", "in_features", (json_int_t)m->hyper.feature_width,
                                  "out_features", (json_int_t)m->n_labels, "bias", 1, "activation_function",
                                  "torch.nn.modules.linear.Identity"),
                        err);
    const char *home = graft_path_join(arena, dir, dense);
    const char *path = home ? graft_path_join(arena, home, "model.safetensors") : NULL;
    if (rc == 0) rc = path ? graft_safetensors_write(path, items, n, NULL, err) : graft_err_nomem(err);
    return rc;
}

int graft_save_modules(const graft_model *m, const char *dir, graft_err *err) {
    graft_arena *arena = graft_arena_new(NULL);
    const char *dense = m->text.unit ? "3_Dense" : "2_Dense";
    if (!arena) return graft_err_nomem(err);
    const char *normalize = graft_path_join(arena, dir, NORMALIZE);
    int rc = write_list(m, arena, dir, dense, err);
    if (rc == 0) rc = write_json(arena, dir, POOLING, "config.json", pooling_json(m), err);
    if (rc == 0 && m->text.unit) rc = normalize ? graft_dir_make(normalize, err) : graft_err_nomem(err);
    if (rc == 0)
        rc = write_json(
            arena, dir, NULL, "sentence_bert_config.json",
            json_pack("{s:I, s:b}", "max_seq_length", (json_int_t)m->text.max_length, "do_lower_case", 0),
            err);
    if (rc == 0) rc = write_dense(m, arena, dir, dense, err);
    graft_arena_free(arena);
    return rc;
}
