#define ACTIVATION_TABLE graft_activation_base
#define ACTIVATION_ISA   "base"
#include "backend/cpu/own/activation_body.h"
