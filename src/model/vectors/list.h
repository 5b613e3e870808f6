/* One line a format, in the order in which a file is held against them; text takes what no other has. */
GRAFT_VECTORS_FORMAT(fasttext) /* .bin and .ftz */
GRAFT_VECTORS_FORMAT(word2vec) /* binary */
GRAFT_VECTORS_FORMAT(text)     /* word2vec, fastText's .vec, GloVe */
