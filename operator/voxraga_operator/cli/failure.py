"""The one error of the command: a sentence for the person who ran it, and the exit code."""

AGAIN, GIVE_UP = 1, 2
"""Exit codes: what the same start may overcome later, and what somebody has to act on first."""


class Failure(Exception):  # noqa: N818 - it ends the command as asked for, it is not a fault of the program
    """Ends the command; the message says what is wrong and what to do."""

    def __init__(self, message: str, code: int = GIVE_UP) -> None:
        super().__init__(message)
        self.code = code
