"""The engines: what turns sentences into samples."""
