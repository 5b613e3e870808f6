#define ATTENTION_TABLE graft_attention_avx2
#define ATTENTION_ISA   "avx2"
#include "backend/cpu/own/attention_body.h"
