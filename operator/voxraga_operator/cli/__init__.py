"""The command `voxraga`: what a person runs by hand, with the very VoiceModel that a cluster would get."""

from voxraga_operator.cli.command import main

__all__ = ["main"]
