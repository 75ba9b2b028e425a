"""The training of an adapter, on one GPU or several, from its spec to its result."""
