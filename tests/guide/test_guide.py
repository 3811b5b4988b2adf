"""The deployment guide, followed to the letter on a fresh `automatch up`.

`guide.sql` holds its SQL, block by block; each block is run here, with the reader's own values in
place of the guide's (`YOUR_...`), and what the guide expects is asserted. Four places of the guide
cannot be followed as they stand; their tests begin with `test_corrected`. The success criteria
are tried by `automatch verify` here, one by one in `test_success_criteria.py`, and in two browsers
in `browser/test_two_people.py`; test 3 in supabase clients is in `test_clients.py`.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
from PIL import ImageOps

from automatch.settings.server_address import LEADING_SERVER
from automatch.sql.statements import parse_queries
from automatch.worker import on_demand
from automatch.worker.on_demand import start_worker_process
from tests.support.command import call_command, running_up
from tests.support.homes import StoredHome
from tests.support.patience import patience
from tests.support.photos import astronaut, blank_png, encode
from tests.support.postgres import Database, TestCluster, remove_home
from tests.support.scheduling import eventually, running_schedule
from tests.support.system import PASSWORD, System
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(180)

_FOLDER = Path(__file__).parent
_GUIDE = _FOLDER.parents[2] / "shared" / "guide.md"
BLOCKS = parse_queries(_FOLDER / "guide.sql")


def statements(block: str, **values: str) -> list[str]:
    """Return the statements of a block, with the reader's values filled in."""
    text = BLOCKS[block]
    for placeholder, value in values.items():
        assert placeholder in text
        text = text.replace(placeholder, value)
    # A semicolon inside of $$ ... $$ ends no statement.
    parts = re.split(r"((?:[^;$]|\$\$.*?\$\$)+;)", text, flags=re.DOTALL)
    return [part for part in parts if _bare(part)]


def _bare(text: str) -> str:
    return " ".join(re.sub(r"--[^\n]*", "", text).split())


@dataclass(frozen=True)
class Site:
    """A running Auto-Match, and the people who follow the guide on it."""

    home: Path
    url: str
    dsn: str
    service_key: str
    anon_key: str
    tokens: tuple[str, str]
    """Of a woman and a man of one school."""

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement as an SQL editor does: on a connection of its own, as the superuser."""
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            cursor = conn.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def columns(self, statement: str) -> list[str]:
        with psycopg.connect(self.dsn) as conn:
            return [column.name for column in conn.execute(statement.encode()).description or ()]

    def response(self, request: int) -> tuple[Any, ...]:
        """Return status and content of the answer to a request of net.http_post."""
        query = f"select status_code, content, error_msg from net._http_response where id={request}"
        return wait_until(lambda: self.ask(query), "an answer")[0]


def _join(url: str, email: str, gender: str) -> str:
    with httpx2.Client(base_url=url, timeout=60) as client:
        told = client.post("/auth/v1/signup", json={"email": email, "password": PASSWORD}).json()
        client.headers["authorization"] = f"Bearer {told['access_token']}"
        profile = {"name": "P", "school": "UIT", "gender": gender, "birth_date": "2000-02-29"}
        client.put("/api/profile", json=profile).raise_for_status()
        version = client.get("/api/profile/consent").json()["version"]
        consent = {"version": version, "granted": True}
        client.put("/api/profile/consent", json=consent).raise_for_status()
        return str(told["access_token"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, migrated_home: StoredHome) -> Iterator[Site]:
    home = migrated_home.copy_to(tmp_path_factory.mktemp("guide") / "home")

    def told(*arguments: str) -> str:
        return call_command(home, *arguments).stdout.strip()

    with running_up(home) as up:
        up.wait_for_first("schedule runs")
        yield Site(
            home,
            up.url,
            told("db", "url"),
            told("token", "--role", "service_role"),
            told("token", "--role", "anon"),
            (_join(up.url, "a@example.org", "female"), _join(up.url, "b@example.org", "male")),
        )
    remove_home(home)


def curl(*arguments: str) -> str:
    if shutil.which("curl") is None:
        pytest.skip("the guide asks with curl")
    return subprocess.run(
        ["curl", "-s", *arguments], capture_output=True, text=True, check=True, timeout=60
    ).stdout


def upload(site: Site, who: int, photo: bytes, folder: Path) -> str:
    """Upload as the guide's test 1 does; return what curl prints."""
    (folder / "photo.jpg").write_bytes(photo)
    return curl(
        *("-w", " %{http_code}", "-X", "POST", f"{site.url}/api/faces"),
        *("-H", f"Authorization: Bearer {site.tokens[who]}"),
        *("-F", f"file=@{folder / 'photo.jpg'}"),
    )


