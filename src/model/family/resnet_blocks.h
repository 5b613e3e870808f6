/* What the three ResNet families have in common: the blocks and their order. They differ in the names of
 * modules, in the stem and in the shortcut. Private to src/model/family. */
#ifndef GRAFT_MODEL_RESNET_BLOCKS_H
#define GRAFT_MODEL_RESNET_BLOCKS_H

#include "model/family.h"

enum {
    GRAFT_RESNET_STAGES = 8,
    GRAFT_RESNET_DEPTH = 512,
    GRAFT_RESNET_WIDTH = 65536,
    GRAFT_RESNET_NAME = 128
};

/** Modules of a ResNet: `stage` counts from 0 and is -1 for the stem; `part` is the place of the convolution
 * in its block, -1 the shortcut. */
typedef struct graft_resnet_names {
    void (*conv)(char *out, int stage, int block, int part);
    void (*norm)(char *out, int stage, int block, int part);
} graft_resnet_names;

typedef struct graft_resnet {
    int channels, n_stages;
    int64_t stem;                       /* width after the stem */
    int64_t width[GRAFT_RESNET_STAGES]; /* of a stage's result */
    int64_t inner[GRAFT_RESNET_STAGES]; /* inside a bottleneck */
    int depth[GRAFT_RESNET_STAGES];     /* blocks */
    bool bottleneck;
    bool first_stage_halves; /* stride 2 in the first stage too */
    bool
        stride_in_reduction; /* the bottleneck's stride sits on its first convolution (v1), else on the 3x3 */
    bool small;              /* CIFAR's: 3x3 stem of stride 1 without pooling, shortcuts without parameters */
    const graft_resnet_names *names;
} graft_resnet;

/** From the picture to the pooled features; stages "stem", "stage1" ... */
graft_value graft_resnet_layout(graft_layout *l, graft_value x, const graft_resnet *r);
/** Convolutions on the longest path, plus the linear head: the number in a ResNet's name. */
int graft_resnet_layers(const graft_resnet *r);
/** Reads widths, depths and the kind of block off the tensors' shapes. EFORMAT when they do not make a
 * ResNet. r->names (and r->small) are set by the caller; `rename` gives the published names. */
int graft_resnet_measure(graft_resnet *r, graft_arena *arena, const graft_tensors *tensors,
                         const char *(*rename)(graft_arena *, const char *), const char *origin,
                         graft_err *err);

#endif
