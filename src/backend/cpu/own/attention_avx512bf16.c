#define ATTENTION_TABLE graft_attention_avx512bf16
#define ATTENTION_ISA   "avx512bf16"
#include "backend/cpu/own/attention_bf16_body.h"