def test_step_1_both_jobs_are_there(site: Site) -> None:
    [statement] = statements("verify_migration")
    jobs = [dict(zip(site.columns(statement), row, strict=True)) for row in site.ask(statement)]

    assert {job["jobname"]: (job["schedule"], job["active"]) for job in jobs} == {
        "process-match-jobs": ("* * * * *", True),
        "cleanup-match-jobs": ("0 3 * * *", True),
    }
    assert all(
        f"'{LEADING_SERVER}/functions/" in j["command"] for j in jobs if "post" in j["command"]
    )


def test_steps_2_and_3_make_a_job_that_works_with_the_key_of_the_setting(site: Site) -> None:
    unschedule, schedule = statements(
        "set_url", **{"https://YOUR_PROJECT_REF.supabase.co": site.url}
    )
    set_key, verify = statements("set_key", YOUR_SERVICE_ROLE_KEY_HERE=site.service_key)

    assert site.ask(unschedule) == [(True,)]
    [(job,)] = site.ask(schedule)
    assert isinstance(job, int)
    site.ask(set_key)
    assert site.ask(verify) == [(site.service_key,)]

    # Once a second, so that nobody waits for a full minute.
    site.ask(f"select cron.alter_job({job}, schedule => '1 second')")
    ran = f"select status, return_message from cron.job_run_details where jobid = {job}"
    assert wait_until(lambda: site.ask(f"{ran} and end_time is not null"), "a run")[0] == (
        "succeeded",
        "1 row",
    )
    site.ask(f"select cron.alter_job({job}, schedule => '* * * * *')")
    answers = "select status_code, content::jsonb from net._http_response order by id"
    assert wait_until(lambda: site.ask(answers), "an answer")[0] == (
        200,
        {
            "success": True,
            "message": "No pending jobs",
            "processed": False,
            "matchCount": 0,
        },
    )


def test_1_photo_is_answered_202_and_its_job_waits(site: Site, tmp_path: Path) -> None:
    # The worker is quicker than whoever types the query.
    site.ask("select pause_match_jobs()")

    told = upload(site, 0, encode(astronaut()), tmp_path)

    assert told.endswith(" 202")
    assert '"message":"Photo uploaded! Matches generating in background..."' in told
    [statement] = statements("job_queued")
    [row] = site.ask(statement)
    assert dict(zip(site.columns(statement), row, strict=True))["status"] == "pending"
    site.ask("select resume_match_jobs()")


def test_2_status_changes_and_matches_are_there(site: Site, tmp_path: Path) -> None:
    assert upload(site, 1, encode(ImageOps.mirror(astronaut())), tmp_path).endswith(" 202")
    [changed], [matches] = statements("status_changed"), statements("matches_created")

    rows = wait_until(
        lambda: [row for row in site.ask(changed) if row[1] == "completed" and row[3]][1:],
        "both completed",
    )

    assert rows
    assert 1 <= len(site.ask(matches)) <= 20


