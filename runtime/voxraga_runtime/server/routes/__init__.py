"""The HTTP routes of the model server."""
