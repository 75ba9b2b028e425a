"""From rows to batches: reading, templates, filters, selection, tokens, packing, the order of reading."""
