#define AVERAGED_TABLE graft_averaged_avx512
#include "learn/averaged_body.h"
