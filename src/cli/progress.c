/* Log lines and progress on stderr. On a terminal a bar that is drawn over itself, and above it, once two
 * epochs are over, the curves of the run, drawn anew as they grow; both give way to a log line and come back
 * below it. Else plain lines, one at the end of each epoch and at most one in two seconds beside. */
#include "cli/chart.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { BAR = 20 };

bool graft_console_is_terminal(void) {
    const char *term = getenv("TERM");
    return isatty(STDERR_FILENO) == 1 && !(term && strcmp(term, "dumb") == 0);
}

void graft_console_init(graft_console *c, bool quiet) {
    *c = (graft_console){.quiet = quiet, .terminal = graft_console_is_terminal()};
}

void graft_console_clear(graft_console *c) {
    if (c->rows)
        fprintf(stderr, "\r\033[%dA\033[J", c->rows);
    else if (c->bar)
        fputs("\r\033[K", stderr);
    c->bar = false;
    c->rows = 0;
}

void graft_console_done(graft_console *c) {
    graft_console_clear(c);
    if (c->curves) graft_fit_curves_done(c->curves);
    free(c->curves);
    c->curves = NULL;
}

/* Names of files come out as they are, but for what a terminal would act on. */
static void print_line(const char *line) {
    for (const char *s = line; *s; s++) {
        unsigned char b = (unsigned char)*s;
        fputc(b < 0x20 || b == 0x7f ? '?' : b, stderr);
    }
    fputc('\n', stderr);
}

void graft_console_log(void *console, graft_log_level level, const char *line) {
    graft_console *c = console;
    if (c->quiet && level != GRAFT_LOG_WARNING) return;
    flockfile(stderr);
    graft_console_clear(c);
    if (level == GRAFT_LOG_WARNING) fputs("warning: ", stderr);
    print_line(line);
    funlockfile(stderr);
}

int graft_console_columns(void) {
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

int graft_console_rows(void) {
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 ? size.ws_row : 24;
}

/* An epoch that is not after the last one begins another run's curves. */
static void take_epoch(graft_console *c, const graft_progress_epoch *e) {
    const graft_fit_point p = {(double)e->epoch, e->loss, e->accuracy, e->val_loss, e->score};
    if (!c->curves) c->curves = calloc(1, sizeof *c->curves);
    if (!c->curves) return; /* the curves are an extra */
    if (c->curves->n && c->curves->points[c->curves->n - 1].epoch >= p.epoch) c->curves->n = 0;
    c->curves->last = (double)e->n_epochs;
    snprintf(c->curves->score, sizeof c->curves->score, "%s", e->score_name);
    c->grown = graft_fit_curves_add(c->curves, &p) == 0 || c->grown;
}

/* In one piece, so that nothing is seen half drawn. */
static void draw_curves(graft_console *c) {
    char *text = NULL;
    size_t size = 0;
    if (!c->curves || (c->rows && !c->grown)) return;
    FILE *f = open_memstream(&text, &size);
    int rows = f ? graft_fit_curves_draw(f, c->curves, graft_console_columns(), graft_console_rows()) : 0;
    if (f && fclose(f) != 0) rows = 0;
    graft_console_clear(c);
    if (rows) fwrite(text, 1, size, stderr);
    free(text);
    c->rows = rows;
    c->grown = false;
}

/* "12/40  35.2/s  0:08 left  loss 0.41": what is known of it. */
static void print_state(char *out, size_t size, const graft_progress *p) {
    double rate = p->seconds > 0 ? (double)p->done / p->seconds : 0.0;
    graft_buf b;
    graft_buf_init(&b, 400);
    graft_buf_printf(&b, "%lld", (long long)p->done);
    if (p->total > 0) graft_buf_printf(&b, "/%lld", (long long)p->total);
    if (rate > 0) graft_buf_printf(&b, rate < 10 ? "  %.1f/s" : "  %.0f/s", rate);
    if (rate > 0 && p->total > p->done) {
        long long left = (long long)((double)(p->total - p->done) / rate + 0.5);
        if (left >= 3600)
            graft_buf_printf(&b, "  %lld:%02lld:%02lld left", left / 3600, left / 60 % 60, left % 60);
        else
            graft_buf_printf(&b, "  %lld:%02lld left", left / 60, left % 60);
    }
    if (p->metrics && p->metrics[0]) graft_buf_printf(&b, "  %s", p->metrics);
    snprintf(out, size, "%s", b.failed || !b.data ? "" : b.data);
    graft_buf_done(&b);
}

/* Phase, bar and state in one line; the bar gives way where the line is short. A ^C that the terminal writes
 * behind them stays in the line. */
static void draw_bar(graft_console *c, const graft_progress *p, const char *state) {
    char line[600], bar[BAR + 3] = "";
    int columns = graft_console_columns(), room = columns > 3 ? columns - 3 : 0,
        width = room - (int)strlen(p->phase) - (int)strlen(state) - 4;
    if (width > BAR) width = BAR;
    if (p->total > 0 && width >= 5) {
        int full = p->done < p->total ? (int)(p->done * width / p->total) : width;
        for (int i = 0; i < width; i++) bar[i] = i < full ? '#' : '-';
        memcpy(bar + width, "  ", 3);
    }
    snprintf(line, sizeof line, "%s  %s%s", p->phase, bar, state);
    fprintf(stderr, "\r\033[K%.*s", room, line);
    fflush(stderr);
    c->bar = true;
}

/* Whether it is time to tell of it, or it has to be told. */
static bool is_told(graft_console *c, const graft_progress *p) {
    double now = graft_now();
    bool is_last = p->total > 0 && p->done >= p->total;
    if (strcmp(c->phase, p->phase) != 0) {
        snprintf(c->phase, sizeof c->phase, "%s", p->phase);
        c->begun = now - p->seconds;
    }
    bool is_due = now - c->told >= (c->terminal ? 0.1 : 2.0) && now - c->begun >= (c->terminal ? 0.0 : 1.0);
    /* the curves keep epochs that follow each other quickly until there is time to draw them */
    bool is_worth_saying = p->epoch ? !c->rows || p->epoch->epoch == p->epoch->n_epochs
                                    : is_last && (c->terminal || now - c->begun >= 2.0);
    if (is_due || is_worth_saying) c->told = now;
    return is_due || is_worth_saying;
}

/* An epoch that no curves will hold stays on the screen. */
static bool stays(const graft_console *c, const graft_progress_epoch *e) {
    if (!e || c->rows) return false;
    return e->epoch == e->n_epochs ||
           !graft_fit_curves_have_room(graft_console_columns(), graft_console_rows());
}

void graft_console_progress(void *console, const graft_progress *p) {
    graft_console *c = console;
    char state[400];
    if (c->quiet) return;
    if (p->epoch && c->terminal) take_epoch(c, p->epoch);
    if (!is_told(c, p)) return;
    print_state(state, sizeof state, p);
    flockfile(stderr);
    if (c->terminal) {
        draw_curves(c);
        draw_bar(c, p, state);
        if (stays(c, p->epoch)) {
            fputc('\n', stderr);
            c->bar = false;
        }
    } else {
        fprintf(stderr, "%s  %s\n", p->phase, state);
    }
    funlockfile(stderr);
}
