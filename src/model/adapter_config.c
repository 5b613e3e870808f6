/* adapter_config.json as peft writes it: what of it decides the answers, and nothing else. */
#include "model/lora.h"

#include <math.h>
#include <regex.h>
#include <string.h>

enum { MOST_RANK = 1 << 16, LONGEST_NAME = 512 };

/* ---- Reading
 * -------------------------------------------------------------------------------------------------- */

/* Ways of computing that have their own key, null or false in an ordinary folder. */
static int refuse_kinds(const json_t *config, const char *origin, graft_err *err) {
    static const char *const keys[] = {
        "lora_bias",  "layer_replication", "trainable_token_indices", "use_qalora",
        "use_bdlora", "arrow_config",      "alora_invocation_tokens"};
    for (size_t i = 0; i < GRAFT_COUNT(keys); i++) {
        const json_t *v = json_object_get(config, keys[i]);
        if (!v || json_is_null(v) || json_is_false(v)) continue;
        return graft_err_set(err, GRAFT_EUNSUPPORTED, "%s: %s is not supported; merge it with peft first",
                             origin, keys[i]);
    }
    return 0;
}

int graft_adapter_config_read(graft_adapter_config *out, const json_t *config, const char *origin,
                              graft_err *err) {
    const char *type = NULL;
    *out = (graft_adapter_config){0};
    if (!json_is_object(config))
        return graft_err_set(err, GRAFT_EFORMAT, "%s: it is not a JSON object", origin);
    graft_lora *l = &out->lora;
    int rc = graft_json_text(config, "peft_type", "", &type, origin, err);
    if (rc == 0 && strcmp(type, "LORA") != 0)
        return graft_err_set(err, GRAFT_EUNSUPPORTED, "%s: peft_type '%.40s' is not supported, LORA is",
                             origin, type);
    if (rc == 0) rc = graft_json_text(config, "base_model_name_or_path", NULL, &out->base, origin, err);
    if (rc == 0) rc = graft_json_int(config, "r", 8, &l->r, origin, err);
    if (rc == 0) rc = graft_json_real(config, "lora_alpha", 8, &l->alpha, origin, err);
    if (rc == 0) rc = graft_json_real(config, "lora_dropout", 0, &l->dropout, origin, err);
    if (rc == 0) rc = graft_json_bool(config, "use_rslora", false, &l->rslora, origin, err);
    if (rc == 0) rc = graft_json_bool(config, "use_dora", false, &out->dora, origin, err);
    if (rc == 0) rc = refuse_kinds(config, origin, err);
    if (rc < 0) return rc;
    if (l->r < 1 || l->r > MOST_RANK)
        return graft_err_set(err, GRAFT_EFORMAT, "%s: r is %lld", origin, (long long)l->r);
    if (!isfinite(l->alpha))
        return graft_err_set(err, GRAFT_EFORMAT, "%s: lora_alpha is %g", origin, l->alpha);
    if (!(l->dropout >= 0 && l->dropout < 1))
        return graft_err_set(err, GRAFT_EFORMAT, "%s: lora_dropout is %g, not in 0 <= p < 1", origin,
                             l->dropout);
    const json_t *patterns = json_object_get(config, "alpha_pattern");
    if (patterns && !json_is_null(patterns) && !json_is_object(patterns))
        return graft_err_set(err, GRAFT_EFORMAT, "%s: alpha_pattern is not an object", origin);
    if (json_object_size(patterns) > 0) out->alpha_pattern = patterns;
    return 0;
}

/* Whether the pattern repeats its parts seldom enough: the C library writes x+ and x{9} out, and nested ones
 * multiply. */
static bool is_modest(const char *pattern) {
    const long most = 256;
    long times = 1;
    for (const char *at = pattern; *at && times <= most; at++) {
        if (*at == '\\' && at[1]) {
            at++;
        } else if (*at == '+') {
            times *= 2;
        } else if (*at == '{') {
            long most_often = 1;
            for (long n = 0; at[1] == ',' || (at[1] >= '0' && at[1] <= '9'); at++) {
                n = at[1] == ',' ? 0 : 10 * n + (at[1] - '0');
                if (n > most) return false;
                if (n > most_often) most_often = n;
            }
            times *= most_often;
        }
    }
    return times <= most;
}

