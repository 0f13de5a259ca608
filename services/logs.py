"""Logs: one event name and its fields a line, on standard error, without secrets."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

_PASSWORD = re.compile(r"(://[^\s:/@]*:)[^\s@/]+@")
_SECRET = re.compile(r"(?i)(password|secret|token|authorization|private_key)$")
_BEARER = re.compile(r"(?i)(bearer )[A-Za-z0-9._~+/=-]+")


def configure(service: str, level: str, *, pretty: bool) -> None:
    """Send everything that is logged, by us and by libraries, to standard error from `level` upwards.

    `pretty` writes for a person at a terminal; otherwise every line is a JSON object.
    """

    def named(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {"service": service, **event}

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        named,
        masked,
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if pretty
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    _adopt(level, [*shared, structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer])


def masked(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The event without passwords, tokens and keys."""
    return {key: "***" if _SECRET.search(key) else _mask(value) for key, value in event.items()}


def _mask(value: Any) -> Any:
    match value:
        case str():
            return _BEARER.sub(r"\1***", _PASSWORD.sub(r"\1***@", value))
        case dict():
            return masked(None, "", value)
        case list() | tuple():
            return [_mask(item) for item in value]
        case BaseException():
            return _mask(repr(value))
    return value


def _adopt(level: str, processors: list[structlog.typing.Processor]) -> None:
    """Libraries log through the standard library: give their lines the same form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=processors))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # These tell every reconnection twice, with tracebacks; our own loops say it once.
    for name in ("aio_pika", "aiormq", "asyncio"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
