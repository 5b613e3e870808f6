/* Reading: preprocessor_config.json in all its classes and ages, processor_config.json, timm's
 * pretrained_cfg. */
#include "model/preprocess_private.h"
#include <math.h>
#include <string.h>

/* What a class does with `size`. */
typedef enum size_rule {
    SIZE_SQUARE,   /* an integer is height and width */
    SIZE_SHORTEST, /* an integer is the short side */
    SIZE_CONVNEXT, /* short side s: below 384 resized to s / crop_pct and cropped to s, else warped to s x s
                    */
    SIZE_LEVIT     /* short side s: resized to s * 256 / 224 */
} size_rule;

typedef enum statistics { HALF, IMAGENET, CLIP } statistics;

static const double means[][3] = {
    {0.5, 0.5, 0.5}, {0.485, 0.456, 0.406}, {0.48145466, 0.4578275, 0.40821073}};
static const double stds[][3] = {
    {0.5, 0.5, 0.5}, {0.229, 0.224, 0.225}, {0.26862954, 0.26130258, 0.27577711}};

/* Transformers 5.23's classes (name without "ImageProcessor") and their defaults. */
static const struct processor {
    const char *name;
    size_rule rule;
    int size, crop;
    bool do_crop;
    graft_resample resample;
    statistics statistics;
} processors[] = {
    {"ConvNext", SIZE_CONVNEXT, 384, 0, false, GRAFT_RESAMPLE_BICUBIC, HALF},
    {"ViT", SIZE_SQUARE, 224, 0, false, GRAFT_RESAMPLE_BILINEAR, HALF},
    {"DeiT", SIZE_SQUARE, 256, 224, true, GRAFT_RESAMPLE_BICUBIC, HALF},
    {"Bit", SIZE_SHORTEST, 224, 224, true, GRAFT_RESAMPLE_BICUBIC, CLIP},
    {"CLIP", SIZE_SHORTEST, 224, 224, true, GRAFT_RESAMPLE_BICUBIC, CLIP},
    {"Siglip", SIZE_SQUARE, 224, 0, false, GRAFT_RESAMPLE_BICUBIC, HALF},
    {"MobileNetV1", SIZE_SHORTEST, 256, 224, true, GRAFT_RESAMPLE_BILINEAR, HALF},
    {"MobileNetV2", SIZE_SHORTEST, 256, 224, true, GRAFT_RESAMPLE_BILINEAR, HALF},
    {"EfficientNet", SIZE_SQUARE, 346, 289, false, GRAFT_RESAMPLE_BICUBIC, HALF},
    {"Segformer", SIZE_SQUARE, 512, 0, false, GRAFT_RESAMPLE_BILINEAR, IMAGENET},
    {"Beit", SIZE_SQUARE, 224, 224, false, GRAFT_RESAMPLE_BICUBIC, HALF},
    {"Pvt", SIZE_SQUARE, 224, 0, false, GRAFT_RESAMPLE_BICUBIC, IMAGENET},
    {"Levit", SIZE_LEVIT, 224, 224, true, GRAFT_RESAMPLE_BICUBIC, IMAGENET},
};

/* "ViTFeatureExtractor", "ViTImageProcessorFast", "ViTImageProcessorPil" are all "ViT". */
static const struct processor *find_processor(const char *type) {
    for (size_t i = 0; i < GRAFT_COUNT(processors); i++) {
        size_t n = strlen(processors[i].name);
        if (strncmp(type, processors[i].name, n) != 0) continue;
        const char *rest = type + n;
        if (!strcmp(rest, "FeatureExtractor") || !strcmp(rest, "ImageProcessor") ||
            !strcmp(rest, "ImageProcessorFast") || !strcmp(rest, "ImageProcessorPil"))
            return &processors[i];
    }
    return NULL;
}

/* A file that names no class, as some converters write: by its keys. */
static const struct processor *guess_processor(const json_t *o) {
    const json_t *size = json_object_get(o, "size");
    if (json_object_get(o, "crop_pct")) return find_processor("ConvNextImageProcessor");
    if (json_object_get(size, "shortest_edge")) return find_processor("BitImageProcessor");
    return find_processor(json_object_get(o, "crop_size") ? "DeiTImageProcessor" : "ViTImageProcessor");
}

static int bad_key(const char *origin, const char *key, const char *want, graft_err *err) {
    return graft_err_set(err, GRAFT_EFORMAT, "%s: '%s' should be %s", origin, key, want);
}

