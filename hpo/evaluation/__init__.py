"""What a stand-alone evaluation found: its parts, the differences to the untuned model, its table."""
