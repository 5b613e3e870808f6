#define NORM_TABLE graft_norm_base
#define NORM_ISA   "base"
#define NORM_LANES 4
#include "backend/cpu/own/norm_body.h"
