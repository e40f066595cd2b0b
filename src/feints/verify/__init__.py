"""2. Decide whether a rationale reaches the gold answer."""
