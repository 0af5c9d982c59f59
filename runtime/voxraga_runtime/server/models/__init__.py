"""The models of one server: its own, and those that users brought."""
