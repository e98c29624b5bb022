"""What a run returns, under the name that documents and other programs use."""

from coregstack.run.result import RunResult

__all__ = ["RunResult"]
