/* What the options left open, chosen from the model and the data, and said. The figures are those of common
 * practice: a frozen backbone stands a high rate on its head, a pretrained one a tenth of the head's (fastai,
 * Howard and Ruder 2018: discriminative rates), and small sets want many passes. */
#include "transfer/advise/auto.h"
#include "transfer/fit.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Whether layers learn as new ones do: those of a new model, and those that see the data for the first time.
 * Slow rates, which keep what a net knows, keep it from learning there: of spectrograms of spoken digits, ten
 * a class, the printed digits' net of examples/ learned 15 % at a tenth of the head's rate, 69 % at the
 * head's and 86 % so, as it does from scratch (85 %). */
bool graft_job_learns_anew(const graft_job *j) {
    return j->evidence.is_scratch || j->evidence.is_foreign;
}

static int find_rows(graft_job *j, bool head_only, graft_err *err) {
    const graft_fit_options *o = &j->options;
    graft_recipe *r = &j->recipe;
    /* fine-tuned convolutions generalise better under plain momentum (Kornblith et al. 2019, appendix) */
    bool adam = head_only || graft_job_learns_anew(j) || graft_model_modality(j->model) == GRAFT_TEXTS ||
                graft_model_n_adapted(j->model);
    const char *optimizer = o->optimizer ? o->optimizer : adam ? "adamw" : "sgd";
    const char *schedule = o->schedule ? o->schedule : "cosine";
    static const char *const losses[] = {[GRAFT_TASK_CLASSES] = "cross_entropy",
                                         [GRAFT_TASK_MULTILABEL] = "bce",
                                         [GRAFT_TASK_REGRESSION] = "mse",
                                         [GRAFT_TASK_TAGGING] = "cross_entropy"};
    r->task = graft_data_task(j->data);
    r->optimiser = graft_optimiser_find(optimizer);
    r->schedule = graft_schedule_find(schedule);
    if (!r->optimiser) {
        return graft_err_set(err, GRAFT_EUSAGE, "unknown optimizer '%s', one of: adamw, adam, sgd",
                             optimizer);
    }
    if (!r->schedule) {
        return graft_err_set(err, GRAFT_EUSAGE,
                             "unknown schedule '%s', one of: cosine, linear, one_cycle, constant", schedule);
    }
    return graft_job_loss(j, losses[r->task], err);
}

/* Enough updates for small sets, few passes over large ones. Nets for pictures want five hundred updates
 * (Kolesnikov et al. 2020, "Big Transfer"), pretrained transformers of text twenty passes over small sets
 * (Mosbach et al. 2021, "On the Stability of Fine-tuning BERT"); on examples/intents ten were six points too
 * few, thirty gained nothing. */
static int64_t choose_epochs(const graft_job *j, bool head_only) {
    typedef struct passes {
        int64_t updates, least, most;
    } passes;
    static const passes head = {1000, 20, 100}, scratch = {3000, 30, 200}, foreign = {1500, 20, 60},
                        pictures = {500, 10, 60}, texts = {800, 10, 20};
    bool of_texts = graft_model_modality(j->model) == GRAFT_TEXTS;
    int64_t n = j->evidence.n_train > 0 ? j->evidence.n_train : 1;
    const passes *c = head_only                ? &head
                      : j->evidence.is_scratch ? &scratch
                      : j->evidence.is_foreign ? &foreign
                      : of_texts               ? &texts
                                               : &pictures;
    int64_t epochs = c->updates * j->recipe.batch / n;
    return epochs < c->least ? c->least : epochs > c->most ? c->most : epochs;
}

/* A sixth of the data at most a batch, so that even forty pictures give a few updates an epoch. */
static int64_t choose_batch(const graft_job *j) {
    int64_t batch = 32;
    while (batch > 8 && j->evidence.n_train < 6 * batch) batch /= 2;
    return batch;
}

static bool reads_words(const graft_job *j) {
    return graft_model_modality(j->model) == GRAFT_TEXTS && graft_model_text(j->model)->words;
}

