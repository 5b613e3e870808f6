/* The pickle machine: a stack of values, marks in it, and a memo. It knows the opcodes of protocols 0 to 5
 * that build plain data; REDUCE asks torch_call.c, and classes are instantiated as opaque values without
 * being looked at. Every opcode takes at least one byte and makes at most one value, so memory is bounded by
 * the stream's length. The opcodes are those of CPython's Lib/pickletools.py. */
#include "tensor/torch.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_VALUES = 20 * 1000 * 1000, MAX_LINE = 4096, NOT_MINE = 1, STOPPED = 2 };

typedef struct machine {
    graft_arena *arena;
    const char *origin;
    graft_err *err;
    const unsigned char *data;
    size_t size, at, op_at;
    graft_pickle **stack;
    size_t n_stack, stack_capacity;
    size_t *marks;
    size_t n_marks, marks_capacity;
    graft_pickle **memo;
    size_t memo_capacity, n_memo;
    graft_torch_storage **storages;
    size_t n_storages, storages_capacity;
    size_t n_values;
} machine;

static int broken(machine *m, const char *why) {
    return graft_err_set(m->err, GRAFT_EFORMAT, "%s: the pickle is broken at its byte %zu: %s", m->origin,
                         m->op_at, why);
}

/* Room for item n of an array in the arena: doubled, the old one left behind. */
static int grow(machine *m, void *array, size_t *capacity, size_t n, size_t item_size) {
    void *old;
    if (n < *capacity) return 0;
    size_t more = *capacity ? *capacity * 2 : 64;
    while (more <= n) more *= 2;
    void *p = graft_arena_array(m->arena, more, item_size);
    if (!p) return graft_err_nomem(m->err);
    memcpy(&old, array, sizeof old);
    if (old) memcpy(p, old, *capacity * item_size);
    memcpy(array, &p, sizeof p);
    *capacity = more;
    return 0;
}

static int push(machine *m, graft_pickle *v) {
    if (!v) return graft_err_nomem(m->err);
    if (++m->n_values > MAX_VALUES) return broken(m, "it holds more values than any checkpoint would");
    int rc = grow(m, &m->stack, &m->stack_capacity, m->n_stack, sizeof *m->stack);
    if (rc < 0) return rc;
    m->stack[m->n_stack++] = v;
    return 0;
}

static int push_kind(machine *m, graft_pickle_kind kind) {
    return push(m, graft_pickle_new(m->arena, kind));
}

static int push_int(machine *m, int64_t x) {
    graft_pickle *v = graft_pickle_new(m->arena, GRAFT_PICKLE_INT);
    if (v) v->as.integer = x;
    return push(m, v);
}

static int push_bool(machine *m, bool x) {
    graft_pickle *v = graft_pickle_new(m->arena, GRAFT_PICKLE_BOOL);
    if (v) v->as.boolean = x;
    return push(m, v);
}

static int push_real(machine *m, double x) {
    graft_pickle *v = graft_pickle_new(m->arena, GRAFT_PICKLE_REAL);
    if (v) v->as.real = x;
    return push(m, v);
}

/* Values below the last mark are out of reach until the mark goes. */
static graft_pickle *pop(machine *m) {
    size_t floor = m->n_marks ? m->marks[m->n_marks - 1] : 0;
    return m->n_stack > floor ? m->stack[--m->n_stack] : NULL;
}

static graft_pickle *top(machine *m) {
    size_t floor = m->n_marks ? m->marks[m->n_marks - 1] : 0;
    return m->n_stack > floor ? m->stack[m->n_stack - 1] : NULL;
}

static const unsigned char *take(machine *m, size_t n) {
    if (n > m->size - m->at) return NULL;
    const unsigned char *p = m->data + m->at;
    m->at += n;
    return p;
}

/* An unsigned little-endian number of n bytes. */
static bool take_number(machine *m, size_t n, uint64_t *out) {
    const unsigned char *p = take(m, n);
    if (!p) return false;
    *out = 0;
    for (size_t i = 0; i < n; i++) *out |= (uint64_t)p[i] << (8 * i);
    return true;
}

