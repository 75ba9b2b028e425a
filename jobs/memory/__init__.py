"""What a training takes before it has run: peak memory, micro-batches, computing. Loads no torch."""