/* Whether a phase trains norms and biases alone below the head. */
static bool is_light(const graft_job *j, const graft_phase *phase) {
    for (size_t i = 0; i < graft_model_n_params(j->model); i++) {
        const graft_param *p = graft_model_param(j->model, i);
        if (phase->trains[i] && p->kind == GRAFT_PARAM_WEIGHT && !p->head) return false;
    }
    return true;
}

static double choose_rate(const graft_job *j, bool head_only, bool light) {
    bool sgd = strcmp(j->recipe.optimiser->name, "sgd") == 0;
    if (reads_words(j) && !sgd) { /* layers of the kind and depth of Kim 2014 */
        bool mean = graft_model_n_stages(j->model) == 2;
        return head_only && mean ? 1e-2 : head_only || mean ? 5e-3 : 2e-3;
    }
    if (head_only) return sgd ? 0.1 : 3e-3;
    /* biases and norms alone are few numbers, and want more (Ben Zaken et al. 2022); with 20 texts a class of
     * examples/intents MiniLM's biases reached 84.5 at 5e-4, 87.0 at 2e-3, its norms 86.0 and 85.5 */
    if (light && graft_model_modality(j->model) == GRAFT_TEXTS) return 2e-3;
    /* a tenth of it for pretrained layers: transformers for text want 2e-5 to 5e-5 (Devlin et al. 2019) */
    if (graft_model_modality(j->model) == GRAFT_TEXTS) return 5e-4;
    if (graft_model_n_adapted(j->model)) return sgd ? 0.1 : 1e-3; /* new layers, as a head is */
    if (graft_job_learns_anew(j)) return sgd ? 0.05 : 2e-3;
    /* of the whole net, statistics in motion: Kornblith et al. 2019 found 0.01 the most often the best */
    return sgd ? 0.01 : 2e-4;
}

static int choose_augment(graft_job *j, bool head_only, graft_err *err) {
    if (graft_model_modality(j->model) == GRAFT_TEXTS)
        return graft_transform_of(&j->transform, j->model, NULL, err);
    const graft_preprocess *p = graft_model_preprocess(j->model);
    const char *text = j->options.augment;
    graft_augment augment;
    int height = 0, width = 0;
    bool small = graft_preprocess_output(p, &height, &width) && height < 64;
    if (!text || strcmp(text, "auto") == 0) {
        /* A frozen backbone profits little and costs a pass a variant; glyph-sized pictures have no side to
         * flip. */
        text = head_only ? "none" : !small ? "light" : graft_job_learns_anew(j) ? "crop=0.8" : "none";
    }
    int rc = graft_augment_parse(&augment, text, err);
    return rc < 0 ? rc : graft_transform_init(&j->transform, p, &augment, err);
}

static int choose_weights(graft_job *j, graft_err *err) {
    const char *weights = j->options.class_weights, *sampler = j->options.sampler;
    if (weights && strcmp(weights, "auto") == 0) {
        size_t n = (size_t)graft_data_n_classes(j->data);
        j->class_weights = graft_arena_array(j->arena, n + 1, sizeof *j->class_weights);
        if (!j->class_weights) return graft_err_nomem(err);
    } else if (weights && strcmp(weights, "none") != 0) {
        return graft_err_set(err, GRAFT_EUSAGE, "unknown --class-weights '%s', one of: none, auto", weights);
    }
    j->order = GRAFT_SHUFFLED;
    if (sampler && strcmp(sampler, "balanced") == 0) {
        j->order = GRAFT_BALANCED;
    } else if (sampler && strcmp(sampler, "shuffle") != 0) {
        return graft_err_set(err, GRAFT_EUSAGE, "unknown --sampler '%s', one of: shuffle, balanced", sampler);
    }
    return graft_job_adjust(j, err);
}

static int choose_statistics(bool *train, const graft_job *j, graft_err *err) {
    const char *norm = j->options.norm;
    /* statistics of few pictures are noise: pretrained ones are better then. Of eight they are not: trained
     * so, with the backbone at the head's rate, cifar_resnet20 reached 89.9 % on 1,920 of CIFAR's pictures
     * (86.9 with the pretrained ones, 88.6 with those and a tenth of the rate), the printed digits' net 94.8
     * % on 80 of MNIST's (92.9, 89.4) */
    *train = graft_job_learns_anew(j) || j->recipe.batch >= GRAFT_LEAST_FOR_STATISTICS;
    if (!norm) return 0;
    *train = strcmp(norm, "train") == 0;
    if (*train || strcmp(norm, "frozen") == 0) return 0;
    return graft_err_set(err, GRAFT_EUSAGE, "unknown --norm '%s', one of: train, frozen", norm);
}

