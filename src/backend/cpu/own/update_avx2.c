#define UPDATE_TABLE graft_update_avx2
#define UPDATE_ISA   "avx2"
#include "backend/cpu/own/update_body.h"
