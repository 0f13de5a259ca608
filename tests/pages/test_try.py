from __future__ import annotations
import asyncio, json, os
import pytest
from tests.pages.conftest import *
from tests.pages.view import *
from services import pages

pytestmark = pytest.mark.asyncio(loop_scope="session")

import traceback, services.http as H

_un = H._unexpected


def un(request, error):
    with open("/tmp/shots/errors.log", "w") as f:
        traceback.print_exception(error, file=f)
    return _un(request, error)


H._unexpected = un


async def test_x(view):
    json.dump(
        {
            "sync": view.sync.url,
            "north": view.north.url,
            "path": view.path,
            "records": view.records,
            "gone": view.gone,
            "hidden": view.hidden,
            "pid": os.getpid(),
        },
        open("/tmp/shots/where.json", "w"),
    )
    for _ in range(4000):
        await asyncio.sleep(0.5)
        pages._file.cache_clear()
        if os.path.exists("/tmp/shots/stop"):
            os.remove("/tmp/shots/stop")
            return
