"""What a trial takes and achieves on a card: memory beside its forecast, speed, starts, evaluation."""
