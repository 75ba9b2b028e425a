"""What is foretold: memory and time of trials, how much of a space fits the card, when a study ends."""
