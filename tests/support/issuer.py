"""A stand-in for Supabase Auth's keys: it signs tokens, and publishes its keys on this machine."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID, uuid4

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from automatch.auth import jwks

Key = ECKey | RSAKey


def ec_key(kid: str) -> ECKey:
    return ECKey.generate_key("P-256", {"kid": kid, "alg": "ES256", "use": "sig"})


def rsa_key(kid: str, bits: int = 2048) -> RSAKey:
    return RSAKey.generate_key(bits, {"kid": kid, "alg": "RS256", "use": "sig"})


class IssuerServer:
    """Serves `/auth/v1/.well-known/jwks.json`; what it answers can be changed at any time."""

    def __init__(self) -> None:
        self.keys: list[Key] = [ec_key("first")]
        self.status = 200
        self.body: bytes | None = None
        """Sent in place of the keys, if set."""
        self.asked = 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked += 1
                found = self.path == "/auth/v1/.well-known/jwks.json"
                self.send_response(server.status if found else 404)
                if server.status == 302:
                    self.send_header("location", f"{server.url}/elsewhere")
                body = server.document()
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # To stop would wait for the half second at which it looks by default.
        serve = partial(self._http.serve_forever, poll_interval=0.01)
        self._thread = threading.Thread(target=serve, daemon=True)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread.start()

    @property
    def issuer(self) -> str:
        return f"{self.url}/auth/v1"

    @property
    def keys_url(self) -> str:
        return f"{self.issuer}/.well-known/jwks.json"

    def document(self) -> bytes:
        if self.body is not None:
            return self.body
        return json.dumps({"keys": [key.as_dict(private=False) for key in self.keys]}).encode()

    def claims(self, person: UUID | None = None, session: UUID | None = None) -> dict[str, Any]:
        """Return the claims that Supabase Auth writes for a person."""
        now = int(time.time())
        return {
            "iss": self.issuer,
            "sub": str(person or uuid4()),
            "aud": "authenticated",
            "exp": now + 3600,
            "iat": now,
            "email": "person@example.org",
            "phone": "",
            "app_metadata": {"provider": "email", "providers": ["email"]},
            "user_metadata": {},
            "role": "authenticated",
            "aal": "aal1",
            "amr": [{"method": "password", "timestamp": now}],
            "session_id": str(session or uuid4()),
            "is_anonymous": False,
        }

    def sign(self, claims: dict[str, Any] | None = None, key: Key | None = None) -> str:
        """Return a token, signed with the newest key unless another is named."""
        key = key or self.keys[-1]
        header = {"alg": key.alg, "kid": key.kid, "typ": "JWT"}
        return jwt.encode(header, claims or self.claims(), key, [str(key.alg)])

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def issuer(monkeypatch: pytest.MonkeyPatch) -> Iterator[IssuerServer]:
    """Give an issuer of tokens that runs."""
    # On a busy machine a client may need the five seconds for itself.
    monkeypatch.setattr(jwks, "_TIMEOUT_S", 60.0)
    server = IssuerServer()
    yield server
    server.stop()
