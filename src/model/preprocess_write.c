/* Writing: the class of Transformers that does the same steps, with every value spelled out, so that no
 * default of any version matters. */
#include "model/preprocess_private.h"
#include <string.h>

/* Keys whose meaning the writer sets anew; all others of a source file are kept. */
static const char *const meaningful[] = {"image_processor_type",
                                         "feature_extractor_type",
                                         "do_resize",
                                         "size",
                                         "resample",
                                         "do_center_crop",
                                         "crop_size",
                                         "crop_pct",
                                         "do_rescale",
                                         "rescale_factor",
                                         "rescale_offset",
                                         "include_top",
                                         "do_normalize",
                                         "image_mean",
                                         "image_std",
                                         "do_convert_rgb",
                                         "default_to_square",
                                         "graft",
                                         "processor_class"};

static const char *what_is_lost(const graft_preprocess *p) {
    bool crops = p->crop_height > 0, padded = false;
    for (int c = 0; c < p->channels; c++) padded |= crops && p->pad[c] != 0;
    if (p->mode == GRAFT_RESIZE_CONTAIN)
        return "Transformers has no resize that fits the whole picture into a size and pads it; it will warp";
    if (p->mode == GRAFT_RESIZE_COVER)
        return "Transformers has no resize that covers a size that is not square; it will warp";
    if (p->channels == 1) return "Transformers does not turn colour pictures grey; give it grey ones";
    if (padded) return "Transformers pads a small picture with black only";
    if (p->mode == GRAFT_RESIZE_SHORTEST && p->longest)
        return "Transformers rounds the sides differently where the long side is capped";
    if (crops && p->crop_rule == GRAFT_CROP_ROUND)
        return "Transformers rounds the place of an odd crop down, timm half to even: one pixel at most";
    return NULL;
}

static json_t *sides(int height, int width) {
    return json_pack("{s:i, s:i}", "height", height, "width", width);
}

static json_t *numbers(const double *x, int n) {
    json_t *list = json_array();
    for (int c = 0; c < n; c++)
        if (json_array_append_new(list, json_real(x[c])) < 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static json_t *own_words(const graft_preprocess *p) {
    json_t *pad = json_array();
    for (int c = 0; c < p->channels; c++)
        if (json_array_append_new(pad, json_integer(p->pad[c])) < 0) {
            json_decref(pad);
            return NULL;
        }
    return json_pack("{s:i, s:s, s:s, s:o}", "channels", p->channels, "resize", graft_resize_words[p->mode],
                     "crop_rule", p->crop_rule == GRAFT_CROP_ROUND ? "round" : "floor", "pad", pad);
}

/* json_object_set_new refuses NULL, so that a failed value shows here. */
static bool set(json_t *o, const char *key, json_t *value) {
    return json_object_set_new(o, key, value) == 0;
}

static bool fill(json_t *o, const graft_preprocess *p, bool own) {
    bool crops = p->crop_height > 0, resizes = p->mode != GRAFT_RESIZE_NONE;
    bool shortest = p->mode == GRAFT_RESIZE_SHORTEST;
    const char *type = shortest || (!resizes && crops) ? "BitImageProcessor"
                       : crops                         ? "DeiTImageProcessor"
                                                       : "ViTImageProcessor";
    bool ok = set(o, "image_processor_type", json_string(type)) && set(o, "do_resize", json_boolean(resizes));
    if (shortest && p->longest)
        ok = ok &&
             set(o, "size", json_pack("{s:i, s:i}", "shortest_edge", p->height, "longest_edge", p->longest));
    else if (shortest)
        ok = ok && set(o, "size", json_pack("{s:i}", "shortest_edge", p->height));
    else if (resizes)
        ok = ok && set(o, "size", sides(p->height, p->width));
    ok = ok && set(o, "resample", json_integer(p->resample));
    ok = ok && set(o, "do_center_crop", json_boolean(crops));
    if (crops) ok = ok && set(o, "crop_size", sides(p->crop_height, p->crop_width));
    ok = ok && set(o, "do_rescale", json_boolean(p->rescale != 1));
    ok = ok && set(o, "rescale_factor", json_real(p->rescale)) && set(o, "do_normalize", json_true());
    ok = ok && set(o, "image_mean", numbers(p->mean, p->channels));
    ok = ok && set(o, "image_std", numbers(p->std, p->channels));
    ok = ok && set(o, "do_convert_rgb", json_boolean(p->channels == 3));
    return own ? ok && set(o, "graft", own_words(p)) : ok;
}

int graft_preprocess_json(json_t **out, const graft_preprocess *p, const json_t *source, const char **inexact,
                          graft_err *err) {
    const char *lost = what_is_lost(p);
    if (inexact) *inexact = lost;
    int rc = graft_preprocess_check(p, err);
    if (rc < 0) return rc;
    json_t *o = json_is_object(source) ? json_deep_copy(source) : json_object();
    if (!o) return graft_err_nomem(err);
    graft_preprocess same;
    if (source && graft_preprocess_parse(&same, source, "source", NULL) == 0 &&
        graft_preprocess_equal(&same, p)) {
        *out = o;
        return 0;
    }
    for (size_t i = 0; i < GRAFT_COUNT(meaningful); i++) json_object_del(o, meaningful[i]);
    if (!fill(o, p, lost != NULL)) {
        json_decref(o);
        return graft_err_nomem(err);
    }
    *out = o;
    return 0;
}

int graft_preprocess_write(const graft_preprocess *p, const json_t *source, const char *folder,
                           graft_err *err) {
    json_t *o;
    int rc = graft_preprocess_json(&o, p, source, NULL, err);
    if (rc < 0) return rc;
    graft_buf path;
    graft_buf_init(&path, 0);
    graft_buf_printf(&path, "%s/preprocessor_config.json", folder);
    rc = path.failed ? graft_err_nomem(err) : graft_json_write(path.data, o, err);
    graft_buf_done(&path);
    json_decref(o);
    return rc;
}
