"""`automatch settings`: what it lists, and what it says of a change."""

from __future__ import annotations

import json
from functools import partial

from tests.support.command import call_command
from tests.support.postgres import Database, TestCluster


def test_setting_is_listed_changed_and_refused(cluster: TestCluster, database: Database) -> None:
    settings = partial(call_command, cluster.settings.home, "settings", DATABASE_URL=database.owner)
    changed = settings("set", "match_count", "10")
    refused = settings("set", "match_count", "1000")

    assert changed.stdout.startswith("match_count is 10; it was 20. Searches from now on")
    assert json.loads(settings("list", "--json").stdout)["match_count"] == 10
    assert (refused.returncode, "1 to 100" in refused.stderr) == (1, True)
    assert "Most matches of one search" in settings("list").stdout