/* A line of the text protocol, without its newline. */
static bool take_line(machine *m, const char **line, size_t *size) {
    const unsigned char *start = m->data + m->at;
    size_t rest = m->size - m->at;
    const unsigned char *end = rest ? memchr(start, '\n', rest < MAX_LINE ? rest : MAX_LINE) : NULL;
    if (!end) return false;
    *line = (const char *)start;
    *size = (size_t)(end - start);
    m->at += *size + 1;
    return true;
}

static int push_text_of(machine *m, size_t size_width) {
    uint64_t size;
    if (!take_number(m, size_width, &size) || size > m->size - m->at)
        return broken(m, "a text reaches past the end");
    const unsigned char *p = take(m, (size_t)size);
    return push(m, graft_pickle_text(m->arena, GRAFT_PICKLE_TEXT, (const char *)p, (size_t)size));
}

static int push_long(machine *m, size_t size_width) {
    uint64_t size, x = 0;
    if (!take_number(m, size_width, &size) || size > m->size - m->at)
        return broken(m, "a number reaches past the end");
    const unsigned char *p = take(m, (size_t)size);
    if (size > 8)
        return push(m, graft_pickle_text(m->arena, GRAFT_PICKLE_BIG, (const char *)p, (size_t)size));
    for (size_t i = 0; i < size; i++) x |= (uint64_t)p[i] << (8 * i);
    if (size && size < 8 && (p[size - 1] & 0x80)) x |= UINT64_MAX << (8 * size);
    return push_int(m, (int64_t)x);
}

/* INT, LONG and FLOAT lines. */
static int push_number_line(machine *m, uint8_t op) {
    const char *line;
    size_t size;
    char text[64], *end;
    if (!take_line(m, &line, &size) || size == 0 || size >= sizeof text)
        return broken(m, "a number is missing");
    if (op == 'I' && size == 2 && line[0] == '0' && (line[1] == '0' || line[1] == '1'))
        return push_bool(m, line[1] == '1');
    memcpy(text, line, size);
    if (text[size - 1] == 'L') size--;
    text[size] = '\0';
    if (op == 'F') {
        double x = strtod(text, &end);
        return end == text || *end ? broken(m, "a number is not one") : push_real(m, x);
    }
    long long x = strtoll(text, &end, 10);
    return end == text || *end ? broken(m, "a number is not one") : push_int(m, x);
}

static int push_text_line(machine *m, uint8_t op) {
    const char *line;
    size_t size;
    if (!take_line(m, &line, &size)) return broken(m, "a text does not end");
    if (op == 'S') { /* quoted; escapes stay as they are, no tensor name has them */
        if (size < 2 || (line[0] != '\'' && line[0] != '"') || line[size - 1] != line[0]) {
            return broken(m, "a text without quotes");
        }
        line++;
        size -= 2;
    }
    return push(m, graft_pickle_text(m->arena, GRAFT_PICKLE_TEXT, line, size));
}

static int op_constant(machine *m, uint8_t op) {
    uint64_t x;
    double d;
    switch (op) {
    case 'N':
        return push_kind(m, GRAFT_PICKLE_NONE);
    case 0x88:
    case 0x89:
        return push_bool(m, op == 0x88);
    case 'J':
        return take_number(m, 4, &x) ? push_int(m, (int32_t)(uint32_t)x) : broken(m, "cut short");
    case 'K':
        return take_number(m, 1, &x) ? push_int(m, (int64_t)x) : broken(m, "cut short");
    case 'M':
        return take_number(m, 2, &x) ? push_int(m, (int64_t)x) : broken(m, "cut short");
    case 0x8a:
        return push_long(m, 1);
    case 0x8b:
        return push_long(m, 4);
    case 'I':
    case 'L':
    case 'F':
        return push_number_line(m, op);
    case 'G': /* big-endian, alone among the numbers */
        if (!take_number(m, 8, &x)) return broken(m, "cut short");
        x = __builtin_bswap64(x);
        memcpy(&d, &x, sizeof d);
        return push_real(m, d);
    case 'X':
    case 'T':
    case 'B':
        return push_text_of(m, 4);
    case 0x8c:
    case 'U':
    case 'C':
        return push_text_of(m, 1);
    case 0x8d:
    case 0x8e:
    case 0x96:
        return push_text_of(m, 8);
    case 'V':
    case 'S':
        return push_text_line(m, op);
    default:
        return NOT_MINE;
    }
}

