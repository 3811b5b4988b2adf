"""A push service over HTTPS, and a device that reads what it is sent (RFC 8291)."""

from __future__ import annotations

import asyncio
import json
import ssl
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from os import urandom
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass
class Device:
    """The keys of one browser."""

    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    secret: bytes = field(default_factory=lambda: urandom(16))

    @property
    def point(self) -> bytes:
        return self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    @property
    def keys(self) -> dict[str, str]:
        return {"p256dh": base64url(self.point), "auth": base64url(self.secret)}

    def read(self, body: bytes) -> dict[str, Any]:
        """Decrypt a message."""
        salt, length = body[:16], body[20]
        sender, sealed = body[21 : 21 + length], body[21 + length :]
        shared = self.key.exchange(
            ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender)
        )
        info = b"WebPush: info\0" + self.point + sender
        seed = HKDF(SHA256(), 32, self.secret, info).derive(shared)
        key = HKDF(SHA256(), 16, salt, b"Content-Encoding: aes128gcm\0").derive(seed)
        nonce = HKDF(SHA256(), 12, salt, b"Content-Encoding: nonce\0").derive(seed)
        padded = AESGCM(key).decrypt(nonce, sealed, None)
        return json.loads(padded.rstrip(b"\0")[:-1])


@dataclass
class PushService:
    """Keeps what it is sent, and answers with a status."""

    address: str = ""
    status: int = 201
    trust: ssl.SSLContext | None = None
    """For clients: trusts the certificate."""
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])
        }
        body = await reader.readexactly(int(headers["content-length"]))
        self.requests.append(({"path": head[0].split(" ")[1], **headers}, body))
        location = "location: https://localhost:1/\r\n" if self.status == 307 else ""
        writer.write(
            f"HTTP/1.1 {self.status} x\r\n{location}content-length: 0\r\n"
            "connection: close\r\n\r\n".encode()
        )
        await writer.drain()
        writer.close()


@asynccontextmanager
async def push_service(context: ssl.SSLContext) -> AsyncIterator[PushService]:
    """Give a push service on `localhost`."""
    service = PushService()
    # The name stands for two addresses, which would each get a port of its own.
    server = await asyncio.start_server(service._answer, "127.0.0.1", 0, ssl=context)
    async with server:
        service.address = f"https://localhost:{server.sockets[0].getsockname()[1]}/device/1"
        yield service
