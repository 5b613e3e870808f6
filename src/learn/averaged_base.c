#define AVERAGED_TABLE graft_averaged_base
#include "learn/averaged_body.h"
