#define UPDATE_TABLE graft_update_avx512
#define UPDATE_ISA   "avx512"
#include "backend/cpu/own/update_body.h"
