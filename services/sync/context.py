"""What handlers and loops of the sync find in the application."""

from aiohttp import web

from services.bell import Bell
from services.follow import Follower
from services.postgres import Pool
from services.sync.settings import Settings
from services.sync.trust import Trust

POOL = web.AppKey("pool", Pool)
SETTINGS = web.AppKey("settings", Settings)
TRUST = web.AppKey("trust", Trust)
FOLLOWERS = web.AppKey("followers", list[Follower])
# Rung when a followed log has moved.
NEWS = web.AppKey("news", Bell)
