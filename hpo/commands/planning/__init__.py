"""What `plan --simulate` runs: a study on the simulated cluster, before it is run in earnest."""
