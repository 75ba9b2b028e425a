"""What a trial costs beside what it trains: throughput, start-up, memory of the loss, many starts at once."""
