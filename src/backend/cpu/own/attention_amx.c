#define ATTENTION_TABLE graft_attention_amx
#define ATTENTION_ISA   "amx"
#include "backend/cpu/own/attention_bf16_body.h"
