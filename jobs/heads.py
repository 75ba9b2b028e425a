"""How the logits are made: where by the head alone, and how many at a time. Loads no torch."""

# No soft cap, no scaling; for others the model's own forward pass makes all the logits.
PLAIN_HEADS = frozenset({"llama", "mistral", "qwen2", "qwen3", "gpt_neox", "gpt2"})
CHUNK = 512  # rows of logits: with a vocabulary of 128,000 and float32, 260 MB
