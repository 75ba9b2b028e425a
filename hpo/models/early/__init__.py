"""What trials tell on their way: their ends foretold, and what going on is worth."""