/* The values above the last mark become a new container. */
static int collect(machine *m, graft_pickle_kind kind) {
    if (m->n_marks == 0) return broken(m, "no mark on the stack");
    size_t from = m->marks[--m->n_marks], n = m->n_stack - from;
    if (kind == GRAFT_PICKLE_DICT && n % 2) return broken(m, "a key without a value");
    graft_pickle *v = graft_pickle_new(m->arena, kind);
    if (!v) return graft_err_nomem(m->err);
    if (n) {
        v->as.list.items = graft_arena_array(m->arena, n, sizeof *v->as.list.items);
        if (!v->as.list.items) return graft_err_nomem(m->err);
        memcpy(v->as.list.items, m->stack + from, n * sizeof *v->as.list.items);
        v->as.list.n = v->as.list.capacity = n;
    }
    m->n_stack = from;
    return push(m, v);
}

static int collect_last(machine *m, size_t n) {
    size_t floor = m->n_marks ? m->marks[m->n_marks - 1] : 0;
    if (m->n_stack - floor < n) return broken(m, "too few values on the stack");
    int rc = grow(m, &m->marks, &m->marks_capacity, m->n_marks, sizeof *m->marks);
    if (rc < 0) return rc;
    m->marks[m->n_marks++] = m->n_stack - n;
    return collect(m, GRAFT_PICKLE_TUPLE);
}

/* Moves values from stack position `from` on into the container below them. Instances of unknown classes take
 * them and forget them. */
static int append_from(machine *m, size_t from, bool pairs) {
    size_t n = m->n_stack - from, floor = m->n_marks ? m->marks[m->n_marks - 1] : 0;
    if (from <= floor || (pairs && n % 2)) return broken(m, "nothing to append to");
    graft_pickle *to = m->stack[from - 1];
    graft_pickle_kind want = pairs ? GRAFT_PICKLE_DICT : GRAFT_PICKLE_LIST;
    if (to->kind != want && to->kind != GRAFT_PICKLE_OPAQUE)
        return broken(m, "it appends to what is no container");
    for (size_t i = from; i < m->n_stack && to->kind == want; i++) {
        if (graft_pickle_append(m->arena, to, m->stack[i]) < 0) return graft_err_nomem(m->err);
    }
    m->n_stack = from;
    return 0;
}

static int append_marked(machine *m, bool pairs) {
    if (m->n_marks == 0) return broken(m, "no mark on the stack");
    size_t from = m->marks[--m->n_marks];
    return append_from(m, from, pairs);
}

static int op_container(machine *m, uint8_t op) {
    switch (op) {
    case '(': {
        int rc = grow(m, &m->marks, &m->marks_capacity, m->n_marks, sizeof *m->marks);
        if (rc == 0) m->marks[m->n_marks++] = m->n_stack;
        return rc;
    }
    case ')':
        return push_kind(m, GRAFT_PICKLE_TUPLE);
    case ']':
    case 0x8f:
        return push_kind(m, GRAFT_PICKLE_LIST);
    case '}':
        return push_kind(m, GRAFT_PICKLE_DICT);
    case 't':
        return collect(m, GRAFT_PICKLE_TUPLE);
    case 'l':
    case 0x91:
        return collect(m, GRAFT_PICKLE_LIST);
    case 'd':
        return collect(m, GRAFT_PICKLE_DICT);
    case 0x85:
    case 0x86:
    case 0x87:
        return collect_last(m, (size_t)op - 0x84);
    case 'a':
        return m->n_stack > 1 ? append_from(m, m->n_stack - 1, false) : broken(m, "nothing to append to");
    case 's':
        return m->n_stack > 2 ? append_from(m, m->n_stack - 2, true) : broken(m, "nothing to set in");
    case 'e':
    case 0x90:
        return append_marked(m, false);
    case 'u':
        return append_marked(m, true);
    default:
        return NOT_MINE;
    }
}

