"""States that no committed transaction may leave, in whatever order things happen."""

from __future__ import annotations

import psycopg

FORBIDDEN_STATES = {
    "a card whose match is gone": """
        select from automatch.feed_entries as e
        where e.match_id is not null
          and not exists (select from public.matches as m where m.id = e.match_id)
    """,
    "a card that one of the two lacks": """
        select from automatch.feed_entries as e
        where e.match_id is not null and not exists (
            select from automatch.feed_entries as o
            where o.profile_id = e.other_profile_id and o.other_profile_id = e.profile_id
              and o.match_id = e.match_id
        )
    """,
    "a match that no card shows, nor a better one of the two": """
        select from public.matches as m
        where not exists (
            select from automatch.feed_entries as e
            join public.matches as shown on shown.id = e.match_id
            where e.profile_id = m.profile_a_id and e.other_profile_id = m.profile_b_id
              and shown.similarity >= m.similarity
        )
    """,
    "a position above the counter": """
        select from automatch.feed_entries as e
        join automatch.feed_counters as h on h.profile_id = e.profile_id
        where e.position > h.last_position
    """,
    "an entry of a feed that is gone": """
        select from automatch.feed_entries as e
        where not exists (
            select from automatch.feed_counters as h where h.profile_id = e.profile_id
        )
    """,
    "a face without consent": """
        select from public.faces as f where not automatch.has_consent(f.profile_id)
    """,
    "a face that can be found and must not, or the other way round": """
        select from (
            select e.model, f.id, p.school, p.gender from public.faces as f
            join public.profiles as p on p.id = f.profile_id
            join public.face_embeddings as e on e.face_id = f.id
            where p.discoverable
        ) as meant
        full join public.face_index as i on (i.model, i.face_id, i.school, i.gender)
            = (meant.model, meant.id, meant.school, meant.gender)
        where meant.id is null or i.face_id is null
    """,
    "a search copy of another embedding": """
        select from public.face_index as i
        join public.face_embeddings as e on e.model = i.model and e.face_id = i.face_id
        where i.embedding <> e.embedding::halfvec
    """,
    "two open jobs of a photo": """
        select from public.match_jobs as j
        where j.status in ('pending', 'processing') group by j.face_id having count(*) > 1
    """,
    "a job that can be claimed although its school is paused": """
        select from public.match_jobs as j
        join automatch.paused_schools as s on s.school = j.school
        where j.status = 'pending' and not j.scheduled
    """,
    "a job that waits for the end of a pause that has ended": """
        select from public.match_jobs as j
        where j.status = 'pending' and j.run_at = 'infinity'
          and not exists (select from automatch.paused_schools as s where s.school = j.school)
    """,
    "a job that no claim would find": """
        select from public.match_jobs as j
        where j.status = 'pending' and j.position is null and not j.scheduled
    """,
    "a job of nobody's photo": """
        select from public.match_jobs as j join public.faces as f on f.id = j.face_id
        where f.profile_id <> j.user_id
    """,
}


def find_forbidden_states(conn: psycopg.Connection) -> list[str]:
    """Return the names of the forbidden states that the database is in."""
    return [name for name, query in FORBIDDEN_STATES.items() if conn.execute(query).fetchone()]
