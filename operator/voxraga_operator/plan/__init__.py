"""Pure planning: what should stand in the cluster, and what the status should say. No I/O."""
