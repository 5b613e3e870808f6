/* Every reader, a line each. */
GRAFT_READER(folders)
GRAFT_READER(pictures)
GRAFT_READER(csv)
GRAFT_READER(jsonl)
GRAFT_READER(idx)
GRAFT_READER(arrays)
