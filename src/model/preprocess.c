#include "model/preprocess.h"
#include <math.h>
#include <string.h>

static const char *const resample_names[] = {"nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"};

const char *graft_resample_name(graft_resample r) {
    return (unsigned)r < GRAFT_COUNT(resample_names) ? resample_names[r] : "unknown";
}

void graft_preprocess_plain(graft_preprocess *p, int channels, int height, int width) {
    *p = (graft_preprocess){.channels = channels,
                            .mode = GRAFT_RESIZE_EXACT,
                            .height = height,
                            .width = width,
                            .resample = GRAFT_RESAMPLE_BILINEAR,
                            .rescale = 1.0 / 255};
    for (int c = 0; c < GRAFT_MAX_CHANNELS; c++) p->std[c] = 1;
}

void graft_preprocess_imagenet(graft_preprocess *p) {
    graft_preprocess_plain(p, 3, 256, 256);
    p->mode = GRAFT_RESIZE_SHORTEST;
    p->crop_height = p->crop_width = 224;
    static const double mean[] = {0.485, 0.456, 0.406}, std[] = {0.229, 0.224, 0.225};
    memcpy(p->mean, mean, sizeof mean);
    memcpy(p->std, std, sizeof std);
}

static bool is_side(int n) {
    return n >= 1 && n <= GRAFT_MAX_PICTURE_SIDE;
}

int graft_preprocess_check(const graft_preprocess *p, graft_err *err) {
    if (p->channels != 1 && p->channels != 3)
        return graft_err_set(err, GRAFT_EUSAGE,
                             "preprocessing to %d channels; 1 (grey) and 3 (RGB) are possible", p->channels);
    bool resizes = p->mode != GRAFT_RESIZE_NONE;
    if ((unsigned)p->mode > GRAFT_RESIZE_CONTAIN || (unsigned)p->resample > GRAFT_RESAMPLE_HAMMING ||
        (resizes && (!is_side(p->height) || !is_side(p->width))) || p->longest < 0 ||
        p->longest > GRAFT_MAX_PICTURE_SIDE)
        return graft_err_set(err, GRAFT_EUSAGE,
                             "preprocessing resizes to %d x %d; sides of 1 to %d are possible", p->height,
                             p->width, (int)GRAFT_MAX_PICTURE_SIDE);
    if (p->crop_height || p->crop_width)
        if (!is_side(p->crop_height) || !is_side(p->crop_width))
            return graft_err_set(err, GRAFT_EUSAGE,
                                 "preprocessing crops %d x %d; sides of 1 to %d are possible", p->crop_height,
                                 p->crop_width, (int)GRAFT_MAX_PICTURE_SIDE);
    for (int c = 0; c < p->channels; c++)
        if (!isfinite(p->mean[c]) || !isfinite(p->std[c]) || p->std[c] == 0 || !isfinite(p->rescale))
            return graft_err_set(err, GRAFT_EUSAGE, "preprocessing: mean %g, std %g, rescale factor %g",
                                 p->mean[c], p->std[c], p->rescale);
    return 0;
}

bool graft_preprocess_output(const graft_preprocess *p, int *height, int *width) {
    bool crops = p->crop_height > 0;
    if (!crops && p->mode != GRAFT_RESIZE_EXACT) return false;
    *height = crops ? p->crop_height : p->height;
    *width = crops ? p->crop_width : p->width;
    return true;
}

static int to_side(double x) {
    return x < 1 ? 1 : x > (1 << 30) ? 1 << 30 : (int)x;
}

