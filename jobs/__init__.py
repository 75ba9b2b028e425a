"""What runs on a node: one trial, spec.json in, metrics.json out."""
