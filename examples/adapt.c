/* Adapts a pretrained model to a folder of labelled pictures, then names one more picture: the library in one
 * page.
 *
 *     cc adapt.c $(pkg-config --cflags --libs graft) -o adapt
 *     ./adapt MODEL PHOTOS OUT picture.jpg */
#include <graft.h>
#include <stdio.h>

static void say(void *user, graft_log_level level, const char *line) {
    (void)user;
    fprintf(stderr, "%s%s\n", level == GRAFT_LOG_WARNING ? "warning: " : "", line);
}

static int print(void *user, const graft_prediction *p) {
    (void)user;
    if (p->label) printf("%s is %s (%.1f %%)\n", p->input, p->label, 100.0 * p->confidence);
    return 0; /* negative would stop */
}

int main(int argc, char **argv) {
    graft_env_options env_options = GRAFT_ENV_OPTIONS_INIT;
    graft_fit_options fit_options = GRAFT_FIT_OPTIONS_INIT;
    graft_env *env = NULL;
    graft_err err;
    char *result = NULL;
    if (argc != 5) {
        fprintf(stderr, "usage: %s MODEL PHOTOS OUT PICTURE\n", argv[0]);
        return 2;
    }
    env_options.log = say;
    int rc = graft_env_new(&env, &env_options, &err);
    if (rc == 0) rc = graft_fit(&result, env, argv[1], argv[2], argv[3], &fit_options, &err);
    if (rc == 0) puts(result); /* JSON: plan, metrics, seconds, peak memory */
    if (rc == 0) rc = graft_predict(env, argv[3], (const char *const[]){argv[4]}, 1, NULL, print, NULL, &err);
    if (rc < 0) fprintf(stderr, "%s\n", err.message);
    graft_text_free(result);
    graft_env_free(env);
    return rc < 0 ? graft_error_exit(rc) : 0;
}
