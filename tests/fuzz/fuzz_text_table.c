#include "data/data_table.h"
#include "fuzz_text_lines.h"

static int parse(graft_listing *l, char *text, size_t size, const char *origin, graft_part part,
                 graft_err *err) {
    graft_table t = {0};
    bool is_json = size && text[0] == '{';
    int rc = is_json ? graft_jsonl_parse(&t, l->arena, text, size, origin, err)
                     : graft_csv_rows(&t, l->arena, text, size, '\0', origin, err);
    if (rc == 0) rc = graft_text_table_take(l, &t, !is_json, origin, part, err);
    graft_table_done(&t);
    return rc;
}

/* A table, whose columns are guessed. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    return text_lines_run(data, size, GRAFT_TASK_MULTILABEL, parse);
}
