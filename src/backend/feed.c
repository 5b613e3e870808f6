/* Rows of a batch into a program's inputs. */
#include "backend/backend.h"

#include <string.h>

int64_t graft_feed_tokens(const graft_feed *f, int64_t first, int64_t n) {
    if (n == 0 || !f->spans) return 0;
    const int32_t *last = f->spans + 2 * (first + n - 1);
    return (int64_t)last[0] + last[1] - f->spans[2 * first];
}

int64_t graft_tokens_room(int64_t n) {
    int64_t step = 16;
    while (step * 32 < n) step *= 2;
    return (n + step - 1) / step * step;
}

/* Rows [first, first + n) of t, of `all`, and zeros behind them. */
static int put_rows(void *to, size_t room, const graft_tensor *t, int64_t first, int64_t n, int64_t all,
                    graft_err *err) {
    size_t row = all > 0 ? t->size / (size_t)all : 0, size = row * (size_t)n;
    if (row == 0 || size > room || room % row != 0)
        return graft_err_set(err, GRAFT_ESHAPE,
                             "input '%s' has %zu bytes a row, the program has room for %zu in all", t->name,
                             row, room);
    memcpy(to, (const unsigned char *)t->data + (size_t)first * row, size);
    memset((unsigned char *)to + size, 0, room - size);
    return 0;
}

static int put_spans(const graft_program *p, const graft_feed *f, int64_t first, int64_t n, graft_err *err) {
    size_t room = 0;
    int32_t *to = graft_program_input(p, "spans", &room);
    size_t size = 2 * (size_t)n * sizeof *to;
    if (!to || !f->spans) return 0;
    if (size > room)
        return graft_err_set(err, GRAFT_ESHAPE, "%lld texts do not fit the program", (long long)n);
    for (int64_t i = 0; i < n; i++) {
        to[2 * i] = f->spans[2 * (first + i)] - f->spans[2 * first];
        to[2 * i + 1] = f->spans[2 * (first + i) + 1];
    }
    memset((unsigned char *)to + size, 0, room - size);
    return 0;
}

int graft_program_feed(const graft_program *p, const graft_feed *f, int64_t first, int64_t n,
                       graft_err *err) {
    for (size_t i = 0; i < f->n_inputs; i++) {
        size_t room = 0;
        void *to = graft_program_input(p, f->inputs[i].name, &room);
        if (!to)
            return graft_err_set(err, GRAFT_EINTERNAL, "the program has no input '%s'", f->inputs[i].name);
        int rc = put_rows(to, room, &f->inputs[i], first, n, f->n, err);
        if (rc < 0) return rc;
    }
    int64_t n_tokens = graft_feed_tokens(f, first, n), from = n > 0 && f->spans ? f->spans[2 * first] : 0;
    for (size_t i = 0; i < f->n_token_inputs; i++) {
        size_t room = 0;
        void *to = graft_program_input(p, f->token_inputs[i].name, &room);
        int rc = to ? put_rows(to, room, &f->token_inputs[i], from, n_tokens, f->n_tokens, err) : 0;
        if (rc < 0) return rc;
    }
    return put_spans(p, f, first, n, err);
}
