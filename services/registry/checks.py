"""What the doctor looks at in a registry, beside its log: backups, tokens, imports, witnesses."""

import asyncio
from datetime import timedelta
from pathlib import Path

from services import checks, doctor, follow_checks, ledger_checks
from services.doctor import Check, Finding, Findings, Patient, attention, well
from services.errors import Args, Misconfigured
from services.registry import backups, erased, reports_store, store
from services.registry.reports import MOST_WAITING
from services.registry.settings import Settings

BACKUP_WITHIN = timedelta(days=8)
LATELY = timedelta(days=7)
ANSWERED_WITHIN = timedelta(days=14)
BACKUP = "Run: python -m services.registry backup FILE"


async def backup(at: Patient[Settings]) -> Findings:
    """There is a backup, and it is not old."""
    try:
        last = backups.last(Path(at.settings.key_dir))
    except Misconfigured as failure:
        yield Finding("attention", failure.detail, failure.arguments, todo=BACKUP)
        return
    if last is None:
        yield attention("No backup is known.", todo=BACKUP)
        return
    args = {"since": doctor.since(last.at), "cursor": f"{last.epoch}.{last.size}"}
    if at.now() - last.at > BACKUP_WITHIN:
        yield attention("The last backup is of {since}, at {cursor}.", args, todo=BACKUP)
        return
    yield well("The last backup is of {since}, at {cursor}.", args)


async def erasures(at: Patient[Settings]) -> Findings:
    """What was erased is noted outside the database, so that no backup brings it back."""
    try:
        noted = erased.read(Path(at.settings.key_dir))
    except Misconfigured as failure:
        todo = "Bring this file back from its backup; until then restore nothing."
        yield Finding("broken", failure.detail, failure.arguments, todo=todo)
        return
    yield well("Erasures are noted: {count}.", doctor.count(noted))


async def tokens(at: Patient[Settings]) -> Findings:
    """Somebody can write."""
    async with at.moment() as conn:
        known = await store.tokens(conn)
    now = at.now()
    count = sum(t.revoked_at is None and (t.expires_at is None or t.expires_at > now) for t in known)
    if count:
        yield well("Tokens in force: {count}.", {"count": count})
        return
    todo = 'Run: python -m services.registry token add --role admin --name "..."'
    yield attention("No token is in force: nobody can write over HTTP.", todo=todo)


async def imports(at: Patient[Settings]) -> Findings:
    """The last import of each list has ended well."""
    async with at.moment() as conn:
        jobs = await store.last_jobs(conn, at.now() - LATELY)
    troubled = [job for job in jobs if job.confirm_needed is not None or job.state == "failed"]
    for job in troubled:
        args: Args = {
            "source": job.source,
            "since": doctor.since(job.created_at),
            "count": job.confirm_needed or 0,
        }
        if job.confirm_needed is not None:
            todo = "Look at its report, then import it again with --confirm {count} if that is meant."
            yield attention(
                "The list {source} of {since} would withdraw or close {count} places, and waits.",
                args,
                todo=todo,
            )
        else:
            todo = "Read its report at /imports, put the list right, and import it again."
            yield attention("The import of the list {source} of {since} failed.", args, todo=todo)
    if not troubled:
        yield well("No import waits for somebody or failed lately.")


async def reports(at: Patient[Settings]) -> Findings:
    """What people report is answered."""
    async with at.moment() as conn:
        waiting = await reports_store.waiting(conn)
    if waiting.since is None:
        yield well("No report waits for an answer.")
        return
    args: Args = {"count": waiting.count, "since": doctor.since(waiting.since)}
    what = "Reports that wait for an answer: {count}, the first since {since}."
    if waiting.count >= MOST_WAITING or at.now() - waiting.since > ANSWERED_WITHIN:
        yield attention(what, args, todo="Run: python -m services.registry reports list")
        return
    yield well(what, args)


async def witnesses(at: Patient[Settings]) -> Findings:
    """Those who keep what we signed can be asked for it."""
    urls = at.settings.witnesses
    looks = (follow_checks.at_address(at, alias=url, url=url, node=None) for url in urls)
    found = [finding for finding in await asyncio.gather(*looks) if finding is not None]
    for finding in found:
        yield finding
    if not urls:
        yield well("No witness is set: what a lost disk takes comes back from backups only.")
    elif not found:
        yield well("All witnesses answer: {count}.", doctor.count(urls))


CHECKS = (
    *checks.CHECKS,
    *ledger_checks.CHECKS,
    Check("backup", backup),
    Check("erasures", erasures),
    Check("tokens", tokens, ("migrations",)),
    Check("imports", imports, ("migrations",)),
    Check("reports", reports, ("migrations",)),
    Check("witnesses", witnesses),
)
