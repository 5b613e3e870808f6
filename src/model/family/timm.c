/* Shared by the families of timm: its config.json, read and written. */
#include "model/family/timm.h"
#include <string.h>

const char *graft_timm_architecture(const json_t *config) {
    return json_string_value(json_object_get(config, "architecture"));
}

/* What Transformers' wrapper around timm puts before every name. */
const char *graft_timm_name(const char *name) {
    static const char wrapper[] = "timm_model.";
    return strncmp(name, wrapper, strlen(wrapper)) != 0 ? name : name + strlen(wrapper);
}

int graft_timm_arguments(json_t **out, const json_t *config, const char *origin, graft_err *err) {
    json_t *args = json_object_get(config, "model_args");
    if (args && !json_is_object(args) && !json_is_null(args))
        return graft_err_set(err, GRAFT_EFORMAT, "%s: model_args is not an object", origin);
    *out = json_is_object(args) ? json_incref(args) : json_object();
    return *out ? 0 : graft_err_nomem(err);
}

int graft_timm_check_arguments(const json_t *args, const char *const *known, size_t n_known,
                               const char *origin, graft_err *err) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)args, key, value) {
        bool found = json_is_null(value);
        for (size_t i = 0; !found && i < n_known; i++) found = !strcmp(known[i], key);
        if (!found)
            return graft_err_set(err, GRAFT_EUNSUPPORTED, "%s: model_args has '%s', which is not supported",
                                 origin, key);
    }
    return 0;
}

/* label_names, at the top or in pretrained_cfg; num_classes tells their number. */
int graft_timm_labels(graft_labels *out, graft_arena *arena, const json_t *config, const char *origin,
                      graft_err *err) {
    *out = (graft_labels){0};
    const json_t *cfg = json_object_get(config, "pretrained_cfg");
    const json_t *list = json_object_get(config, "label_names");
    if (!json_is_array(list)) list = json_object_get(cfg, "label_names");
    int64_t n = 0, most = 10000000;
    int rc = graft_json_int(config, "num_classes", -1, &n, origin, err);
    if (rc == 0 && n < 0 && json_is_object(cfg)) rc = graft_json_int(cfg, "num_classes", 0, &n, origin, err);
    if (rc < 0) return rc;
    if (n > most) return graft_err_set(err, GRAFT_EFORMAT, "%s: num_classes is %lld", origin, (long long)n);
    out->n = n > 0 ? (size_t)n : 0;
    if (!json_is_array(list) || (out->n && json_array_size(list) != out->n)) return 0;
    const char **text = graft_arena_array(arena, json_array_size(list), sizeof *text);
    if (!text) return graft_err_nomem(err);
    for (size_t i = 0; i < json_array_size(list); i++) {
        text[i] = json_string_value(json_array_get(list, i));
        if (!text[i])
            return graft_err_set(err, GRAFT_EFORMAT, "%s: label_names[%zu] is not a string", origin, i);
    }
    out->names = text;
    out->n = json_array_size(list);
    return 0;
}

static json_t *reals_json(const double *a, int n) {
    json_t *list = json_array();
    for (int i = 0; list && i < n; i++) json_array_append_new(list, json_real(a[i]));
    return list;
}

/* As near as timm's words come; graft itself reads preprocessor_config.json, which is exact. */
static int describe_pictures(json_t *cfg, const graft_model *m) {
    const graft_preprocess *p = graft_model_preprocess(m);
    int height = 0, width = 0, bad = 0;
    if (!graft_model_input_size(m, &height, &width)) return 0;
    bad |= json_object_set_new(cfg, "input_size", json_pack("[iii]", p->channels, height, width));
    bad |= json_object_set_new(cfg, "mean", reals_json(p->mean, p->channels));
    bad |= json_object_set_new(cfg, "std", reals_json(p->std, p->channels));
    bool known = p->resample == GRAFT_RESAMPLE_BILINEAR || p->resample == GRAFT_RESAMPLE_BICUBIC;
    if (known)
        bad |= json_object_set_new(cfg, "interpolation", json_string(graft_resample_name(p->resample)));
    int side = p->height > 0 ? p->height : height;
    double share = p->mode == GRAFT_RESIZE_NONE ? 1 : (double)height / side;
    bad |= json_object_set_new(cfg, "crop_pct", json_real(share > 1 ? 1 : share));
    const char *mode = p->mode == GRAFT_RESIZE_EXACT ? "squash" : "center";
    return bad | json_object_set_new(cfg, "crop_mode", json_string(mode));
}

int graft_timm_write(json_t *config, const graft_model *m, const char *first_conv, const char *classifier,
                     const char *pool, graft_err *err) {
    size_t n = 0;
    const char *const *text = graft_model_labels(m, &n);
    json_t *list = json_array(), *cfg = json_object_get(config, "pretrained_cfg");
    int bad = !list;
    for (size_t i = 0; !bad && i < n; i++) bad |= json_array_append_new(list, json_string(text[i]));
    if (graft_model_labels_are_known(m))
        bad |= json_object_set_new(config, "label_names", list);
    else
        json_decref(list);
    bool new_cfg = !json_is_object(cfg);
    if (new_cfg) {
        cfg = json_object();
        bad |= json_object_set_new(config, "pretrained_cfg", cfg);
        bad |= bad ? 0 : json_object_set_new(cfg, "first_conv", json_string(first_conv));
        bad |= bad ? 0 : json_object_set_new(cfg, "classifier", json_string(classifier));
    }
    if (!bad && (new_cfg || graft_model_preprocess_is_changed(m))) bad |= describe_pictures(cfg, m);
    if (!bad) bad |= json_object_set_new(cfg, "num_classes", json_integer((json_int_t)n));
    json_t *args = json_object_get(config, "model_args");
    if (json_object_get(args, "num_classes"))
        bad |= json_object_set_new(args, "num_classes", json_integer((json_int_t)n));
    /* The folder is written as timm's, so the marks of Transformers' wrapper go. */
    json_object_del(config, "model_type");
    json_object_del(config, "architectures");
    json_object_del(config, "label2id");
    json_object_del(config, "id2label");
    bad |= json_object_set_new(config, "num_classes", json_integer((json_int_t)n));
    bad |= json_object_set_new(config, "num_features", json_integer(graft_model_feature_width(m)));
    bad |= json_object_set_new(config, "global_pool", json_string(pool));
    return bad ? graft_err_nomem(err) : 0;
}
