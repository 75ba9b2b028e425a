"""What trials are made of, checked: model, data, trainer, evaluation, and where they come from. No torch."""
