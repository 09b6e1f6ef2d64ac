"""The errors of the two services, as documents and as statuses."""

from __future__ import annotations

import uuid
from typing import Any


class TransferError(Exception):
    """An error of the Transfer API: `{code, message, request_id, resource}` and what else belongs to it."""

    def __init__(self, status: int, code: str, message: str, **extra: Any) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message
        self.extra = extra

    def document(self, resource: str) -> dict[str, Any]:
        """The body of the reply."""
        return {
            "code": self.code,
            "message": self.message,
            "request_id": request_id(),
            "resource": resource,
            **self.extra,
        }


class AuthError(Exception):
    """An error of the token endpoint: `{"error": ...}`, without a code or a message."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status = status
        self.error = error


def request_id() -> str:
    """Nine characters, as the service gives each request."""
    return uuid.uuid4().hex[:9]
