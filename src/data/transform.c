#include "data/transform.h"
#include "data/image_private.h"
#include <math.h>
#include <string.h>

int graft_transform_init(graft_transform *out, const graft_preprocess *p, const graft_augment *augment,
                         graft_err *err) {
    int rc = graft_preprocess_check(p, err);
    if (rc < 0) return rc;
    *out = (graft_transform){.preprocess = *p, .channels = p->channels};
    if (augment) out->augment = *augment;
    if (!graft_preprocess_output(p, &out->height, &out->width)) {
        char text[256];
        return graft_err_set(
            err, GRAFT_EUSAGE,
            "preprocessing leaves the size to the picture (%s); a batch needs one size: add a crop",
            graft_preprocess_explain(p, text, sizeof text));
    }
    for (int c = 0; c < p->channels; c++) {
        out->scale[c] = (float)(p->rescale / p->std[c]);
        out->shift[c] = (float)(-p->mean[c] / p->std[c]);
    }
    return 0;
}

int graft_transform_init_text(graft_transform *out, const graft_text_transform *text, graft_err *err) {
    *out = (graft_transform){.text = *text};
    if (text->max_length > 0 && text->max_length <= INT32_MAX) return 0;
    return graft_err_set(err, GRAFT_EUSAGE,
                         "texts of at most %lld tokens: give --max-length a positive number",
                         (long long)text->max_length);
}

size_t graft_transform_count(const graft_transform *t) {
    return (size_t)t->channels * (size_t)t->height * (size_t)t->width;
}

/* Where a crop of `want` begins in `have`, or how much is padded before, by the rule. */
static int crop_start(int have, int want, graft_crop_rule rule) {
    int more = have - want;
    return rule == GRAFT_CROP_ROUND ? (int)rint(more / 2.0) : more / 2;
}

static int pad_before(int have, int want, graft_crop_rule rule) {
    int more = want - have;
    return rule == GRAFT_CROP_ROUND ? more / 2 : (more + 1) / 2;
}

/* The part of the resized picture that is seen along one axis, and where it goes in the result. */
typedef struct span {
    int from, to, n;
} span;

static span span_of(int have, int want, graft_crop_rule rule) {
    if (have >= want) return (span){crop_start(have, want, rule), 0, want};
    return (span){0, pad_before(have, want, rule), have};
}

static void fill_pad(uint8_t *data, const graft_transform *t) {
    size_t n = (size_t)t->height * (size_t)t->width;
    for (size_t i = 0; i < n; i++)
        for (int c = 0; c < t->channels; c++) *data++ = t->preprocess.pad[c];
}

/* A decoded picture and the part of it that is the picture: less than all by a part of a pixel at the far
 * edges where it was decoded at reduced scale and its sides do not divide. */
typedef struct source {
    graft_image image;
    int full_width, full_height;
    double x, y, width, height;
} source;

static source whole_of(const graft_image *image) {
    return (source){*image, image->width, image->height, 0, 0, image->width, image->height};
}

/* The far edges of the file are the near ones where EXIF mirrors an axis. */
static source reduced_of(const graft_image *image, const graft_image_info *info) {
    static const bool mirrored_x[9] = {[2] = true, [3] = true, [6] = true, [7] = true};
    static const bool mirrored_y[9] = {[3] = true, [4] = true, [7] = true, [8] = true};
    source s = whole_of(image);
    for (int n = 1; n <= 8; n *= 2) {
        if ((info->width + n - 1) / n != image->width || (info->height + n - 1) / n != image->height)
            continue;
        s.full_width = info->width;
        s.full_height = info->height;
        s.width = (double)info->width / n;
        s.height = (double)info->height / n;
        s.x = mirrored_x[info->orientation] ? image->width - s.width : 0;
        s.y = mirrored_y[info->orientation] ? image->height - s.height : 0;
        break;
    }
    return s;
}

/* Resize and centre crop: only the pixels that the crop keeps are computed. */
static int evaluate(const graft_transform *t, const source *in, int resized_height, int resized_width,
                    graft_image *out, graft_image_scratch *s, graft_err *err) {
    const graft_preprocess *p = &t->preprocess;
    uint8_t *data = graft_scratch_picture(out, s, GRAFT_SLOT_RESIZED, t->width, t->height, t->channels);
    if (!data) return graft_err_nomem(err);
    span y = span_of(resized_height, t->height, p->crop_rule),
         x = span_of(resized_width, t->width, p->crop_rule);
    if (y.n < t->height || x.n < t->width) fill_pad(data, t);
    graft_resize_job job = {.width = resized_width,
                            .height = resized_height,
                            .x = x.from,
                            .y = y.from,
                            .w = x.n,
                            .h = y.n,
                            .resample = p->resample,
                            .from_x = in->x,
                            .from_y = in->y,
                            .from_width = in->width,
                            .from_height = in->height};
    uint8_t *to = data + (size_t)y.to * out->stride + (size_t)x.to * (size_t)t->channels;
    return graft_resize(to, out->stride, &in->image, &job, s, err);
}

