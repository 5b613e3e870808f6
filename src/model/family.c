/* The table of families, and what their configs have in common. */
#include "model/family.h"
#include <stdio.h>
#include <string.h>

const graft_family *const *graft_families(void) {
    static const graft_family *const rows[] = {
#define GRAFT_FAMILY(name) &graft_family_##name,
#include "model/family/list.h"
#undef GRAFT_FAMILY
        NULL,
    };
    return rows;
}

char *graft_family_names(char *out, size_t out_size) {
    size_t n = 0;
    if (out_size) out[0] = '\0';
    for (const graft_family *const *f = graft_families(); *f && n < out_size; f++) {
        int k = snprintf(out + n, out_size - n, "%s%s", n ? ", " : "", (*f)->name);
        n += k > 0 ? (size_t)k : 0;
    }
    return out;
}

static int bad_size(const char *origin, const char *key, int64_t most, graft_err *err) {
    return graft_err_set(err, GRAFT_EFORMAT, "%s: %s has to be of integers between 1 and %lld", origin, key,
                         (long long)most);
}

int graft_config_size(const json_t *config, const char *key, int64_t absent, int64_t *out, int64_t most,
                      const char *origin, graft_err *err) {
    int rc = graft_json_int(config, key, absent, out, origin, err);
    if (rc < 0) return rc;
    return *out < 1 || *out > most ? bad_size(origin, key, most, err) : 0;
}

int graft_config_sizes(const json_t *config, const char *key, int64_t *out, int room, int *n, int64_t most,
                       const char *origin, graft_err *err) {
    const json_t *list = json_object_get(config, key);
    *n = 0;
    if (!list || json_is_null(list)) return 0;
    size_t count = json_array_size(list);
    if (!json_is_array(list) || count == 0 || count > (size_t)room)
        return graft_err_set(err, GRAFT_EFORMAT, "%s: %s has to be a list of 1 to %d integers", origin, key,
                             room);
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(list, i);
        out[i] = json_integer_value(item);
        if (!json_is_integer(item) || out[i] < 1 || out[i] > most) return bad_size(origin, key, most, err);
    }
    *n = (int)count;
    return 0;
}

/* A decimal class index without sign or leading zero, below n; -1 when it is something else. */
static int64_t class_index(const char *key, size_t n) {
    size_t value = 0;
    if (!*key || (*key == '0' && key[1])) return -1;
    for (; *key; key++) {
        if (*key < '0' || *key > '9') return -1;
        value = value * 10 + (size_t)(*key - '0');
        if (value >= n) return -1;
    }
    return (int64_t)value;
}

static const char *label_text(graft_arena *arena, const json_t *value) {
    if (json_is_string(value)) return json_string_value(value);
    if (json_is_integer(value))
        return graft_arena_printf(arena, "%lld", (long long)json_integer_value(value));
    return NULL;
}

int graft_config_id2label(graft_labels *out, graft_arena *arena, const json_t *config, const char *origin,
                          graft_err *err) {
    *out = (graft_labels){0};
    json_t *map = json_object_get(config, "id2label"), *value;
    if (!map || json_is_null(map)) {
        int64_t n = 0, most = 10000000;
        int rc = graft_json_int(config, "num_labels", 0, &n, origin, err);
        if (rc < 0) return rc;
        if (n < 0 || n > most)
            return graft_err_set(err, GRAFT_EFORMAT, "%s: num_labels is %lld", origin, (long long)n);
        out->n = (size_t)n;
        return 0;
    }
    size_t n = json_object_size(map);
    if (!json_is_object(map) || n == 0)
        return graft_err_set(err, GRAFT_EFORMAT, "%s: id2label has to be an object with a name a class",
                             origin);
    const char **names = graft_arena_array(arena, n, sizeof *names), *key;
    if (!names) return graft_err_nomem(err);
    json_object_foreach(map, key, value) {
        int64_t i = class_index(key, n);
        if (i < 0)
            return graft_err_set(err, GRAFT_EFORMAT,
                                 "%s: id2label has the key '%s'; its %zu keys have to be 0 to %zu", origin,
                                 key, n, n - 1);
        names[i] = label_text(arena, value);
        if (!names[i])
            return graft_err_set(err, GRAFT_EFORMAT, "%s: id2label['%s'] is not a string", origin, key);
    }
    *out = (graft_labels){names, n};
    return 0;
}

int graft_config_set_id2label(json_t *config, const graft_model *m, graft_err *err) {
    size_t n = 0;
    const char *const *names = graft_model_labels(m, &n);
    json_t *id2label = json_object(), *label2id = json_object();
    int bad = !id2label || !label2id;
    for (size_t i = 0; !bad && i < n; i++) {
        char key[24];
        snprintf(key, sizeof key, "%zu", i);
        bad |= json_object_set_new(id2label, key, json_string(names[i]));
        bad |= json_object_set_new(label2id, names[i], json_integer((json_int_t)i));
    }
    json_object_del(config, "num_labels");
    json_object_del(config, "_num_labels");
    bad |= json_object_set_new(config, "id2label", id2label);
    bad |= json_object_set_new(config, "label2id", label2id);
    return bad ? graft_err_nomem(err) : 0;
}

/* `name` with `to` in the place of `from`, where that stands in it as whole words between dots: once, as in
 * every name that there is. */
static const char *replaced(graft_arena *arena, const char *name, const char *from, const char *to) {
    const size_t n = strlen(from);
    for (const char *at = strstr(name, from); at; at = strstr(at + 1, from))
        if ((at == name || at[-1] == '.') && (at[n] == '.' || at[n] == '\0'))
            return graft_arena_printf(arena, "%.*s%s%s", (int)(at - name), name, to, at + n);
    return name;
}

const char *graft_twin_other(graft_arena *arena, const graft_twin *twins, const char *name) {
    for (const graft_twin *t = twins; t && t->published && name; t++)
        name = replaced(arena, name, t->published, t->other);
    return name;
}

const char *graft_twin_published(graft_arena *arena, const graft_twin *twins, const char *name) {
    for (const graft_twin *t = twins; t && t->published && name; t++)
        name = replaced(arena, name, t->other, t->published);
    return name;
}

const char *graft_rename_affine(graft_arena *arena, const char *name, const char *norm) {
    const char *leaf = strrchr(name, '.');
    if (!leaf || leaf == name || (strcmp(leaf, ".gamma") != 0 && strcmp(leaf, ".beta") != 0)) return name;
    const char *module = leaf;
    while (module > name && module[-1] != '.') module--;
    if (strncmp(module, norm, strlen(norm)) != 0) return name;
    const char *new_leaf = leaf[1] == 'g' ? "weight" : "bias";
    return graft_arena_printf(arena, "%.*s.%s", (int)(leaf - name), name, new_leaf);
}