static int side_of(const json_t *v, int *out, const char *origin, const char *key, graft_err *err) {
    double n = json_is_number(v) ? json_number_value(v) : 0;
    if (!(n >= 1 && n <= GRAFT_MAX_PICTURE_SIDE)) return bad_key(origin, key, "pixels, from 1 to 65535", err);
    *out = (int)n;
    return 0;
}

/* Height and width of {"height", "width"}, [h, w] or an integer; *square is false when it is none of them. */
static int square_of(const json_t *v, int *height, int *width, bool *square, const char *origin,
                     const char *key, graft_err *err) {
    *square = true;
    const json_t *h = v, *w = v;
    if (json_is_object(v)) {
        h = json_object_get(v, "height");
        w = json_object_get(v, "width");
        if (!h || !w) {
            *square = false;
            return 0;
        }
    } else if (json_is_array(v)) {
        h = json_array_get(v, 0);
        w = json_array_get(v, json_array_size(v) > 1 ? 1 : 0);
    }
    int rc = side_of(h, height, origin, key, err);
    return rc < 0 ? rc : side_of(w, width, origin, key, err);
}

static int read_size(graft_preprocess *p, const json_t *o, const struct processor *r, const char *origin,
                     graft_err *err) {
    const json_t *size = json_object_get(o, "size");
    bool plain = !size || json_is_null(size), square = false;
    int rc, h = r->size, w = r->size;
    bool by_short_side = r->rule != SIZE_SQUARE;
    const json_t *shortest = json_object_get(size, "shortest_edge"),
                 *longest = json_object_get(size, "longest_edge");
    if (shortest && !json_is_null(shortest)) {
        if ((rc = side_of(shortest, &h, origin, "size.shortest_edge", err)) < 0) return rc;
        by_short_side = true;
        if (longest && !json_is_null(longest) &&
            (rc = side_of(longest, &p->longest, origin, "size.longest_edge", err)) < 0)
            return rc;
    } else if (!plain) {
        if ((rc = square_of(size, &h, &w, &square, origin, "size", err)) < 0) return rc;
        if (!square)
            return bad_key(origin, "size", "an integer, {\"height\", \"width\"} or {\"shortest_edge\"}", err);
        if (json_is_object(size) || json_is_array(size)) by_short_side = r->rule == SIZE_CONVNEXT && h == w;
    }
    p->mode = by_short_side ? GRAFT_RESIZE_SHORTEST : GRAFT_RESIZE_EXACT;
    p->height = h;
    p->width = by_short_side ? h : w;
    if (!by_short_side) return 0;
    if (r->rule == SIZE_LEVIT) p->height = p->width = (int)(256.0 / 224 * h);
    if (r->rule != SIZE_CONVNEXT) return 0;
    double crop_pct;
    if ((rc = graft_json_real(o, "crop_pct", 224.0 / 256, &crop_pct, origin, err)) < 0) return rc;
    if (!(crop_pct > 0 && crop_pct <= 1)) return bad_key(origin, "crop_pct", "above 0 and at most 1", err);
    if (h >= 384) {
        p->mode = GRAFT_RESIZE_EXACT;
        return 0;
    }
    double resized = floor(h / crop_pct);
    if (resized > GRAFT_MAX_PICTURE_SIDE) return bad_key(origin, "crop_pct", "larger for this size", err);
    p->crop_height = p->crop_width = h;
    p->height = p->width = (int)resized;
    return 0;
}

static int read_crop(graft_preprocess *p, const json_t *o, const struct processor *r, const char *origin,
                     graft_err *err) {
    bool crops, square;
    int rc = graft_json_bool(o, "do_center_crop", r->do_crop, &crops, origin, err);
    if (rc < 0 || !crops) return rc;
    const json_t *crop = json_object_get(o, "crop_size");
    p->crop_height = p->crop_width = r->crop ? r->crop : r->size;
    if (!crop || json_is_null(crop)) return 0;
    const json_t *shortest =
        json_object_get(crop, "shortest_edge"); /* seen in files converted by old versions */
    rc = square_of(shortest ? shortest : crop, &p->crop_height, &p->crop_width, &square, origin, "crop_size",
                   err);
    return rc < 0   ? rc
           : square ? 0
                    : bad_key(origin, "crop_size", "an integer or {\"height\", \"width\"}", err);
}