def test_4_function_answers_the_service_key_in_the_shape_of_the_guide(site: Site) -> None:
    told = curl(
        *("-i", "--location", "--request", "POST"),
        f"{site.url}/functions/v1/match-generator",
        *("--header", f"Authorization: Bearer {site.service_key}"),
        *("--header", "Content-Type: application/json"),
        *("--data", '{"source":"manual_test"}'),
    )

    assert told.startswith("HTTP/1.1 200")
    [body] = re.findall(r"^\{.*\}$", told, re.MULTILINE)
    assert re.fullmatch(
        r'\{"success":true,"message":"(Matches generated successfully|No pending jobs)",'
        r'"processed":(true|false),"matchCount":\d+\}',
        body,
    )


def test_corrected_4_the_anon_key_is_told_which_key_to_use(site: Site) -> None:
    told = curl(
        *("-i", "--location", "--request", "POST"),
        f"{site.url}/functions/v1/match-generator",
        *("--header", f"Authorization: Bearer {site.anon_key}"),
        *("--header", "Content-Type: application/json"),
        *("--data", '{"source":"manual_test"}'),
    )

    assert told.startswith("HTTP/1.1 403")
    assert "automatch token --role service_role" in told


def test_monitoring_queries_show_what_happened(site: Site) -> None:
    statuses, recent, failed, average, jobs, runs = statements("monitoring")

    assert site.ask(statuses) == [("completed", 2)]
    assert site.columns(recent)[-1] == "processing_time"
    assert all(row[-1].total_seconds() < 60 for row in site.ask(recent))
    assert site.ask(failed) == []
    assert 0 < float(site.ask(average)[0][0]) < 60
    assert {"process-match-jobs", "cleanup-match-jobs"} <= {row[-1] for row in site.ask(jobs)}
    shown = dict(zip(site.columns(runs), site.ask(runs)[0], strict=True))
    assert shown["status"] in {"running", "succeeded"}
    assert shown["start_time"] is not None


def test_stuck_jobs_are_looked_into(site: Site) -> None:
    job, key, trigger = statements("stuck", **{"https://YOUR_PROJECT.supabase.co": site.url})

    assert len(site.ask(job)) == 1
    assert site.ask(key) == [(site.service_key,)]
    # The guide's call carries no key: it shows that the address is right, and no more.
    [(request,)] = site.ask(trigger)
    status, content, _ = site.response(request)
    assert (status, "token_missing" in content) == (401, True)


def test_reason_of_a_failed_job_is_in_the_table(site: Site, tmp_path: Path) -> None:
    assert upload(site, 0, blank_png(400, 400), tmp_path).endswith(" 202")
    [statement] = statements("why_failed")

    [(_, message)] = wait_until(lambda: site.ask(statement), "a failed job")

    assert "No face" in message


def test_filters_of_a_person_without_matches_are_shown(site: Site) -> None:
    [(user,)] = site.ask("select id from auth.users where email = 'b@example.org'")
    mine, others = statements("no_matches", USER_ID=str(user))

    assert site.ask(mine) == [("UIT", "male")]
    assert site.ask(others) == [(1,)]


def test_every_30_seconds_is_taken_as_it_is_meant(site: Site) -> None:
    unschedule, schedule = statements("every_30_seconds", **{"$$ ... $$": "$$ select 1 $$"})

    assert site.ask(unschedule) == [(True,)]
    [(job,)] = site.ask(schedule)

    line = statements("more_often")[0].split("--")[0].strip().strip("'")
    assert site.ask(f"select schedule from cron.job where jobid = {job}") == [(line,)]
    shown = call_command(site.home, "schedule").stdout
    assert re.search(r"process-match-jobs\s+\*/30 \* \* \* \* \*\s+\S+ \S+:[03]0\s", shown), shown


def test_corrected_30_seconds_are_written_so_that_pg_cron_reads_them_too(site: Site) -> None:
    shown = call_command(site.home, "schedule", "--every", "30s").stdout

    assert "30 seconds" in shown
    query = "select schedule from cron.job where jobname = 'process-match-jobs'"
    assert site.ask(query) == [("30 seconds",)]


