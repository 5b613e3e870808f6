/* Pictures a second from encoded bytes to normalised floats: short side to 256, centre crop 224, as ResNet
 * wants them.
 *
 *     bench_decode [--tar FILE] [--threads N] [--seconds S] [--train] [--peer PYTHON]
 *
 * The tar's pictures lie in memory before the clock starts. With --peer the same is timed through torchvision
 * and PIL (bench/decode_peer.py, processes as PyTorch's DataLoader has them) between two runs of graft's, and
 * the ratio is printed. */
#include "data/transform.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

typedef struct bench {
    const uint8_t **bytes;
    size_t *sizes, n;
    graft_transform transform;
    graft_image_scratch **scratch;
    float **out;
    bool train;
} bench;

/* The tar's JPEGs, pointers into its bytes. */
static int list_pictures(bench *b, graft_arena *arena, const graft_mapped *tar) {
    size_t most = tar->size / 512 + 1;
    b->bytes = graft_arena_array(arena, most, sizeof *b->bytes);
    b->sizes = graft_arena_array(arena, most, sizeof *b->sizes);
    if (!b->bytes || !b->sizes) return -1;
    for (size_t at = 0; at + 512 <= tar->size && tar->data[at];) {
        const char *header = (const char *)tar->data + at;
        size_t size = strtoul(header + 124, NULL, 8);
        at += 512;
        if (size > tar->size - at) return -1;
        if (header[156] == '0' && graft_image_sniff(tar->data + at, size) == GRAFT_IMAGE_JPEG) {
            b->bytes[b->n] = tar->data + at;
            b->sizes[b->n++] = size;
        }
        at += graft_size_align(size, 512);
    }
    return b->n ? 0 : -1;
}

static int one(void *user, size_t i, int thread) {
    bench *b = user;
    size_t k = i % b->n;
    graft_rng rng = graft_rng_at(1, i / b->n, k, GRAFT_RNG_AUGMENT);
    return graft_transform_run(&b->transform, b->bytes[k], b->sizes[k], "picture", b->train ? &rng : NULL,
                               b->out[thread], b->scratch[thread], NULL);
}

static double cpu_seconds(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

typedef struct result {
    double rate, cpu; /* pictures a second, processor milliseconds a picture; negative on failure */
} result;

/* Whole rounds over all pictures until the time is over. */
static result measure(bench *b, int threads, double seconds) {
    const result failed = {-1, -1};
    if (graft_parallel_for(threads, b->n, one, b) < 0) return failed;
    double begun = graft_now(), cpu = cpu_seconds(), now;
    size_t done = 0;
    do {
        if (graft_parallel_for(threads, b->n, one, b) < 0) return failed;
        done += b->n;
        now = graft_now();
    } while (now - begun < seconds);
    return (result){(double)done / (now - begun), 1e3 * (cpu_seconds() - cpu) / (double)done};
}

static result peer_result(const char *python, const char *tar, int threads, double seconds, bool train) {
    char command[1024], line[256];
    int n = snprintf(command, sizeof command, "'%s' bench/decode_peer.py '%s' %d %g %s", python, tar, threads,
                     seconds, train ? "train" : "eval");
    FILE *pipe = n > 0 && (size_t)n < sizeof command ? popen(command, "r") : NULL;
    result r = {-1, -1};
    if (pipe && fgets(line, sizeof line, pipe) && sscanf(line, "%lf %lf", &r.rate, &r.cpu) != 2) r.rate = -1;
    if (pipe) pclose(pipe);
    return r;
}

static int setup(bench *b, graft_arena *arena, int threads, bool train) {
    graft_preprocess p;
    graft_preprocess_imagenet(&p);
    graft_augment a = {0};
    if (train && graft_augment_parse(&a, "crop=0.08-1,flip=0.5", NULL) < 0) return -1;
    b->train = train;
    if (graft_transform_init(&b->transform, &p, &a, NULL) < 0) return -1;
    b->scratch = graft_arena_array(arena, (size_t)threads, sizeof *b->scratch);
    b->out = graft_arena_array(arena, (size_t)threads, sizeof *b->out);
    for (int i = 0; i < threads && b->scratch && b->out; i++) {
        b->scratch[i] = graft_image_scratch_new();
        b->out[i] = graft_arena_array(arena, graft_transform_count(&b->transform), sizeof(float));
        if (!b->scratch[i] || !b->out[i]) return -1;
    }
    return b->scratch && b->out ? 0 : -1;
}

int main(int argc, char **argv) {
    const char *tar = "../shared/data/hymenoptera.tar", *peer = NULL;
    int threads = 2;
    double seconds = 4;
    bool train = false;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--train")) train = true;
        if (i + 1 == argc) break;
        if (!strcmp(argv[i], "--tar")) tar = argv[++i];
        if (!strcmp(argv[i], "--peer")) peer = argv[++i];
        if (!strcmp(argv[i], "--threads")) threads = (int)strtol(argv[++i], NULL, 10);
        if (!strcmp(argv[i], "--seconds")) seconds = strtod(argv[++i], NULL);
    }
    graft_arena *arena = graft_arena_new(NULL);
    graft_mapped mapped;
    graft_err err;
    bench b = {0};
    if (!arena || threads < 1) return 1;
    if (graft_file_map(&mapped, arena, tar, &err) < 0) {
        printf("skipped: %s (--tar names a tar file of JPEG photos)\n", err.message);
        graft_arena_free(arena);
        return 0;
    }
    int status = 1;
    if (list_pictures(&b, arena, &mapped) < 0) {
        printf("%s: no tar file with JPEG pictures\n", tar);
    } else if (setup(&b, arena, threads, train) == 0) {
        result a = measure(&b, threads, seconds), other = {0, 0}, again = a;
        if (peer) {
            other = peer_result(peer, tar, threads, seconds, train);
            again = measure(&b, threads, seconds);
        }
        printf("%zu pictures, %d threads, %s: graft %.0f/s (%.2f ms of a processor each)", b.n, threads,
               train ? "training" : "evaluation", a.rate, a.cpu);
        if (peer && other.rate > 0)
            printf(" and %.0f/s (%.2f ms), torchvision + PIL %.0f/s (%.2f ms): ratio %.2f by the clock, %.2f "
                   "by processor time",
                   again.rate, again.cpu, other.rate, other.cpu, (a.rate + again.rate) / 2 / other.rate,
                   other.cpu * 2 / (a.cpu + again.cpu));
        printf("\n");
        status = a.rate > 0 && (!peer || other.rate > 0) ? 0 : 1;
    }
    for (int i = 0; i < threads && b.scratch; i++) graft_image_scratch_free(b.scratch[i]);
    graft_arena_free(arena);
    return status;
}
