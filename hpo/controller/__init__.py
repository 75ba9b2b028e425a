"""The loop of a study: configuration, proposals, submission, and what becomes of what was submitted."""
