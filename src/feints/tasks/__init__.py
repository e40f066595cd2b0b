"""The shelf of problem sets: one file each, yielding Problem records."""
