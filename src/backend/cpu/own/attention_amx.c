#define ATTENTION_TABLE graft_attention_amx
#define ATTENTION_ISA   "amx"
/* Measured: below a tile or so, filling and reading tiles takes longer than widening to float32. */
#define ATTENTION_FEW &graft_attention_avx512, 12, 20
#include "backend/cpu/own/attention_bf16_body.h"
