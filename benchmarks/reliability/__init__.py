"""Studies under faults, on a true one-machine Slurm cluster."""
