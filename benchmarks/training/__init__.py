"""Both sides of the training benchmark: what they learn, and how each is told to learn it."""
