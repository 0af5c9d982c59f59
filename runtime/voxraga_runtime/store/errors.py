"""The one exception of the store: a reason of the contract, a message a person can act on, and whether to try again."""

RETRIABLE = frozenset({"SourceUnreachable", "SourceTimeout", "StoreFull", "StoreNotWritable", "InternalError"})
"""Reasons that can go away without anybody changing the spec; the Job is tried again (exit code 1 instead of 2)."""


class StoreError(Exception):
    """A failure with its reason from docs/contract.md; `message` says what was found, expected and what to do."""

    def __init__(self, reason: str, message: str, *, retriable: bool | None = None) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
        self.retriable = reason in RETRIABLE if retriable is None else retriable
