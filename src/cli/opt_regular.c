/* Options of regularisation, a group of their own in the help of the commands that train. */
#include "cli/cli.h"

#include <stddef.h>

#define AT(field) offsetof(graft_regular, field)
const graft_opt graft_opts_regular[4] = {
    {.name = "layer-decay",
     .kind = GRAFT_OPT_REAL,
     .offset = AT(layer_decay),
     .value = "SHARE",
     .least = 1e-3,
     .most = 1,
     .help = "rate of each stage as a share of that of the stage above it, such as 0.9; 1"},
    {.name = "l2-sp",
     .kind = GRAFT_OPT_REAL,
     .offset = AT(l2_sp),
     .value = "X",
     .least = 0,
     .most = 1e4,
     .help =
         "pull of pretrained layers to their pretrained values, such as 0.01, in place of their decay; 0"},
    {.name = "ema",
     .kind = GRAFT_OPT_REAL,
     .offset = AT(ema),
     .value = "DECAY",
     .least = 0,
     .most = 1 - 1e-9,
     .help = "keep the exponential average of the weights, with such a decay an update (0.999); 0: none"},
    {.name = "swa",
     .kind = GRAFT_OPT_REAL,
     .offset = AT(swa),
     .value = "SHARE",
     .least = 0,
     .most = 1,
     .help = "keep the average over this share of the epochs, the last ones, such as 0.25; 0: none"},
};
