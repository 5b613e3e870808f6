#include "model/tokenizer/token_json.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 64, NODES_MAX = 16 * 1000 * 1000 };

typedef struct reader {
    char *text; /* NUL-terminated */
    size_t at, size;
    graft_node *nodes;
    size_t n, capacity;
    const char *origin;
    graft_err *err;
} reader;

static int bad(const reader *r, size_t at, const char *what) {
    return graft_err_set(r->err, GRAFT_EFORMAT, "%s: not JSON at byte %zu: %s", r->origin, at, what);
}

static void skip_space(reader *r) {
    while (r->text[r->at] == ' ' || r->text[r->at] == '\n' || r->text[r->at] == '\t' ||
           r->text[r->at] == '\r')
        r->at++;
}

static int hex4(const char *s) {
    int value = 0;
    for (int i = 0; i < 4; i++) {
        char c = s[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) return -1; /* the NUL at the end stops here too */
        value = value * 16 + digit;
    }
    return value;
}

static size_t put_utf8(char *to, uint32_t c) {
    if (c < 0x80) {
        to[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        to[0] = (char)(0xc0 | c >> 6);
        to[1] = (char)(0x80 | (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        to[0] = (char)(0xe0 | c >> 12);
        to[1] = (char)(0x80 | (c >> 6 & 63));
        to[2] = (char)(0x80 | (c & 63));
        return 3;
    }
    to[0] = (char)(0xf0 | c >> 18);
    to[1] = (char)(0x80 | (c >> 12 & 63));
    to[2] = (char)(0x80 | (c >> 6 & 63));
    to[3] = (char)(0x80 | (c & 63));
    return 4;
}

/* The escape behind a backslash at `at`; moves past it, writes what it stands for. */
static int read_escape(reader *r, char **to) {
    static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
    size_t begin = r->at;
    char c = r->text[++r->at];
    const char *plain = c ? strchr(from, c) : NULL;
    if (plain) {
        *(*to)++ = into[plain - from];
        r->at++;
        return 0;
    }
    int unit = c == 'u' ? hex4(r->text + r->at + 1) : -1;
    if (unit < 0) return bad(r, begin, "no such escape");
    r->at += 5;
    uint32_t point = (uint32_t)unit;
    if (unit >= 0xd800 && unit < 0xe000) {
        int low = unit < 0xdc00 && r->text[r->at] == '\\' && r->text[r->at + 1] == 'u'
                      ? hex4(r->text + r->at + 2)
                      : -1;
        if (low < 0xdc00 || low >= 0xe000) return bad(r, begin, "half of a surrogate pair");
        point = 0x10000 + ((point - 0xd800) << 10) + ((uint32_t)low - 0xdc00);
        r->at += 6;
    }
    *to += put_utf8(*to, point);
    return 0;
}

/* At an opening quote; *text is NUL-terminated (over the closing quote or before it). */
static int read_text(reader *r, const char **text, uint32_t *size) {
    size_t begin = r->at++;
    char *to = r->text + r->at;
    *text = to;
    for (;;) {
        unsigned char c = (unsigned char)r->text[r->at];
        if (c == '"') break;
        if (c == '\\') {
            int rc = read_escape(r, &to);
            if (rc < 0) return rc;
        } else if (c < 0x20) {
            return r->at >= r->size ? bad(r, begin, "a text without its end")
                                    : bad(r, r->at, "a control character within a text");
        } else {
            *to++ = (char)c;
            r->at++;
        }
    }
    r->at++;
    *size = (uint32_t)(to - *text);
    *to = '\0';
    return 0;
}

static int add_node(reader *r, graft_node **out) {
    if (r->n == r->capacity) {
        size_t capacity = r->capacity ? 2 * r->capacity : 1024;
        if (r->n >= NODES_MAX) return bad(r, r->at, "more values than a tokenizer has");
        graft_node *nodes = realloc(r->nodes, capacity * sizeof *nodes);
        if (!nodes) return graft_err_nomem(r->err);
        r->nodes = nodes;
        r->capacity = capacity;
    }
    *out = &r->nodes[r->n++];
    memset(*out, 0, sizeof **out);
    return 0;
}

static int read_number(reader *r, graft_node *node) {
    const char *s = r->text + r->at;
    node->type = GRAFT_NODE_NUMBER;
    node->text = s;
    size_t n = *s == '-';
    size_t digits = strspn(s + n, "0123456789");
    if (!digits || (s[n] == '0' && digits > 1)) return bad(r, r->at, "a value is expected");
    n += digits;
    if (s[n] == '.') {
        digits = strspn(s + n + 1, "0123456789");
        if (!digits) return bad(r, r->at, "a number without digits behind its point");
        n += 1 + digits;
    }
    if (s[n] == 'e' || s[n] == 'E') {
        n += s[n + 1] == '+' || s[n + 1] == '-' ? 2 : 1;
        digits = strspn(s + n, "0123456789");
        if (!digits) return bad(r, r->at, "a number without digits in its exponent");
        n += digits;
    }
    node->size = (uint32_t)n;
    r->at += n;
    return 0;
}

static int read_word(reader *r, graft_node *node) {
    static const struct {
        const char *word;
        graft_node_type type;
    } words[] = {{"null", GRAFT_NODE_NULL}, {"false", GRAFT_NODE_FALSE}, {"true", GRAFT_NODE_TRUE}};
    for (size_t i = 0; i < GRAFT_COUNT(words); i++) {
        size_t n = strlen(words[i].word);
        if (r->text[r->at] != words[i].word[0] || strncmp(r->text + r->at, words[i].word, n) != 0) continue;
        node->type = words[i].type;
        r->at += n;
        return 0;
    }
    return read_number(r, node);
}

/* A value that is no list or object, into the node of index i. */
static int read_scalar(reader *r, size_t i) {
    graft_node *node = &r->nodes[i];
    if (r->text[r->at] != '"') return read_word(r, node);
    node->type = GRAFT_NODE_TEXT;
    return read_text(r, &node->text, &node->size);
}

static int read_key(reader *r, size_t i) {
    if (r->text[r->at] != '"') return bad(r, r->at, "a key is expected");
    const char *key;
    uint32_t size;
    int rc = read_text(r, &key, &size);
    if (rc < 0) return rc;
    r->nodes[i].key = key;
    r->nodes[i].key_size = size;
    skip_space(r);
    if (r->text[r->at] != ':') return bad(r, r->at, "a colon is expected");
    r->at++;
    skip_space(r);
    return 0;
}

/* Lists and objects that are open: their node, and the last member's so far. */
typedef struct level {
    size_t node, last;
} level;

static bool is_object(const reader *r, const level *l) {
    return r->nodes[l->node].type == GRAFT_NODE_OBJECT;
}

/* Behind a value: a comma, or the end of what is open. *depth falls with each end. */
static int read_ends(reader *r, const level *open, int *depth) {
    while (*depth > 0) {
        const level *l = &open[*depth - 1];
        skip_space(r);
        char c = r->text[r->at];
        if (c == ',') {
            r->at++;
            skip_space(r);
            return 0;
        }
        if (c != (is_object(r, l) ? '}' : ']')) return bad(r, r->at, "a comma or an end is expected");
        r->at++;
        (*depth)--;
    }
    return 0;
}

static int read_values(reader *r) {
    level open[DEPTH_MAX];
    int depth = 0, rc;
    graft_node *node;
    skip_space(r);
    do {
        size_t i = r->n;
        if ((rc = add_node(r, &node)) < 0) return rc;
        if (depth > 0) {
            level *l = &open[depth - 1];
            if (is_object(r, l) && (rc = read_key(r, i)) < 0) return rc;
            if (r->nodes[l->node].size++) r->nodes[l->last].next = (uint32_t)(i - l->last);
            l->last = i;
        }
        char c = r->text[r->at];
        if (c != '{' && c != '[') {
            if ((rc = read_scalar(r, i)) < 0 || (rc = read_ends(r, open, &depth)) < 0) return rc;
            continue;
        }
        if (depth == DEPTH_MAX) return bad(r, r->at, "lists and objects nested too deep");
        r->nodes[i].type = c == '{' ? GRAFT_NODE_OBJECT : GRAFT_NODE_LIST;
        r->at++;
        skip_space(r);
        open[depth++] = (level){i, 0};
        if (r->text[r->at] == (c == '{' ? '}' : ']') && (rc = read_ends(r, open, &depth)) < 0) return rc;
    } while (depth > 0);
    skip_space(r);
    return r->at == r->size ? 0 : bad(r, r->at, "something behind the end");
}

int graft_node_parse(const graft_node **out, graft_arena *arena, char *text, size_t size, const char *origin,
                     graft_err *err) {
    reader r = {.text = text, .size = size, .origin = origin, .err = err};
    *out = NULL;
    if (size >= UINT32_MAX) return graft_err_set(err, GRAFT_EFORMAT, "%s: %zu bytes, too many", origin, size);
    int rc = read_values(&r);
    if (rc == 0 && graft_arena_defer(arena, free, r.nodes) < 0) return graft_err_nomem(err);
    if (rc < 0)
        free(r.nodes);
    else
        *out = r.nodes;
    return rc;
}

const graft_node *graft_node_first(const graft_node *n) {
    bool holds = n && (n->type == GRAFT_NODE_LIST || n->type == GRAFT_NODE_OBJECT) && n->size > 0;
    return holds ? n + 1 : NULL;
}

const graft_node *graft_node_next(const graft_node *n) {
    return n->next ? n + n->next : NULL;
}

const graft_node *graft_node_get(const graft_node *n, const char *key) {
    if (!n || n->type != GRAFT_NODE_OBJECT) return NULL;
    size_t size = strlen(key);
    for (const graft_node *m = graft_node_first(n); m; m = graft_node_next(m)) {
        if (m->key_size == size && memcmp(m->key, key, size) == 0)
            return m->type == GRAFT_NODE_NULL ? NULL : m;
    }
    return NULL;
}

bool graft_node_is_text(const graft_node *n, const char *text) {
    return n && n->type == GRAFT_NODE_TEXT && n->size == strlen(text) && memcmp(n->text, text, n->size) == 0;
}

static int wrong(const char *key, const char *wanted, const char *origin, graft_err *err) {
    return graft_err_set(err, GRAFT_EFORMAT, "%s: '%s' must be %s", origin, key, wanted);
}

int graft_node_bool(const graft_node *n, const char *key, bool absent, bool *out, const char *origin,
                    graft_err *err) {
    const graft_node *m = graft_node_get(n, key);
    if (m && m->type != GRAFT_NODE_TRUE && m->type != GRAFT_NODE_FALSE)
        return wrong(key, "true or false", origin, err);
    *out = m ? m->type == GRAFT_NODE_TRUE : absent;
    return 0;
}

bool graft_node_to_int(const graft_node *n, int64_t *out) {
    if (!n || n->type != GRAFT_NODE_NUMBER || n->size > 18) return false;
    int64_t value = 0;
    bool minus = n->text[0] == '-';
    for (uint32_t i = minus; i < n->size; i++) {
        if (n->text[i] < '0' || n->text[i] > '9') return false;
        value = value * 10 + (n->text[i] - '0');
    }
    *out = minus ? -value : value;
    return true;
}

/* 10^n, n up to 308, each rounded once. */
static double power_of_ten(int n) {
    char text[8] = "1e";
    size_t at = 2;
    if (n >= 100) text[at++] = (char)('0' + n / 100);
    if (n >= 10) text[at++] = (char)('0' + n / 10 % 10);
    text[at] = (char)('0' + n % 10);
    return strtod(text, NULL);
}

/* A decimal as the reference reads it: up to 64 bits of digits, rounded, then scaled by a power of ten, which
 * rounds again. Scores of a vocabulary tie often, and the last bit decides then. */
static double scaled(uint64_t digits, int64_t exponent) {
    double x = (double)digits;
    while (exponent < -308 && x != 0) {
        x /= 1e308;
        exponent += 308;
    }
    if (x == 0) return 0;
    if (exponent > 308) return HUGE_VAL;
    return exponent < 0 ? x / power_of_ten((int)-exponent) : x * power_of_ten((int)exponent);
}

bool graft_node_to_real(const graft_node *n, double *out) {
    if (!n || n->type != GRAFT_NODE_NUMBER) return false;
    uint64_t digits = 0;
    int64_t exponent = 0, written = 0;
    uint32_t i = n->text[0] == '-';
    bool fraction = false, full = false;
    for (; i < n->size && n->text[i] != 'e' && n->text[i] != 'E'; i++) {
        if (n->text[i] == '.') {
            fraction = true;
            continue;
        }
        uint64_t digit = (uint64_t)(n->text[i] - '0');
        full |= digits > UINT64_MAX / 10 || (digits == UINT64_MAX / 10 && digit > UINT64_MAX % 10);
        if (!full) digits = digits * 10 + digit;
        exponent += full ? !fraction : -(int64_t)fraction;
    }
    if (i < n->size) {
        bool minus = n->text[++i] == '-';
        for (i += minus || n->text[i] == '+'; i < n->size; i++)
            if (written < 100000) written = written * 10 + (n->text[i] - '0');
        exponent += minus ? -written : written;
    }
    double x = scaled(digits, exponent);
    *out = n->text[0] == '-' ? -x : x;
    return true;
}

int graft_node_int(const graft_node *n, const char *key, int64_t absent, int64_t *out, const char *origin,
                   graft_err *err) {
    const graft_node *m = graft_node_get(n, key);
    *out = absent;
    if (m && !graft_node_to_int(m, out)) return wrong(key, "an integer", origin, err);
    return 0;
}

int graft_node_text(const graft_node *n, const char *key, const graft_node **out, const char *origin,
                    graft_err *err) {
    *out = graft_node_get(n, key);
    if (*out && (*out)->type != GRAFT_NODE_TEXT) return wrong(key, "a text", origin, err);
    return 0;
}
