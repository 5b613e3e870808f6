#define ATTENTION_TABLE graft_attention_base
#define ATTENTION_ISA   "base"
#include "backend/cpu/own/attention_body.h"
