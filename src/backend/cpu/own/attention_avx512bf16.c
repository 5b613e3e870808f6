#define ATTENTION_TABLE graft_attention_avx512bf16
#define ATTENTION_ISA   "avx512bf16"
#define ATTENTION_FEW   NULL, 0, 0
#include "backend/cpu/own/attention_bf16_body.h"