/* A number for every channel, or a list of 1 or 3. *n is the list's length, 0 for a number or when absent. */
static int read_channels(double *out, int *n, const json_t *o, const char *key, const char *origin,
                         graft_err *err) {
    const json_t *v = json_object_get(o, key);
    *n = 0;
    if (!v || json_is_null(v)) return 0;
    if (json_is_number(v)) {
        for (int c = 0; c < GRAFT_MAX_CHANNELS; c++) out[c] = json_number_value(v);
        return 0;
    }
    size_t size = json_array_size(v);
    if (size == 2 || size > 3)
        return graft_err_set(err, GRAFT_EUNSUPPORTED,
                             "%s: '%s' has %zu values; pictures of 1 or 3 channels are read", origin, key,
                             size);
    for (size_t c = 0; c < size; c++) {
        const json_t *e = json_array_get(v, c);
        if (!json_is_number(e)) return bad_key(origin, key, "a list of numbers", err);
        out[c] = json_number_value(e);
    }
    *n = (int)size;
    return size ? 0 : bad_key(origin, key, "a list of numbers", err);
}

static int read_numbers(graft_preprocess *p, const json_t *o, const struct processor *r, const char *origin,
                        graft_err *err) {
    bool rescales, normalises, offset, include_top;
    int rc, n_mean, n_std;
    bool efficient = !strcmp(r->name, "EfficientNet");
    for (int c = 0; c < 3; c++) {
        p->mean[c] = means[r->statistics][c];
        p->std[c] = stds[r->statistics][c];
    }
    if ((rc = graft_json_bool(o, "do_rescale", true, &rescales, origin, err)) < 0 ||
        (rc = graft_json_bool(o, "do_normalize", true, &normalises, origin, err)) < 0 ||
        (rc = graft_json_bool(o, "rescale_offset", false, &offset, origin, err)) < 0 ||
        (rc = graft_json_bool(o, "include_top", efficient, &include_top, origin, err)) < 0 ||
        (rc = graft_json_real(o, "rescale_factor", 1.0 / 255, &p->rescale, origin, err)) < 0 ||
        (rc = read_channels(p->mean, &n_mean, o, "image_mean", origin, err)) < 0 ||
        (rc = read_channels(p->std, &n_std, o, "image_std", origin, err)) < 0)
        return rc;
    if (n_mean && n_std && n_mean != n_std)
        return graft_err_set(err, GRAFT_EFORMAT, "%s: 'image_mean' has %d values and 'image_std' %d", origin,
                             n_mean, n_std);
    int n = n_mean ? n_mean : n_std;
    p->channels = normalises && n == 1 ? 1 : 3;
    if (!rescales) p->rescale = 1;
    for (int c = 0; c < GRAFT_MAX_CHANNELS; c++) {
        if (!normalises || c >= p->channels) p->mean[c] = 0, p->std[c] = 1;
        /* ((x - mean) / std) / std, and x * factor - 1, in terms of one mean and one std. */
        if (efficient && include_top && normalises && c < p->channels) p->std[c] *= p->std[c];
        if (efficient && offset && rescales && c < p->channels) p->mean[c] += 1;
    }
    return 0;
}

const char *const graft_resize_words[] = {"none", "exact", "shortest", "cover", "contain"};

/* What only graft can say about its own files. */
static int read_own(graft_preprocess *p, const json_t *own, const char *origin, graft_err *err) {
    if (!own) return 0;
    if (!json_is_object(own)) return bad_key(origin, "graft", "an object", err);
    const char *mode, *rule;
    int64_t channels;
    int rc;
    if ((rc = graft_json_int(own, "channels", p->channels, &channels, origin, err)) < 0 ||
        (rc = graft_json_text(own, "resize", graft_resize_words[p->mode], &mode, origin, err)) < 0 ||
        (rc = graft_json_text(own, "crop_rule", "floor", &rule, origin, err)) < 0)
        return rc;
    if (channels != 1 && channels != 3) return bad_key(origin, "graft.channels", "1 or 3", err);
    p->channels = (int)channels;
    size_t i = 0;
    while (i < GRAFT_COUNT(graft_resize_words) && strcmp(mode, graft_resize_words[i]) != 0) i++;
    if (i == GRAFT_COUNT(graft_resize_words))
        return bad_key(origin, "graft.resize", "exact, shortest, cover or contain", err);
    p->mode = (graft_resize_mode)i;
    if (strcmp(rule, "floor") != 0 && strcmp(rule, "round") != 0)
        return bad_key(origin, "graft.crop_rule", "floor or round", err);
    p->crop_rule = rule[0] == 'r' ? GRAFT_CROP_ROUND : GRAFT_CROP_FLOOR;
    const json_t *pad = json_object_get(own, "pad");
    for (size_t c = 0; c < json_array_size(pad) && c < GRAFT_MAX_CHANNELS; c++) {
        json_int_t v = json_integer_value(json_array_get(pad, c));
        if (v < 0 || v > 255) return bad_key(origin, "graft.pad", "grey levels from 0 to 255", err);
        p->pad[c] = (uint8_t)v;
    }
    return 0;
}

