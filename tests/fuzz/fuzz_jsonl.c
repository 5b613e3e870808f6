#include "data/data_table.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    graft_arena *arena = graft_arena_new(NULL);
    graft_table t = {0};
    if (graft_jsonl_parse(&t, arena, (const char *)data, size, "input", NULL) == 0)
        for (size_t i = 0; i < t.n_cells; i++)
            if (t.cells[i].column >= t.n_columns || strlen(t.cells[i].text) > size + 32) abort();
    graft_table_done(&t);
    graft_arena_free(arena);
    return 0;
}