static int memo_put(machine *m, uint64_t i) {
    graft_pickle *v = top(m);
    if (!v) return broken(m, "nothing to remember");
    if (i >= m->size)
        return broken(m, "a memo number too large for the stream"); /* each takes a byte at least */
    int rc = grow(m, &m->memo, &m->memo_capacity, (size_t)i, sizeof *m->memo);
    if (rc < 0) return rc;
    m->n_memo += !m->memo[i];
    m->memo[i] = v;
    return 0;
}

static int memo_get(machine *m, uint64_t i) {
    if (i >= m->memo_capacity || !m->memo[i]) return broken(m, "it recalls what was not remembered");
    return push(m, m->memo[i]);
}

static bool take_memo_number(machine *m, uint8_t op, uint64_t *out) {
    const char *line;
    size_t size;
    if (op == 'q' || op == 'h') return take_number(m, 1, out);
    if (op == 'r' || op == 'j') return take_number(m, 4, out);
    if (!take_line(m, &line, &size) || size == 0 || size > 9) return false;
    *out = 0;
    for (size_t i = 0; i < size; i++) {
        if (line[i] < '0' || line[i] > '9') return false;
        *out = *out * 10 + (uint64_t)(line[i] - '0');
    }
    return true;
}

static int op_stack(machine *m, uint8_t op) {
    uint64_t i;
    switch (op) {
    case '0':
        return pop(m) ? 0 : broken(m, "nothing to drop");
    case '1':
        if (m->n_marks == 0) return broken(m, "no mark on the stack");
        m->n_stack = m->marks[--m->n_marks];
        return 0;
    case '2':
        return top(m) ? push(m, top(m)) : broken(m, "nothing to double");
    case 'q':
    case 'r':
    case 'p':
        return take_memo_number(m, op, &i) ? memo_put(m, i) : broken(m, "a memo number is missing");
    case 0x94:
        return memo_put(m, m->n_memo);
    case 'h':
    case 'j':
    case 'g':
        return take_memo_number(m, op, &i) ? memo_get(m, i) : broken(m, "a memo number is missing");
    default:
        return NOT_MINE;
    }
}

static int push_global(machine *m, const char *module, size_t module_size, const char *name,
                       size_t name_size) {
    if (module_size + name_size > MAX_LINE) return broken(m, "a name too long");
    if (memchr(module, '\0', module_size) || memchr(name, '\0', name_size))
        return broken(m, "a name with a zero byte");
    char *text = graft_arena_printf(m->arena, "%.*s.%.*s", (int)module_size, module, (int)name_size, name);
    if (!text) return graft_err_nomem(m->err);
    return push(m, graft_pickle_text(m->arena, GRAFT_PICKLE_GLOBAL, text, strlen(text)));
}

/* NEWOBJ: an instance of a class. Of an ordered dict it is one; of any other nothing is kept but the name. */
static int push_instance(machine *m, const graft_pickle *class) {
    if (!class || class->kind != GRAFT_PICKLE_GLOBAL) return broken(m, "an instance of what is no class");
    if (graft_pickle_is(class, GRAFT_PICKLE_GLOBAL, "collections.OrderedDict"))
        return push_kind(m, GRAFT_PICKLE_DICT);
    return push(m,
                graft_pickle_text(m->arena, GRAFT_PICKLE_OPAQUE, class->as.text.data, class->as.text.size));
}

static int reduce(machine *m) {
    const graft_pickle *args = pop(m), *callable = pop(m);
    if (!args || !callable || args->kind != GRAFT_PICKLE_TUPLE) return broken(m, "a call without arguments");
    if (callable->kind != GRAFT_PICKLE_GLOBAL) return broken(m, "a call of what has no name");
    graft_pickle *v;
    int rc = graft_pickle_call(&v, m->arena, callable->as.text.data, args, m->origin, m->err);
    return rc < 0 ? rc : push(m, v);
}

