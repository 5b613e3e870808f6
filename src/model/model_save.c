/* A model becomes a folder again. Every file is written whole into a folder inside the target, then renamed
 * into place, the weights last: what fails (a full disk above all) fails before anything old is touched. */
#include "model/lora.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define STAGING ".graft-save"

/* In the order of renaming, after all others; of those that were not written now, the ones of an earlier save
 * go. */
static const char *const files[] = {"graft_reference.safetensors",
                                    "graft_probe.safetensors",
                                    "graft.json",
                                    "README.md",
                                    "modules.json",
                                    "preprocessor_config.json",
                                    "config.json",
                                    GRAFT_ADAPTER_CONFIG,
                                    "adapter_config.json",
                                    "adapter_model.safetensors",
                                    "model.safetensors"};

/* ---- The files
 * ------------------------------------------------------------------------------------------------ */

typedef struct saving {
    const graft_model *m;
    const graft_env *env;
    const graft_save_info *info;
    const char *dir, *staging;
    graft_arena *scratch;
    bool written[GRAFT_COUNT(files)];
} saving;

/* The path of a file that is about to be written, which is noted; NULL: out of memory. */
static const char *place(saving *s, const char *name) {
    for (size_t i = 0; i < GRAFT_COUNT(files); i++)
        if (!strcmp(files[i], name)) s->written[i] = true;
    return graft_path_join(s->scratch, s->staging, name);
}

static int save_config(saving *s, graft_err *err) {
    json_t *config = s->m->config ? json_deep_copy(s->m->config) : json_object();
    const char *path = s->m->n_adapted ? place(s, GRAFT_ADAPTER_CONFIG) : place(s, "config.json");
    int rc =
        config && path ? s->m->family->write_config(config, s->m, &s->m->hyper, err) : graft_err_nomem(err);
    if (rc == 0 && s->m->text.chosen &&
        json_object_set_new(config, "graft",
                            json_pack("{s:I,s:I}", "max_length", (json_int_t)s->m->text.max_length, "stride",
                                      (json_int_t)s->m->text.stride)) < 0)
        rc = graft_err_nomem(err);
    if (rc == 0) rc = graft_json_write(path, config, err);
    json_decref(config);
    return rc;
}

static int save_record(saving *s, graft_err *err) {
    json_t *record = s->info->record ? json_deep_copy(s->info->record) : json_object();
    const char *path = place(s, "graft.json");
    int rc = record && path ? 0 : graft_err_nomem(err);
    if (rc == 0 && !json_object_get(record, "graft_version"))
        rc = json_object_set_new(record, "graft_version", json_string(graft_version()));
    if (rc == 0 && !json_object_get(record, "family"))
        rc = json_object_set_new(record, "family", json_string(s->m->family->name));
    rc = rc == 0 ? graft_json_write(path, record, err) : graft_err_nomem(err);
    json_decref(record);
    return rc;
}

static int save_card(saving *s, graft_err *err) {
    graft_buf text;
    graft_buf_init(&text, 0);
    const char *path = place(s, "README.md");
    int rc = path ? graft_model_card(&text, s->m, s->info, s->dir, err) : graft_err_nomem(err);
    if (rc == 0) rc = graft_file_write(path, text.data, text.size, err);
    graft_buf_done(&text);
    return rc;
}

static graft_tensor *find_item(graft_tensor *items, size_t n, const char *name) {
    for (size_t i = n; i-- > 0;)
        if (!strcmp(items[i].name, name)) return &items[i];
    return NULL;
}

/* How many batches the norm of a running mean has seen: what the file says, and what came since. */
static int count_batches(graft_tensor *counter, const saving *s, int64_t since, graft_err *err) {
    int64_t *seen = graft_arena_alloc(s->scratch, sizeof *seen);
    if (!seen) return graft_err_nomem(err);
    *seen = 0;
    if (counter->data && counter->dtype == GRAFT_I64 && counter->size == sizeof *seen)
        memcpy(seen, counter->data, sizeof *seen);
    *seen = (int64_t)((uint64_t)*seen + (uint64_t)since); /* a file may say anything */
    *counter = (graft_tensor){
        .name = counter->name, .dtype = GRAFT_I64, .shape = {0}, .data = seen, .size = sizeof *seen};
    return 0;
}

