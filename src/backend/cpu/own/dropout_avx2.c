#define DROPOUT_TABLE graft_dropout_avx2
#define DROPOUT_ISA   "avx2"
#include "backend/cpu/own/dropout_body.h"
