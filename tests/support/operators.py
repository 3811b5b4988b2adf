"""Operators of a test, and what their services work with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest

from automatch.auth.tokens import Tokens
from automatch.model.operators import Operator, OperatorRole
from automatch.model.people import Claims, Role
from automatch.photos.folder import FolderPhotos
from automatch.photos.make import make_photos
from automatch.photos.store import Size
from automatch.services.operators.link_delivery import LinkDelivery
from automatch.services.protection.erasures import Erasures, make_erasures
from automatch.settings import Settings
from automatch.settings.database import PoolSettings
from automatch.settings.server import AuthSettings
from automatch.store.database import Database as Pool
from tests.support import model_change
from tests.support.build import a_face, a_job, connect, one, record_consent
from tests.support.kept_pools import KeptDatabase
from tests.support.onnx_models import add_model, tiny_model
from tests.support.postgres import Database, TestCluster


class AnyPhoto(FolderPhotos):
    """A store that has every photo."""

    async def read_copy(self, path: str, size: Size) -> bytes | None:
        return b"a photo"


class Registry:
    """Makes the people, photos and schools that operators act about."""

    conn: psycopg.Connection

    def person(self, email: str | None = None, name: str = "Linh") -> UUID:
        """Make an account with a profile."""
        email = email or f"{uuid4()}@example.org"
        person_id = one(self.conn, "select auth.create_user(%s, 'x', '{}')", email)
        self.conn.execute("update public.profiles set name = %s where id = %s", [name, person_id])
        return person_id

    def frozen(self, person_id: UUID) -> UUID:
        self.conn.execute("select public.freeze_person(%s, 'case 12')", [person_id])
        return person_id

    def without_password(self, person_id: UUID) -> UUID:
        """Make somebody one who was imported and never came."""
        self.conn.execute(
            "update auth.users set encrypted_password = '!' where id = %s", [person_id]
        )
        return person_id

    def photo(self, person_id: UUID) -> UUID:
        """Add a photo of somebody."""
        self.conn.execute(
            "update public.profiles set birth_date = '2000-02-29' where id = %s", [person_id]
        )
        record_consent(self.conn, person_id, "granted")
        return a_face(self.conn, person_id)

    def case(self, person_id: UUID, *, is_banned: bool = False) -> UUID:
        """Open a case about a photo of somebody, or one in which their address was banned."""
        case_id = one(
            self.conn,
            "insert into automatch.cases (kind, reason, profile_id, face_id)"
            " values ('report', 'fake', %s, %s) returning id",
            *(person_id, self.photo(person_id)),
        )
        if is_banned:
            self.conn.execute(
                "insert into automatch.bans (address_hash, case_id) values (%s, %s)",
                [case_id.bytes, case_id],
            )
        return case_id

    def held(self, person_id: UUID) -> UUID:
        """Make a photo of somebody that waits for a decision."""
        face_id = self.photo(person_id)
        self.conn.execute("select automatch.hold_face(%s, 'another_person')", [face_id])
        return face_id

    def pair(self, person_id: UUID) -> UUID:
        """Suspect somebody of having another account."""
        pair = sorted([person_id, self.person()])
        return one(
            self.conn,
            "insert into automatch.suspected_duplicates (profile_a_id, profile_b_id, u, model)"
            " values (%s, %s, 0.2, 'dlib') returning id",
            *pair,
        )

    def job(self, person_id: UUID) -> UUID:
        """Return the job of a photo of somebody who belongs to a school."""
        self.conn.execute(
            "update public.profiles set school = 'UIT', gender = 'female' where id = %s",
            [person_id],
        )
        return a_job(self.conn, self.photo(person_id))

    def school(self, name: str, *, is_open: bool = True) -> str:
        self.conn.execute(
            "insert into automatch.schools (name, is_open) values (%s, %s)"
            " on conflict (name) do nothing",
            [name, is_open],
        )
        return name

    def invitation(self, school: str) -> UUID:
        return one(
            self.conn,
            "insert into automatch.school_invitations"
            " (school_id, code_sha256, expires_at, created_by)"
            " select id, sha256(uuid_send(id)), now() + interval '1 day', 'me'"
            " from automatch.schools where name = %s returning id",
            school,
        )

    def asking(self, person_id: UUID) -> UUID:
        """Let somebody ask to be let in to a school."""
        self.conn.execute(
            "insert into automatch.membership_requests (profile_id, school_id, message)"
            " select %s, id, 'Hi' from automatch.schools where name = %s",
            [person_id, self.school("Closed", is_open=False)],
        )
        return person_id

    def mail(self, person_id: UUID) -> UUID:
        """Let somebody wait for a mail with a link."""
        self.conn.execute(
            "select public.enqueue_mail('recovery', email) from public.profiles where id = %s",
            [person_id],
        )
        return one(self.conn, "select id from automatch.mails order by requested_at desc limit 1")

    def scheduled(self) -> str:
        """Return the name of a cron job."""
        self.conn.execute("select cron.schedule('mine', '* * * * *', 'select 1')")
        return "mine"

    def with_model(self, settings: Settings) -> Settings:
        """Put another model into the data folder."""
        if not (settings.home / "models.toml").exists():
            add_model(settings.home, "other", tiny_model(48, side=150), dimensions=48)
        return settings

    def change_model(self, state: str) -> None:
        """Bring a change of the model to a state, and do what workers do for it."""
        found = "select state from public.get_model_change()"
        if one(self.conn, found) is None:
            model_change.begin(self.conn, "other", 48)
        model_change.see_all(self.conn, model="other", dimensions=48)
        if state == "active" != one(self.conn, found):
            model_change.finish(self.conn)
        model_change.follow(self.conn)
        self.conn.execute("delete from automatch.audit_log where actor = 'test'")


@dataclass(frozen=True)
class Desk(Registry):
    """What an operator's services need, and the owner's connection to look at the outcome."""

    db: Pool
    conn: psycopg.Connection
    links: LinkDelivery
    tokens: Tokens
    photos: AnyPhoto
    erasing: Erasures
    settings: Settings
    schedule_dsn: str

    def operator(self, role: OperatorRole, *, has_entered_password: bool = True) -> Operator:
        """Return somebody with a role, who has just entered the password."""
        person_id = self.person(f"{role}@example.org")
        self.conn.execute(
            "insert into automatch.operators (profile_id, role) values (%s, %s)", [person_id, role]
        )
        entered_at = datetime.now(UTC) if has_entered_password else None
        claims = Claims(Role.AUTHENTICATED, person_id)
        return Operator(role, f"operator:{person_id}", person_id, entered_at, claims)

    def without_mail(self) -> Desk:
        return replace(self, links=replace(self.links, sends_mail=False))

    def session(self, person_id: UUID | None) -> UUID:
        """Sign somebody in."""
        return one(
            self.conn,
            "insert into auth.sessions (user_id) values (%s) returning id",
            person_id,
        )

    def named(self) -> set[str]:
        """Return the ids of all people whom entries of the audit log are about."""
        rows = self.conn.execute(
            "select object_id::text from automatch.audit_log"
            " union select unnest(automatch.people_of(details)) from automatch.audit_log"
        )
        return {row[0] for row in rows}

    def audited(self) -> list[tuple[str, str, UUID | None, str | None]]:
        """Return actor, act, object and reason of each entry of the audit log."""
        return self.conn.execute(
            "select actor, action, object_id, reason from automatch.audit_log order by id"
        ).fetchall()


@pytest.fixture
async def desk(
    database: Database, cluster: TestCluster, settings: Settings, tmp_path: Path
) -> AsyncIterator[Desk]:
    links = LinkDelivery(
        lambda: "https://match.example.org", AuthSettings(), sends_mail=True, are_ours=True
    )
    with connect(database.owner, autocommit=True) as conn:
        async with KeptDatabase(database.api, PoolSettings(), name="test") as db:
            settings.home.mkdir()
            yield Desk(
                db,
                conn,
                links,
                Tokens(cluster.secrets.jwt_secret, AuthSettings()),
                AnyPhoto(tmp_path, min_free_mb=0),
                make_erasures(settings, db, make_photos(settings)),
                settings.model_copy(update={"public_url": "https://match.example.org"}),
                database.schedule,
            )
