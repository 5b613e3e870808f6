#define LAYER_NORM_TABLE graft_layer_norm_base
#define LAYER_NORM_ISA   "base"
#include "backend/cpu/own/layer_norm_body.h"
