"""The app on a Supabase project: people sign in at Supabase Auth, everything else is ours."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from PIL import ImageOps
from pydantic import SecretStr

from automatch.demo.portraits import read_similar_pair
from automatch.ops.smoke_test.criteria import Criterion, Outcome, Verdict, verify
from automatch.ops.smoke_test.live_server import LiveServer
from automatch.settings import Settings
from automatch.settings.server import FeedSettings
from automatch.settings.storage import RetentionSettings
from automatch.settings.worker import WorkerSettings
from automatch.vision import Embedder
from tests.support.issuer import IssuerServer, ec_key
from tests.support.photos import astronaut, encode
from tests.support.postgres import Database
from tests.support.supabase import AuthServer, SupabaseCluster
from tests.support.system import Person, System, running_server, running_worker
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.anyio

SECRET_KEY = "sb_secret_kQ7w2Zp9Xc4Lr8Ta"


class Project:
    """A running server on a project, and the services of that project."""

    def __init__(self, system: System, auth: AuthServer, issuer: IssuerServer) -> None:
        self.system = system
        self.auth = auth
        self.issuer = issuer

    def sign_up(self, email: str) -> Person:
        """Do what an app does at Supabase Auth, which hands out the token."""
        user = self.auth.sign_up(email)
        return self.signed_in(user, email)

    def signed_in(self, user: UUID, email: str) -> Person:
        token = self.issuer.sign(self.issuer.claims(user, self.auth.sign_in(user)))
        return Person(str(user), email, token, self.system.client)

    async def join(self, email: str, gender: str) -> Person:
        return await self.system.fill_in(self.sign_up(email), gender)


@pytest.fixture
async def running(
    supabase_cluster: SupabaseCluster,
    migrated_project: Database,
    issuer: IssuerServer,
    tmp_path: Path,
) -> AsyncIterator[Project]:
    """Give a server on a project, whose keys are those of the issuer."""
    settings = Settings(
        home=tmp_path / "home",
        database_url=SecretStr(migrated_project.owner),
        supabase_url=issuer.url,
        secret_keys=SecretStr(SECRET_KEY),
        worker=WorkerSettings(poll_s=600),
        feed=FeedSettings(poll_s=600),
        retention=RetentionSettings(min_free_mb=0),
    )
    auth = AuthServer(supabase_cluster, migrated_project)
    async with running_server(settings, supabase_cluster.secrets, migrated_project) as system:
        yield Project(system, auth, issuer)


async def test_photos_of_people_of_supabase_auth_match(
    running: Project, embedder: Embedder
) -> None:
    system = running.system
    she = await running.join("she@example.org", "female")
    he = await running.join("he@example.org", "male")
    async with running_worker(system.settings, system.secrets, embedder):
        assert (await she.matched(encode(ImageOps.mirror(astronaut()))))["status"] == "completed"
        done = await he.matched(encode(ImageOps.mirror(astronaut())))
    assert (done["status"], done["match_count"]) == ("completed", 1)

    assert [match["profile"]["id"] for match in await she.feed()] == [he.id]
    assert [match["profile"]["id"] for match in await he.feed()] == [she.id]


async def test_account_has_an_empty_profile_until_the_person_saves_it(running: Project) -> None:
    person = running.sign_up("new@example.org")

    before = await person.get("/api/profile")
    await running.system.fill_in(person, "female")
    after = await person.get("/api/profile")

    assert before.status_code == after.status_code == 200
    assert (before.json()["email"], before.json()["school"]) == ("new@example.org", None)
    assert after.json()["school"] == "UIT"


async def test_smoke_test_passes_and_its_tokens_end_with_it(
    running: Project, embedder: Embedder
) -> None:
    system = running.system
    verdicts: list[Verdict] = []
    async with running_worker(system.settings, system.secrets, embedder):
        await verify(
            LiveServer(system.client, SECRET_KEY),
            read_similar_pair(),
            verdicts.append,
            within_s=PATIENCE_S,
        )
    assert {verdict.criterion: verdict.outcome for verdict in verdicts} == dict.fromkeys(
        Criterion, Outcome.MET
    )

    server = LiveServer(system.client, SECRET_KEY)
    pair = await server.create_pair()
    headers = {"authorization": f"Bearer {pair.her.token}"}
    assert (await system.client.get("/api/profile", headers=headers)).status_code == 200
    await server.delete_pair(pair)
    assert (await system.client.get("/api/profile", headers=headers)).status_code == 401


async def test_nobody_signs_in_here(running: Project) -> None:
    client = running.system.client
    credentials = {"email": "new@example.org", "password": "correct horse battery"}
    refresh = {"refresh_token": "x"}
    answers = [
        await client.post("/auth/v1/signup", json=credentials),
        await client.post("/auth/v1/token?grant_type=password", json=credentials),
        await client.post("/auth/v1/token?grant_type=refresh_token", json=refresh),
        await client.get("/auth/v1/user", headers=running.sign_up("other@example.org").headers),
    ]
    pages = [await client.get("/sign-in"), await client.get("/sign-up")]

    told = [(answer.status_code, answer.json()["error"]["code"]) for answer in answers]
    assert told == [(404, "sign_in_elsewhere")] * 4
    for page in pages:
        assert page.status_code == 404
        assert "Sign in where your app does" in page.text
    old = {"cookie": "automatch_refresh=of_the_time_before"}
    assert (await client.get("/feed", headers=old)).headers["location"] == "/sign-in"


async def test_person_erases_themselves_at_supabase_auth_too(running: Project) -> None:
    person = await running.join("leaves@example.org", "female")
    elsewhere = running.signed_in(UUID(person.id), person.email)

    erased = await running.system.client.delete("/api/profile", headers=person.headers)

    assert erased.status_code == 204
    assert running.auth.users() == []
    for token in (person, elsewhere):
        assert (await token.get("/api/profile")).json()["error"]["code"] == "token_invalid"


async def test_key_that_auth_begins_to_sign_with_is_known_at_once(running: Project) -> None:
    before = running.sign_up("before@example.org")
    assert (await before.get("/api/profile")).status_code == 200
    running.issuer.keys = [ec_key("second")]
    after = running.sign_up("after@example.org")

    assert (await after.get("/api/profile")).status_code == 200
    assert (await before.get("/api/profile")).status_code == 401


async def test_unreachable_project_signs_nobody_out(running: Project) -> None:
    person = running.sign_up("stays@example.org")
    assert (await person.get("/api/profile")).status_code == 200

    running.issuer.status = 503

    assert (await person.get("/api/profile")).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"apikey": SECRET_KEY}, 200),
        ({"authorization": f"Bearer {SECRET_KEY}"}, 200),
        ({"apikey": SECRET_KEY, "authorization": "Bearer x"}, 401),
        ({"apikey": SECRET_KEY + "x"}, 401),
        ({"apikey": "sb_publishable_0123456789abcdef"}, 401),
        ({}, 401),
    ],
)
async def test_secret_key_of_the_project_is_that_of_the_service(
    running: Project, headers: dict[str, str], status: int
) -> None:
    answer = await running.system.client.get("/api/admin/queue", headers=headers)

    assert answer.status_code == status
    person = replace(running.sign_up("person@example.org"), token=SECRET_KEY)
    assert (await person.get("/api/profile")).status_code == 403
