"""4. Fit a student to weighted examples."""
