/* One line a family; included where the rows are declared and where the table is made. */
GRAFT_FAMILY(resnet)       /* Transformers' names */
GRAFT_FAMILY(resnet_timm)  /* timm's and torchvision's names */
GRAFT_FAMILY(resnet_cifar) /* the small ones of He et al. 2016, section 4.2 */
GRAFT_FAMILY(squeezenet)   /* torchvision's names */
GRAFT_FAMILY(vit)          /* Transformers' names */
GRAFT_FAMILY(deit)
GRAFT_FAMILY(vit_timm) /* timm's names */
GRAFT_FAMILY(bert)     /* MiniLM, BGE and E5 too */
GRAFT_FAMILY(roberta)  /* XLM-RoBERTa too */
GRAFT_FAMILY(distilbert)
GRAFT_FAMILY(gpt2)
GRAFT_FAMILY(word_vectors) /* what graft vectors model writes */
