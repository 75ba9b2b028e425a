"""What is on disk of a study: its journal and what follows from it, its lease, its folder, its numbers."""
