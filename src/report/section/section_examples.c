/* The answers that were most wrong, and those that were least sure. */
#include "report/section.h"

static int put_list(graft_buf *out, const graft_story *s, const char *title, const char *about,
                    const int64_t *verdicts, int64_t n, graft_err *err) {
    int rc = 0;
    if (n == 0) return 0;
    graft_buf_printf(out, "<h3>%s</h3><p class=\"about\">%s</p><div class=\"cards\">\n", title, about);
    for (int64_t i = 0; i < n && rc == 0; i++) rc = graft_card_verdict(out, s, verdicts[i], err);
    graft_buf_text(out, "</div>\n");
    return rc;
}

static int write_examples(graft_buf *out, graft_story *s, graft_err *err) {
    static const char *const wrong[] = {
        [GRAFT_TASK_CLASSES] =
            "Surest of an answer that the label contradicts. Some of these labels may be the mistake.",
        [GRAFT_TASK_MULTILABEL] = "The classes said are the farthest from those labelled.",
        [GRAFT_TASK_REGRESSION] = "The number said is the farthest from the label.",
        [GRAFT_TASK_TAGGING] = "Sentences with the most wrong tags: what was said, and for what it stands."};
    int rc = put_list(out, s, "Most wrong", wrong[s->task], s->picks.wrong, s->picks.n_wrong, err);
    if (rc < 0) return rc;
    return put_list(out, s, "Least sure", "The first and the second choice lie closest together.",
                    s->picks.unsure, s->picks.n_unsure, err);
}

const graft_section graft_section_examples = {"examples", "Examples", "Examples", write_examples};
