"""The doctor of a registry: quiet on a healthy node, and plain about each fault that is really made."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import asyncpg
import msgspec
import pytest

from demo.process import free_port
from demo.rabbitmq import Vhost
from services import keyring, ledger, ledger_checks, merkle, signing
from services.doctor import Check
from services.registry import app, backups, checks, erased, erasing
from services.registry.__main__ import main
from services.registry.settings import Settings
from tests.conftest import Federation
from tests.doctors import english, environ, findings, healthy_registry, run, settled, sql, visit
from tests.engines import Broker
from tests.federation.impostor import Impostor
from tests.nodes import Registry, eventually

Fault = Callable[[Registry], Awaitable[None]]
LOG, RECORDS = Check("log", ledger_checks.log), Check("records", ledger_checks.records)


@pytest.fixture
async def node(federation: Federation) -> Registry:
    """A registry in good health."""
    return await healthy_registry(federation, places=4)


def key_file(node: Registry) -> Path:
    """The file of the key that signs."""
    (file,) = Path(node.settings.key_dir).glob("*.key")
    return file


@pytest.mark.parametrize("words", [(), ("--deep",)])
async def test_a_healthy_registry_has_nothing_to_say(node: Registry, words: tuple[str, ...]) -> None:
    """Each check says one line that all is well, and the exit code is 0."""
    seen = await visit(main, settled(node), *words)
    assert seen.troubles == {}
    assert seen.code == 0
    assert [line.check for line in seen.report.findings] == ["settings", *(c.name for c in checks.CHECKS)]
    assert not any(line.todo for line in seen.report.findings)


async def test_a_registry_without_identity_is_told_the_command(database_url: str, tmp_path: Path) -> None:
    """Where the tables are there and no node is, one command is named, and nothing is said of its log."""
    settings = Settings(database_url=database_url, key_dir=str(tmp_path / "keys"), port=free_port())
    async with app.database(settings):
        pass
    seen = await visit(main, settings)
    assert seen.troubles["identity"] == "broken"
    assert "key init --root-key FILE" in seen.told("identity")
    for name in ("keys", "log", "hold"):
        assert name in seen.told("skipped")


async def lost(node: Registry) -> None:
    key_file(node).unlink()


async def spoilt(node: Registry) -> None:
    key_file(node).write_text("{}")


async def exchanged(node: Registry) -> None:
    shutil.copy(Path(node.settings.key_dir).parent / "elsewhere" / "root.key", key_file(node))


async def open_to_all(node: Registry) -> None:
    key_file(node).chmod(0o644)


@pytest.mark.parametrize(
    ("fault", "mark", "said"),
    [
        (lost, "broken", "There is no key at"),
        (spoilt, "broken", "does not hold a key"),
        (exchanged, "broken", "holds another key"),
        (open_to_all, "attention", "Run: chmod 600 "),
    ],
)
async def test_a_key_that_is_not_as_it_should_be(node: Registry, fault: Fault, mark: str, said: str) -> None:
    """A key that is lost, spoilt, exchanged or open to all is told, with its path and never its secret."""
    seed = msgspec.json.decode(key_file(node).read_bytes())["seed"]
    await fault(node)
    seen = await visit(main, settled(node))
    assert seen.troubles["keys"] == mark
    assert said in seen.told("keys")
    assert node.settings.key_dir in seen.told("keys")
    assert seed not in seen.output


async def test_a_root_key_beside_the_online_keys(node: Registry) -> None:
    """The proof of who the network is should not lie on the machine that everybody reaches."""
    folder = Path(node.settings.key_dir)
    root = folder.parent / "elsewhere" / "root.key"
    for there in (folder / "root.key", folder / "copie.txt", folder.parent / "root.key"):
        shutil.copy(root, there)
        seen = await visit(main, settled(node))
        assert seen.troubles == {"root-key": "attention"}
        assert str(there) in seen.told("root-key")
        assert msgspec.json.decode(root.read_bytes())["seed"] not in seen.output
        there.unlink()
    keyring.make(folder / "of-another-node.key")
    assert (await visit(main, settled(node))).troubles == {}


async def test_settings_that_nobody_is_told(node: Registry) -> None:
    """Settings and descriptor that differ are named, with the command; passwords in them are not printed."""
    url = "amqp://lecture:s3cr3t@exemple.fr/x"
    seen = await visit(main, settled(node, name="Autre nom", amqp_public_url=url))
    assert seen.troubles == {"descriptor": "attention"}
    assert "MAILLAGE_REGISTRY_NAME is Autre nom, and everybody goes by Réseau." in seen.told("descriptor")
    assert "key update" in seen.told("descriptor")
    assert "MAILLAGE_REGISTRY_AMQP_PUBLIC_URL" in seen.told("descriptor")
    assert "s3cr3t" not in seen.output


async def test_a_chain_of_descriptors_that_does_not_hold(node: Registry) -> None:
    """A descriptor that was changed in the database proves nothing, and what leans on it is left."""
    await sql(node, "UPDATE ledger_descriptor SET raw = replace(raw, 'Réseau', 'Resean')")
    seen = await visit(main, settled(node))
    assert seen.troubles["chain"] == "broken"
    assert "log" in seen.told("skipped")


async def test_another_descriptor_than_the_log_goes_by(node: Registry) -> None:
    """A head that names a descriptor which is not the last one is told."""
    await sql(node, "UPDATE ledger_head SET descriptor = repeat('0', 64)")
    seen = await visit(main, settled(node))
    assert "another descriptor" in seen.told("chain")


@pytest.mark.parametrize("why", sorted(ledger.HOLDS))
async def test_a_log_on_hold_is_told_with_its_command(node: Registry, why: str) -> None:
    """While nothing may be written the reason and the one command are said, in French too."""
    await sql(node, "UPDATE ledger_head SET hold = $1", why)
    seen = await visit(main, settled(node))
    assert seen.troubles["hold"] == "broken"
    assert str(ledger.HOLDS[why].args["command"]) in seen.told("hold")
    assert "checkpoint" not in seen.troubles
    french = await visit(main, settled(node), LC_ALL="fr_FR.UTF-8")
    assert str(ledger.HOLDS[why].args["command"]) in french.told("hold")
    assert "Lancez" in french.told("hold") or "lancez" in french.told("hold")


async def test_a_service_that_signs_no_more(node: Registry) -> None:
    """A process that answers and has stopped signing looks dead to everybody."""
    connection = await asyncpg.connect(node.settings.database_url)
    await connection.execute("BEGIN; LOCK TABLE ledger_head IN SHARE ROW EXCLUSIVE MODE")
    try:

        async def told() -> bool:
            return (await visit(main, settled(node))).troubles.get("checkpoint") == "broken"

        await eventually(told)
    finally:
        await connection.close()


async def raw_flipped(node: Registry) -> None:
    await sql(node, "UPDATE ledger_event SET raw = set_byte(raw, 99, get_byte(raw, 99) # 1) WHERE seq = 2")


async def sig_flipped(node: Registry) -> None:
    await sql(node, "UPDATE ledger_event SET sig = set_byte(sig, 9, get_byte(sig, 9) # 1) WHERE seq = 2")


async def leaf_flipped(node: Registry) -> None:
    await sql(node, "UPDATE ledger_event SET leaf = set_byte(leaf, 9, get_byte(leaf, 9) # 1) WHERE seq = 2")


async def unknown_key(node: Registry) -> None:
    await sql(node, "UPDATE ledger_event SET kid = repeat('0', 16) WHERE seq = 2")


async def removed(node: Registry) -> None:
    await sql(node, "DELETE FROM ledger_event WHERE seq = 2")


async def end_removed(node: Registry) -> None:
    await sql(node, "DELETE FROM ledger_event WHERE seq = 4")


async def of_another_record(node: Registry) -> None:
    await sql(node, "UPDATE ledger_event SET record = record || 'x' WHERE seq = 2")


async def exchanged_events(node: Registry) -> None:
    await sql(node, "UPDATE ledger_event SET seq = 100 WHERE seq = 2")
    await sql(node, "UPDATE ledger_event SET seq = 2 WHERE seq = 3")
    await sql(node, "UPDATE ledger_event SET seq = 3 WHERE seq = 100")


async def unsigned(node: Registry) -> None:
    await sql(node, "DELETE FROM ledger_checkpoint")


async def peak_flipped(node: Registry) -> None:
    await sql(node, "UPDATE ledger_head SET peaks[1] = sha256('x')")


async def silently_erased(node: Registry) -> None:
    await sql(
        node,
        """WITH by AS (
               INSERT INTO ledger_erasure (record, raw, kid, sig)
               SELECT record, '{}', '', '' FROM ledger_event WHERE seq = 2 RETURNING id
           ) UPDATE ledger_event SET raw = '', sig = '', erasure = (SELECT id FROM by) WHERE seq = 2""",
    )


FLAWS = {
    raw_flipped: "Event 1.2 is not the one that was written.",
    sig_flipped: "The signature at 1.2 does not fit.",
    leaf_flipped: "Event 1.2 is not the one that was written.",
    unknown_key: "is not valid at 1.2",
    removed: "Events are missing after 1.1.",
    end_removed: "The log ends at 1.3, and should end at 1.4.",
    of_another_record: "Event 1.2 is kept as something else than it is.",
    exchanged_events: "stands at 1.2",
    unsigned: "There is no signature over the log.",
    peak_flipped: "is not the one that the node signed",
    silently_erased: "Event 1.2 was erased, and no event says so.",
}


@pytest.mark.parametrize("fault", FLAWS, ids=lambda f: f.__name__)
async def test_a_log_that_does_not_prove(node: Registry, fault: Fault) -> None:
    """Whatever is changed in the log behind the service's back is found, with its place and what to do."""
    await node.stop()
    await fault(node)
    found = (await findings(main, settled(node), LOG))["log"]
    assert {f.mark for f in found} == {"broken"}
    assert FLAWS[fault] in english(found)
    assert "python -m services.registry repair" in english(found)


