#define LAYER_NORM_TABLE graft_layer_norm_avx512
#define LAYER_NORM_ISA   "avx512"
#include "backend/cpu/own/layer_norm_body.h"
