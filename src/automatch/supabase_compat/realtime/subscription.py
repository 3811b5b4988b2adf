"""What a channel subscribes to, and which changes match."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from automatch.errors.request import SubscriptionInvalidError
from automatch.supabase_compat.realtime.filter import Condition, parse_filter
from automatch.supabase_compat.realtime.table import TABLES, Table, to_json_value

_MAX_SUBSCRIPTIONS = 20
_ANY = "*"


@dataclass(frozen=True, slots=True)
class Change:
    """A written row, as the person may read it."""

    table: Table
    event: str
    row: Mapping[str, Any]
    at: datetime


@dataclass(frozen=True, slots=True)
class Subscription:
    """One `postgres_changes` of a channel."""

    id: int
    table: Table
    event: str
    conditions: tuple[Condition, ...]
    columns: tuple[str, ...]
    """The columns that are sent."""

    def matches(self, change: Change) -> bool:
        return (
            change.table is self.table
            and self.event in (_ANY, change.event)
            and all(condition.holds(change.row) for condition in self.conditions)
        )


def parse_subscription(asked: object, number: int) -> Subscription:
    """Return the subscription of an element of `config.postgres_changes`.

    Raises:
        SubscriptionInvalidError: it is not offered, or not understood.
    """
    if not isinstance(asked, dict) or asked.get("schema", "public") != "public":
        raise SubscriptionInvalidError("Only tables of the schema `public` can be subscribed to.")
    name, event = asked.get("table"), asked.get("event")
    table = TABLES.get(name) if isinstance(name, str) else None
    if table is None:
        raise SubscriptionInvalidError(f"Name one of the tables {', '.join(TABLES)}.")
    if not isinstance(event, str) or event.upper() not in {*table.events, _ANY}:
        events = " or ".join(sorted(table.events))
        raise SubscriptionInvalidError(f"Of {table.name} the event {events} can be subscribed to.")
    filter_text = asked.get("filter") or ""
    if not isinstance(filter_text, str):
        raise SubscriptionInvalidError("A filter is a text: `column=operator.value`.")
    selected = asked.get("select") or list(table.columns)
    if not isinstance(selected, list) or not {*map(str, selected)} <= {*table.columns}:
        columns = ", ".join(table.columns)
        raise SubscriptionInvalidError(f"Of {table.name} can be selected: {columns}.")
    return Subscription(
        number,
        table,
        event.upper(),
        parse_filter(filter_text, table.columns),
        tuple(map(str, selected)),
    )


def parse_subscriptions(config: object, first: int) -> list[tuple[Subscription, dict[str, Any]]]:
    """Return the subscriptions of a join, numbered from *first*, each with its reply to the client.

    Clients compare the reply with their request, so it is the request with its number.

    Raises:
        SubscriptionInvalidError: nothing, too much, or something that is not offered.
    """
    asked = config.get("postgres_changes") if isinstance(config, dict) else None
    if not isinstance(asked, list) or not 0 < len(asked) <= _MAX_SUBSCRIPTIONS:
        raise SubscriptionInvalidError(
            f"A channel subscribes to 1 to {_MAX_SUBSCRIPTIONS} `postgres_changes`; broadcast and "
            "presence are not offered."
        )
    presence = config.get("presence") if isinstance(config, dict) else None
    if isinstance(presence, dict) and presence.get("enabled"):
        raise SubscriptionInvalidError("Presence is not offered.")
    return [
        (parse_subscription(each, number), {**each, "id": number})
        for number, each in enumerate(asked, first)
    ]


def serialize_changes(
    change: Change, subscriptions: Sequence[Subscription]
) -> Iterator[dict[str, Any]]:
    """Yield the payloads of a change: one for each set of columns that is subscribed to."""
    ids: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for subscription in subscriptions:
        if subscription.matches(change):
            ids[subscription.columns].append(subscription.id)
    for columns, subscription_ids in ids.items():
        data = {
            "schema": "public",
            "table": change.table.name,
            "type": change.event,
            "commit_timestamp": change.at.astimezone(UTC).isoformat(),
            "columns": [
                {"name": name, "type": change.table.columns[name].value} for name in columns
            ],
            "record": {name: to_json_value(change.row[name]) for name in columns},
            "errors": None,
        }
        if change.event == "UPDATE":
            # Only the key of the old row, as with Postgres' default replica identity.
            data["old_record"] = {"id": to_json_value(change.row["id"])}
        yield {"ids": subscription_ids, "data": data}
