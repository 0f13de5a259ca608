"""What handlers and loops of the sync find in the application."""

from aiohttp import web

from services.bell import Bell
from services.files import Files
from services.follow import Context
from services.postgres import Pool
from services.sync.asking import Door
from services.sync.policy import Adopted
from services.sync.position import Answers, Position
from services.sync.settings import Settings
from services.sync.trust import InForce

POOL = web.AppKey("pool", Pool)
POLICY = web.AppKey("policy", Adopted)
SETTINGS = web.AppKey("settings", Settings)
# `app[TRUST].now` is the trust in force; it is another one after the file has changed.
TRUST = web.AppKey("trust", InForce)
FOLLOWING = web.AppKey("following", Context)
# Rung when a followed log has moved, or when others are listened to.
NEWS = web.AppKey("news", Bell)
# Where the view stands, and answers that hold while it does.
POSITION = web.AppKey("position", Position)
ANSWERS = web.AppKey("answers", Answers)
DOOR = web.AppKey("door", Door)
# The view as files, as it stands and as it was.
FILES = web.AppKey("files", Files)
PAST = web.AppKey("past", Files)