async def test_old_events_are_proven_when_it_is_asked_for(
    node: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --deep the end of the log is proven; with it every event and the root over them."""
    monkeypatch.setattr(ledger_checks, "RECENT", 2)
    await node.stop()
    await raw_flipped(node)
    assert [f.mark for f in (await findings(main, settled(node), LOG))["log"]] == ["ok"]
    assert "Event 1.2" in english((await findings(main, settled(node), LOG, deep=True))["log"])


async def test_the_signature_over_the_log_is_over_what_the_head_says(
    node: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where only the end is walked over, the head must be the one that was signed."""
    monkeypatch.setattr(ledger_checks, "RECENT", 2)
    await node.stop()
    await peak_flipped(node)
    found = (await findings(main, settled(node), LOG))["log"]
    assert "The log up to 4 is not the one that the node signed." in english(found)


async def test_an_event_that_was_rewritten_with_our_own_key(
    node: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever holds the key can sign another event; only the root over all events tells that it is not the one."""
    monkeypatch.setattr(ledger_checks, "RECENT", 2)
    await node.stop()
    raw = (await sql(node, "SELECT raw FROM ledger_event WHERE seq = 2")).replace(b"Lieu", b"Mieu")
    signer = keyring.load(key_file(node))
    forged = "UPDATE ledger_event SET raw = $1, sig = $2, leaf = $3 WHERE seq = 2"
    await sql(node, forged, raw, signer.sign(signing.EVENT, raw), merkle.leaf(raw))
    assert [f.mark for f in (await findings(main, settled(node), LOG))["log"]] == ["ok"]
    found = (await findings(main, settled(node), LOG, deep=True))["log"]
    assert english(found).startswith("The log up to 4 is not the one that the node signed.")


async def test_an_event_that_was_erased_as_it_should_be_is_no_flaw(node: Registry) -> None:
    """An erased event is proven by the erase event that names its leaf."""
    record = await sql(node, "SELECT record FROM ledger_event WHERE seq = 2")
    assert await erasing.erased(node.settings, record, None) == 1
    assert await sql(node, "SELECT raw = '' FROM ledger_event WHERE seq = 2")
    for words in ((), ("--deep",)):
        assert (await visit(main, settled(node), *words)).troubles == {}


@pytest.mark.parametrize(
    "fault",
    [
        "UPDATE ledger_record SET version = version + 1 WHERE seq = 2",
        "UPDATE ledger_record SET leaf = sha256('x') WHERE seq = 2",
        "DELETE FROM ledger_record WHERE seq = 2",
        "INSERT INTO ledger_record SELECT record || 'x', bucket, 9, version, leaf FROM ledger_record WHERE seq = 2",
    ],
)
async def test_records_that_point_elsewhere(node: Registry, fault: str) -> None:
    """A record that does not point to its latest event is named."""
    record = await sql(node, "SELECT record FROM ledger_event WHERE seq = 2")
    await sql(node, fault)
    for deep in (False, True):
        found = (await findings(main, settled(node), RECORDS, deep=deep))["records"]
        assert {f.mark for f in found} == {"broken"}
        assert record in english(found)


async def test_a_public_address_where_nobody_or_somebody_else_answers(node: Registry) -> None:
    """What everybody is told is asked: nobody there needs attention, another node there is broken."""
    nobody = f"http://127.0.0.1:{free_port()}"
    seen = await visit(main, settled(node, url=nobody))
    assert seen.troubles == {"addresses": "attention", "descriptor": "attention"}
    assert f"Nobody answers at {nobody}" in seen.told("addresses")
    other = Impostor("autre")
    other.says("/.well-known/maillage", lambda: msgspec.json.encode(other.chain[0]))
    async with other.serving():
        seen = await visit(main, settled(node, url=other.url))
    assert "answers another node" in seen.told("addresses")
    assert seen.troubles["addresses"] == "broken"


async def test_a_broker_that_is_away(federation: Federation, private_rabbitmq: Broker) -> None:
    """A broker that is stopped needs attention, as nothing is lost; its password is not printed."""
    corner = private_rabbitmq.vhost()
    node = await healthy_registry(federation, amqp_url=corner.url)

    async def quiet() -> bool:
        return not (await visit(main, settled(node))).troubles

    await eventually(quiet, 60)
    private_rabbitmq.kill()
    seen = await visit(main, settled(node))
    assert seen.troubles["broker"] == "attention"
    assert "nothing is lost" in seen.told("broker")
    assert seen.code == 1
    assert corner.password not in seen.output


async def test_a_broker_without_its_stream(federation: Federation, vhost: Vhost) -> None:
    """Where the exchange has never been made the doctor says so, and does not make it."""
    node = await healthy_registry(federation)
    for _ in range(2):
        seen = await visit(main, settled(node, amqp_url=vhost.url))
        assert seen.troubles == {"broker": "attention"}
        assert "The broker has no maillage.events." in seen.told("broker")


async def test_a_broker_that_does_not_know_us(federation: Federation, vhost: Vhost) -> None:
    """A wrong password is told without it."""
    node = await healthy_registry(federation)
    wrong = vhost.url.replace(vhost.password, "wr0ng-w0rd")
    seen = await visit(main, settled(node, amqp_url=wrong))
    assert seen.troubles == {"broker": "attention"}
    assert "MAILLAGE_REGISTRY_AMQP_URL" in seen.told("broker")
    assert "wr0ng-w0rd" not in seen.output


async def test_events_that_wait_for_the_broker(
    federation: Federation, vhost: Vhost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What no broker has confirmed for a while is counted."""
    monkeypatch.setattr(ledger_checks, "RELAYED_WITHIN", timedelta(0))
    node = await healthy_registry(federation, places=5)
    seen = await visit(main, settled(node, amqp_url=vhost.url))
    assert seen.troubles["relay"] == "attention"
    assert seen.told("relay").startswith("5 events wait for the broker")


async def test_backups_that_are_missing_old_or_unreadable(node: Registry, tmp_path: Path) -> None:
    """Without a backup of the last days the command is named; once it has been run, all is well."""
    marker = Path(node.settings.key_dir) / backups.NAME
    old = backups.Backup(at=ledger.clock() - timedelta(days=9), epoch=1, size=3)
    for content, said in (
        (None, "No backup is known."),
        (b"?", "does not say when"),
        (msgspec.json.encode(old), "The last backup is of"),
    ):
        marker.unlink(missing_ok=True)
        if content is not None:
            marker.write_bytes(content)
        seen = await visit(main, settled(node))
        assert seen.troubles == {"backup": "attention"}
        assert said in seen.told("backup")
        assert "python -m services.registry backup" in seen.told("backup")
    made = await run(main, environ("registry", node.settings), str(tmp_path / "node.gz"), command="backup")
    assert made.exit_code == 0, made.output
    seen = await visit(main, settled(node))
    assert seen.troubles == {}
    assert "The last backup is of 2" in seen.told("backup")
    assert "at 1.4." in seen.told("backup")


async def test_a_note_of_erasures_that_is_damaged(node: Registry) -> None:
    """What keeps erased content out of restored backups is looked at before it is needed."""
    (Path(node.settings.key_dir) / erased.NAME).write_bytes(b"?\n")
    seen = await visit(main, settled(node))
    assert seen.troubles == {"erasures": "broken"}
    assert "is damaged at line 1" in seen.told("erasures")


async def test_witnesses_that_do_not_answer(node: Registry) -> None:
    """A witness that is away cannot give back what was lost: one that answers is left in peace."""
    there, away = Impostor("témoin"), f"http://127.0.0.1:{free_port()}"
    async with there.serving():
        assert (await visit(main, settled(node, witnesses=(there.url,)))).troubles == {}
        seen = await visit(main, settled(node, witnesses=(there.url, away)))
    assert seen.troubles == {"witnesses": "attention"}
    assert away in seen.told("witnesses")
    assert there.url not in seen.told("witnesses")


@pytest.mark.parametrize("change", ["revoked_at = now()", "expires_at = now() - interval '1 day'"])
async def test_nobody_can_write(node: Registry, change: str) -> None:
    """Where no token is in force any more, the command is named; one that never expires is fine."""
    await sql(node, f"UPDATE token SET {change}")
    seen = await visit(main, settled(node))
    assert seen.troubles == {"tokens": "attention"}
    assert "token add" in seen.told("tokens")
    assert node.token not in seen.output


async def test_imports_that_wait_or_failed(node: Registry) -> None:
    """A list that would take places away waits for its operator; the next import of that list settles it."""
    rows = [f"Lieu importé {n};35000" for n in range(9)]
    full = "\n".join(["nom;code postal", *rows]).encode()
    await node.list_in(full, source="liste")
    assert (await visit(main, settled(node))).troubles == {}
    short = "\n".join(["nom;code postal", *rows[:2]]).encode()
    await node.list_in(short, source="liste", mode="preview")
    seen = await visit(main, settled(node))
    assert seen.troubles == {"imports": "attention"}
    assert "liste" in seen.told("imports")
    assert "--confirm 7" in seen.told("imports")
    await node.list_in(full, source="liste")
    assert (await visit(main, settled(node))).troubles == {}
    await sql(node, "UPDATE import SET state = 'failed' WHERE mode = 'apply'")
    assert "failed" in (await visit(main, settled(node))).told("imports")
    await sql(node, "UPDATE import SET created_at = now() - interval '8 days'")
    assert (await visit(main, settled(node))).troubles == {}
