/* One line a head; included where the rows are declared, where the table and where the help text are made. */
GRAFT_HEAD(linear) /* head_linear.c */
GRAFT_HEAD(crf)    /* head_crf.c */
GRAFT_HEAD(mlp)    /* head_mlp.c */
GRAFT_HEAD(conv)   /* head_conv.c */
