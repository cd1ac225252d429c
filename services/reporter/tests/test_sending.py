"""Reports reach real receivers, once; what does not reach them is told."""

import asyncio
import io
import json
import zipfile
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tidemill.common.bus.step import CommandRefused
from tidemill.common.bus.supervise import cancel
from tidemill.common.testing.receivers import http_answer, open_mailbox, open_postbox
from tidemill.reporter import preparing
from tidemill.reporter.forms import Form
from tidemill.reporter.render import render
from tidemill.reporter.render_apart import RenderingFailed
from tidemill.reporter.report import Report, Trust
from tidemill.reporter.retention import layers
from tidemill.reporter.store import insert_report

from .kit import World
from .post_office import DAY, MORNING, chat, hook, mail, open_office, report

pytestmark = pytest.mark.servers

SECRET = "canary-0123456789-0123456789"
ANNA, BELA = "anna@example.org", "bela@example.org"


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages and files are made elsewhere; here it is about the way."""

    async def quick(content: bytes, form: Form) -> bytes:
        if form is Form.MAIL:
            raise RenderingFailed("there is no page")
        return render(Report.from_json(content), form)

    monkeypatch.setattr(preparing, "render_apart", quick)
    monkeypatch.setattr("tidemill.reporter.sending.TRIES", 1)


def attached(mail: EmailMessage) -> dict[str, bytes]:
    return {str(part.get_filename()): part.get_payload(decode=True) for part in mail.iter_attachments()}  # type: ignore[misc]


async def test_a_report_is_mailed_with_its_pictures_and_files_that_open(
    world: World, nats_url: str, tmp_path: Path
) -> None:
    rule = {"to": ["operators"], "attach": ["pdf", "xlsx", "csv"]}
    async with open_mailbox() as box:
        named = {"operators": mail(box, ANNA, BELA)}
        async with open_office(world, nats_url, tmp_path, named, [rule]) as office:
            await office.store(report())
            assert await office.send_all() == 2
            kept = await world.sql("SELECT name, sha256, size_bytes FROM reporter.renderings ORDER BY 1")
    assert sorted(box.recipients) == [ANNA, BELA] and len(set(box.ids)) == 2
    for got in box.mails:
        assert str(got["Subject"]).startswith("[not to be trusted] Saturday, 28 November 2026: ")
        page = got.get_body(("html",))
        assert page is not None
        pictures = [part for part in got.walk() if part["Content-ID"]]
        assert pictures and all(str(part["Content-ID"])[1:-1] in page.get_content() for part in pictures)
        assert all(part.get_payload(decode=True).startswith(b"\x89PNG") for part in pictures)  # type: ignore[union-attr]
        files = attached(got)
        assert files[f"tidemill-day-{DAY}.pdf"].startswith(b"%PDF")
        assert b"<sheet " in zipfile.ZipFile(io.BytesIO(files[f"tidemill-day-{DAY}.xlsx"])).read("xl/workbook.xml")
        assert zipfile.ZipFile(io.BytesIO(files[f"tidemill-day-{DAY}.zip"])).testzip() is None
    assert {row.name for row in kept} >= files.keys()


async def test_what_is_not_committed_is_not_sent_and_what_is_goes_once(
    world: World, nats_url: str, tmp_path: Path, plain: None
) -> None:
    async with open_mailbox() as box:
        rules = [{"to": ["operators"]}, {"to": ["operators"], "recipients": [ANNA]}]
        async with open_office(world, nats_url, tmp_path, {"operators": mail(box, ANNA)}, rules) as office:
            with pytest.raises(RuntimeError):
                async with office.bus.transaction() as tx:
                    await insert_report(tx, report(), "")
                    await office.sending.announce(tx, report())
                    raise RuntimeError
            await office.store(report())
            await office.store(report(), new=False)
            await office.send_all()
            await office.send_all()
            assert await office.sendings("recipient", "state") == [("", "handed_over"), (ANNA, "handed_over")]
            await office.store(report(edition=2))
            await office.send_all()
    assert box.recipients == [ANNA, ANNA] and len(set(box.ids)) == 2
    first, second = box.mails
    assert first["References"] == second["References"] and "(corrected, edition 2)" in second["Subject"]
    assert "there is no page" not in first.get_content()


async def test_a_webhook_carries_the_report_and_a_chat_its_text(
    world: World, nats_url: str, tmp_path: Path, plain: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_postbox() as programs, open_postbox() as people:
        monkeypatch.setenv("CHAT_URL", people.url())
        named = {"programs": hook(programs), "people": chat(people)}
        async with open_office(world, nats_url, tmp_path, named, [{"to": ["programs", "people"]}]) as office:
            told = report()
            await office.store(told)
            await office.send_all()
            monkeypatch.setattr("tidemill.reporter.sending.CARRIED_BYTES", 10)
            monkeypatch.setattr("tidemill.reporter.letters.CARRIED_BYTES", 10)
            await office.store(report(edition=2))
            await office.send_all()
            large = json.loads(programs.posts[1].body)["data"]["facts"]
            kept = b"".join([piece async for piece in office.archive.read(large["sha256"])])
    post = programs.posts[0]
    body = json.loads(post.body)
    assert body["type"] == "report.day" and body["data"]["severity"] == "critical"
    facts = body["data"]["facts"]
    assert Report.from_json(json.dumps(facts["report"])) == told
    assert (facts["about"], facts["edition"], facts["corrected"], facts["verdict"]) == (DAY, 1, False, "untrusted")
    assert post.headers["webhook-signature"].startswith("v1,")
    assert "report" not in large and large["corrected"] and Report.from_json(kept).edition == 2
    assert told.summary in json.loads(people.posts[0].body)["attachments"][0]["text"].replace("\n", " ")


async def test_a_channel_that_is_down_falls_back_and_what_none_takes_is_told(
    world: World, nats_url: str, tmp_path: Path, plain: None
) -> None:
    async with open_mailbox() as box, open_postbox() as programs:
        programs.always = http_answer(503, b"down")
        box.answers = ["550 5.1.1 no such user"]
        named = {"programs": hook(programs, fallback="operators"), "operators": mail(box, ANNA, BELA)}
        async with open_office(world, nats_url, tmp_path, named, [{"to": ["programs"]}]) as office:
            await office.store(report())
            await office.send_all()
            assert (len(programs.posts), box.mails, await office.events()) == (1, [], [])
            while office.clock.time < MORNING + timedelta(minutes=11):
                office.clock.time += timedelta(seconds=5)
                await office.sending.deliveries.round()
            assert len(set(programs.keys)) == 1 and len(programs.posts) > 5
            down, unknown = await office.events()
            assert (down["channel"], down["reason"], down["said"]) == ("programs", "exhausted", "down")
            assert (down["about"], down["edition"], down["fallback"]) == (DAY, 1, "operators")
            assert (unknown["channel"], unknown["reason"]) == ("operators", "refused")
            assert "fallback" not in unknown or not unknown["fallback"]
            assert sorted([*box.recipients, unknown["recipient"]]) == [ANNA, BELA]
            programs.always = None
            answer = await office.ask(again_failed="true", about=f"day-{DAY}")
            # The fallback reached one of two: what the webhook gave up has arrived at somebody.
            assert [each["channel"] for each in answer.body["again"]] == ["operators"]
            assert answer.change.action == "report.send_again"
            await office.send_all()
    assert sorted(box.recipients) == [ANNA, BELA]


async def test_what_is_not_sent_is_kept_with_its_reason_until_it_goes(
    world: World, nats_url: str, tmp_path: Path, plain: None
) -> None:
    quiet = {"changes": (), "trust": Trust(verdict="trusted")}
    async with open_mailbox() as box:
        rule = {"to": ["operators"], "when": "if_something_changed"}
        async with open_office(world, nats_url, tmp_path, {"operators": mail(box, ANNA)}, [rule]) as office:
            await office.store(report(**quiet))
            early = report(subject="2026-11-29", day=MORNING.date())
            await office.store(early)
            assert await office.send_all() == 0
            assert await office.sendings("subject", "state", "reason") == [
                (DAY, "skipped", "nothing_changed"),
                ("2026-11-29", "skipped", "not_over"),
            ]
            office.clock.time += timedelta(days=1)
            await office.store(early, new=False)
            await office.store(report(**quiet), new=False)
            assert await office.send_all() == 1


async def test_what_cannot_be_rendered_is_tried_again_and_then_told_in_the_mail(
    world: World, nats_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(content: bytes, form: Form) -> bytes:
        raise RenderingFailed(f"No {form} could be made: no room")

    monkeypatch.setattr(preparing, "render_apart", fail)
    async with open_mailbox() as box:
        rule = {"to": ["operators"], "attach": ["xlsx"]}
        async with open_office(world, nats_url, tmp_path, {"operators": mail(box, ANNA)}, [rule]) as office:
            await office.store(report())
            await office.store(report(edition=2))
            for _ in range(2):
                assert await office.send_all() == 0
                office.clock.time += timedelta(seconds=31)
            assert await office.sendings("state", "attempts") == [("preparing", 2), ("preparing", 0)]
            for _ in range(3):
                await office.send_all()
                office.clock.time += timedelta(seconds=31)
    got, corrected = box.mails
    assert "corrected" in corrected["Subject"] and "corrected" not in got["Subject"]
    assert "(The attachment xlsx could not be made: No xlsx could be made: no room)" in got.get_content()
    assert report().summary.split(":")[0] in str(got["Subject"])


async def test_while_files_cannot_be_kept_reports_wait(
    world: World, nats_url: str, tmp_path: Path, plain: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_mailbox() as box:
        rule = {"to": ["operators"], "attach": ["csv"]}
        async with open_office(world, nats_url, tmp_path / "kept", {"operators": mail(box, ANNA)}, [rule]) as office:
            monkeypatch.setattr("tidemill.reporter.sending.LOOK_SECONDS", 0.05)
            (tmp_path / "kept").rename(tmp_path / "away")
            (tmp_path / "kept").write_text("no folder")
            await office.store(report())
            with capture_logs() as logged:
                task = asyncio.create_task(office.sending.run())
                while not logged:
                    await asyncio.sleep(0.01)
            assert logged[0]["event"] == "reports wait: their files cannot be kept now"
            (tmp_path / "kept").unlink()
            (tmp_path / "away").rename(tmp_path / "kept")
            while await office.sendings("state") != [("handed_over",)]:
                await asyncio.sleep(0.02)
            await cancel([task])
            assert await office.send_all() == 1
    assert list(attached(box.mails[0])) == [f"tidemill-day-{DAY}.zip"]


async def test_one_that_cannot_be_read_keeps_no_other_waiting_and_is_told(
    world: World, nats_url: str, tmp_path: Path, plain: None
) -> None:
    async with open_mailbox() as box:
        named, rules = {"operators": mail(box, ANNA)}, [{"to": ["operators"]}]
        async with open_office(world, nats_url, tmp_path, named, rules) as office:
            await office.store(report())
            await office.store(report(edition=2))
            await world.sql("UPDATE reporter.reports SET content = '{}' WHERE edition = 1")
            await office.send_all()
            (told,) = await office.events()
            assert (told["reason"], told["edition"]) == ("unsendable", 1) and "ValidationError" in told["said"]
    assert len(box.mails) == 1


async def test_somebody_sends_a_report_to_whom_they_like(
    world: World, nats_url: str, tmp_path: Path, plain: None
) -> None:
    async with open_mailbox() as box, open_postbox() as programs:
        named = {"operators": mail(box, ANNA), "nobody": mail(box), "programs": hook(programs)}
        rules = [{"to": ["operators"], "when": "if_unusual", "attach": ["csv"]}]
        async with open_office(world, nats_url, tmp_path, named, rules) as office:
            await office.store(report())
            await office.send_all()
            answer = await office.ask(about=DAY, to="operators,programs")
            assert [each["channel"] for each in answer.body["sent_to"]] == ["operators", "programs"]
            assert answer.change.target == f"day {DAY}, edition 1"
            await office.ask(about=DAY, to="operators,programs")  # The same command, once more.
            await office.send_all()
            assert (box.recipients, len(programs.posts)) == ([ANNA, ANNA], 1)
            office.clock.time += timedelta(minutes=1)
            by_rule = await office.ask(about=f"day-{DAY}", recipient=BELA)
            assert by_rule.body["sent_to"] == [{"channel": "operators", "recipient": BELA, "attach": ["csv"]}]
            await office.send_all()
            assert list(attached(box.mails[-1])) == [f"tidemill-day-{DAY}.zip"]
            for wrong, why in (
                ({"about": "2026-01-01"}, "there is no report of 2026-01-01"),
                ({"edition": "9"}, "edition 9"),
                ({"edition": "last"}, "an edition is a number"),
                ({"to": "operator"}, "did you mean operators"),
                ({"to": "nobody"}, "nobody names nobody"),
                ({"to": "programs", "recipient": ANNA}, "it is webhook, not mail"),
                ({"to": "nobody", "recipient": "A <a@b.org>"}, "is not a mail address"),
                ({"to": "operators", "attach": "mail"}, "'mail' does not go along"),
            ):
                with pytest.raises(CommandRefused, match=why):
                    await office.ask(**wrong)
            await office.store(report(kind="run", subject="demo-1"))
            with pytest.raises(CommandRefused, match=r"no rule of reporter\.send is for such a report; name a channel"):
                await office.ask(about="demo-1")


async def test_a_channel_that_went_meanwhile_is_told(world: World, nats_url: str, tmp_path: Path, plain: None) -> None:
    rules = [{"to": ["operators"]}]
    async with open_office(world, nats_url, tmp_path, {}, rules) as office:
        await office.store(report())
        await office.send_all()
        (told,) = await office.events()
        assert told["reason"] == "unsendable" and "no channel operators" in told["said"]
        assert (await office.sendings("state"))[0] == ("skipped",)


async def test_what_was_sent_goes_after_its_time_with_its_files(
    world: World, nats_url: str, tmp_path: Path, plain: None
) -> None:
    rule = {"to": ["operators"], "attach": ["csv", "xlsx"]}
    async with (
        open_mailbox() as box,
        open_office(world, nats_url, tmp_path, {"operators": mail(box, ANNA)}, [rule]) as office,
    ):
        await office.store(report())
        await office.send_all()
        layer = next(one for one in layers(office.archive) if one.name == "deliveries")
        later = MORNING + timedelta(days=1)
        (received,) = await world.sql("SELECT sha256 FROM reporter.renderings WHERE name LIKE '%.zip'")
        await world.sql(
            "INSERT INTO converter.documents (source, sha256, run, converter, converter_version, name, size_bytes,"
            " received_at) VALUES ('inbox', :sha256, 'r', 'c', '1', 'n', 1, now())",
            sha256=received.sha256,
        )
        async with office.bus.transaction() as tx:
            assert (await layer.find(tx, MORNING)).items == 0
            assert (await layer.find(tx, later)).items == 4
            assert await layer.remove(tx, later, 100) == 4
            assert await layer.remove(tx, later, 100) == 0
        left = [entry.sha256 async for entry in office.archive.list()]
    assert left == [received.sha256]
