"""The architectures whose head alone makes the logits, and which read packed rows. Loads no torch."""

# No soft cap, no scaling; for others the model's own forward pass makes all the logits.
PLAIN_HEADS = frozenset({"llama", "mistral", "qwen2", "qwen3", "gpt_neox", "gpt2"})
CHUNK = 512  # rows of logits: with a vocabulary of 128,000 and float32, 260 MB


def not_packed(kind: str) -> str:
    """What to say of an architecture that is not known to read packed rows, as `PLAIN_HEADS` are."""
    return (
        f"got packed with a model of type {kind}, expected none, or one of {', '.join(sorted(PLAIN_HEADS))}"
    )