/* Features of length 1 are small numbers, and weights on them have to grow large: a rate of their own. With
 * all-MiniLM-L6-v2's head alone 0.03 was the best or within a point of it among 0.003, 0.01, 0.03 and 0.1 on
 * 300 and 1,000 questions of TREC, 200 and 1,000 sentences of SST-2 and 200 reviews each of books and
 * kitchenware; 0.003 stood four points behind on 1,000 questions. */
static double head_rate(const graft_job *j) {
    if (j->options.head_lr > 0) return j->options.head_lr;
    bool unit = graft_model_modality(j->model) == GRAFT_TEXTS && graft_model_text(j->model)->unit;
    if (!unit || j->options.lr > 0 || j->options.lr < 0) return j->recipe.lr;
    return j->options.lr_scale > 0 ? 0.03 * j->options.lr_scale : 0.03;
}

/* Head and backbone train at rates of their own; norms and biases do not decay (He et al. 2019, "Bag of
 * tricks"). */
static graft_param_group group_of(void *user, const char *name) {
    const graft_job *j = user;
    const graft_param *p = graft_model_find_param(j->model, name);
    const graft_fit_options *o = &j->options;
    bool alike =
        graft_job_learns_anew(j) || reads_words(j) || graft_model_modality(j->model) == GRAFT_PICTURES;
    if (j->n_phases && is_light(j, &j->phases[j->relay.next])) alike = true;
    double scale = o->backbone_lr_scale > 0 ? o->backbone_lr_scale : alike ? 1.0 : 0.1;
    double decay = o->weight_decay >= 0 ? o->weight_decay : j->recipe.optimiser->default_weight_decay;
    scale *= graft_layer_factor(o->regular.layer_decay, graft_model_n_stages(j->model), p->stage);
    if ((size_t)p->stage >= graft_model_first_new(j->model)) scale = 1.0;
    if (p->adapter) scale = 1.0; /* new, as the head is: ten times the rate of full fine-tuning */
    if (p->head) scale = head_rate(j) / j->recipe.lr;
    if ((!p->head || p->joins) && o->regular.l2_sp > 0 && graft_model_pretrained(j->model, name)) decay = 0.0;
    return (graft_param_group){.lr_scale = scale,
                               .weight_decay = p->kind == GRAFT_PARAM_WEIGHT ? decay : 0.0,
                               .steps_before = graft_relay_steps(&j->relay, j->model, name)};
}

/* ---- Phases ------------------------------------------------------------------------------------------------- */

static int make_choices(graft_job *j, graft_err *err) {
    j->choices = graft_arena_array(j->arena, j->n_phases + 1, sizeof *j->choices);
    j->records = graft_arena_array(j->arena, j->n_phases + 1, sizeof *j->records);
    if (!j->choices || !j->records) return graft_err_nomem(err);
    j->head_only = true;
    for (size_t i = 0; i < j->n_phases; i++) {
        j->choices[i].head_only = graft_phase_is_head_only(&j->phases[i], j->model);
        j->head_only = j->head_only && j->choices[i].head_only;
    }
    return 0;
}

/* Where a plan trains more than the head later on, --lr speaks of that: the head by itself has a rate of its
 * own, and no augmentation unless one was asked for. */
