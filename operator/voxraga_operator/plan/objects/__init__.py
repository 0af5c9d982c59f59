"""One small builder for each child object."""
