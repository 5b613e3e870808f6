GRAFT_LOSS(cross_entropy)
GRAFT_LOSS(bce)
GRAFT_LOSS(mse)
GRAFT_LOSS(focal)
