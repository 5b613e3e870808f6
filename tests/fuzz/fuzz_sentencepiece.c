#include "model/tokenizer.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char text[] = "ab  \xe2\x96\x81 c\xc3\xa9 \xed\x95\x9c\n \xef\xac\x81x";
    for (int fairseq = 0; fairseq < 2; fairseq++) {
        graft_tokenizer *t;
        graft_encoding e = {0};
        graft_err err = {0};
        int rc = graft_tokenizer_parse_sentencepiece(&t, data, size, fairseq, "fuzz", &err);
        if ((rc == 0) != (t != NULL) || (rc == 0) != (err.code == 0)) abort();
        if (rc == 0 && graft_tokenizer_encode(t, &e, text, strlen(text), NULL, 0, NULL, &err) == 0) {
            for (size_t i = 0; i < e.n; i++)
                if (e.ids[i] < 0 || (size_t)e.ids[i] >= graft_tokenizer_size(t)) abort();
        }
        graft_encoding_done(&e);
        graft_tokenizer_close(t);
    }
    return 0;
}
