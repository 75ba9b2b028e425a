"""The base model and its adapter: loaded, quantised, in which precision, and the loss."""
