#define PROBE_TABLE graft_probe_avx2
#include "transfer/advise/probe_body.h"