/* Whether the end of the module's name fits the pattern: peft's (.*\.)?(pattern)$ from the beginning on. */
static int fits(bool *out, const char *pattern, const char *module, const char *origin, graft_err *err) {
    char whole[LONGEST_NAME + 32];
    regex_t regex;
    *out = false;
    if (strlen(pattern) > LONGEST_NAME || strlen(module) > LONGEST_NAME)
        return graft_err_set(err, GRAFT_EFORMAT, "%s: a pattern of more than %d bytes", origin, LONGEST_NAME);
    if (!is_modest(pattern))
        return graft_err_set(err, GRAFT_EFORMAT, "%s: '%.80s' repeats its parts too often", origin, pattern);
    snprintf(whole, sizeof whole, "^(.*\\.)?(%s)$", pattern);
    if (regcomp(&regex, whole, REG_EXTENDED | REG_NOSUB) != 0)
        return graft_err_set(err, GRAFT_EFORMAT, "%s: '%.80s' is no regular expression", origin, pattern);
    *out = regexec(&regex, module, 0, NULL, 0) == 0;
    regfree(&regex);
    return 0;
}

int graft_adapter_alpha(double *out, const graft_adapter_config *c, const char *module, const char *other,
                        const char *origin, graft_err *err) {
    *out = c->lora.alpha;
    const char *pattern;
    json_t *value;
    json_object_foreach((json_t *)c->alpha_pattern, pattern, value) {
        bool yes = false;
        int rc = fits(&yes, pattern, module, origin, err);
        if (rc == 0 && !yes && strcmp(other, module) != 0) rc = fits(&yes, pattern, other, origin, err);
        if (rc < 0) return rc;
        if (!yes) continue;
        *out = json_number_value(value);
        if (json_is_number(value) && isfinite(*out)) return 0;
        return graft_err_set(err, GRAFT_EFORMAT, "%s: alpha_pattern has no number for '%.80s'", origin,
                             pattern);
    }
    return 0;
}

/* ---- Writing
 * -------------------------------------------------------------------------------------------------- */

/* A bare encoder's names have no prefix: its folder is opened as BertModel, not as a class with a head. */
const char *graft_adapter_name(graft_arena *arena, const graft_model *m, const char *name) {
    const char *dot = m->text.sentence ? strchr(name, '.') : NULL;
    return graft_arena_printf(arena, "base_model.model.%s", dot ? dot + 1 : name);
}

/* A module or parameter by its own name, or by the one that another version knows. */
static const char *called(graft_arena *arena, const graft_model *m, const char *name, bool other) {
    return other ? graft_twin_other(arena, m->family->twins, name) : name;
}

static bool module_ends_in(const char *weight, const char *last) {
    size_t n = strlen(weight), k = strlen(last), suffix = strlen(".weight");
    if (n < suffix || strcmp(weight + n - suffix, ".weight") != 0) return false;
    n -= suffix;
    return n > k && !strncmp(weight + n - k, last, k) && weight[n - k - 1] == '.';
}

static bool is_adapted(const graft_model *m, const char *weight) {
    for (size_t i = 0; i < m->n_adapted; i++)
        if (!strcmp(m->adapted[i].weight, weight)) return true;
    return false;
}

/* Whether a part of the name with parts of its own is called so: "0" in "layer1.0.conv1.weight". */
static bool holds_others(const char *name, const char *part) {
    size_t n = strlen(part);
    for (const char *at = name; at; at = strchr(at, '.'), at = at ? at + 1 : NULL) {
        const char *rest = at + n;
        if (!strncmp(at, part, n) && *rest == '.' && strchr(rest + 1, '.')) return true;
    }
    return false;
}

