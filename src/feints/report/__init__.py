"""6. Read a run folder; draw tables, figures, a page. Never called by training."""
