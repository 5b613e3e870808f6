#define DROPOUT_TABLE graft_dropout_base
#define DROPOUT_ISA   "base"
#include "backend/cpu/own/dropout_body.h"
