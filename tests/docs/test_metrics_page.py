"""docs/metrics.md, the dashboard and the alerts: they speak of what a server and a worker tell."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from PIL import ImageOps
from prometheus_client.metrics_core import Metric

from automatch.cli.main import COMMANDS
from automatch.errors import AutomatchError
from automatch.http.declaration import Access
from automatch.settings import Settings
from automatch.settings.limits import LimitSettings
from automatch.settings.storage import RetentionSettings
from automatch.settings.telemetry import MetricsSettings
from automatch.store.queue.queue import FailureAction
from automatch.vision import Embedder
from tests.support.metrics import TOKEN, WITH_TOKEN, parse, served_metrics, value
from tests.support.photos import astronaut, encode
from tests.support.postgres import DatabasePool, TestCluster
from tests.support.system import System, running_server, running_worker
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

_ROOT = Path(__file__).parents[2]
_DEPLOY = _ROOT / "deploy"
_TITLES = re.compile(r"^#+ (.+)$", re.MULTILINE)
_UNWATCHED = {
    "automatch_build_info",
    "automatch_database_pool_errors_total",
    "automatch_database_pool_max_connections",
    "automatch_database_pool_requests_total",
    "automatch_database_pool_wait_seconds_total",
    "automatch_jobs_held",
    "automatch_matches_found_total",
    "automatch_queue_paused_schools",
    "automatch_replica_reads_total",
    "automatch_schedule_last_run_failed",
    "automatch_search_audits",
    "automatch_worker_paused",
}
"""What says more once something is wrong."""
_PAGE = (_ROOT / "docs" / "metrics.md").read_text("utf-8")
_SCHOOL = "Canary School"
Told = dict[str, dict[str, Metric]]
"""By process, then by name."""


@pytest.fixture(scope="module")
async def told(
    cluster: TestCluster,
    database_pool: DatabasePool,
    tmp_path_factory: pytest.TempPathFactory,
    embedder: Embedder,
) -> AsyncIterator[Told]:
    """Give what server and worker tell once two people have met and two files were refused."""
    name = database_pool.take()
    database = cluster.address.named(name)
    settings = Settings(
        home=tmp_path_factory.mktemp("metrics") / "home",
        database_url=database.owner,
        retention=RetentionSettings(min_free_mb=0),
        limits=LimitSettings(enabled=False),
        metrics=MetricsSettings(token=TOKEN),
    )
    async with (
        running_server(settings, cluster.secrets, database) as system,
        running_worker(settings, cluster.secrets, embedder) as worker,
        served_metrics(worker.read_metrics, settings) as port,
    ):
        await _meet(system)

        async def of_worker() -> dict[str, Metric]:
            return parse(await port.get("/metrics", headers=WITH_TOKEN))

        async def has_counted() -> bool:
            return value(await of_worker(), "automatch_jobs_completed_total") == 2

        # What it commits is seen before it counts it.
        await until(has_counted)
        yield {
            "server": parse(await system.client.get("/metrics", headers=WITH_TOKEN)),
            "worker": await of_worker(),
        }
    database_pool.give_back(name)


async def _meet(system: System) -> None:
    her = await system.join("female", school=_SCHOOL)
    him = await system.join("male", school=_SCHOOL)
    await her.matched(encode(astronaut()))
    assert (await her.upload(b"no photo")).status_code == 415
    cut_off = encode(astronaut())[:20_000]
    assert (await her.matched(cut_off))["status"] == "failed"
    async with her.stream() as events:
        assert (await anext(events)).kind == "ready"
        await him.matched(encode(ImageOps.mirror(astronaut())))
        async for event in events:
            if event.kind == "match":
                return


async def test_metrics_tell_what_happened(told: Told) -> None:
    server, worker = told["server"], told["worker"]

    assert value(server, "automatch_uploads_total") == 3
    assert value(server, "automatch_upload_refusals_total", reason="image_type_unsupported") == 1
    assert value(server, "automatch_feed_delivery_seconds_count") >= 1
    assert value(server, "automatch_database_up") == value(worker, "automatch_database_up") == 1
    assert value(server, "automatch_workers") == 1
    assert value(server, "automatch_queue_jobs", status="pending") == 0
    assert value(server, "automatch_recent_jobs_completed") == 2
    assert value(server, "automatch_recent_jobs_failed", reason="image_damaged") == 1
    assert 0 < value(server, "automatch_recent_job_seconds", quantile="0.95") < 240
    assert value(server, "automatch_recent_search_p95_seconds", people="1000") >= 0
    assert value(worker, "automatch_jobs_claimed_total") == 3
    assert value(worker, "automatch_jobs_completed_total") == 2
    assert value(worker, "automatch_matches_found_total") == 1
    assert value(worker, "automatch_job_failures_total", reason="image_damaged", action="fail") == 1
    assert value(worker, "automatch_job_seconds_count") == 2
    for stage in ("decode", "detect", "embed", "search"):
        assert value(worker, "automatch_job_stage_seconds_count", stage=stage) >= 2


def _bounded() -> dict[str, set[str]]:
    """Return all values that each label can have."""
    return {
        "access": {each.value for each in Access},
        "status": {*(f"{digit}xx" for digit in range(1, 6)), "pending", "scheduled", "processing"},
        # What SQL alone knows has no class.
        "reason": _codes(AutomatchError) | {"worker_lost"},
        "action": {each.value for each in FailureAction},
        "stage": {"decode", "detect", "embed", "search", "wait", "analyze", "write"},
        "people": {"1000", "10000", "50000", "more"},
        "quantile": {"0.5", "0.95", "0.99"},
        "state": {"in_use", "idle", "waiting", "failed"},
        "kind": {"stream", "channel"},
        "folder": {"photos", "postgres"},
        "entry": {"process-match-jobs", "cleanup-match-jobs"},
    }


async def test_no_label_has_values_without_end(told: Told) -> None:
    for metrics in told.values():
        for family in metrics.values():
            for sample in family.samples:
                for label, found in sample.labels.items():
                    if label not in {"le", "version"}:
                        assert found in _bounded()[label], (sample.name, label)
    assert _SCHOOL not in str(told)


async def test_every_metric_is_on_the_page_with_its_labels(told: Told) -> None:
    rows = re.findall(r"^\| `(automatch_\w+)(?:\{(.+?)\})?` \| (\w+) \| ([\w, ]+) \|", _PAGE, re.M)
    described = {name: (kind, labels, told_by) for name, labels, kind, told_by in rows}

    assert len(described) == len(rows)
    assert {name for name, family in _families(told).items()} == set(described)
    for name, family in _families(told).items():
        kind, labels, told_by = described[name]
        assert kind == family.type, name
        assert told_by.split(", ") == [who for who in told if _plain(name) in told[who]], name
        used = {label for sample in family.samples for label in sample.labels} - {"le"}
        # What is empty here, such as cron jobs of a database without a schedule, has no labels.
        assert not used or used == set(filter(None, labels.split(", "))), name


@dataclass(frozen=True)
class Question:
    """An expression of PromQL, and where it stands."""

    place: str
    promql: str


def _alerts() -> list[dict[str, Any]]:
    told = yaml.safe_load((_DEPLOY / "prometheus" / "alerts.yml").read_text("utf-8"))
    return [rule for group in told["groups"] for rule in group["rules"]]


def _panels() -> list[dict[str, Any]]:
    board = json.loads((_DEPLOY / "grafana" / "automatch.json").read_text("utf-8"))
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def _questions() -> list[Question]:
    asked = [Question(rule["alert"], rule["expr"]) for rule in _alerts()]
    for panel in _panels():
        for target in panel["targets"]:
            # Which Grafana replaces by a duration.
            promql = target["expr"].replace("$__rate_interval", "5m")
            asked.append(Question(panel["title"], promql))
    return asked


def _parts(node: Any) -> Iterator[Any]:
    """Return an expression and all that it is made of."""
    yield node
    for name in ("expr", "lhs", "rhs", "vector_selector"):
        below = getattr(node, name, None)
        if below is not None:
            yield from _parts(below)
    for argument in getattr(node, "args", None) or ():
        yield from _parts(argument)


async def test_every_question_is_about_metrics_and_labels_that_are_told(
    told: Told, subtests: pytest.Subtests
) -> None:
    labels_of = _labels_by_sample(told)
    named: set[str] = set()
    for question in _questions():
        with subtests.test(question.place):
            parts = list(_parts(promql_parser.parse(question.promql)))
            selectors = [part for part in parts if isinstance(part, promql_parser.VectorSelector)]
            assert selectors
            known: set[str] = set()
            for selector in selectors:
                known |= labels_of[selector.name] | {"instance", "job", "le"}
                for matcher in selector.matchers.matchers:
                    _check_matcher(matcher, labels_of[selector.name])
            for part in parts:
                if isinstance(part, promql_parser.AggregateExpr) and part.modifier:
                    assert set(part.modifier.labels) <= known
            named |= {selector.name for selector in selectors}
    # What nobody looks at need not be told.
    watched = {re.sub("_(bucket|count|sum)$", "", name) for name in named}
    assert {*_families(told)} - watched <= _UNWATCHED


def _check_matcher(matcher: promql_parser.Matcher, labels: set[str]) -> None:
    assert matcher.name in labels | {"job"}
    if matcher.name in _bounded():
        values = matcher.value.split("|")
        assert {*values} <= _bounded()[matcher.name], matcher


def _labels_by_sample(told: Told) -> dict[str, set[str]]:
    # Prometheus itself tells of each scrape whether it worked.
    labels: dict[str, set[str]] = {"up": set()}
    rows = re.findall(r"^\| `(automatch_\w+)(?:\{(.+?)\})?` \| (\w+)", _PAGE, re.M)
    for name, used, kind in rows:
        for end in ("_bucket", "_count", "_sum") if kind == "histogram" else ("",):
            labels[name + end] = set(filter(None, used.split(", ")))
    for family in told["server"].values():
        if family.name.startswith("process_"):
            labels |= {sample.name: set(sample.labels) for sample in family.samples}
    return labels


def test_every_alert_says_what_to_do_and_where_that_is_explained() -> None:
    assert len(_alerts()) == len({rule["alert"] for rule in _alerts()}) > 15
    for rule in _alerts():
        assert set(rule["annotations"]) == {"summary", "description", "runbook"}
        assert rule["labels"]["severity"] in {"critical", "warning"}
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        text = (_ROOT / page).read_text("utf-8")
        assert not anchor or anchor in {_anchor(title) for title in _TITLES.findall(text)}, rule
        for command in re.findall(r"`automatch ([\w ]+)", rule["annotations"]["description"]):
            assert command.split()[0] in COMMANDS, command


def test_panels_have_titles_units_and_say_what_they_show() -> None:
    for panel in _panels():
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
    places = [panel["gridPos"] for panel in _panels()]
    covered = [
        (place["x"] + dx, place["y"] + dy)
        for place in places
        for dx in range(place["w"])
        for dy in range(place["h"])
    ]
    assert len(covered) == len(set(covered))


def _anchor(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _families(told: Told) -> dict[str, Metric]:
    """Return the metrics of both by the names under which Prometheus has them."""
    return {
        f"{name}_total" if family.type == "counter" else name: family
        for metrics in told.values()
        for name, family in metrics.items()
        if name.startswith("automatch_")
    }


def _plain(name: str) -> str:
    return name.removesuffix("_total")


def _codes(kind: type[AutomatchError]) -> set[str]:
    return {kind.code}.union(*(_codes(below) for below in kind.__subclasses__()))
