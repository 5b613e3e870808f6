#include "fuzz_text_lines.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    return text_lines_run(data, size, GRAFT_TASK_TAGGING, graft_conll_parse);
}
