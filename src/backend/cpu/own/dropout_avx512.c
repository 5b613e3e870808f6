#define DROPOUT_TABLE graft_dropout_avx512
#define DROPOUT_ISA   "avx512"
#include "backend/cpu/own/dropout_body.h"
