/* Policies as text. */
#include "data/augment.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    graft_augment policy;
} presets[] = {
    {"none", {0}},
    {"light", {.crop_min = 0.8, .crop_max = 1, .ratio_min = 0.9, .ratio_max = 10.0 / 9, .flip = 0.5}},
    {"standard",
     {.crop_min = 0.35,
      .crop_max = 1,
      .ratio_min = 0.75,
      .ratio_max = 4.0 / 3,
      .flip = 0.5,
      .brightness = 0.2,
      .contrast = 0.2,
      .saturation = 0.2}},
    {"strong",
     {.crop_min = 0.25,
      .crop_max = 1,
      .ratio_min = 0.75,
      .ratio_max = 4.0 / 3,
      .flip = 0.5,
      .randaugment_ops = 2,
      .randaugment_magnitude = 9,
      .erase = 0.25}},
    {"auto", {.automatic = true}},
};

enum { MAX_NUMBERS = 4 };

/* One component: its numbers between separators, stored by `set`. */
typedef struct component {
    const char *name, *form;
    char separator;
    int least, most;  /* numbers */
    double low, high; /* of each */
    void (*set)(graft_augment *a, const double *x, int n);
} component;

static void set_flip(graft_augment *a, const double *x, int n) {
    a->flip = n ? x[0] : 0.5;
}

static void set_vflip(graft_augment *a, const double *x, int n) {
    a->vertical_flip = n ? x[0] : 0.5;
}

static void set_crop(graft_augment *a, const double *x, int n) {
    a->crop_min = x[0];
    a->crop_max = x[0] == 0 ? 0 : n > 1 ? x[1] : 1;
    if (a->ratio_min == 0) {
        a->ratio_min = 0.75;
        a->ratio_max = 4.0 / 3;
    }
}

static void set_ratio(graft_augment *a, const double *x, int n) {
    (void)n;
    a->ratio_min = x[0];
    a->ratio_max = x[1];
}

static void set_jitter(graft_augment *a, const double *x, int n) {
    a->brightness = x[0];
    a->contrast = n > 1 ? x[1] : x[0];
    a->saturation = n > 2 ? x[2] : x[0];
    a->hue = n > 3 ? x[3] : 0;
}

static void set_randaugment(graft_augment *a, const double *x, int n) {
    a->randaugment_magnitude = (int)x[0];
    a->randaugment_ops = n > 1 ? (int)x[1] : 2;
}

static void set_erase(graft_augment *a, const double *x, int n) {
    a->erase = n ? x[0] : 0.25;
}

static void set_mixup(graft_augment *a, const double *x, int n) {
    a->mixup = n ? x[0] : 0.2;
}

static void set_cutmix(graft_augment *a, const double *x, int n) {
    a->cutmix = n ? x[0] : 1;
}

static const component components[] = {
    {"flip", "flip=probability", 0, 0, 1, 0, 1, set_flip},
    {"vflip", "vflip=probability", 0, 0, 1, 0, 1, set_vflip},
    {"crop", "crop=smallest-largest, shares of the area", '-', 1, 2, 0, 1, set_crop},
    {"ratio", "ratio=least-most, width over height", '-', 2, 2, 0.01, 100, set_ratio},
    {"jitter", "jitter=brightness/contrast/saturation/hue", '/', 1, 4, 0, 10, set_jitter},
    {"randaugment", "randaugment=magnitude/ops, 0 to 30", '/', 1, 2, 0, 30, set_randaugment},
    {"erase", "erase=probability", 0, 0, 1, 0, 1, set_erase},
    {"mixup", "mixup=alpha", 0, 0, 1, 0, 100, set_mixup},
    {"cutmix", "cutmix=alpha", 0, 0, 1, 0, 100, set_cutmix},
};

/* "0.4/0.3" into numbers; their count, or -1 when it is not such a list. */
static int read_numbers(double *x, const char *text, const component *c) {
    int n = 0;
    for (;;) {
        char *end;
        if (n == c->most || strchr(" +-", *text)) return -1;
        x[n] = strtod(text, &end);
        if (end == text || !(x[n] >= c->low && x[n] <= c->high)) return -1;
        n++;
        if (*end == '\0') return n < c->least ? -1 : n;
        if (!c->separator || *end != c->separator) return -1;
        text = end + 1;
    }
}

