#include "cli/chart.h"

#include <stddef.h>
#include <string.h>

typedef struct arguments {
    graft_common common;
    graft_fit_options fit;
    const char *out;
    bool no_report;
} arguments;

static const arguments initial = {.fit = GRAFT_FIT_OPTIONS_INIT};

#define AT(field) offsetof(arguments, field)
static const graft_opt main_options[] = {
    {.name = "out",
     .letter = 'o',
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(out),
     .value = "OUT",
     .help = "folder that is written, or taken up where it was interrupted"},
    {.name = "train",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(fit.train),
     .value = "PLAN",
     .help = "what is trained, the rest is frozen; auto, the default: chosen by what the features say of the "
             "data; "
             "see below"},
    {.name = "from-scratch",
     .kind = GRAFT_OPT_FLAG,
     .offset = AT(fit.from_scratch),
     .help = "take the architecture only, not the weights"},
    {.name = "tensorboard",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(fit.tensorboard),
     .value = "FOLDER",
     .help = "write event files for TensorBoard there as the run goes"},
    {.name = "no-report", .kind = GRAFT_OPT_FLAG, .offset = AT(no_report), .help = "write no report.html"},
    {.name = "restart",
     .kind = GRAFT_OPT_FLAG,
     .offset = AT(fit.restart),
     .help = "do not take up an interrupted run"},
    {.name = "merge",
     .kind = GRAFT_OPT_FLAG,
     .offset = AT(fit.merge),
     .help = "of --train lora: write a whole model, not an adapter over MODEL"},
    {.name = "dry-run",
     .kind = GRAFT_OPT_FLAG,
     .offset = AT(fit.dry_run),
     .help = "say plan, memory and settings, train nothing"},
};

static const graft_opt training_options[] = {
    {.name = "epochs",
     .kind = GRAFT_OPT_INT,
     .offset = AT(fit.epochs),
     .value = "N",
     .least = 1,
     .most = 1e6,
     .help = "passes over the training part; chosen from its size unless given"},
    {.name = "batch",
     .kind = GRAFT_OPT_INT,
     .offset = AT(fit.batch),
     .value = "N",
     .least = 1,
     .most = 65536,
     .help = "samples an update; 32, less for few samples"},
    {.name = "lr",
     .kind = GRAFT_OPT_REAL,
     .offset = AT(fit.lr),
     .value = "RATE|find",
     .least = 1e-12,
     .most = 1e3,
     .word = "find",
     .help =
         "learning rate; find: by a range test before training; the optimizer's for this plan unless given"},
    {.name = "head-lr",
     .kind = GRAFT_OPT_REAL,
     .offset = AT(fit.head_lr),
     .value = "RATE",
     .least = 1e-12,
     .most = 1e3,
     .help = "learning rate of the head; that of --lr"},
    {.name = "backbone-lr-scale",
     .kind = GRAFT_OPT_REAL,
     .offset = AT(fit.backbone_lr_scale),
     .value = "SHARE",
     .least = 1e-12,
     .most = 1e6,
     .help = "rate of trained layers below the head, as a share of --lr; 0.1 in pretrained models of "
             "texts, else 1"},
    {.name = "weight-decay",
     .kind = GRAFT_OPT_REAL,
     .offset = AT(fit.weight_decay),
     .value = "X",
     .least = 0,
     .most = 1e3,
     .help = "the optimizer's own; norms and biases never decay"},
    {.name = "optimizer",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(fit.optimizer),
     .value = "NAME",
     .help = "adamw, adam or sgd (momentum 0.9, Nesterov)"},
    {.name = "schedule",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(fit.schedule),
     .value = "NAME",
     .help = "of the rate: cosine, linear, one_cycle or constant"},
    {.name = "warmup",
     .kind = GRAFT_OPT_REAL,
     .offset = AT(fit.warmup),
     .value = "SHARE",
     .least = 0,
     .most = 1,
     .help = "share of the updates in which the rate rises, before the schedule begins"},
    {.name = "clip-norm",
     .kind = GRAFT_OPT_REAL,
     .offset = AT(fit.clip_norm),
     .value = "X",
     .least = 0,
     .most = 1e9,
     .help = "limit of the gradients' global norm; 1; 0: none"},
    {.name = "label-smoothing",
     .kind = GRAFT_OPT_REAL,
     .offset = AT(fit.label_smoothing),
     .value = "X",
     .least = 0,
     .most = 0.99,
     .help = "0.1 from scratch and where pictures are foreign to the model, else 0"},
    {.name = "augment",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(fit.augment),
     .value = "POLICY",
     .help = "none, light, standard, strong, or parts such as crop=0.5,flip,mixup=0.2"},
    {.name = "class-weights",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(fit.class_weights),
     .value = "NAME",
     .help = "none or auto: rare classes weigh more"},
    {.name = "loss",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(fit.loss),
     .value = "NAME",
     .help = "focal: what is answered well weighs less; cross_entropy, bce or mse, as the task is"},
    {.name = "focal-gamma",
     .kind = GRAFT_OPT_REAL,
     .offset = AT(fit.focal_gamma),
     .value = "X",
     .least = 1e-3,
     .most = 100,
     .help = "exponent of --loss focal; 2"},
    {.name = "logit-adjust",
     .kind = GRAFT_OPT_REAL,
     .offset = AT(fit.logit_adjust),
     .value = "TAU",
     .least = 0,
     .most = 100,
     .help =
         "strength of the classes' shares in the loss: rare classes need larger logits; 1 aims at balanced "
         "accuracy; 0"},
    {.name = "sampler",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(fit.sampler),
     .value = "NAME",
     .help = "shuffle or balanced: every class equally often"},
    {.name = "norm",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(fit.norm),
     .value = "NAME",
     .help = "statistics of batch norms that are trained: train or frozen; frozen in batches of fewer "
             "than eight"},
    {.name = "early-stop",
     .kind = GRAFT_OPT_INT,
     .offset = AT(fit.early_stop),
     .value = "N",
     .least = -1,
     .most = 1e6,
     .given_zero = -1,
     .help = "evaluations without improvement; 0: never"},
    {.name = "eval-every",
     .kind = GRAFT_OPT_INT,
     .offset = AT(fit.eval_every),
     .value = "N",
     .least = 1,
     .most = 1e6,
     .help = "epochs between evaluations; 1"},
    {.name = "seed",
     .kind = GRAFT_OPT_SEED,
     .offset = AT(fit.seed),
     .value = "N",
     .help = "of everything random; 0"},
    {.name = "calibrate",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(fit.calibrate),
     .value = "NAME",
     .help = "temperature: predict and eval divide logits by what fits the validation part; fold: the head's "
             "weights do; none"},
    {.name = "thresholds",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(fit.thresholds),
     .value = "NAME",
     .help = "f1: from where on a class is said, best on the validation part (several labels, two classes); "
             "none"},
    {.name = "cache-variants",
     .kind = GRAFT_OPT_INT,
     .offset = AT(fit.cache_variants),
     .value = "N",
     .least = 1,
     .most = 1000,
     .help = "augmented variants a picture that the bottleneck cache keeps"},
};

