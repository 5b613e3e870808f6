#include "data/data_table.h"
#include <stdlib.h>
#include <string.h>

/* The first byte chooses the delimiter: found, comma, semicolon or tab. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char delimiters[] = {'\0', ',', ';', '\t'};
    if (size < 1) return 0;
    char *text = malloc(size); /* one byte of it is the NUL at the end */
    if (!text) return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    graft_arena *arena = graft_arena_new(NULL);
    graft_table t = {0};
    if (graft_csv_parse(&t, arena, text, size - 1, delimiters[data[0] % 4], "input", NULL) == 0)
        for (size_t i = 0; i < t.n_rows; i++)
            for (size_t k = 0; k < t.n_columns; k++)
                if (!graft_table_cell(&t, i, k)) abort(); /* a CSV row has every cell */
    graft_table_done(&t);
    graft_arena_free(arena);
    free(text);
    return 0;
}