static int persistent(machine *m, const graft_pickle *id) {
    graft_pickle *v;
    if (!id) return broken(m, "a storage without a description");
    int rc = graft_pickle_storage(&v, m->arena, id, m->origin, m->err);
    if (rc == 0 && v->kind == GRAFT_PICKLE_STORAGE) {
        rc = grow(m, &m->storages, &m->storages_capacity, m->n_storages, sizeof *m->storages);
        if (rc == 0) m->storages[m->n_storages++] = v->as.storage;
    }
    return rc < 0 ? rc : push(m, v);
}

static int refuse_instance(machine *m, const char *module, size_t module_size, const char *name,
                           size_t name_size) {
    return graft_err_set(m->err, GRAFT_EUNSUPPORTED,
                         "%s: graft refuses to run '%.*s.%.*s', which this pickle asks for", m->origin,
                         (int)module_size, module, (int)name_size, name);
}

static int op_object(machine *m, uint8_t op) {
    const char *module, *name;
    size_t module_size, name_size;
    const graft_pickle *a, *b;
    switch (op) {
    case 'c':
    case 'i':
        if (!take_line(m, &module, &module_size) || !take_line(m, &name, &name_size))
            return broken(m, "a name is missing");
        return op == 'c' ? push_global(m, module, module_size, name, name_size)
                         : refuse_instance(m, module, module_size, name, name_size);
    case 0x93:
        b = pop(m);
        a = pop(m);
        if (!a || !b || a->kind != GRAFT_PICKLE_TEXT || b->kind != GRAFT_PICKLE_TEXT)
            return broken(m, "a name is missing");
        return push_global(m, a->as.text.data, a->as.text.size, b->as.text.data, b->as.text.size);
    case 'R':
        return reduce(m);
    case 0x81:
        return pop(m) ? push_instance(m, pop(m)) : broken(m, "an instance without arguments");
    case 0x92:
        return pop(m) && pop(m) ? push_instance(m, pop(m)) : broken(m, "an instance without arguments");
    case 'b': /* BUILD sets attributes: none of them matters, and none is looked at */
        return pop(m) && top(m) ? 0 : broken(m, "nothing to set attributes of");
    case 'Q':
        return persistent(m, pop(m));
    default:
        return NOT_MINE;
    }
}

static int op_frame(machine *m, uint8_t op) {
    uint64_t x;
    switch (op) {
    case 0x80:
        if (!take_number(m, 1, &x) || x > 5) return broken(m, "a protocol later than 5");
        return 0;
    case 0x95:
        return take_number(m, 8, &x) && x <= m->size - m->at ? 0 : broken(m, "a frame reaches past the end");
    case '.':
        return STOPPED;
    default:
        return graft_err_set(m->err, GRAFT_EUNSUPPORTED,
                             "%s: the pickle has the opcode 0x%02x at its byte %zu, which is not read",
                             m->origin, op, m->op_at);
    }
}

int graft_unpickle(graft_unpickled *out, graft_arena *arena, const unsigned char *data, size_t size,
                   const char *origin, graft_err *err) {
    static int (*const groups[])(machine * m, uint8_t op) = {op_constant, op_container, op_stack, op_object,
                                                             op_frame};
    machine m = {.arena = arena, .origin = origin, .err = err, .data = data, .size = size};
    *out = (graft_unpickled){0};
    int rc = 0;
    while (rc == 0) {
        m.op_at = m.at;
        const unsigned char *op = take(&m, 1);
        if (!op) return broken(&m, "it ends without STOP");
        rc = NOT_MINE;
        for (size_t i = 0; i < GRAFT_COUNT(groups) && rc == NOT_MINE; i++) rc = groups[i](&m, *op);
    }
    if (rc < 0) return rc;
    graft_pickle *v = pop(&m);
    if (!v) return broken(&m, "it ends without a value");
    *out = (graft_unpickled){.value = v, .storages = m.storages, .n_storages = m.n_storages, .used = m.at};
    return 0;
}