/* A random window of the picture, drawn in the picture's full size, resized to the result's. */
static int crop_randomly(const graft_transform *t, const source *from, const graft_crop *full,
                         graft_image *out, graft_image_scratch *s, graft_err *err) {
    const graft_image *in = &from->image;
    double fx = (double)in->width / from->full_width, fy = (double)in->height / from->full_height;
    int x = (int)(full->x * fx), y = (int)(full->y * fy);
    int w = (int)rint(full->width * fx), h = (int)rint(full->height * fy);
    if (w > in->width - x) w = in->width - x;
    if (h > in->height - y) h = in->height - y;
    graft_image window = *in;
    window.data += (size_t)y * in->stride + (size_t)x * (size_t)in->channels;
    window.width = w < 1 ? 1 : w;
    window.height = h < 1 ? 1 : h;
    uint8_t *data = graft_scratch_picture(out, s, GRAFT_SLOT_RESIZED, t->width, t->height, t->channels);
    if (!data) return graft_err_nomem(err);
    graft_resize_job job = {.width = t->width,
                            .height = t->height,
                            .w = t->width,
                            .h = t->height,
                            .resample = t->preprocess.resample};
    return graft_resize(data, out->stride, &window, &job, s, err);
}

/* The geometry of one sample: what is to be seen of the full picture, and at what size. */
typedef struct view {
    bool random;
    graft_crop crop;                   /* random: the window */
    int resized_width, resized_height; /* else: the whole picture's new size */
    int target_width, target_height; /* the size at which the whole picture would be seen, for the decoder */
} view;

static view choose_view(const graft_transform *t, int width, int height, graft_rng *rng) {
    view v = {.random = rng && t->augment.crop_max > 0};
    if (v.random) {
        v.crop = graft_augment_crop(&t->augment, width, height, rng);
        double w = (double)width * t->width / v.crop.width, h = (double)height * t->height / v.crop.height;
        v.target_width = w > width ? width : (int)ceil(w);
        v.target_height = h > height ? height : (int)ceil(h);
        return v;
    }
    graft_preprocess_resized(&t->preprocess, height, width, &v.resized_height, &v.resized_width);
    v.target_width = v.resized_width;
    v.target_height = v.resized_height;
    return v;
}

/* The input pixels that [from, from + n) of `resized` pixels can depend on, of `size`: the filters reach at
 * most 3 pixels, times the shrink factor. */
static void reach_of(int size, int resized, int from, int n, int *start, int *count) {
    double scale = (double)size / resized, support = 3 * (scale < 1 ? 1 : scale) + 1;
    double low = floor(from * scale - support), high = ceil((from + n) * scale + support);
    *start = low < 0 ? 0 : (int)low;
    *count = (high > size ? size : (int)high) - *start;
}

static void set_window(graft_decode_options *o, const graft_transform *t, const graft_image_info *info,
                       const view *v) {
    const graft_preprocess *p = &t->preprocess;
    span x = {v->crop.x, 0, v->crop.width}, y = {v->crop.y, 0, v->crop.height};
    int width = v->random ? info->width : v->resized_width,
        height = v->random ? info->height : v->resized_height;
    if (!v->random) {
        x = span_of(width, t->width, p->crop_rule);
        y = span_of(height, t->height, p->crop_rule);
    }
    reach_of(info->width, width, x.from, x.n, &o->window_x, &o->window_width);
    reach_of(info->height, height, y.from, y.n, &o->window_y, &o->window_height);
}

static int finish(const graft_transform *t, source *in, const view *v, graft_rng *rng, float *out,
                  graft_image_scratch *s, graft_err *err) {
    graft_image result;
    int rc = graft_image_to_channels(&in->image, &in->image, t->channels, s, err);
    if (rc < 0) return rc;
    if (v->random)
        rc = crop_randomly(t, in, &v->crop, &result, s, err);
    else
        rc = evaluate(t, in, v->resized_height, v->resized_width, &result, s, err);
    if (rc < 0) return rc;
    if (rng) {
        uint8_t *data = s->slots[GRAFT_SLOT_RESIZED].data;
        rc = graft_augment_picture(&t->augment, data, t->width, t->height, t->channels, rng, s, err);
        if (rc < 0) return rc;
    }
    size_t w = (size_t)t->width;
    graft_normalise(out, w * (size_t)t->height, w, &result, t->scale, t->shift, GRAFT_SIMD_AUTO);
    if (rng) graft_augment_erase(&t->augment, out, t->channels, t->height, t->width, rng);
    return 0;
}

int graft_transform_run(const graft_transform *t, const void *bytes, size_t size, const char *origin,
                        graft_rng *rng, float *out, graft_image_scratch *s, graft_err *err) {
    graft_image_info info;
    int rc = graft_image_probe(&info, bytes, size, origin, err);
    if (rc < 0) return rc;
    view v = choose_view(t, info.width, info.height, rng);
    graft_decode_options o = GRAFT_DECODE_OPTIONS_INIT;
    o.channels = t->channels;
    bool keeps = t->preprocess.mode == GRAFT_RESIZE_NONE || t->preprocess.resample == GRAFT_RESAMPLE_NEAREST;
    if (!t->exact && !keeps) {
        o.target_width = v.target_width;
        o.target_height = v.target_height;
    }
    set_window(&o, t, &info, &v);
    graft_image picture;
    if ((rc = graft_image_decode(&picture, s, bytes, size, &o, origin, err)) < 0) return rc;
    source from = reduced_of(&picture, &info);
    return finish(t, &from, &v, rng, out, s, err);
}

int graft_transform_image(const graft_transform *t, const graft_image *image, graft_rng *rng, float *out,
                          graft_image_scratch *s, graft_err *err) {
    if (image->width < 1 || image->height < 1 || (image->channels != 1 && image->channels != 3))
        return graft_err_set(err, GRAFT_EUSAGE,
                             "a picture of %d x %d pixels and %d channels; 1 or 3 are possible", image->width,
                             image->height, image->channels);
    view v = choose_view(t, image->width, image->height, rng);
    source from = whole_of(image);
    return finish(t, &from, &v, rng, out, s, err);
}
