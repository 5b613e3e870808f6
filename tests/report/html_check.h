/* A page must be what an HTML parser takes without repair: tags balanced, attributes quoted, ids once,
 * nothing asked for from elsewhere. */
#ifndef GRAFT_TESTS_HTML_CHECK_H
#define GRAFT_TESTS_HTML_CHECK_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static inline bool html_is_void(const char *name) {
    static const char *const names[] = {"meta", "img", "input", "br", "path", "circle", "rect"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0) return true;
    return false;
}

/* The attributes from `at` to the end of the tag; *out is behind its '>'. What is wrong, or NULL. */
static inline const char *html_attributes(const char *at, const char **out) {
    for (;;) {
        while (*at == ' ' || *at == '\n' || *at == '/') at++;
        if (*at == '>') return *out = at + 1, NULL;
        if (*at == '\0') return "a tag does not end";
        const char *name = at;
        while ((*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || *at == '-') at++;
        size_t size = (size_t)(at - name);
        if (size == 0) return "something stands among the attributes";
        if (size > 2 && strncmp(name, "on", 2) == 0) return "an event handler";
        if (*at != '=') continue; /* "hidden" */
        if (at[1] != '"') return "an attribute without quotes";
        const char *value = at += 2;
        while (*at && *at != '"' && *at != '<') at++;
        if (*at != '"') return "an attribute does not end, or has a < in it";
        bool link =
            (size == 4 && strncmp(name, "href", 4) == 0) || (size == 3 && strncmp(name, "src", 3) == 0);
        if (link && *value != '#' && strncmp(value, "data:image/", 11) != 0)
            return "a link that leads outside";
        at++;
    }
}

/* What is wrong with the page, or NULL. `where` comes to stand there. */
static inline const char *html_check(const char *page, const char **where) {
    enum { DEPTH = 64, NAME = 16 };
    char open[DEPTH][NAME];
    size_t depth = 0;
    const char *at = page, *problem;
    if (strncmp(at, "<!DOCTYPE html>", 15) != 0) return *where = at, "no doctype";
    for (at += 15; *at;) {
        *where = at;
        if (*at == '>') return "a > that is not escaped";
        if (*at == '&') {
            size_t size = strcspn(at, "; <");
            if (at[size] != ';' || size > 8) return "an & that is not escaped";
        }
        if (*at++ != '<') continue;
        bool closes = *at == '/';
        char name[NAME] = "";
        size_t size = 0;
        for (at += closes; ((*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9')) && size + 1 < NAME;)
            name[size++] = *at++;
        if (size == 0) return "a < that is not escaped";
        if ((problem = html_attributes(at, &at))) return problem;
        if (closes) {
            if (depth == 0 || strcmp(open[--depth], name) != 0) return "a tag that closes another";
            continue;
        }
        if (html_is_void(name)) continue;
        if (depth == DEPTH) return "nested too deeply";
        strcpy(open[depth++], name);
        if (strcmp(name, "style") == 0 || strcmp(name, "script") == 0) {
            at = strstr(at, strcmp(name, "style") == 0 ? "</style>" : "</script>");
            if (!at) return "style or script does not end";
        }
    }
    return depth == 0 ? NULL : "a tag is left open";
}

/* Occurrences of `text`. */
static inline size_t html_count(const char *page, const char *text) {
    size_t n = 0;
    for (const char *at = page; (at = strstr(at, text)); at += strlen(text)) n++;
    return n;
}

#endif
