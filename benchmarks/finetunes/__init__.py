"""Tables of real fine-tunes of the demo's model: recorded once, answered from by `trainer=table`."""
