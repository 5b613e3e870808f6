/* The command that makes the run again, and those that go on from it. */
#include "report/section.h"

#include <math.h>
#include <string.h>

/* A word as the shell takes it. */
static void put_word(graft_buf *out, const char *word) {
    graft_buf quoted;
    graft_buf_init(&quoted, 0);
    graft_buf_shell(&quoted, word);
    if (quoted.failed)
        out->failed = true;
    else
        graft_html_text(out, quoted.data);
    graft_buf_done(&quoted);
}

/* A run of the library leaves no command: its plan, epochs and seed stand for it. */
static void put_likely(graft_buf *out, const graft_story *s) {
    const json_t *settings = json_object_get(s->record, "settings");
    graft_buf_text(out, "graft fit ");
    put_word(out, graft_story_text(s->record, "model"));
    graft_buf_text(out, " ");
    put_word(out, graft_story_text(s->record, "data"));
    graft_buf_text(out, " -o ");
    put_word(out, s->folder);
    graft_buf_text(out, " --train ");
    put_word(out, graft_story_text(settings, "plan"));
    graft_buf_printf(out, " --epochs %.0f --seed %.0f", graft_story_number(settings, "epochs"),
                     graft_story_number(settings, "seed"));
}

static void put_use(graft_buf *out, const graft_story *s, const char *before, const char *what) {
    graft_buf_printf(out, "graft %s ", before);
    put_word(out, s->folder);
    if (what) {
        graft_buf_text(out, " ");
        put_word(out, what);
    }
    graft_buf_text(out, "\n");
}

static int write_repeat(graft_buf *out, graft_story *s, graft_err *err) {
    const char *command = graft_story_text(s->record, "command");
    (void)err;
    graft_buf_text(out,
                   "<p>The same command over the same data and model gives the same bits:</p>\n<pre><code>");
    if (command[0])
        graft_html_text(out, command);
    else
        put_likely(out, s);
    graft_buf_text(
        out, "</code></pre>\n<p>Measure it again, check that the folder answers as it did, make this page "
             "anew:</p>\n<pre><code>");
    put_use(out, s, "eval", graft_story_text(s->record, "data"));
    put_use(out, s, "verify", NULL);
    put_use(out, s, "report", NULL);
    graft_buf_text(out, "</code></pre>\n");
    if (s->n_gaps == 0) return 0;
    graft_buf_text(out, "<h3>Not on this page</h3><ul class=\"gaps\">\n");
    for (size_t i = 0; i < s->n_gaps; i++) {
        graft_buf_text(out, "<li><b>");
        graft_html_text(out, s->gaps[i].what);
        graft_buf_text(out, ":</b> ");
        graft_html_text(out, s->gaps[i].why);
        graft_buf_text(out, "</li>\n");
    }
    graft_buf_text(out, "</ul>\n");
    return 0;
}

const graft_section graft_section_repeat = {"repeat", "How to repeat it", "Repeat", write_repeat};
