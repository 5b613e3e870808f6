#define ACTIVATION_TABLE graft_activation_avx2
#define ACTIVATION_ISA   "avx2"
#include "backend/cpu/own/activation_body.h"