static int apply_word(graft_augment *a, char *word, graft_err *err) {
    char *value = strchr(word, '=');
    if (value) *value++ = '\0';
    for (size_t i = 0; i < GRAFT_COUNT(components); i++) {
        const component *c = &components[i];
        if (strcmp(word, c->name) != 0) continue;
        double x[MAX_NUMBERS];
        int n = value ? read_numbers(x, value, c) : c->least ? -1 : 0;
        bool sorted = n < 2 || c->separator != '-' || x[0] <= x[1];
        if (n < 0 || !sorted)
            return graft_err_set(err, GRAFT_EUSAGE, "augmentation '%s%s%s': expected %s", word,
                                 value ? "=" : "", value ? value : "", c->form);
        c->set(a, x, n);
        if (a->hue > 0.5)
            return graft_err_set(err, GRAFT_EUSAGE, "augmentation 'jitter': hue is 0.5 at most");
        return 0;
    }
    return graft_err_set(
        err, GRAFT_EUSAGE,
        "unknown augmentation '%s'; none, light, standard, strong or auto first, then flip, vflip, "
        "crop, ratio, jitter, randaugment, erase, mixup, cutmix",
        word);
}

int graft_augment_parse(graft_augment *out, const char *text, graft_err *err) {
    graft_augment a = {0};
    char word[128];
    bool first = true;
    if (*text == '\0') return graft_err_set(err, GRAFT_EUSAGE, "an empty augmentation; 'none' for nothing");
    for (const char *at = text; at; first = false) {
        const char *end = strchr(at, ',');
        size_t n = end ? (size_t)(end - at) : strlen(at);
        if (n == 0 || n >= sizeof word)
            return graft_err_set(err, GRAFT_EUSAGE, "augmentation '%.100s': a word is empty or too long",
                                 text);
        memcpy(word, at, n);
        word[n] = '\0';
        at = end ? end + 1 : NULL;
        size_t i = 0;
        while (i < GRAFT_COUNT(presets) && strcmp(word, presets[i].name) != 0) i++;
        if (i < GRAFT_COUNT(presets) && first) {
            a = presets[i].policy;
            continue;
        }
        int rc = apply_word(&a, word, err);
        if (rc < 0) return rc;
    }
    *out = a;
    return 0;
}

char *graft_augment_explain(const graft_augment *a, char *out, size_t out_size) {
    graft_buf b;
    graft_buf_init(&b, 1024);
    if (a->automatic) graft_buf_text(&b, ",auto");
    if (a->crop_max > 0) {
        graft_buf_printf(&b, ",crop=%.9g-%.9g", a->crop_min, a->crop_max);
        graft_buf_printf(&b, ",ratio=%.17g-%.17g", a->ratio_min, a->ratio_max);
    }
    if (a->flip > 0) graft_buf_printf(&b, ",flip=%.9g", a->flip);
    if (a->vertical_flip > 0) graft_buf_printf(&b, ",vflip=%.9g", a->vertical_flip);
    if (a->brightness > 0 || a->contrast > 0 || a->saturation > 0 || a->hue > 0)
        graft_buf_printf(&b, ",jitter=%.9g/%.9g/%.9g/%.9g", a->brightness, a->contrast, a->saturation,
                         a->hue);
    if (a->randaugment_ops > 0)
        graft_buf_printf(&b, ",randaugment=%d/%d", a->randaugment_magnitude, a->randaugment_ops);
    if (a->erase > 0) graft_buf_printf(&b, ",erase=%.9g", a->erase);
    if (a->mixup > 0) graft_buf_printf(&b, ",mixup=%.9g", a->mixup);
    if (a->cutmix > 0) graft_buf_printf(&b, ",cutmix=%.9g", a->cutmix);
    if (out_size) snprintf(out, out_size, "%s", b.size > 0 ? b.data + 1 : "none");
    graft_buf_done(&b);
    return out;
}

bool graft_augment_is_active(const graft_augment *a) {
    return a->crop_max > 0 || a->flip > 0 || a->vertical_flip > 0 || a->brightness > 0 || a->contrast > 0 ||
           a->saturation > 0 || a->hue > 0 || a->randaugment_ops > 0 || a->erase > 0;
}
