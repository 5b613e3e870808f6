/* UTF-8 as RFC 3629 has it: no surrogates, nothing longer than need be. */
#ifndef GRAFT_BASE_UTF8_H
#define GRAFT_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Size of the longest valid prefix: `size` when all is UTF-8. *ascii (may be NULL): no byte is above 127. */
size_t graft_utf8_valid(const char *s, size_t size, bool *ascii);

#endif