static void choose_phase(graft_job *j, size_t i, bool statistics, bool random, bool mixes) {
    const graft_fit_options *o = &j->options;
    graft_phase_choice *c = &j->choices[i];
    bool probes = c->head_only && !j->head_only;
    double asked = probes ? o->head_lr : o->lr;
    c->lr = asked > 0 ? asked
                      : choose_rate(j, c->head_only, is_light(j, &j->phases[i])) *
                            (o->lr_scale > 0 ? o->lr_scale : 1.0);
    c->warmup = o->warmup >= 0 ? o->warmup : c->head_only || j->recipe.schedule->warms_up ? 0.0 : 0.1;
    c->statistics = statistics;
    c->augments = random && (!probes || o->augment);
    bool keeps = c->augments && o->cache_variants >= 0; /* else every epoch has its own */
    c->variants = !keeps ? 0 : o->cache_variants > 0 ? o->cache_variants : 4;
    /* mixing works on pictures, so it needs them in every epoch */
    c->use_cache = o->cache_variants >= 0 && !(mixes && c->augments) &&
                   (c->head_only || !c->augments || o->cache_variants > 0);
}

/* Epochs that the plan does not say: shares of what --epochs leaves, else as many as the phase would get by
 * itself. */
static int share_epochs(graft_job *j, graft_err *err) {
    int64_t given = 0, open = 0, done = 0;
    double shares = 0.0, before = 0.0;
    for (size_t i = 0; i < j->n_phases; i++) {
        given += j->phases[i].epochs;
        open += j->phases[i].epochs == 0;
        shares += j->phases[i].epochs == 0 ? j->phases[i].share : 0.0;
    }
    int64_t left = j->options.epochs - given;
    if (j->options.epochs > 0 && ((open == 0 && left != 0) || left < open))
        return graft_err_set(
            err, GRAFT_EUSAGE,
            "--epochs %lld does not fit --train %s, whose phases say %lld epochs and leave %lld "
            "phases open: leave --epochs out, or give %s",
            (long long)j->options.epochs, j->plan, (long long)given, (long long)open,
            open ? "more" : "the phases other numbers");
    for (size_t i = 0; i < j->n_phases; i++) {
        graft_phase_choice *c = &j->choices[i];
        c->epochs = j->phases[i].epochs;
        if (c->epochs) continue;
        if (j->options.epochs > 0) { /* at least one each, the rest by their shares */
            before += j->phases[i].share;
            int64_t until = (int64_t)((double)(left - open) * before / shares + 0.5);
            c->epochs = 1 + until - done;
            done = until;
        } else {
            c->epochs = choose_epochs(j, c->head_only);
        }
    }
    for (size_t i = 0; i < j->n_phases && j->options.epochs_share > 0; i++)
        j->choices[i].epochs = (int64_t)ceil((double)j->choices[i].epochs * j->options.epochs_share);
    return 0;
}

/* Heads alone, which overfit slowly, go by the refined loss: of fine-tuned layers the best score is the
 * better guide. Over two seeds of five sets of texts and five of pictures heads gained two points so, all
 * layers lost one. */
bool graft_phase_is_refined(const graft_job *j, size_t i) {
    return j->choices[i].head_only && j->recipe.task == GRAFT_TASK_CLASSES;
}

void graft_job_recipe(graft_job *j, size_t i) {
    const graft_phase_choice *c = &j->choices[i];
    graft_recipe *r = &j->recipe;
    r->epochs = c->epochs;
    r->lr = c->lr;
    r->by_refinement = graft_phase_is_refined(j, i);
    r->warmup = c->warmup;
    r->epochs_before = j->relay.epochs;
    r->updates_before = j->relay.updates;
    r->epochs_all = j->relay.epochs;
    for (size_t k = j->relay.next; k < j->n_phases; k++) r->epochs_all += j->choices[k].epochs;
}

