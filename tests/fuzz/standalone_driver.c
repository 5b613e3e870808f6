/* Runs a fuzz target on stored inputs where libFuzzer is not at hand: every file of the folders named on the
 * command line, in alphabetical order, and the empty input. A crash names the file, for it is printed first.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Runs the target on one file, in a block of exactly the file's size so that a sanitizer sees each byte too
 * far. */
static int run_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    int rc = -1;
    struct stat st;
    uint8_t *data = NULL;
    if (fstat(fileno(file), &st) == 0 && (data = malloc(st.st_size > 0 ? (size_t)st.st_size : 1)) &&
        fread(data, 1, (size_t)st.st_size, file) == (size_t)st.st_size) {
        printf("%s\n", path);
        fflush(stdout);
        LLVMFuzzerTestOneInput(data, (size_t)st.st_size);
        rc = 0;
    } else {
        fprintf(stderr, "%s: cannot be read\n", path);
    }
    free(data);
    fclose(file);
    return rc;
}

/* Runs the target on every file of a folder; returns how many there were, or -1. */
static long run_folder(const char *folder) {
    struct dirent **entries;
    int n_entries = scandir(folder, &entries, NULL, alphasort);
    if (n_entries < 0) {
        fprintf(stderr, "%s: %s\n", folder, strerror(errno));
        return -1;
    }
    long n_run = 0;
    for (int i = 0; i < n_entries; i++) {
        char path[4096];
        if (entries[i]->d_name[0] != '.' && n_run >= 0) {
            int length = snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
            n_run = length < (int)sizeof path && run_file(path) == 0 ? n_run + 1 : -1;
        }
        free(entries[i]);
    }
    free(entries);
    return n_run;
}

int main(int argc, char **argv) {
    long n_total = 0;
    for (int i = 1; i < argc; i++) {
        long n_run = run_folder(argv[i]);
        if (n_run < 0) return 1;
        n_total += n_run;
    }
    uint8_t *nothing = malloc(1);
    if (nothing) LLVMFuzzerTestOneInput(nothing, 0);
    free(nothing);
    printf("%ld inputs replayed\n", n_total);
    if (n_total == 0) fprintf(stderr, "no seeds: a fuzz target needs a corpus\n");
    return n_total == 0;
}
