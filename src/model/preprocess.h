/* How a model wants its pictures: to what size they are resized, with which filter, what is cropped, and how
 * grey levels become numbers. One resolved description serves every source: the classes of Transformers'
 * preprocessor_config.json, whose rules and defaults differ, and timm's pretrained_cfg. Defaults of absent
 * keys are those of Transformers 5; what stands in a file wins. */
#ifndef GRAFT_MODEL_PREPROCESS_H
#define GRAFT_MODEL_PREPROCESS_H

#include "base/base.h"

/** Filters by PIL's numbers, which are also those of `resample` in the files. */
typedef enum graft_resample {
    GRAFT_RESAMPLE_NEAREST = 0,
    GRAFT_RESAMPLE_LANCZOS = 1,
    GRAFT_RESAMPLE_BILINEAR = 2,
    GRAFT_RESAMPLE_BICUBIC = 3,
    GRAFT_RESAMPLE_BOX = 4,
    GRAFT_RESAMPLE_HAMMING = 5
} graft_resample;

/** "bicubic", or "unknown". */
const char *graft_resample_name(graft_resample r);

typedef enum graft_resize_mode {
    GRAFT_RESIZE_NONE,     /* the picture's own size */
    GRAFT_RESIZE_EXACT,    /* to height x width, whatever the aspect */
    GRAFT_RESIZE_SHORTEST, /* short side to `height`, long side truncated, at most `longest` where that is not
                              0 */
    GRAFT_RESIZE_COVER,    /* smallest size of the same aspect that covers height x width, rounded */
    GRAFT_RESIZE_CONTAIN   /* largest size of the same aspect within height x width, rounded */
} graft_resize_mode;

/** Where a crop begins when the difference is odd. */
typedef enum graft_crop_rule {
    GRAFT_CROP_FLOOR, /* Transformers: (H - h) / 2 rounded down; padding above is rounded up */
    GRAFT_CROP_ROUND  /* torchvision and timm: rounded half to even; padding above is rounded down */
} graft_crop_rule;

enum { GRAFT_MAX_CHANNELS = 4, GRAFT_MAX_PICTURE_SIDE = 65535 };

/** Steps in order: to `channels`, resize, centre crop, y = (x * rescale - mean) / std, channels first. */
typedef struct graft_preprocess {
    int channels; /* 1 (grey, ITU-R 601 as PIL's "L") or 3 (RGB) */
    graft_resize_mode mode;
    int height, width, longest;
    graft_resample resample;
    int crop_height, crop_width; /* 0: no crop */
    graft_crop_rule crop_rule;
    uint8_t pad[GRAFT_MAX_CHANNELS]; /* grey levels beside a picture that is smaller than the crop */
    double rescale;                  /* 1/255 mostly; 1 when the file says do_rescale false */
    double mean[GRAFT_MAX_CHANNELS], std[GRAFT_MAX_CHANNELS];
} graft_preprocess;

/** Height x width exactly, bilinear, no crop, rescale 1/255, mean 0, std 1: for models without a file. */
void graft_preprocess_plain(graft_preprocess *p, int channels, int height, int width);
/** Short side to 256 bilinear, centre crop 224, ImageNet's mean and std: torchvision's and ResNet's habit. */
void graft_preprocess_imagenet(graft_preprocess *p);
/** EUSAGE when a field is out of range. */
int graft_preprocess_check(const graft_preprocess *p, graft_err *err);
bool graft_preprocess_equal(const graft_preprocess *a, const graft_preprocess *b);
/** Height and width of what comes out; false when they depend on the picture. */
bool graft_preprocess_output(const graft_preprocess *p, int *height, int *width);
/** Size after the resize of a picture of `height` x `width`, at least 1 x 1. */
void graft_preprocess_resized(const graft_preprocess *p, int height, int width, int *new_height,
                              int *new_width);

/** Reads preprocessor_config.json, or processor_config.json with `image_processor` in it; classes of
 * table 4.3 and the older `feature_extractor_type`. `origin` is for messages. EFORMAT names the key;
 * EUNSUPPORTED a class whose steps are not known. */
int graft_preprocess_parse(graft_preprocess *out, const json_t *o, const char *origin, graft_err *err);
/** Reads timm's config.json (its `pretrained_cfg`) or a bare pretrained_cfg. */
int graft_preprocess_parse_timm(graft_preprocess *out, const json_t *o, const char *origin, graft_err *err);
/** Looks into a model folder: preprocessor_config.json, processor_config.json, then config.json when it is
 * timm's. *found is false, and *out untouched, when there is none. *source (may be NULL) is the JSON that was
 * read, for graft_preprocess_json; it lives in the arena, and is NULL for timm's. */
int graft_preprocess_read(graft_preprocess *out, bool *found, json_t **source, graft_arena *arena,
                          const char *folder, graft_err *err);
/** A new JSON object (the caller's reference) for a preprocessor_config.json that Transformers loads and that
 * means the same. `source` (may be NULL) is what the model came with: returned unchanged if it already means
 * the same, else its unknown keys are kept. *inexact (may be NULL) is NULL, or a constant sentence saying
 * what Transformers cannot express; graft reads its own steps back exactly from the key "graft". */
int graft_preprocess_json(json_t **out, const graft_preprocess *p, const json_t *source, const char **inexact,
                          graft_err *err);
/** Writes graft_preprocess_json's object to folder/preprocessor_config.json. */
int graft_preprocess_write(const graft_preprocess *p, const json_t *source, const char *folder,
                           graft_err *err);

/** Equal for equal steps on every machine: for cache keys. */
graft_hash graft_preprocess_hash(const graft_preprocess *p);
/** "short side to 256 bicubic, centre crop 224 x 224, mean 0.485 0.456 0.406, std 0.229 0.224 0.225" into
 * `out`. */
char *graft_preprocess_explain(const graft_preprocess *p, char *out, size_t out_size);

#endif