/* Everything that follows from a plan. */
static int follow(graft_job *j, const char *plan, graft_err *err) {
    const graft_fit_options *o = &j->options;
    graft_recipe *r = &j->recipe;
    int rc = graft_strategy_phases(&j->phases, &j->n_phases, &j->plan, j->arena, j->model, plan, &j->evidence,
                                   err);
    if (rc < 0) return rc;
    if ((rc = make_choices(j, err)) < 0) return rc;
    bool head_only = j->head_only, statistics = false;
    if ((rc = find_rows(j, head_only, err)) < 0) return rc;
    if ((rc = graft_job_check_rate(j, err)) < 0) return rc;
    rc = graft_decision_check(o, j->model, r->task, j->evidence.n_classes, err);
    if (rc < 0) return rc;
    r->batch = r->micro_batch = o->batch > 0 ? o->batch : choose_batch(j);
    r->momentum = 0.9;
    r->nesterov = true;
    r->beta1 = 0.9;
    r->beta2 = 0.999;
    r->eps = 1e-8;
    r->clip_norm = o->clip_norm >= 0 ? o->clip_norm : 1.0;
    bool classes = r->task == GRAFT_TASK_CLASSES;
    r->label_smoothing = o->label_smoothing >= 0                             ? o->label_smoothing
                         : graft_job_learns_anew(j) && classes && !head_only ? 0.1
                                                                             : 0.0;
    size_t n_outputs = 0;
    r->class_names = graft_model_labels(j->model, &n_outputs);
    r->n_classes = (int64_t)n_outputs;
    r->dtype = graft_backend_precision(o->precision);
    r->seed = o->seed;
    r->eval_every = o->eval_every;
    r->early_stop = o->early_stop == 0  ? (graft_job_learns_anew(j) && !head_only ? 30 : 10)
                    : o->early_stop < 0 ? 0
                                        : o->early_stop;
    r->group = group_of;
    r->user = j;
    if ((rc = graft_job_regular(j, err)) < 0) return rc;
    if ((rc = choose_augment(j, head_only, err)) < 0 || (rc = choose_weights(j, err)) < 0) return rc;
    if ((rc = choose_statistics(&statistics, j, err)) < 0) return rc;
    bool texts = graft_model_modality(j->model) == GRAFT_TEXTS;
    bool random = !texts && graft_augment_is_active(&j->transform.augment);
    bool mixes = random && (j->transform.augment.mixup > 0 || j->transform.augment.cutmix > 0);
    for (size_t i = 0; i < j->n_phases; i++) choose_phase(j, i, statistics, random, mixes);
    if ((rc = share_epochs(j, err)) < 0) return rc;
    graft_job_recipe(j, j->n_phases - 1);
    return 0;
}

int graft_job_defaults(graft_job *j, graft_err *err) {
    const graft_fit_options *o = &j->options;
    const graft_recipe *r = &j->recipe;
    j->evidence = (graft_evidence){.n_train = 0,
                                   .n_classes = graft_data_n_classes(j->data),
                                   .is_scratch = graft_model_is_scratch(j->model),
                                   .is_foreign = j->looked && j->evidence.is_foreign,
                                   .shapes_features = o->regular.delta > 0 || o->regular.bss > 0};
    int64_t n_all = graft_data_n_samples(j->data), given = 0;
    graft_data_members(j->data, GRAFT_TRAIN, &given);
    int64_t n_train = given > 0 ? given : n_all, per_class = o->data.per_class;
    if (o->data.test > 0) n_train -= (int64_t)((double)n_train * o->data.test);
    int64_t n_classes = graft_data_task(j->data) == GRAFT_TASK_CLASSES ? j->evidence.n_classes : 1;
    if (per_class > 0 && per_class < n_train / n_classes) n_train = per_class * n_classes;
    j->evidence.n_train = given > 0 ? n_train : n_train - n_train / 5;
    const char *plan = o->train && strcmp(o->train, "auto") != 0 ? o->train : NULL;
    /* options that are wrong are said before the features are computed, which may take a while */
    int rc = follow(j, plan ? plan : "full", err);
    if (rc == 0) rc = graft_job_look(&plan, j, err);
    if (rc == 0) rc = follow(j, plan, err);
    if (rc < 0) return rc;
    graft_precision_tell(j->env, o->precision);
    graft_job_regular_tell(j);
    if (graft_is_averaged(o->encoder)) return 0; /* which says its own */
    char rate[48] = "a rate to be found";
    if (!(o->lr < 0)) snprintf(rate, sizeof rate, "%g", r->lr);
    graft_env_log(j->env, GRAFT_LOG_INFO,
                  "training %s%s: %lld epochs of batches of %lld, %s at %s (%s), seed %llu", j->plan,
                  plan == o->train && plan ? "" : " (chosen)", (long long)r->epochs_all, (long long)r->batch,
                  r->optimiser->name, rate, r->schedule->name, (unsigned long long)r->seed);
    return 0;
}
