#include "data/image_private.h"
#include "data/resize_private.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Filters: weight at distance x, in source pixels over the shrink factor ------------------------------
 */

static double box(double x) {
    return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
}

static double triangle(double x) {
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

static double hamming(double x) {
    x = fabs(x);
    if (x == 0.0) return 1.0;
    if (x >= 1.0) return 0.0;
    x *= M_PI;
    return sin(x) / x * (0.54f + 0.46f * cos(x));
}

/* Keys 1981 with a = -0.5. */
static double bicubic(double x) {
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
    return 0.0;
}

static double sinc(double x) {
    if (x == 0.0) return 1.0;
    x *= M_PI;
    return sin(x) / x;
}

static double lanczos(double x) {
    return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0;
}

static const struct {
    double (*weight)(double x);
    double support;
} filters[] = {
    [GRAFT_RESAMPLE_LANCZOS] = {lanczos, 3.0}, [GRAFT_RESAMPLE_BILINEAR] = {triangle, 1.0},
    [GRAFT_RESAMPLE_BICUBIC] = {bicubic, 2.0}, [GRAFT_RESAMPLE_BOX] = {box, 0.5},
    [GRAFT_RESAMPLE_HAMMING] = {hamming, 1.0},
};

/* ---- Taps -------------------------------------------------------------------------------------------------
 */

/* One axis: out_size outputs show `shown` of the in_size inputs from `start` on; [from, from + n) are wanted.
 */
typedef struct axis {
    int in_size, out_size, from, n;
    double start, shown;
} axis;

/* In the order of operations that PIL has, since the last bit of a double decides a rounding now and then. */
static int make_taps(graft_taps *t, graft_image_scratch *s, graft_slot slot, const axis *a,
                     graft_resample resample, graft_err *err) {
    int in_size = a->in_size, n = a->n, most = 0;
    double scale = a->shown / a->out_size, widen = scale < 1.0 ? 1.0 : scale;
    double support = filters[resample].support * widen, shrink = 1.0 / widen;
    size_t stride = graft_size_align((size_t)ceil(support) * 2 + 1, 8), bytes, all;
    size_t head = graft_size_align((size_t)n * 2 * sizeof(int), 64);
    if (!graft_size_mul(stride * sizeof(int32_t), (size_t)n, &bytes) || !graft_size_add(bytes, head, &all) ||
        !graft_size_add(all, stride * sizeof(double), &all))
        return graft_err_nomem(err);
    char *memory = graft_scratch_get(s, slot, all);
    if (!memory) return graft_err_nomem(err);
    int *first = (int *)(void *)memory, *count = first + n;
    int32_t *taps = (int32_t *)(void *)(memory + head);
    double *weight = (double *)(void *)(memory + head + bytes);
    for (int i = 0; i < n; i++) {
        double centre = a->start + (a->from + i + 0.5) * scale, sum = 0.0;
        int low = (int)(centre - support + 0.5), high = (int)(centre + support + 0.5);
        if (low < 0) low = 0;
        if (high > in_size) high = in_size;
        first[i] = low;
        count[i] = high - low;
        if (count[i] > most) most = count[i];
        for (int j = 0; j < high - low; j++) {
            weight[j] = filters[resample].weight((j + low - centre + 0.5) * shrink);
            sum += weight[j];
        }
        int32_t *k = taps + (size_t)i * stride;
        for (int j = 0; j < high - low; j++) {
            double w = sum != 0.0 ? weight[j] / sum : weight[j];
            k[j] = (int32_t)((w < 0 ? -0.5 : 0.5) + w * (1 << GRAFT_RESIZE_BITS));
        }
        memset(k + (high - low), 0, (stride - (size_t)(high - low)) * sizeof *k);
    }
    *t = (graft_taps){n, (int)stride, most, first, count, taps};
    return 0;
}

/* ---- The plain path ---------------------------------------------------------------------------------------
 */

uint8_t graft_resize_clip(int32_t sum) {
    sum >>= GRAFT_RESIZE_BITS;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

void graft_resize_pixel3(uint8_t *out, const uint8_t *in, const int32_t *taps, int count) {
    int32_t r = GRAFT_RESIZE_HALF, g = GRAFT_RESIZE_HALF, b = GRAFT_RESIZE_HALF;
    for (int j = 0; j < count; j++, in += 3) {
        r += in[0] * taps[j];
        g += in[1] * taps[j];
        b += in[2] * taps[j];
    }
    out[0] = graft_resize_clip(r);
    out[1] = graft_resize_clip(g);
    out[2] = graft_resize_clip(b);
}

static void horizontal3(const graft_rows *rows, const graft_taps *t, const int16_t *pairs) {
    (void)pairs;
    for (int y = 0; y < rows->n_rows; y++) {
        uint8_t *out = rows->out + (size_t)y * rows->out_stride;
        const uint8_t *in = rows->in + (size_t)y * rows->in_stride;
        for (int i = 0; i < t->n; i++)
            graft_resize_pixel3(out + (size_t)i * 3, in + (size_t)t->first[i] * 3,
                                t->taps + (size_t)i * (size_t)t->stride, t->count[i]);
    }
}

static void horizontal1(const graft_rows *rows, const graft_taps *t) {
    for (int y = 0; y < rows->n_rows; y++) {
        uint8_t *out = rows->out + (size_t)y * rows->out_stride;
        const uint8_t *in = rows->in + (size_t)y * rows->in_stride;
        for (int i = 0; i < t->n; i++) {
            const int32_t *k = t->taps + (size_t)i * (size_t)t->stride;
            int32_t sum = GRAFT_RESIZE_HALF;
            for (int j = 0; j < t->count[i]; j++) sum += in[t->first[i] + j] * k[j];
            out[i] = graft_resize_clip(sum);
        }
    }
}

void graft_resize_vertical(uint8_t *out, size_t n, const uint8_t *in, size_t in_stride, const int32_t *taps,
                           int count) {
    for (size_t x = 0; x < n; x++) {
        int32_t sum = GRAFT_RESIZE_HALF;
        for (int j = 0; j < count; j++) sum += in[x + (size_t)j * in_stride] * taps[j];
        out[x] = graft_resize_clip(sum);
    }
}

void graft_normalise_row3(float *out, size_t plane_stride, const uint8_t *in, size_t n, const float *scale,
                          const float *shift) {
    for (int c = 0; c < 3; c++)
        for (size_t x = 0; x < n; x++)
            out[(size_t)c * plane_stride + x] = (float)in[x * 3 + (size_t)c] * scale[c] + shift[c];
}

static const graft_resize_path plain = {horizontal3,          NULL, 1, 0, graft_resize_vertical,
                                        graft_normalise_row3, NULL};

bool graft_simd_runs(graft_simd level) {
#if defined(__x86_64__)
    if (level == GRAFT_SIMD_AVX2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (level == GRAFT_SIMD_AVX512)
        return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi") &&
               __builtin_cpu_supports("avx512vnni");
#endif
    return level == GRAFT_SIMD_AUTO || level == GRAFT_SIMD_SCALAR;
}

static const graft_resize_path *choose(graft_simd level) {
#if defined(__x86_64__)
    if ((level == GRAFT_SIMD_AUTO || level == GRAFT_SIMD_AVX512) && graft_simd_runs(GRAFT_SIMD_AVX512))
        return &graft_resize_avx512;
    if (level != GRAFT_SIMD_SCALAR && graft_simd_runs(GRAFT_SIMD_AVX2)) return &graft_resize_avx2;
#endif
    (void)level;
    return &plain;
}

/* ---- Nearest ----------------------------------------------------------------------------------------------
 */

/* PIL walks with a running sum, whose rounding is part of the result. */
static int *nearest_index(graft_image_scratch *s, graft_slot slot, int in_size, int out_size, int from,
                          int n) {
    int *index = graft_scratch_get(s, slot, (size_t)n * sizeof *index);
    if (!index) return NULL;
    double step = (double)in_size / out_size, at = step * 0.5;
    for (int i = 0; i < from + n; i++, at += step) {
        if (i < from) continue;
        int k = (int)at;
        index[i - from] = k < in_size ? k : in_size - 1;
    }
    return index;
}

static int nearest(uint8_t *dst, size_t dst_stride, const graft_image *in, const graft_resize_job *job,
                   graft_image_scratch *s, graft_err *err) {
    const int *xs = nearest_index(s, GRAFT_SLOT_COEFFS_X, in->width, job->width, job->x, job->w);
    const int *ys = nearest_index(s, GRAFT_SLOT_COEFFS_Y, in->height, job->height, job->y, job->h);
    if (!xs || !ys) return graft_err_nomem(err);
    size_t c = (size_t)in->channels;
    for (int y = 0; y < job->h; y++) {
        const uint8_t *row = in->data + (size_t)ys[y] * in->stride;
        uint8_t *out = dst + (size_t)y * dst_stride;
        for (int x = 0; x < job->w; x++, out += c) {
            const uint8_t *pixel = row + (size_t)xs[x] * c;
            out[0] = pixel[0];
            for (size_t k = 1; k < c; k++) out[k] = pixel[k];
        }
    }
    return 0;
}

/* ---- The resize -------------------------------------------------------------------------------------------
 */

static int check(const graft_image *in, const graft_resize_job *job, graft_err *err) {
    bool window = job->x >= 0 && job->y >= 0 && job->w > 0 && job->h > 0 && job->w <= job->width - job->x &&
                  job->h <= job->height - job->y;
    if (job->from_width > 0)
        window = window && job->from_x >= 0 && job->from_y >= 0 && job->from_height > 0 &&
                 job->from_x + job->from_width <= in->width && job->from_y + job->from_height <= in->height;
    if (in->width < 1 || in->height < 1 || (in->channels != 1 && in->channels != 3) || !window ||
        (unsigned)job->resample > GRAFT_RESAMPLE_HAMMING)
        return graft_err_set(
            err, GRAFT_EUSAGE,
            "resize of a %d x %d picture of %d channels to %d x %d, window %d x %d at (%d, %d)", in->width,
            in->height, in->channels, job->width, job->height, job->w, job->h, job->x, job->y);
    return 0;
}

/* Input indices that the outputs of these taps reach: [*from, *from + the result). */
static int reach(const graft_taps *t, int *from) {
    *from = t->first[0];
    return t->first[t->n - 1] + t->count[t->n - 1] - *from;
}

/* Every row of `in` to t->n pixels, in `slot`, as `out`. */
static int pass_across(graft_image *out, graft_slot slot, const graft_image *in, const graft_taps *t,
                       const graft_resize_path *path, graft_image_scratch *s, graft_err *err) {
    size_t c = (size_t)in->channels, stride = graft_size_align((size_t)t->n * c + 16, 64), size;
    uint8_t *data =
        graft_size_mul(stride, (size_t)in->height, &size) ? graft_scratch_get(s, slot, size) : NULL;
    if (!data) return graft_err_nomem(err);
    *out = (graft_image){data, t->n, in->height, in->channels, stride};
    graft_rows rows = {data, stride, in->data, NULL, in->stride, in->height};
    rows.in_end = in->data + (size_t)(in->height - 1) * in->stride + (size_t)in->width * c;
    if (c == 1) {
        horizontal1(&rows, t);
        return 0;
    }
    if (t->stride > GRAFT_RESIZE_VECTOR_TAPS) path = &plain;
    if (path->narrow && t->most <= path->narrow->group) path = path->narrow;
    int16_t *pairs = NULL;
    if (path->prepare3) {
        size_t groups = (size_t)(t->stride + path->group - 1) / (size_t)path->group;
        size_t each = groups * (size_t)path->pair_count * sizeof *pairs;
        pairs = graft_scratch_get(s, GRAFT_SLOT_ROW, each * (size_t)t->n);
        if (!pairs) return graft_err_nomem(err);
        path->prepare3(pairs, t);
    }
    path->horizontal3(&rows, t, pairs);
    return 0;
}

/* t->n rows of n bytes out of the rows of `in`. */
static void pass_down(uint8_t *out, size_t out_stride, size_t n, const graft_image *in, const graft_taps *t,
                      const graft_resize_path *path) {
    if (t->stride > GRAFT_RESIZE_VECTOR_TAPS) path = &plain;
    for (int y = 0; y < t->n; y++)
        path->vertical(out + (size_t)y * out_stride, n, in->data + (size_t)t->first[y] * in->stride,
                       in->stride, t->taps + (size_t)y * (size_t)t->stride, t->count[y]);
}

static void copy_rows(uint8_t *dst, size_t dst_stride, const graft_image *in) {
    for (int y = 0; y < in->height; y++)
        memcpy(dst + (size_t)y * dst_stride, in->data + (size_t)y * in->stride,
               (size_t)in->width * (size_t)in->channels);
}

/* The part of `in` at (x, y). */
static graft_image part_of(const graft_image *in, int x, int y, int width, int height) {
    graft_image part = *in;
    part.data += (size_t)y * in->stride + (size_t)x * (size_t)in->channels;
    part.width = width;
    part.height = height;
    return part;
}

static void move_taps(graft_taps *t, int by) {
    for (int i = 0; i < t->n; i++) t->first[i] += by;
}

int graft_resize(uint8_t *dst, size_t dst_stride, const graft_image *in, const graft_resize_job *job,
                 graft_image_scratch *s, graft_err *err) {
    int rc = check(in, job, err);
    if (rc < 0) return rc;
    bool part = job->from_width > 0;
    axis ax = {in->width, job->width, job->x, job->w, 0, in->width};
    axis ay = {in->height, job->height, job->y, job->h, 0, in->height};
    if (part) {
        ax.start = job->from_x, ax.shown = job->from_width;
        ay.start = job->from_y, ay.shown = job->from_height;
    }
    bool across = ax.out_size != ax.shown || ax.start != 0, down = ay.out_size != ay.shown || ay.start != 0;
    if (job->resample == GRAFT_RESAMPLE_NEAREST && (across || down))
        return nearest(dst, dst_stride, in, job, s, err);
    const graft_resize_path *path = choose(job->simd);
    graft_taps tx = {0}, ty = {0};
    int x0 = job->x, y0 = job->y, nx = job->w, ny = job->h;
    if (across) {
        if ((rc = make_taps(&tx, s, GRAFT_SLOT_COEFFS_X, &ax, job->resample, err)) < 0) return rc;
        nx = reach(&tx, &x0);
        move_taps(&tx, -x0);
    }
    if (down) {
        if ((rc = make_taps(&ty, s, GRAFT_SLOT_COEFFS_Y, &ay, job->resample, err)) < 0) return rc;
        ny = reach(&ty, &y0);
        move_taps(&ty, -y0);
    }
    graft_image from = part_of(in, x0, y0, nx, ny), mid;
    size_t c = (size_t)in->channels;
    /* Pillow 13 goes down first where that drops more than going across would; older ones never did. */
    bool down_first = across && down && job->height < in->height &&
                      2 * ((int64_t)in->width - job->width) < (int64_t)in->height - job->height;
    if (down_first) {
        uint8_t *data = graft_scratch_picture(&mid, s, GRAFT_SLOT_PASS, nx, job->h, in->channels);
        if (!data) return graft_err_nomem(err);
        pass_down(data, mid.stride, mid.stride, &from, &ty, path);
        from = mid;
        down = false;
    }
    if (across) {
        if ((rc = pass_across(&mid, GRAFT_SLOT_PASS_ACROSS, &from, &tx, path, s, err)) < 0) return rc;
        from = mid;
    }
    if (down)
        pass_down(dst, dst_stride, (size_t)job->w * c, &from, &ty, path);
    else
        copy_rows(dst, dst_stride, &from);
    return 0;
}

void graft_normalise(float *out, size_t plane_stride, size_t row_stride, const graft_image *in,
                     const float *scale, const float *shift, graft_simd simd) {
    const graft_resize_path *path = choose(simd);
    size_t w = (size_t)in->width;
    bool whole = in->channels == 3 && row_stride == w && in->stride == w * 3;
    if (whole) {
        path->normalise3(out, plane_stride, in->data, w * (size_t)in->height, scale, shift);
        return;
    }
    for (int y = 0; y < in->height; y++) {
        const uint8_t *row = in->data + (size_t)y * in->stride;
        float *to = out + (size_t)y * row_stride;
        if (in->channels == 3)
            path->normalise3(to, plane_stride, row, w, scale, shift);
        else
            for (size_t x = 0; x < w; x++) to[x] = (float)row[x] * scale[0] + shift[0];
    }
}
