#include "fuzz_text_lines.h"

/* The first byte chooses whether lines are split into words. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    return text_lines_run(data + 1, size - 1, data[0] % 2 ? GRAFT_TASK_TAGGING : GRAFT_TASK_CLASSES,
                          graft_lines_parse);
}
