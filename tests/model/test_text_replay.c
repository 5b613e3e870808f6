/* Transformers and sentence-transformers load what graft saves of text models, and answer the same
 * (tests/parity/replay_text.py). Needs Python with them: $GRAFT_PYTHON, else build/golden-venv/bin/python. */
#include "text_room.h"

#include <sys/wait.h>

static const char *python(void) {
    const char *named = getenv("GRAFT_PYTHON"), *kept = "build/golden-venv/bin/python";
    if (named && *named) return named;
    return access(kept, X_OK) == 0 ? kept : NULL;
}

static void save(room *r, const graft_model *m, const char *golden_folder, const char *to) {
    graft_tensors gold;
    graft_err err = {0};
    assert_ok(graft_safetensors_open(&gold, r->arena,
                                     file_of(r, text_golden(r, golden_folder), "golden.safetensors"), &err));
    const graft_feed feed = feed_of(r, &gold, "");
    const graft_save_info info = {.probe = &feed};
    assert_ok(graft_model_save(m, r->env, to, &info, &err));
}

/* Runs the script on the folders; its exit status. */
static int replay(char **folders, size_t n) {
    char *args[64] = {(char *)python(), "tests/parity/replay_text.py"};
    assert_true(n + 3 < GRAFT_COUNT(args));
    memcpy(args + 2, folders, n * sizeof *folders);
    pid_t child = fork();
    if (child == 0) {
        execv(args[0], args);
        _exit(127);
    }
    int status = -1;
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void other_tools_load_what_is_saved_and_answer_the_same(void **state) {
    static const char *const tags[] = {"O", "B-x", "I-x"}, *const classes[] = {"no", "yes", "perhaps"};
    static const struct {
        const char *folder;
        graft_task task;
        size_t n;
    } changed[] = {
        {"bert_classes", GRAFT_TASK_TAGGING, 3},         {"bert_tags", GRAFT_TASK_CLASSES, 3},
        {"bert_multilabel", GRAFT_TASK_REGRESSION, 1},   {"bert_bare", GRAFT_TASK_MULTILABEL, 3},
        {"roberta_classes", GRAFT_TASK_TAGGING, 3},      {"xlm_roberta_tags", GRAFT_TASK_CLASSES, 3},
        {"distilbert_classes", GRAFT_TASK_TAGGING, 3},   {"distilbert_tags", GRAFT_TASK_REGRESSION, 1},
        {"gpt2_classes", GRAFT_TASK_TAGGING, 3},         {"gpt2_scaled", GRAFT_TASK_CLASSES, 3},
        {"sentence_mean_unit", GRAFT_TASK_CLASSES, 3},   {"sentence_cls", GRAFT_TASK_REGRESSION, 1},
        {"sentence_max_unit", GRAFT_TASK_MULTILABEL, 3}, {"sentence_mean_unit", GRAFT_TASK_TAGGING, 3}};
    room *r = *state;
    graft_err err = {0};
    char *folders[GRAFT_COUNT(text_folders) + GRAFT_COUNT(changed)];
    size_t n = 0;
    for (size_t i = 0; i < GRAFT_COUNT(text_folders); i++) {
        graft_model *m = open_model(r, text_golden(r, text_folders[i]), NULL);
        folders[n] = (char *)in_room(r, text_folders[i]);
        save(r, m, text_folders[i], folders[n++]);
        graft_model_close(m);
    }
    for (size_t i = 0; i < GRAFT_COUNT(changed); i++) {
        graft_model *m = open_model(r, text_golden(r, changed[i].folder), NULL);
        const char *const *names = changed[i].task == GRAFT_TASK_TAGGING ? tags : classes;
        assert_ok(graft_model_set_task(m, changed[i].task, &err));
        assert_ok(graft_model_head(m, "linear", names, changed[i].n, 7, NULL, &err));
        folders[n] = (char *)in_room(
            r, graft_arena_printf(r->arena, "%s_as_%d", changed[i].folder, (int)changed[i].task));
        save(r, m, changed[i].folder, folders[n++]);
        graft_model_close(m);
    }
    assert_int_equal(replay(folders, n), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        room_test(other_tools_load_what_is_saved_and_answer_the_same),
    };
    if (!python()) {
        printf("no Python with Transformers: name one in GRAFT_PYTHON, or let make golden make one\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
