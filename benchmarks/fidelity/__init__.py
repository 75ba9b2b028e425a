"""What early stopping saves, and how well final values are foretold."""
