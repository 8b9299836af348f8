"""Answers of an exchange within bounds: none is read beyond a size, none sends us elsewhere.

A stranger's server may answer with gigabytes, with a small body that unpacks into them, or with the address of another
machine. The size is counted after unpacking, while it is read; an answer that redirects is an error like any other.
"""

from __future__ import annotations

from typing import Final

import aiohttp

LARGEST_ANSWER: Final = 32 << 20
"""Bytes, unpacked: a thousand candles have a hundred thousand, all markets of a large exchange some millions."""


class BoundedResponse(aiohttp.ClientResponse):
    """An answer that is given up when it grows too large."""

    async def read(self) -> bytes:
        """The body.

        Raises:
            aiohttp.ClientPayloadError: larger than LARGEST_ANSWER.
        """
        if self._body is None:
            parts: list[bytes] = []
            size = 0
            async for part in self.content.iter_any():
                size += len(part)
                if size > LARGEST_ANSWER:
                    self.close()
                    parts.clear()  # the error keeps this frame alive
                    raise aiohttp.ClientPayloadError(f"an answer of more than {LARGEST_ANSWER} bytes")
                parts.append(part)
            self._body = b"".join(parts)
        return await super().read()


async def stay_here(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Let no answer send us to another address.

    Raises:
        aiohttp.ClientError: it tried to.
    """
    answer = await handler(request)
    if 300 <= answer.status < 400:
        answer.close()
        raise aiohttp.ClientError(f"HTTP {answer.status}: an answer that sends elsewhere is not followed")
    return answer


def bounded(session: aiohttp.ClientSession, *, trust_env: bool) -> aiohttp.ClientSession:
    """A session on the same connector whose answers are bounded; the old one is let go."""
    connector = session.connector
    session.detach()
    return aiohttp.ClientSession(
        connector=connector, trust_env=trust_env, response_class=BoundedResponse, middlewares=(stay_here,)
    )
