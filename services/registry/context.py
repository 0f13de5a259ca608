"""What handlers and loops of the registry find in the application."""

from aiohttp import web

from services.bell import Bell
from services.files import Files
from services.postgres import Pool
from services.registry.reports import Door
from services.registry.settings import Settings
from services.registry.tokens import Tokens
from services.registry.writer import Writer

POOL = web.AppKey("pool", Pool)
SETTINGS = web.AppKey("settings", Settings)
NODE = web.AppKey("node", str)
WRITER = web.AppKey("writer", Writer)
# Rung when an import is waiting.
IMPORTS = web.AppKey("imports", Bell)
EXPORTS = web.AppKey("exports", Files)
TOKENS = web.AppKey("tokens", Tokens)
DOOR = web.AppKey("door", Door)
