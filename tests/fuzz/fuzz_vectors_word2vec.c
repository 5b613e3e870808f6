#include "fuzz_vectors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Behind the header of a binary file of four values a row, whose number of words the first byte gives: few
 * inputs would otherwise be taken for binary. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char bits[] = "\x01\x02\x03\x04";
    char header[32];
    if (size < 1) return graft_fuzz_vectors(data, size);
    int n = snprintf(header, sizeof header, "%u 4\nw ", data[0] + 1U);
    size_t values = 4 * sizeof(float), whole = (size_t)n + values + size - 1;
    char *file = malloc(whole);
    if (!file) return 0;
    memcpy(file, header, (size_t)n);
    for (size_t i = 0; i < values; i++) file[(size_t)n + i] = bits[i % 4];
    memcpy(file + (size_t)n + values, data + 1, size - 1);
    graft_fuzz_vectors(file, whole);
    free(file);
    return 0;
}
