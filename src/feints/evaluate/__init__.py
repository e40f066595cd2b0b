"""5. Examine a solver: votes, exams, statistics."""
