#define ATTENTION_TABLE graft_attention_avx512
#define ATTENTION_ISA   "avx512"
#include "backend/cpu/own/attention_body.h"
