#define UPDATE_TABLE graft_update_base
#define UPDATE_ISA   "base"
#include "backend/cpu/own/update_body.h"
