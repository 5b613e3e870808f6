/* Options that the commands which train share: what is read of the model, and what the machine gives. */
#include "cli/cli.h"

#include <stddef.h>

#define AT(field) offsetof(graft_fit_options, field)
const graft_opt graft_opts_reading[6] = {
    {.name = "family",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(family),
     .value = "NAME",
     .help = "of a checkpoint without config.json; recognised unless given"},
    {.name = "head",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(head),
     .value = "NAME",
     .help = "linear or mlp; of SqueezeNet conv too, its own; of tagged words crf: their tags are chosen "
             "together"},
    {.name = "encoder",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(encoder),
     .value = "NAME",
     .help = "of word vectors: their mean, a cnn or an lstm reads them; fasttext trains their mean as that "
             "program does; mean"},
    {.name = "pooling",
     .kind = GRAFT_OPT_TEXT,
     .offset = AT(pooling),
     .value = "NAME",
     .help = "what speaks for a text: its first, last, mean or max token; what the model's files say"},
    {.name = "max-length",
     .kind = GRAFT_OPT_INT,
     .offset = AT(max_length),
     .value = "N",
     .least = 1,
     .most = 1e6,
     .help = "tokens of a text, longer ones are cut; what the model's files say"},
    {.name = "stride",
     .kind = GRAFT_OPT_INT,
     .offset = AT(stride),
     .value = "N",
     .least = 0,
     .most = 1e6,
     .given_zero = -1,
     .help = "longer texts are read in windows that share N tokens, each a sample; they are cut"},
};

const graft_opt graft_opts_machine[3] = {
    {.name = "dtype",
     .kind = GRAFT_OPT_CHOICE,
     .offset = AT(precision),
     .value = "fp32|bf16|bf16x3",
     .help = "numbers to compute with; weights stay fp32. bf16x3: fp32 from three products of bf16"},
    {.name = "memory",
     .kind = GRAFT_OPT_BYTES,
     .offset = AT(memory),
     .value = "SIZE",
     .help = "limit such as 2G: micro-batches and recomputation make it fit, the result is that of --batch"},
    {.name = "no-cache",
     .kind = GRAFT_OPT_SET,
     .offset = AT(cache_variants),
     .given_zero = -1,
     .help = "neither read nor fill the bottleneck cache"},
};
