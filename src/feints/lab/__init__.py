"""The offline world: word-problem grammar, scripted teacher, nano student."""
