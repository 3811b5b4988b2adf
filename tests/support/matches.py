"""Matches without a worker, for tests of what happens to a match afterwards."""

from __future__ import annotations

from uuid import UUID, uuid4

import psycopg

from tests.support.postgres import Database

PERSON = """
    insert into public.profiles (id, name, school, gender, birth_date)
    values (%(id)s, %(name)s, %(school)s, 'male', '2000-02-29')
"""
CONSENT = """
    insert into public.biometric_consents (profile_id, action, text_version)
    select %(id)s, 'granted', t.version from public.consent_texts as t
"""
_FACE = """
    insert into public.faces (id, profile_id, image_path, image_sha256)
    values (%(face_id)s, %(id)s, left(%(face_id)s::text, 2) || '/' || %(face_id)s, %(sha256)s)
"""
_MATCH = """
    with written as (
        insert into public.matches (face_a_id, face_b_id, profile_a_id, profile_b_id, similarity)
        select least(a, b), greatest(a, b),
               case when a < b then me else other end, case when a < b then other else me end,
               %(similarity)s
        from (values (%(own_face_id)s::uuid, %(face_id)s::uuid, %(own_id)s::uuid, %(id)s::uuid))
            as pair (a, b, me, other)
        returning id
    )
    select automatch.publish_matches(array(select id from written))
"""

_PAIR = """
    with side as (
        select id, profile_id, row_number() over (order by id) as number
        from public.faces where id = any (%(faces)s::uuid[])
    ),
    written as (
        insert into public.matches (face_a_id, face_b_id, profile_a_id, profile_b_id, similarity)
        select a.id, b.id, a.profile_id, b.profile_id, %(similarity)s
        from side as a join side as b on a.number = 1 and b.number = 2
        returning id
    )
    select automatch.publish_matches(array(select id from written))
"""


async def add_own_face(database: Database, person_id: str) -> UUID:
    """Give a person a face that nothing has looked at."""
    face_id = uuid4()
    async with await psycopg.AsyncConnection.connect(database.owner) as conn:
        await conn.execute(_FACE, {"id": person_id, "face_id": face_id, "sha256": face_id.hex * 2})
    return face_id


async def add_matches(
    database: Database,
    person_id: str,
    own_face_id: UUID,
    count: int = 1,
    *,
    name: str = "Minh",
    school: str = "UIT",
) -> list[UUID]:
    """Put *count* new men into a woman's feed, each in a transaction of its own."""
    faces = []
    async with (
        await psycopg.AsyncConnection.connect(database.owner, autocommit=True) as conn,
        conn.pipeline(),
    ):
        for _ in range(count):
            face_id = uuid4()
            values = {
                "id": uuid4(),
                "face_id": face_id,
                "name": name,
                "school": school,
                "sha256": face_id.hex * 2,
                "own_id": person_id,
                "own_face_id": own_face_id,
                "similarity": 0.8,
            }
            async with conn.transaction():
                for statement in (PERSON, CONSENT, _FACE, _MATCH):
                    await conn.execute(statement, values)
            faces.append(face_id)
    return faces


async def match_faces(
    database: Database, one: object, other: object, *, similarity: float = 0.8
) -> None:
    """Match the faces of two people who have accounts."""
    async with await psycopg.AsyncConnection.connect(database.owner) as conn:
        await conn.execute(_PAIR, {"faces": [one, other], "similarity": similarity})


async def faces_in_feed(database: Database, person_id: str) -> set[str]:
    """Return the faces of other people in a person's feed, as the database has them."""
    async with await psycopg.AsyncConnection.connect(database.owner) as conn:
        cursor = await conn.execute(
            "select f.id::text from automatch.feed_entries as e"
            " join public.faces as f on f.profile_id = e.other_profile_id"
            " where e.profile_id = %s and e.match_id is not null",
            [person_id],
        )
        return {row[0] for row in await cursor.fetchall()}
