"""What is believed: processes and their kernels, failures, related studies, and what a point is worth."""
