"""1. Ask a model for text, teacher or student alike."""
