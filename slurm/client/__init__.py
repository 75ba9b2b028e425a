"""Slurm's own clients and what they answer: squeue, sacct, sbatch, the site's limits and refusals."""
