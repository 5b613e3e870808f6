#define ACTIVATION_TABLE graft_activation_avx512
#define ACTIVATION_ISA   "avx512"
#include "backend/cpu/own/activation_body.h"
