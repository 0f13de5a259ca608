"""`doctor`: what is wrong with this node and what to do, in plain words. It looks, and changes nothing."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import unquote, urlsplit

import aiohttp
import click
import msgspec
from msgspec import Struct
from rich.console import Console
from rich.text import Text

from services import cli, doctor_store, fetching, ledger, logs, postgres
from services.errors import Args, Failure, Misconfigured
from services.languages import Language, say
from services.postgres import Connection, Migrations
from services.release import release

Mark = Literal["ok", "attention", "broken"]
CODES: dict[Mark, int] = {"ok": 0, "attention": 1, "broken": 2}
WITHIN = 10.0
# With `--deep` some checks walk over everything, which takes as long as it takes.
WITHIN_DEEP = 4 * 3600.0
# A node that is in trouble has few connections left.
AT_ONCE = 4
MOST_ANSWER = 1024 * 1024
LONGEST_REASON = 300
S = TypeVar("S")


class Finding(Struct, frozen=True):
    """What a check found. `what`, and `todo` (one command or sentence; empty where all is well), are messages."""

    mark: Mark
    what: str
    args: Args
    todo: str = ""


Findings = AsyncIterator[Finding]


def well(what: str, args: Args | None = None) -> Finding:
    """All is well here."""
    return Finding("ok", what, args or {})


def attention(what: str, args: Args | None = None, *, todo: str) -> Finding:
    """Somebody should do something, soon."""
    return Finding("attention", what, args or {}, todo)


def broken(what: str, args: Args | None = None, *, todo: str) -> Finding:
    """Something does not work now, or could not be looked at."""
    return Finding("broken", what, args or {}, todo)


class Patient(Generic[S]):
    """What is looked at: a service by its settings, whether it runs or not."""

    def __init__(
        self,
        service: str,
        settings: S,
        scripts: Migrations,
        client: aiohttp.ClientSession,
        *,
        deep: bool = False,
        now: Callable[[], datetime] = ledger.clock,
    ) -> None:
        self.service, self.settings, self.scripts, self.client = service, settings, scripts, client
        self.deep, self.now = deep, now
        self.prefix = f"MAILLAGE_{service.upper()}_"

    def moment(self) -> AbstractAsyncContextManager[Connection]:
        """One moment of the database, in which nothing can be changed."""
        url: str = self.settings.database_url  # type: ignore[attr-defined]
        return postgres.looking(url, doctor_store.NAME)

    async def get(self, url: str, most: int = MOST_ANSWER) -> tuple[int, bytes]:
        """Status and body of what answers at an address; ConnectionError where nothing usable does."""
        try:
            async with self.client.get(url, allow_redirects=False) as response:
                return response.status, await fetching.whole(response, most)
        except (aiohttp.ClientError, TimeoutError, ValueError, Failure) as error:
            raise ConnectionError(self.reason(error)) from error

    def reason(self, error: BaseException) -> str:
        """An error in a few words, without the passwords that are in the settings."""
        text = str(error) or type(error).__name__
        for secret in self._secrets():
            text = text.replace(secret, "***")
        return text[:LONGEST_REASON]

    def _secrets(self) -> set[str]:
        said = [value for name, value in msgspec.to_builtins(self.settings).items() if name.endswith("url")]
        return {secret for url in filter(None, said) for secret in _passwords(url)}


def _passwords(url: str) -> set[str]:
    try:
        password = urlsplit(url).password or ""
    except ValueError:
        return {url}
    return {password, unquote(password)} - {""}


class Check(Struct, frozen=True):
    """A named look. It is not made where a check that it `needs` found something broken; a `long` one walks over
    everything when asked to.
    """

    name: str
    look: Callable[[Patient[Any]], Findings]
    needs: tuple[str, ...] = ()
    long: bool = False


Found = list[Finding] | None


async def examined(
    at: Patient[Any], checks: Sequence[Check], within: float
) -> AsyncIterator[tuple[str, Finding]]:
    """What the checks find, by their names, in the order of their table; a few are made at a time."""
    turns = asyncio.Semaphore(AT_ONCE)
    tasks: dict[str, asyncio.Task[Found]] = {}
    for check in checks:
        before = [tasks[name] for name in check.needs]
        limit = WITHIN_DEEP if check.long and at.deep else within
        tasks[check.name] = asyncio.create_task(_made(check, at, before, turns, limit))
    left: list[str] = []
    try:
        for name, task in tasks.items():
            if (found := await task) is None:
                left.append(name)
            for finding in found or ():
                yield name, finding
    finally:
        for task in tasks.values():
            task.cancel()
    if left:
        yield (
            "skipped",
            attention(
                "Not looked at, as what it needs is broken: {checks}.",
                {"checks": ", ".join(left)},
                todo="Mend what is broken, then look again.",
            ),
        )


async def _made(
    check: Check,
    at: Patient[Any],
    before: Sequence[asyncio.Task[Found]],
    turns: asyncio.Semaphore,
    within: float,
) -> Found:
    for task in before:
        found = await task
        if found is None or worst(found) == "broken":
            return None
    async with turns:
        return await _looked(check, at, within)


async def _looked(check: Check, at: Patient[Any], within: float) -> list[Finding]:
    """What a check finds in so many seconds. Whatever happens in it, the others are made all the same."""
    found: list[Finding] = []
    args: Args
    try:
        async with asyncio.timeout(within):
            # One by one: what was found before the time is up counts.
            async for finding in check.look(at):
                found.append(finding)  # noqa: PERF401
    except Failure as failure:
        title = (failure.__doc__ or "").partition("\n")[0]
        todo = "Put that right, then look again."
        found.append(Finding("broken", failure.detail or title, failure.arguments, todo=todo))
    except TimeoutError:
        args = {"seconds": within}
        found.append(
            broken("No answer within {seconds} s.", args, todo="Look again when the machine is less busy.")
        )
    except Exception as error:
        args = {"kind": type(error).__name__, "reason": at.reason(error)}
        todo = "Look again; where it stays so, report this line."
        found.append(broken("This could not be looked at: {kind}: {reason}", args, todo=todo))
    return found


def worst(findings: Sequence[Finding]) -> Mark:
    """The gravest mark among these."""
    return max((f.mark for f in findings), key=CODES.__getitem__, default="ok")


# How findings are shown


class Line(Struct, frozen=True):
    """A finding as it is told."""

    check: str
    mark: Mark
    what: str
    todo: str


class Report(Struct, frozen=True):
    """All findings, for machines: `code` is the exit code."""

    service: str
    version: str
    at: str
    code: int
    findings: list[Line]


MARKS: dict[Language, dict[Mark, str]] = {
    "en": {"ok": "ok", "attention": "attention", "broken": "broken"},
    "fr": {"ok": "bien", "attention": "attention", "broken": "en panne"},
}
COLOURS: dict[Mark, str] = {"ok": "green", "attention": "yellow", "broken": "red"}


def told(check: str, finding: Finding, language: Language) -> Line:
    """A finding in a language, without secrets, on one line whatever a neighbour has put into it."""
    args = {name: _plain(value) for name, value in logs.masked(None, "", dict(finding.args)).items()}
    what, todo = (say(message, args, language) for message in (finding.what, finding.todo))
    return Line(check, finding.mark, what, todo)


def _plain(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return "".join(c if c.isprintable() else " " for c in value)


def shown(line: Line, language: Language) -> Text:
    """A finding as a line for people."""
    text = Text.assemble(
        (f"{MARKS[language][line.mark]:<9}", COLOURS[line.mark]), f" {line.check:<12} {line.what}"
    )
    return text.append(f" → {line.todo}" if line.todo else "")


# The command


class Options(Struct, frozen=True):
    """How somebody wants to look."""

    deep: bool
    within: float
    quiet: bool
    json: bool


def command(
    service: str, configured: Callable[[], Any], scripts: Migrations, checks: Sequence[Check]
) -> click.Command:
    """The command `doctor` of a service."""

    @click.command("doctor")
    @click.option("--deep", is_flag=True, help="Walk over everything that is stored, which may take long.")
    @click.option(
        "--within",
        type=click.FloatRange(0.1),
        default=WITHIN,
        show_default=True,
        help="Seconds for each check.",
    )
    @click.option("--quiet", is_flag=True, help="Say only what is wrong.")
    @click.option("--json", is_flag=True, help="For machines.")
    @click.pass_context
    def doctor(context: click.Context, /, **chosen: Any) -> None:
        """Say what is wrong with this node and what to do; nothing is changed.

        The exit code is 0 when all is well, 1 when something needs attention soon, 2 when something is broken now
        or could not be looked at.
        """
        # What the libraries say of a broker or a database that is away is said here, in better words.
        logs.configure(service, "critical", pretty=True)
        options = msgspec.convert(chosen, Options)
        context.exit(
            asyncio.run(_told(_all(service, configured, scripts, checks, options), service, options))
        )

    return doctor


async def _all(
    service: str,
    configured: Callable[[], Any],
    scripts: Migrations,
    checks: Sequence[Check],
    options: Options,
) -> AsyncIterator[tuple[str, Finding]]:
    """The settings first: without them there is nothing to look at."""
    try:
        settings = configured()
    except Misconfigured as failure:
        todo = "Put this variable right in the environment of the service."
        yield "settings", Finding("broken", failure.detail, failure.arguments, todo=todo)
        return
    yield "settings", well("The settings can be read.")
    async with _client(options.within) as client:
        at = Patient(service, settings, scripts, client, deep=options.deep)
        async for name, finding in examined(at, checks, options.within):
            yield name, finding


@asynccontextmanager
async def _client(within: float) -> AsyncIterator[aiohttp.ClientSession]:
    # A little less than a check has, so that it can say who did not answer.
    timeout = aiohttp.ClientTimeout(total=within * 0.8)
    async with aiohttp.ClientSession(timeout=timeout, headers={"User-Agent": "maillage"}) as client:
        yield client


async def _told(findings: AsyncIterator[tuple[str, Finding]], service: str, options: Options) -> int:
    """Print the findings as they come, or all of them for machines; the exit code."""
    language = cli.spoken(os.environ)
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    lines: list[Line] = []
    async for name, finding in findings:
        lines.append(line := told(name, finding, language))
        if not options.json and not (options.quiet and line.mark == "ok"):
            console.print(shown(line, language))
    code = max(CODES[line.mark] for line in lines)
    if options.json:
        kept = [line for line in lines if not (options.quiet and line.mark == "ok")]
        at = ledger.stamp(ledger.clock())
        click.echo(msgspec.json.encode(Report(service, release(), at, code, kept)))
    return code


def since(moment: datetime) -> str:
    """A moment as both languages write it."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def url_of(host: str, port: int) -> str:
    """Where a service that listens there is asked by its own machine."""
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - what is listened on
    name = everywhere.get(host, host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def count(of: Mapping[Any, Any] | Sequence[Any]) -> Args:
    """How many, as an argument."""
    return {"count": len(of)}
