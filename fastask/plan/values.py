"""What a run provides by itself."""

from __future__ import annotations

import enum

__all__ = ["Provided"]


class Provided(enum.Enum):
    """A value of the run that is no dependency of the user's."""

    REQUEST = "request"
    RESPONSE = "response"
    BACKGROUND_TASKS = "background tasks"
    SECURITY_SCOPES = "security scopes"
    CONTEXT = "Taskiq's Context"
    STATE = "Taskiq's state"
