"""What handlers and loops of notify find in the application."""

from aiohttp import web
from prometheus_client import Gauge

from services.follow import Context
from services.notify.settings import Settings
from services.postgres import Pool

POOL = web.AppKey("pool", Pool)
SETTINGS = web.AppKey("settings", Settings)
# Its bell is rung when changes were recorded.
FOLLOWING = web.AppKey("following", Context)
STREAMS = web.AppKey("streams", Gauge)
