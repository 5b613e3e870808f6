/* What graft fit asks of advise. */
#ifndef GRAFT_TRANSFER_ADVISE_AUTO_H
#define GRAFT_TRANSFER_ADVISE_AUTO_H

#include "transfer/fit.h"

/** The plan that the evidence of the job's model and data speaks for; *plan NULL where there is none to be
 * had (other tasks than one class a sample, no weights, word vectors, a handful of samples) or where there
 * are so many samples that all layers train anyway. Settles the data. j->advice becomes the evidence as JSON.
 * auto.c */
int graft_job_auto(const char **plan, graft_job *j, graft_err *err);

/** Pooled features of some of the training samples, as the job's trained model sees them: the tensor
 * "features" of a folder's reference, in the job's arena. *n 0: a model that answers for each token has none.
 * reference.c */
int graft_job_reference(graft_tensor *out, size_t *n, graft_job *j, graft_err *err);

#endif