static const graft_opt_group groups[] = {
    {"What", main_options, GRAFT_COUNT(main_options), 0},
    {"Model", graft_opts_reading, GRAFT_COUNT(graft_opts_reading), AT(fit)},
    {"Training", training_options, GRAFT_COUNT(training_options), 0},
    {"Regularisation", graft_opts_regular, GRAFT_COUNT(graft_opts_regular), AT(fit.regular)},
    {"Data", graft_opts_data, GRAFT_COUNT(graft_opts_data), AT(fit.data)},
    {NULL, graft_opts_parts, GRAFT_COUNT(graft_opts_parts), AT(fit.data)},
    {NULL, graft_opts_per_class, GRAFT_COUNT(graft_opts_per_class), AT(fit.data)},
    {"Machine", graft_opts_machine, GRAFT_COUNT(graft_opts_machine), AT(fit)},
    {"Every command", graft_opts_common, GRAFT_COUNT(graft_opts_common), AT(common)},
};

static void human_dry(const json_t *o) {
    static const char *const keys[] = {
        "plan",    "epochs",   "batch",         "micro_batch", "optimizer",
        "lr",      "schedule", "warmup",        "clip_norm",   "label_smoothing",
        "augment", "sampler",  "class_weights", "seed"};
    char bytes[32];
    for (size_t i = 0; i < GRAFT_COUNT(keys); i++) {
        const json_t *value = json_object_get(o, keys[i]);
        if (strcmp(graft_print_text(o, keys[i]), "find") == 0)
            printf("%-16s find: it is searched for before the first epoch\n", keys[i]);
        else if (json_is_string(value))
            printf("%-16s %s\n", keys[i], json_string_value(value));
        else
            printf("%-16s %g\n", keys[i], json_number_value(value));
    }
    double peak = json_number_value(json_object_get(o, "peak_memory"));
    printf("%-16s %s\n", "memory", graft_print_bytes(peak, bytes, sizeof bytes));
}

/* How sure the model is, and how sure it should be. */
static void print_calibration(const json_t *calibration) {
    char t[32], ece[2][32], loss[2][32];
    const json_t *test = json_object_get(calibration, "test"), *of = test ? test : calibration;
    if (!json_is_object(calibration)) return;
    if (json_is_true(json_object_get(calibration, "refused"))) {
        printf("calibration: temperature 1: a gain of log loss of %s, cross-validated over %s validation "
               "samples, "
               "is not beyond its standard error, %s\n",
               graft_print_number(calibration, "gain", loss[0], sizeof loss[0]),
               graft_print_number(calibration, "n", t, sizeof t),
               graft_print_number(calibration, "gain_error", loss[1], sizeof loss[1]));
        return;
    }
    printf("calibration: temperature %s%s, ece %s -> %s, log loss %s -> %s on %s\n",
           graft_print_number(calibration, "temperature", t, sizeof t),
           json_is_true(json_object_get(calibration, "folded")) ? " (folded into the head)" : "",
           graft_print_number(of, "ece_before", ece[0], sizeof ece[0]),
           graft_print_number(of, "ece_after", ece[1], sizeof ece[1]),
           graft_print_number(of, "log_loss_before", loss[0], sizeof loss[0]),
           graft_print_number(of, "log_loss_after", loss[1], sizeof loss[1]),
           test ? "test" : "the validation part that chose it");
}

