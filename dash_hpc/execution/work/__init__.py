"""What a worker does: one run, many side by side, or a probe of a few seconds."""
