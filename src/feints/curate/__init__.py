"""3. Choose what is learnt from; say why each other rationale was left out."""