static int verify(const graft_preprocess *p, const char *origin, graft_err *err) {
    graft_err why;
    if (graft_preprocess_check(p, &why) == 0) return 0;
    return graft_err_set(err, GRAFT_EFORMAT, "%s: %s", origin, why.message);
}

int graft_preprocess_parse(graft_preprocess *out, const json_t *o, const char *origin, graft_err *err) {
    const json_t *inner = json_object_get(o, "image_processor");
    if (json_is_object(inner)) o = inner;
    if (!json_is_object(o)) return graft_err_set(err, GRAFT_EFORMAT, "%s: a JSON object is expected", origin);
    const char *type, *older;
    int rc;
    if ((rc = graft_json_text(o, "image_processor_type", NULL, &type, origin, err)) < 0 ||
        (rc = graft_json_text(o, "feature_extractor_type", NULL, &older, origin, err)) < 0)
        return rc;
    if (!type) type = older;
    const struct processor *r = type ? find_processor(type) : guess_processor(o);
    if (!r)
        return graft_err_set(
            err, GRAFT_EUNSUPPORTED,
            "%s: '%s' is a picture processor that graft does not know; ViTImageProcessor, "
            "BitImageProcessor or ConvNextImageProcessor with the right sizes may say the same",
            origin, type);
    graft_preprocess p = {.channels = 3};
    int64_t resample;
    bool resizes;
    if ((rc = graft_json_int(o, "resample", (int64_t)r->resample, &resample, origin, err)) < 0 ||
        (rc = graft_json_bool(o, "do_resize", true, &resizes, origin, err)) < 0)
        return rc;
    if (resample < 0 || resample > GRAFT_RESAMPLE_HAMMING)
        return bad_key(origin, "resample", "from 0 to 5", err);
    p.resample = (graft_resample)resample;
    if (resizes && (rc = read_size(&p, o, r, origin, err)) < 0) return rc;
    if ((rc = read_crop(&p, o, r, origin, err)) < 0 || (rc = read_numbers(&p, o, r, origin, err)) < 0 ||
        (rc = read_own(&p, json_object_get(o, "graft"), origin, err)) < 0 ||
        (rc = verify(&p, origin, err)) < 0)
        return rc;
    *out = p;
    return 0;
}

/* ---- timm -------------------------------------------------------------------------------------------------
 */

static graft_resample timm_filter(const char *name) {
    for (int i = 0; i <= GRAFT_RESAMPLE_HAMMING; i++)
        if (!strcmp(name, graft_resample_name((graft_resample)i))) return (graft_resample)i;
    return GRAFT_RESAMPLE_BILINEAR; /* "random" is for training */
}

static int timm_numbers(graft_preprocess *p, const json_t *o, const char *origin, graft_err *err) {
    int n_mean, n_std, rc;
    for (int c = 0; c < 3; c++) {
        p->mean[c] = means[IMAGENET][c];
        p->std[c] = stds[IMAGENET][c];
    }
    if ((rc = read_channels(p->mean, &n_mean, o, "mean", origin, err)) < 0 ||
        (rc = read_channels(p->std, &n_std, o, "std", origin, err)) < 0)
        return rc;
    if (p->channels == 1 && n_mean != 1) p->mean[0] = (p->mean[0] + p->mean[1] + p->mean[2]) / 3;
    if (p->channels == 1 && n_std != 1) p->std[0] = (p->std[0] + p->std[1] + p->std[2]) / 3;
    if (p->channels == 3 && (n_mean == 1 || n_std == 1))
        return bad_key(origin, "mean", "as long as std and as the channels of input_size", err);
    for (int c = p->channels; c < GRAFT_MAX_CHANNELS; c++) p->mean[c] = 0, p->std[c] = 1;
    return 0;
}

