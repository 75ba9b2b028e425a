"""Work for a login node that loads torch, each in a process of its own: caches, previews, checks."""
