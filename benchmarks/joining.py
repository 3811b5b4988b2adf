"""How people join in a benchmark: an account, a profile and consent, over HTTP."""

from __future__ import annotations

from uuid import uuid4

import httpx2


async def join(client: httpx2.AsyncClient) -> dict[str, str]:
    """Return the headers of a new person of the school that is there at first, who has consented.

    Raises:
        httpx2.HTTPStatusError: the server refused a part of it.
    """
    account = {"email": f"{uuid4()}@example.org", "password": "correct horse battery staple"}
    answer = await client.post("/auth/v1/signup", json=account)
    answer.raise_for_status()
    headers = {"authorization": f"Bearer {answer.json()['access_token']}"}
    profile = {"name": "A", "school": "UIT", "gender": "female", "birth_date": "2000-02-29"}
    (await client.put("/api/profile", headers=headers, json=profile)).raise_for_status()
    text = (await client.get("/api/profile/consent", headers=headers)).json()
    consent = {"version": text["version"], "granted": True}
    (await client.put("/api/profile/consent", headers=headers, json=consent)).raise_for_status()
    return headers
