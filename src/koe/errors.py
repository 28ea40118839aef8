"""Errors for the person at the terminal: each names a file or a parameter, what was expected and what to do."""


class KoeError(Exception):
    """An error that the user can fix; `koe` and the stages print it without a traceback and exit with status 1."""


class ParameterError(KoeError):
    """A parameter is unknown, of the wrong type, or contradicts another."""


class AudioError(KoeError):
    """A recording cannot be used. `reason` is the short name under which it is quarantined and counted."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type["AudioError"], tuple[str, str]]:  # crosses process pools
        return AudioError, (self.reason, self.detail)


class StoreError(KoeError):
    """A shard or a table is damaged, incomplete, or was written under other settings."""


class ContractError(StoreError):
    """Two inputs that are used together have different mel settings (lesson 13)."""