/* Counters go as they came unless there is more to count; a model that began here has had none, and other
 * tools expect them all the same. */
static int add_counters(graft_tensor *items, size_t *n, const saving *s, graft_err *err) {
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < s->m->n_slots; i++) {
        const graft_param_slot *slot = s->m->slots[i];
        const char *name = slot->param.name, *mean = strstr(name, ".running_mean");
        if (!mean || mean[strlen(".running_mean")] != '\0') continue;
        graft_tensor counter = {
            .name = graft_arena_printf(s->scratch, "%.*s.num_batches_tracked", (int)(mean - name), name)};
        if (!counter.name) return graft_err_nomem(err);
        graft_tensor *there = find_item(items, *n, counter.name);
        if (there && slot->batches) rc = count_batches(there, s, slot->batches, err);
        if (there || !s->m->is_scratch) continue;
        rc = count_batches(&counter, s, slot->batches, err);
        items[(*n)++] = counter;
    }
    return rc;
}

static int save_weights(saving *s, graft_err *err) {
    const graft_model *m = s->m;
    const char *path = place(s, "model.safetensors");
    size_t n = 0;
    graft_tensor *items = graft_arena_array(s->scratch, 2 * m->n_slots + m->n_extras, sizeof *items);
    if (!path || !items) return graft_err_nomem(err);
    for (size_t i = 0; i < m->n_slots; i++) /* a sentence-transformers folder keeps its head elsewhere */
        if (!m->text.sentence || !m->slots[i]->param.head) items[n++] = m->slots[i]->param.tensor;
    for (size_t i = 0; i < m->n_extras; i++)
        if (graft_model_keeps(m, m->extras[i].name)) items[n++] = m->extras[i];
    int rc = add_counters(items, &n, s, err);
    return rc < 0 ? rc : graft_safetensors_write(path, items, n, NULL, err);
}

static int save_reference(saving *s, graft_err *err) {
    if (!s->info->n_reference) return 0;
    const char *path = place(s, "graft_reference.safetensors");
    return path ? graft_safetensors_write(path, s->info->reference, s->info->n_reference, NULL, err)
                : graft_err_nomem(err);
}

/* With adapters the base stays where it is. */
static int save_adapter(saving *s, graft_err *err) {
    if (!place(s, "adapter_config.json") || !place(s, "adapter_model.safetensors"))
        return graft_err_nomem(err);
    return graft_adapter_save(s->m, s->staging, err);
}

static int save_probe(saving *s, graft_err *err) {
    if (!s->info->probe) return 0;
    const char *path = place(s, "graft_probe.safetensors");
    return path ? graft_probe_write(path, s->m, s->env, s->info->probe, s->scratch, err)
                : graft_err_nomem(err);
}

/* How inputs are made: of pictures the preprocessing, of texts the tokenizer's own files. */
static int save_inputs(saving *s, graft_err *err) {
    const graft_model *m = s->m;
    if (m->family->modality == GRAFT_TEXTS) {
        int rc = m->tokenizer ? graft_tokenizer_save(m->tokenizer, s->staging, err) : 0;
        if (rc < 0 || !m->text.sentence) return rc;
        return place(s, "modules.json") ? graft_save_modules(m, s->staging, err) : graft_err_nomem(err);
    }
    if (!place(s, "preprocessor_config.json")) return graft_err_nomem(err);
    return graft_preprocess_write(&m->preprocess, m->preprocess_source, s->staging, err);
}

/* ---- Into place
 * ------------------------------------------------------------------------------------------------- */