void graft_preprocess_resized(const graft_preprocess *p, int height, int width, int *new_height,
                              int *new_width) {
    int s = height < width ? height : width, l = height < width ? width : height;
    double h = height, w = width;
    switch (p->mode) {
    case GRAFT_RESIZE_NONE:
        break;
    case GRAFT_RESIZE_EXACT:
        h = p->height;
        w = p->width;
        break;
    case GRAFT_RESIZE_SHORTEST: {
        double shorter = p->height, longer = floor((double)p->height * l / s);
        if (p->longest && longer > p->longest) {
            shorter = floor((double)p->longest * shorter / longer);
            longer = p->longest;
        }
        h = height < width ? shorter : longer;
        w = height < width ? longer : shorter;
        break;
    }
    case GRAFT_RESIZE_COVER:
    case GRAFT_RESIZE_CONTAIN: {
        double rh = h / p->height, rw = w / p->width;
        double ratio = (rh < rw) == (p->mode == GRAFT_RESIZE_COVER) ? rh : rw;
        h = rint(h / ratio);
        w = rint(w / ratio);
        break;
    }
    }
    *new_height = to_side(h);
    *new_width = to_side(w);
}

/* The steps as text: every field that changes the result, numbers in full. Explained, hashed and compared by
 * it. */
static void canonical(const graft_preprocess *p, char *out, size_t out_size) {
    int n = snprintf(out, out_size, "%d %d %d %d %d %d %d %d %d %a", p->channels, (int)p->mode,
                     p->mode ? p->height : 0, p->mode && p->mode != GRAFT_RESIZE_SHORTEST ? p->width : 0,
                     p->mode == GRAFT_RESIZE_SHORTEST ? p->longest : 0, p->mode ? (int)p->resample : 0,
                     p->crop_height, p->crop_width, p->crop_height ? (int)p->crop_rule : 0, p->rescale);
    for (int c = 0; c < p->channels && c < GRAFT_MAX_CHANNELS && n > 0 && (size_t)n < out_size; c++)
        n += snprintf(out + n, out_size - (size_t)n, " %a %a %d", p->mean[c], p->std[c],
                      p->crop_height ? p->pad[c] : 0);
}

bool graft_preprocess_equal(const graft_preprocess *a, const graft_preprocess *b) {
    char x[512], y[512];
    canonical(a, x, sizeof x);
    canonical(b, y, sizeof y);
    return strcmp(x, y) == 0;
}

graft_hash graft_preprocess_hash(const graft_preprocess *p) {
    char text[512];
    canonical(p, text, sizeof text);
    return graft_hash_bytes(text, strlen(text));
}

static void list(graft_buf *b, const char *name, const double *x, int n) {
    graft_buf_printf(b, ", %s", name);
    for (int c = 0; c < n; c++) graft_buf_printf(b, " %.9g", x[c]);
}

char *graft_preprocess_explain(const graft_preprocess *p, char *out, size_t out_size) {
    graft_buf b;
    graft_buf_init(&b, 4096);
    switch (p->mode) {
    case GRAFT_RESIZE_NONE:
        graft_buf_text(&b, "no resize");
        break;
    case GRAFT_RESIZE_EXACT:
        graft_buf_printf(&b, "resize to %d x %d", p->height, p->width);
        break;
    case GRAFT_RESIZE_SHORTEST:
        graft_buf_printf(&b, "short side to %d", p->height);
        if (p->longest) graft_buf_printf(&b, " (long side at most %d)", p->longest);
        break;
    case GRAFT_RESIZE_COVER:
        graft_buf_printf(&b, "same aspect, covering %d x %d", p->height, p->width);
        break;
    case GRAFT_RESIZE_CONTAIN:
        graft_buf_printf(&b, "same aspect, within %d x %d", p->height, p->width);
        break;
    }
    if (p->mode) graft_buf_printf(&b, " %s", graft_resample_name(p->resample));
    if (p->crop_height) graft_buf_printf(&b, ", centre crop %d x %d", p->crop_height, p->crop_width);
    if (p->channels == 1) graft_buf_text(&b, ", grey");
    if (p->rescale == 1)
        graft_buf_text(&b, ", not rescaled");
    else if (fabs(p->rescale * 255 - 1) > 1e-6)
        graft_buf_printf(&b, ", times %.9g", p->rescale);
    list(&b, "mean", p->mean, p->channels);
    list(&b, "std", p->std, p->channels);
    if (out_size) snprintf(out, out_size, "%s", b.data ? b.data : "");
    graft_buf_done(&b);
    return out;
}