/* Whether a module of the model (or of what rides along with it) is called so and has no adapter. */
static bool means_others(graft_arena *arena, const graft_model *m, const char *last, bool other) {
    for (size_t i = 0; i < m->n_slots; i++) {
        const graft_param *p = &m->slots[i]->param;
        const char *name = p->adapter ? NULL : called(arena, m, p->name, other);
        if (!name) continue;
        if (module_ends_in(name, last) && !is_adapted(m, p->name)) return true;
        if (holds_others(name, last)) return true;
    }
    for (size_t i = 0; i < m->n_extras; i++)
        if (module_ends_in(m->extras[i].name, last)) return true;
    return false;
}

/* The module of a weight, and where its last part begins. */
static char *module_of(graft_arena *arena, const char *weight, const char **last) {
    char *module = graft_arena_strndup(arena, weight, strlen(weight) - strlen(".weight"));
    const char *dot = module ? strrchr(module, '.') : NULL;
    *last = dot ? dot + 1 : module;
    return module;
}

static int add_once(json_t *array, const char *text) {
    size_t i;
    json_t *item;
    json_array_foreach(array, i, item) if (!strcmp(json_string_value(item), text)) return 0;
    return json_array_append_new(array, json_string(text));
}

/* Adds the names of the adapted layers, whole and their last parts; *clear is false where a last part means
 * others too. */
static bool add_targets(json_t *short_names, json_t *names, bool *clear, graft_arena *arena,
                        const graft_model *m, bool other) {
    for (size_t i = 0; i < m->n_adapted; i++) {
        const char *last = NULL, *weight = called(arena, m, m->adapted[i].weight, other);
        const char *module = weight ? module_of(arena, weight, &last) : NULL;
        const char *whole = module ? graft_adapter_name(arena, m, module) : NULL;
        if (!whole) return false;
        *clear = *clear && !means_others(arena, m, last, other);
        if (add_once(short_names, last) || add_once(names, whole + strlen("base_model.model."))) return false;
    }
    return true;
}

/* The last parts of the names where they mean the adapted layers alone, else whole names. Of names that no
 * module has peft takes no notice, so other versions' stand beside them. */
static json_t *target_modules(graft_arena *arena, const graft_model *m) {
    json_t *short_names = json_array(), *names = json_array();
    bool clear = true, bad = !short_names || !names;
    bad = bad || !add_targets(short_names, names, &clear, arena, m, false);
    if (!bad && m->family->twins) bad = !add_targets(short_names, names, &clear, arena, m, true);
    json_t *wanted = clear ? short_names : names;
    json_decref(clear ? names : short_names);
    if (!bad) return wanted;
    json_decref(wanted);
    return NULL;
}

/* Modules of the head, as peft looks for them; a conditional random field is no module of Transformers'. */
static json_t *modules_to_save(graft_arena *arena, const graft_model *m) {
    json_t *names = json_array();
    for (size_t i = 0; i < m->n_slots && names && !m->text.sentence; i++) {
        const graft_param *p = &m->slots[i]->param;
        const char *dot = strrchr(p->name, '.');
        if (!p->head || !dot || !strncmp(p->name, "crf.", 4)) continue;
        char *module = graft_arena_strndup(arena, p->name, (size_t)(dot - p->name));
        const char *base = m->family->head;
        size_t n = strlen(base);
        if (!module) return names;
        /* all of "classifier" rather than its parts */
        bool part = !strncmp(module, base, n) && module[n] == '.';
        add_once(names, part ? base : module);
    }
    return names;
}

static const char *task_type(const graft_model *m) {
    if (m->family->modality == GRAFT_PICTURES) return NULL;
    if (m->text.sentence) return "FEATURE_EXTRACTION";
    return m->task == GRAFT_TASK_TAGGING ? "TOKEN_CLS" : "SEQ_CLS";
}

