#define AVERAGED_TABLE graft_averaged_avx2
#include "learn/averaged_body.h"
