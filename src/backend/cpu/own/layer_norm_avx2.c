#define LAYER_NORM_TABLE graft_layer_norm_avx2
#define LAYER_NORM_ISA   "avx2"
#include "backend/cpu/own/layer_norm_body.h"
