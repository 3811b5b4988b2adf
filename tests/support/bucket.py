"""An S3 storage on this machine."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from automatch.settings.storage import PhotoSettings

_serial = itertools.count()


@pytest.fixture(scope="session")
def storage() -> Iterator[str]:
    """Give the address of a storage that the tests of one process share."""
    # Takes most of a second to import, which few test processes need.
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(storage: str) -> PhotoSettings:
    """Give the settings of a new, empty bucket."""
    settings = PhotoSettings(
        bucket=f"photos-{next(_serial)}",
        endpoint=storage,
        access_key_id=SecretStr("key"),
        secret_access_key=SecretStr("secret"),
        timeout_s=60,
    )
    client_of(settings).create_bucket(Bucket=settings.bucket)
    return settings


def client_of(settings: PhotoSettings):
    """Return Amazon's own client, to look at what is there."""
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=settings.endpoint,
        region_name=settings.region,
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )
