"""What every program of the runtime shares: settings, errors, audio, encoding, metrics, HTTP plumbing."""