int graft_preprocess_parse_timm(graft_preprocess *out, const json_t *o, const char *origin, graft_err *err) {
    const json_t *inner = json_object_get(o, "pretrained_cfg");
    if (json_is_object(inner)) o = inner;
    const json_t *size = json_object_get(o, "input_size");
    const char *filter, *mode;
    double crop_pct;
    int rc, h, w;
    if (json_array_size(size) != 3) return bad_key(origin, "input_size", "[channels, height, width]", err);
    graft_preprocess p = {.rescale = 1.0 / 255, .crop_rule = GRAFT_CROP_ROUND};
    json_int_t channels = json_integer_value(json_array_get(size, 0));
    if (channels != 1 && channels != 3)
        return graft_err_set(err, GRAFT_EUNSUPPORTED, "%s: 'input_size' has %lld channels; 1 and 3 are read",
                             origin, (long long)channels);
    p.channels = (int)channels;
    if ((rc = side_of(json_array_get(size, 1), &h, origin, "input_size", err)) < 0 ||
        (rc = side_of(json_array_get(size, 2), &w, origin, "input_size", err)) < 0 ||
        (rc = graft_json_text(o, "interpolation", "bilinear", &filter, origin, err)) < 0 ||
        (rc = graft_json_text(o, "crop_mode", "center", &mode, origin, err)) < 0 ||
        (rc = graft_json_real(o, "crop_pct", 0.875, &crop_pct, origin, err)) < 0 ||
        (rc = timm_numbers(&p, o, origin, err)) < 0)
        return rc;
    if (crop_pct == 0) crop_pct = 0.875;
    double rh = floor(h / crop_pct), rw = floor(w / crop_pct);
    if (!(crop_pct > 0 && rh >= 1 && rw >= 1 && rh <= GRAFT_MAX_PICTURE_SIDE && rw <= GRAFT_MAX_PICTURE_SIDE))
        return bad_key(origin, "crop_pct", "a share of the picture such as 0.875", err);
    p.resample = timm_filter(filter);
    p.height = (int)rh;
    p.width = (int)rw;
    p.crop_height = h;
    p.crop_width = w;
    if (!strcmp(mode, "squash")) {
        p.mode = GRAFT_RESIZE_EXACT;
    } else if (!strcmp(mode, "border")) {
        p.mode = GRAFT_RESIZE_CONTAIN;
        for (int c = 0; c < p.channels; c++) {
            double level = rint(255 * p.mean[c]);
            p.pad[c] = (uint8_t)(level < 0 ? 0 : level > 255 ? 255 : level);
        }
    } else if (!strcmp(mode, "center")) {
        p.mode = p.height == p.width ? GRAFT_RESIZE_SHORTEST : GRAFT_RESIZE_COVER;
    } else {
        return bad_key(origin, "crop_mode", "center, squash or border", err);
    }
    if ((rc = verify(&p, origin, err)) < 0) return rc;
    *out = p;
    return 0;
}

/* ---- Folder -----------------------------------------------------------------------------------------------
 */

int graft_preprocess_read(graft_preprocess *out, bool *found, json_t **source, graft_arena *arena,
                          const char *folder, graft_err *err) {
    static const char *const names[] = {"preprocessor_config.json", "processor_config.json"};
    *found = false;
    if (source) *source = NULL;
    int rc;
    json_t *o;
    const char *type = NULL;
    for (size_t i = 0; i < GRAFT_COUNT(names); i++) {
        char *path = graft_path_join(arena, folder, names[i]);
        if (!path) return graft_err_nomem(err);
        if (!graft_path_is_file(path)) continue;
        if ((rc = graft_json_read(&o, arena, path, err)) < 0) return rc;
        if (i == 1) o = json_object_get(o, "image_processor");
        if (!json_is_object(o)) continue;
        type = json_string_value(json_object_get(o, "image_processor_type"));
        if (type && !strncmp(type, "TimmWrapper", 11)) break;
        if ((rc = graft_preprocess_parse(out, o, path, err)) < 0) return rc;
        *found = true;
        if (source) *source = o;
        return 0;
    }
    char *path = graft_path_join(arena, folder, "config.json");
    if (!path) return graft_err_nomem(err);
    if (!graft_path_is_file(path)) return 0;
    if ((rc = graft_json_read(&o, arena, path, err)) < 0) return rc;
    if (!json_is_object(json_object_get(o, "pretrained_cfg"))) return 0;
    if ((rc = graft_preprocess_parse_timm(out, o, path, err)) < 0) return rc;
    *found = true;
    return 0;
}