static int add_patterns(json_t *ranks, json_t *alphas, graft_arena *arena, const graft_model *m, bool other) {
    int bad = 0;
    for (size_t i = 0; i < m->n_adapted && !bad; i++) {
        const graft_adapted *ad = &m->adapted[i];
        const char *last = NULL, *weight = called(arena, m, ad->weight, other);
        const char *module = weight ? module_of(arena, weight, &last) : NULL;
        const char *name = module ? graft_adapter_name(arena, m, module) : NULL;
        if (!name) return -1;
        name += strlen("base_model.model.");
        if (ad->r != m->lora.r) bad |= json_object_set_new(ranks, name, json_integer(ad->r));
        if (ad->alpha != m->lora.alpha) bad |= json_object_set_new(alphas, name, json_real(ad->alpha));
    }
    return bad;
}

/* Layers whose rank or alpha is another than the adapter's own: name → number. */
static int set_patterns(json_t *config, graft_arena *arena, const graft_model *m) {
    json_t *ranks = json_object(), *alphas = json_object();
    int bad = json_object_set_new(config, "rank_pattern", ranks) |
              json_object_set_new(config, "alpha_pattern", alphas);
    if (!bad) bad = add_patterns(ranks, alphas, arena, m, false);
    if (!bad && m->family->twins) bad = add_patterns(ranks, alphas, arena, m, true);
    return bad;
}

/* A whole number as one, so that it reads as people write it. */
static json_t *number(double x) {
    return x == floor(x) && fabs(x) < 1e15 ? json_integer((json_int_t)x) : json_real(x);
}

static bool turned(const graft_model *m, graft_arena *arena) {
    graft_sites sites;
    if (graft_sites_list(&sites, arena, m, NULL) < 0) return false;
    const graft_site *s = graft_sites_find(&sites, m->adapted[0].weight);
    return s && s->kind == GRAFT_LAYER_IN_OUT;
}

/* A folder of this machine by its whole path, so that the adapter may be used from anywhere; a name of the
 * hub as it is. */
static const char *base_of(graft_arena *arena, const graft_model *m) {
    if (m->base_name && strstr(m->base, "/snapshots/")) return m->base_name;
    const char *path = graft_path_absolute(arena, m->base);
    return path ? path : m->base;
}

int graft_adapter_config_make(json_t **out, graft_arena *arena, const graft_model *m, graft_err *err) {
    const char *task = task_type(m);
    const char *name = base_of(arena, m);
    json_t *o = json_pack(
        "{s:s, s:o, s:s, s:o, s:I, s:o, s:o, s:b, s:b, s:b, s:b, s:b, s:o, s:o}", "peft_type", "LORA",
        "task_type", task ? json_string(task) : json_null(), "bias", "none", "base_model_name_or_path",
        graft_json_string(name), "r", (json_int_t)m->lora.r, "lora_alpha", number(m->lora.alpha),
        "lora_dropout", number(m->lora.dropout), "use_rslora", m->lora.rslora, "use_dora", 0,
        "fan_in_fan_out", turned(m, arena), "inference_mode", 1, "init_lora_weights", 1, "target_modules",
        target_modules(arena, m), "modules_to_save", modules_to_save(arena, m));
    if (o && json_array_size(json_object_get(o, "modules_to_save")) == 0)
        json_object_set_new(o, "modules_to_save", json_null());
    if (o && set_patterns(o, arena, m) == 0) {
        *out = o;
        return 0;
    }
    json_decref(o);
    return graft_err_nomem(err);
}

int graft_adapter_labels(const char *const **names, size_t *n, graft_arena *arena, const char *dir,
                         graft_err *err) {
    json_t *config = NULL;
    graft_labels labels = {0};
    char *path = graft_path_join(arena, dir, GRAFT_ADAPTER_CONFIG);
    int rc = path ? graft_json_read(&config, arena, path, err) : graft_err_nomem(err);
    if (rc == 0) rc = graft_config_id2label(&labels, arena, config, path, err);
    *names = labels.names;
    *n = labels.names ? labels.n : 0;
    return rc;
}
