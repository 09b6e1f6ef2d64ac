"""Turns bytes into the values that a harness asks for, so that one harness serves atheris, hypothesis and a seed."""

from __future__ import annotations

#: Words that open doors: names of fields, odd paths, odd numbers, and what parsers trip over.
WORDS = (
    "id", "name", "url", "count", "results", "next", "detail", "json", "hash", "file_size", "file_records", "exists",
    "relative_path", "data_repository", "data_repository_path", "collection", "revision", "session", "default_dataset",
    "tags", "qc", "subject", "lab", "number", "start_time", "projects", "globus", "default", "kachary", "kachery",
    "refresh_token", "zone", "api_key", "..", ".", "/", "\\", "C:", "a/../b", "#2024-01-01#", ".prefect-alyx", "con",
    "nul.npy", "\x00", "\r\n", "\ud800", "e\u0301", "\u202e", "0b305d2f-04dc-4ef1-be1c-db18931391a1",
    "d41d8cd98f00b204e9800998ecf8427e", "http", "2020-01-01T00:00:00", "bytes ", "-", "*", "99999999999999999999",
    "1e309", "nan",
    "Sun, 22 Nov 2026 12:00:00 GMT",
)  # fmt: skip


class Source:
    """Bytes, used up from the front; what is asked for beyond their end is zero or empty."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def bytes(self, most: int = 1 << 16) -> bytes:
        found = self._data[self._at : self._at + most]
        self._at += len(found)
        return found

    def choice(self, some):
        return some[self.byte() % len(some)]

    def text(self) -> str:
        """Words, letters of any script, and raw bytes, put together."""
        parts = []
        for _ in range(self.byte() % 6):
            kind = self.byte() % 4
            if kind == 0:
                parts.append(self.choice(WORDS))
            elif kind == 1:
                parts.append(self.bytes(self.byte() % 12).decode("latin-1"))
            elif kind == 2:
                parts.append(chr((self.byte() << 12 | self.byte() << 4 | self.byte()) % 0x110000))
            else:
                parts.append(self.choice("/._-# ~") * (1 + self.byte() % 90))
        return "".join(parts)

    def number(self):
        return self.choice((0, 1, -1, 2**31, 2**63, 10**30, 0.5, float("nan"), float("inf"), self.byte(), True, None))

    def value(self, depth: int = 0):
        """Anything that JSON can hold."""
        kind = self.byte() % (4 if depth > 3 else 8)
        if kind == 0:
            return self.number()
        if kind < 4:
            return self.choice(WORDS) if kind < 3 else self.text()
        if kind < 6:
            return [self.value(depth + 1) for _ in range(self.byte() % 4)]
        return {self.choice(WORDS): self.value(depth + 1) for _ in range(self.byte() % 8)}