/* Bytes that the weights need, so that a disk that is too small is told before anything is written. */
static int check_room(const saving *s, graft_err *err) {
    uint64_t need = 1 << 20, room = graft_disk_free(s->dir);
    for (size_t i = 0; i < s->m->n_slots; i++) {
        const graft_param *p = &s->m->slots[i]->param;
        if (!s->m->n_adapted || p->adapter || p->head) need += p->tensor.size;
    }
    if (room >= need) return 0;
    return graft_err_set(err, GRAFT_EIO, "'%s': the model needs %.1f MB and %.1f MB are free", s->dir,
                         (double)need / 1e6, (double)room / 1e6);
}

static int move(const saving *s, const char *name, graft_err *err) {
    const char *to = graft_path_join(s->scratch, s->dir, name),
               *from = graft_path_join(s->scratch, s->staging, name);
    if (!to || !from) return graft_err_nomem(err);
    return rename(from, to) ? graft_err_errno(err, "replace", to) : 0;
}

/* Files of a folder one by one: a folder that is there already cannot be replaced at once. */
static int move_folder(const saving *s, const char *folder, graft_err *err) {
    const char *to = graft_path_join(s->scratch, s->dir, folder),
               *from = graft_path_join(s->scratch, s->staging, folder);
    char **names = NULL;
    size_t n = 0;
    int rc = to && from ? graft_dir_make(to, err) : graft_err_nomem(err);
    if (rc == 0) rc = graft_dir_list(&names, &n, s->scratch, from, err);
    for (size_t i = 0; i < n && rc == 0; i++) {
        const char *name = graft_path_join(s->scratch, folder, names[i]);
        rc = name ? move(s, name, err) : graft_err_nomem(err);
    }
    return rc;
}

static bool is_listed(const char *name) {
    for (size_t i = 0; i < GRAFT_COUNT(files); i++)
        if (!strcmp(files[i], name)) return true;
    return false;
}

static int move_into_place(const saving *s, graft_err *err) {
    char **names = NULL;
    size_t n = 0;
    int rc = graft_dir_list(&names, &n, s->scratch, s->staging, err);
    for (size_t i = 0; i < n && rc == 0; i++) {
        const char *path = graft_path_join(s->scratch, s->staging, names[i]);
        if (is_listed(names[i])) continue;
        if (!path) return graft_err_nomem(err);
        rc = graft_path_is_dir(path) ? move_folder(s, names[i], err) : move(s, names[i], err);
    }
    for (size_t i = 0; i < GRAFT_COUNT(files) && rc == 0; i++) {
        if (s->written[i]) {
            rc = move(s, files[i], err);
            continue;
        }
        const char *old = graft_path_join(s->scratch, s->dir, files[i]);
        if (!old) return graft_err_nomem(err);
        if (remove(old) && errno != ENOENT) rc = graft_err_errno(err, "remove", old);
    }
    return rc;
}

int graft_model_save(const graft_model *m, const graft_env *env, const char *dir, const graft_save_info *info,
                     graft_err *err) {
    static const graft_save_info nothing = {0};
    saving s = {
        .m = m, .env = env, .info = info ? info : &nothing, .dir = dir, .scratch = graft_arena_new(NULL)};
    s.staging = s.scratch ? graft_path_join(s.scratch, dir, STAGING) : NULL;
    int rc = s.staging ? 0 : graft_err_nomem(err);
    if (rc < 0) goto done;
    if ((rc = graft_dir_make(dir, err)) < 0 || (rc = check_room(&s, err)) < 0) goto done;
    if ((rc = graft_dir_remove(s.staging, err)) < 0 || (rc = graft_dir_make(s.staging, err)) < 0) goto done;
    if ((rc = save_config(&s, err)) == 0 && (rc = save_inputs(&s, err)) == 0 &&
        (rc = save_card(&s, err)) == 0 && (rc = save_record(&s, err)) == 0 &&
        (rc = save_probe(&s, err)) == 0 && (rc = save_reference(&s, err)) == 0 &&
        (rc = s.m->n_adapted ? save_adapter(&s, err) : save_weights(&s, err)) == 0)
        rc = move_into_place(&s, err);
    graft_dir_remove(s.staging, NULL);
done:
    graft_arena_free(s.scratch);
    return rc;
}
