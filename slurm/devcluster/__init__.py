"""A true Slurm cluster on one machine, for development and tests: its files, its daemons, its accounting."""
