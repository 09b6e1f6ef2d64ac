"""A link that is slower than the client behind it, as networks are: a few megabytes a second for each connection."""

from __future__ import annotations

import asyncio
import threading

#: Loopback hands whole files to the kernel at once, and a client that is killed has not read them. Behind a real link
#: a client waits for the bytes, and not they for it; so they come in pieces here, each a moment after the last.
PIECE, MOMENT = 2048, 0.001


class SlowLink:
    """Wraps a lab's file server (`Lab(wrap=...)`), and counts what goes out while somebody listens.

    Attributes:
        sent: Bytes in all.
        stalls_at: After so many bytes in all, no more come for as long as this is set.
    """

    def __init__(self, server="http"):
        self.server = server
        self.sent = 0
        self.stalls_at = None
        self._moved = threading.Condition()

    def __call__(self, name, app):
        return self._sliced(app) if name == self.server else app

    def wait_until(self, sent, stop=lambda: False):
        """Wait until so many bytes went out in all, or until `stop` says so."""
        with self._moved:
            return self._moved.wait_for(lambda: self.sent >= sent or stop(), timeout=60)

    def _sliced(self, app):
        async def serve(scope, receive, send):
            gone = asyncio.ensure_future(_wait_for_the_end(receive))

            async def slowly(message):
                body = message.get("body", b"")
                for start in range(0, max(len(body), 1), PIECE):
                    piece = body[start : start + PIECE]
                    while self._stalls() and not gone.done():  # noqa: ASYNC110  (another thread lets it go on)
                        await asyncio.sleep(MOMENT)
                    if gone.done():  # nobody reads on, so nothing is sent
                        return
                    more = message.get("more_body", False) or start + PIECE < len(body)
                    await send(message if "body" not in message else {**message, "body": piece, "more_body": more})
                    self._count(len(piece))
                    await asyncio.sleep(MOMENT)

            await app(scope, receive, slowly)
            gone.cancel()

        return serve

    def _stalls(self):
        return self.stalls_at is not None and self.sent >= self.stalls_at

    def _count(self, size):
        with self._moved:
            self.sent += size
            self._moved.notify_all()


async def _wait_for_the_end(receive):
    while (await receive())["type"] != "http.disconnect":
        pass
