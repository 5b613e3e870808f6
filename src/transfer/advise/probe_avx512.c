#define PROBE_TABLE graft_probe_avx512
#include "transfer/advise/probe_body.h"
