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

/* The head's layers, each a module: "3_Dense". Their number. */
static int dense_folder(char *out, size_t size, const graft_model *m, int i) {
    snprintf(out, size, "%d_Dense", (m->text.unit ? 3 : 2) + i);
    return strcmp(m->head->name, "mlp") == 0 ? 2 : 1;
}

static int write_list(const graft_model *m, graft_arena *arena, const char *dir, graft_err *err) {
    json_t *list = json_array();
    char dense[16];
    int i = 0, n = dense_folder(dense, sizeof dense, m, 0);
    int bad = json_array_append_new(list, module_json(i++, "", "Transformer"));
    bad |= json_array_append_new(list, module_json(i++, POOLING, "Pooling"));
    if (m->text.unit) bad |= json_array_append_new(list, module_json(i++, NORMALIZE, "Normalize"));
    for (int k = 0; k < n; k++) {
        dense_folder(dense, sizeof dense, m, k);
        bad |= json_array_append_new(list, module_json(i++, dense, "Dense"));
    }
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

/* Layer i of the head, of which there are n, under the names that the module has. */
static int write_dense(const graft_model *m, graft_arena *arena, const char *dir, int i, int n,
                       graft_err *err) {
    const char *wanted = n == 1 ? "" : i == 0 ? ".dense." : ".out_proj.";
    graft_tensor items[2];
    size_t n_items = 0;
    int64_t rows = 0;
    char folder[16];
    dense_folder(folder, sizeof folder, m, i);
    for (size_t k = 0; k < m->n_slots; k++) {
        const graft_param *p = &m->slots[k]->param;
        if (!p->head || n_items == GRAFT_COUNT(items) || !strstr(p->name, wanted)) continue;
        items[n_items] = p->tensor;
        items[n_items++].name = p->kind == GRAFT_PARAM_BIAS ? "linear.bias" : "linear.weight";
        rows = p->shape.dims[0];
    }
    int rc = write_json(
        arena, dir, folder, "config.json",
        json_pack("{s:I, s:I, s:b, s:s}", "in_features", (json_int_t)m->hyper.feature_width, "out_features",
                  (json_int_t)rows, "bias", 1, "activation_function",
                  i + 1 == n ? "torch.nn.modules.linear.Identity" : "torch.nn.modules.activation.Tanh"),
        err);
    const char *home = graft_path_join(arena, dir, folder);
    const char *path = home ? graft_path_join(arena, home, "model.safetensors") : NULL;
    if (rc == 0) rc = path ? graft_safetensors_write(path, items, n_items, NULL, err) : graft_err_nomem(err);
    return rc;
}

int graft_save_modules(const graft_model *m, const char *dir, graft_err *err) {
    graft_arena *arena = graft_arena_new(NULL);
    char dense[16];
    int n = dense_folder(dense, sizeof dense, m, 0);
    if (!arena) return graft_err_nomem(err);
    const char *normalize = graft_path_join(arena, dir, NORMALIZE);
    int rc = write_list(m, arena, dir, err);
    if (rc == 0) rc = write_json(arena, dir, POOLING, "config.json", pooling_json(m), err);
    if (rc == 0 && m->text.unit) rc = normalize ? graft_dir_make(normalize, err) : graft_err_nomem(err);
    if (rc == 0)
        rc = write_json(
            arena, dir, NULL, "sentence_bert_config.json",
            json_pack("{s:I, s:b}", "max_seq_length", (json_int_t)m->text.max_length, "do_lower_case", 0),
            err);
    for (int i = 0; i < n && rc == 0; i++) rc = write_dense(m, arena, dir, i, n, err);
    graft_arena_free(arena);
    return rc;
}
