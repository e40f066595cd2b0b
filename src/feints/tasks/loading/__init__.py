"""How every task is read: from a local file or the hub, to checked problems."""
