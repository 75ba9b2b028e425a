"""Tasks, not trials: submit an array, poll it, cancel it, read its limits."""
