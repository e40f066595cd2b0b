"""The peers: which versions (`*.txt`), how each is asked to do what ours does, and the comparisons that need both."""
