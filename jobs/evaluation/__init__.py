"""What a model is worth: validation loss, tasks, samples, the untuned baseline, curation."""
