"""One execution of a trial, whatever it does: lease, fence, signals, checkpoints, progress, failures."""
