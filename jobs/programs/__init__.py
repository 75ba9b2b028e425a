"""External programs as trials: started, followed, and read."""
