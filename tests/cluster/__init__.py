"""A real Kubernetes for tests, built and run on this machine (`python -m tests.cluster`)."""