@pytest.mark.parametrize("block", ["lower_threshold", "higher_threshold"])
def test_threshold_is_tuned(site: Site, block: str) -> None:
    wanted = re.search(r"match_threshold: ([\d.]+)", BLOCKS[block])
    assert wanted is not None

    done = call_command(site.home, "threshold", wanted[1])

    assert done.returncode == 0, done.stderr
    assert site.ask("select threshold from match_settings") == [(float(wanted[1]),)]


def test_corrected_search_is_tuned_on_the_embeddings_of_the_model_in_use(site: Site) -> None:
    alter, drop, create = statements("vector_search")
    # The index lies on the partition of a model, whose column has no length of its own.
    corrected = create.replace("ON faces", "ON face_embeddings_dlib").replace(
        "(embedding vector_cosine_ops)", "((embedding::vector(128)) vector_cosine_ops)"
    )
    assert corrected != create
    with psycopg.connect(site.dsn) as conn:
        conn.execute(corrected.encode())
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="ef_search"):
            conn.execute(alter.encode())
        conn.rollback()

    with pytest.raises(psycopg.errors.UndefinedObject):
        site.ask(drop)
    assert call_command(site.home, "tune", "--ef-search", "100").returncode == 0


def test_several_jobs_may_start_matching(site: Site) -> None:
    command = "automatch.match_generator_command('http://127.0.0.1:9/')"
    for statement in statements("several_workers", **{"...": f"'* * * * *', {command}"}):
        assert isinstance(site.ask(statement)[0][0], int)


def test_success_criteria_all_have_a_tick(site: Site) -> None:
    with patience():
        done = call_command(site.home, "verify", "--url", site.url, "--json")

    told = json.loads(done.stdout)
    assert done.returncode == 0, told
    assert {one["outcome"] for one in told["criteria"]} == {"met"}
    assert len(told["criteria"]) >= 7


def test_every_block_of_the_guide_is_followed_here() -> None:
    if not _GUIDE.exists():
        pytest.skip("../shared/guide.md is not there")
    blocks = re.findall(r"^```sql\n(.*?)^```", _GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    known = {_bare(block) for block in BLOCKS.values()}
    indented = re.findall(r"^ +```sql\n(.*?)^ +```", _GUIDE.read_text(), re.M | re.DOTALL)

    assert len(blocks) >= 15
    assert [block for block in [*blocks, *indented] if _bare(block) not in known] == []


@pytest.mark.anyio
async def test_2_passes_when_no_worker_runs(
    server: System, cluster: TestCluster, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = []

    async def start(*given: Any) -> asyncio.subprocess.Process:
        workers.append(await start_worker_process(*given))
        return workers[-1]

    monkeypatch.setattr(on_demand, "start_worker_process", start)
    server.settings.home.mkdir(parents=True, exist_ok=True)
    server.settings.home.chmod(0o700)
    shutil.copy2(cluster.settings.home / "secrets.json", server.settings.home)
    her, him = await server.join("female"), await server.join("male")
    await her.upload(encode(astronaut()))
    await him.upload(encode(ImageOps.mirror(astronaut())))

    async with running_schedule(database.schedule, local_url=server.url):
        # Of the minutes that the guide waits, one second.
        await eventually(
            database.owner,
            "select cron.alter_job(jobid, schedule => '1 second') from cron.job"
            " where jobname = 'process-match-jobs'",
        )
        await eventually(
            database.owner,
            "select 1 where 2 = (select count(*) from match_jobs where status = 'completed')",
        )
        [(content,)] = await eventually(
            database.owner,
            "select content::jsonb from net._http_response"
            " where content like '%%generated%%' order by id limit 1",
        )

    assert content["success"]
    assert content["processed"]
    assert len(await her.feed()) == 1
    assert {await worker.wait() for worker in workers} == {0}