static void human(const json_t *o) {
    char score[32], n[32], epochs[32], best[32], bytes[32];
    double seconds = json_number_value(json_object_get(o, "seconds"));
    double peak = json_number_value(json_object_get(o, "peak_memory"));
    const char *part = json_is_object(json_object_get(o, "test")) ? "test" : "validation";
    const char *name = graft_print_text(o, "score");
    printf("%s %s on %s %s samples\n", name, graft_print_number(o, name, score, sizeof score),
           graft_print_number(o, "n", n, sizeof n), part);
    printf("plan %s, %s epochs, the best was %s, %.1f s, %s planned\n", graft_print_text(o, "plan"),
           graft_print_number(o, "epochs", epochs, sizeof epochs),
           graft_print_number(o, "best_epoch", best, sizeof best), seconds,
           graft_print_bytes(peak, bytes, sizeof bytes));
    print_calibration(json_object_get(o, "calibration"));
    printf("%s\n", graft_print_text(o, "out"));
}

/* The page about the run. The run is whole without it: that it could not be written is a warning. */
static void write_report(graft_env *env, const char *folder, bool no_cache) {
    const graft_report_options o = {.no_cache = no_cache};
    graft_err reason = {0};
    graft_arena *arena = graft_arena_new(NULL);
    const char *path = arena ? graft_path_join(arena, folder, "report.html") : NULL;
    if (!path || graft_report(NULL, env, &folder, 1, path, &o, &reason) < 0)
        graft_env_log(env, GRAFT_LOG_WARNING, "no report.html: %s", path ? reason.message : "out of memory");
    graft_arena_free(arena);
}

static int run(graft_env *env, const void *options, graft_err *err) {
    const arguments *a = options;
    char *result = NULL;
    graft_buf line;
    if (!a->out && !a->fit.dry_run)
        return graft_err_set(err, GRAFT_EUSAGE, "where to? give a folder with -o OUT");
    const char *out = a->out ? a->out : "";
    graft_buf_init(&line, 0);
    graft_opt_line(&line, &graft_command_fit, &a->common);
    graft_fit_options fit = a->fit;
    fit.command = line.failed ? NULL : line.data;
    int rc = graft_fit(&result, env, a->common.args[0], a->common.args[1], out, &fit, err);
    graft_buf_done(&line);
    if (rc == GRAFT_EINTERRUPTED)
        return graft_err_set(err, rc, "interrupted; the same command goes on where it stopped");
    if (rc < 0) return rc;
    if (!a->no_report && !a->fit.dry_run) write_report(env, out, a->fit.cache_variants < 0);
    if (!a->common.quiet && !a->fit.dry_run && graft_console_is_terminal()) {
        graft_console_clear(a->common.console);
        graft_print_fit_curves(out);
    }
    return graft_print_result(&a->common, result, a->fit.dry_run ? human_dry : human, err);
}

const graft_command graft_command_fit = {
    .name = "fit",
    .arguments = "MODEL DATA -o OUT",
    .heading = "Adapt a model",
    .summary = "adapt a model to labelled data",
    .examples = "  graft fit resnet-50 photos -o pets\n"
                "  graft fit resnet-50 photos.csv --input file --label breed --train top:1 -o pets\n"
                "  graft fit all-MiniLM-L6-v2 reviews.csv -o reviews\n"
                "  graft fit cc.en.300.bin reviews.csv --encoder cnn -o reviews\n",
    .details =
        "MODEL is a folder of Transformers or timm, a config.json (a new model), a checkpoint, or a file of\n"
        "word vectors (.vec, .bin, .ftz, .txt); DATA are\n"
        "class folders (with or without train, val and test), a CSV, TSV or JSONL, IDX, NPY or NPZ, and for "
        "texts\nalso CoNLL columns and __label__ lines. The "
        "same\ncommand takes up a run that was interrupted and ends with the same bits.\n"
        "\nPLAN is one of\n"
        "  head               the head alone, on features that are kept\n"
        "  top:N              the last N stages and the head (stages: graft inspect MODEL)\n"
        "  from:STAGE, full   a stage and everything after it; everything\n"
        "  surgical:STAGE     one stage and the head\n"
        "  norm-only          scales and shifts of norms, and the head\n"
        "  bias-only          biases and the head (BitFit)\n"
        "  'layer4.*,!*.bias' parameters or stages by name, and the head; a pattern after ! takes away\n"
        "  lp-ft[:PLAN]       linear-probe-then-finetune: the head first, then PLAN (full)\n"
        "  gradual:N          a stage more every N epochs, from the head down (ULMFiT)\n"
        "  head@3,top:1@5,full  one after the other, with epochs; what has none takes what --epochs leaves\n",
    .groups = groups,
    .n_groups = GRAFT_COUNT(groups),
    .min_args = 2,
    .max_args = 2,
    .size = sizeof(arguments),
    .initial = &initial,
    .run = run,
};
