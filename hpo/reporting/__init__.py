"""What `report` shows of a study: from its files to numbers, from these to figures and to one page."""
