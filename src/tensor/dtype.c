#include "tensor/tensor.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tensor data are used in place as the files have them: little-endian"
#endif

#define DTYPE_SIZE(name, size, text) (size),
#define DTYPE_TEXT(name, size, text) (text),

size_t graft_dtype_size(graft_dtype t) {
    static const size_t sizes[] = {GRAFT_DTYPES(DTYPE_SIZE)};
    return (size_t)t < GRAFT_COUNT(sizes) ? sizes[t] : 0;
}

const char *graft_dtype_name(graft_dtype t) {
    static const char *const names[] = {GRAFT_DTYPES(DTYPE_TEXT)};
    return (size_t)t < GRAFT_COUNT(names) ? names[t] : "?";
}
