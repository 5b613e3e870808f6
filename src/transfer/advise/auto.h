/* What graft fit asks of advise before it trains. */
#ifndef GRAFT_TRANSFER_ADVISE_AUTO_H
#define GRAFT_TRANSFER_ADVISE_AUTO_H

#include "transfer/fit.h"

/** Looks at the data through the job's model. *plan NULL: it becomes the plan that the evidence speaks for,
 * and stays NULL where there is no evidence to be had (other tasks than one class a sample, no weights, word
 * vectors, a handful of samples) or where there are so many samples that all layers train anyway. A *plan
 * that was given stays, and is looked at where it trains layers of a net for pictures at rates that nothing
 * says. Where the data are foreign to the model and no rate is given, j->evidence says so. Settles the data.
 * j->advice becomes the evidence as JSON. auto.c */
int graft_job_look(const char **plan, graft_job *j, graft_err *err);

/** Pooled features of some of the training samples, as the job's trained model sees them: the tensor
 * "features" of a folder's reference, in the job's arena. *n 0: a model that answers for each token has none.
 * reference.c */
int graft_job_reference(graft_tensor *out, size_t *n, graft_job *j, graft_err *err);

#endif
