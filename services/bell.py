"""A bell rung in process when something was written, so that nobody has to poll fast."""

import asyncio


class Bell:
    """Wakes everybody who waits. `heard` is read before looking, so that no ring is missed in between."""

    def __init__(self) -> None:
        self.heard = 0
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Wake all who wait."""
        self.heard += 1
        self._rung.set()
        self._rung = asyncio.Event()

    async def wait(self, heard: int, seconds: float) -> bool:
        """Until it was rung since `heard`, or this many seconds; whether it was rung."""
        if self.heard != heard:
            return True
        try:
            # Not wait_for: in Python 3.11 it forgets a cancellation that comes with the ring.
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        except TimeoutError:
            return False
        return True
