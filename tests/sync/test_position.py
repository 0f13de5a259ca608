"""Answers that are kept in memory, and for how long they hold."""

from services.sync.position import SLOT, Answers, Position, Standing


def test_answers_hold_while_the_view_stands() -> None:
    """What was kept of another position is no answer; neither is what was pushed out, nor what is too large."""
    here, there = Standing(1, 5, 0), Standing(1, 5, 1)
    size = SLOT + 101
    answers = Answers(4 * size)
    for number in range(4):
        answers.keep(here, str(number), b"x" * 100)
    assert answers.find(here, "0") == b"x" * 100
    assert answers.find(there, "0") is None
    answers.keep(here, "4", b"y" * 100)
    # Asked for longest ago.
    assert [answers.find(here, str(n)) is None for n in range(5)] == [False, True, False, False, False]
    answers.keep(here, "large", b"z" * 100)
    assert answers.find(here, "large") is None
    answers.keep(there, "5", b"w")
    assert [answers.find(at, tag) for at, tag in ((here, "0"), (there, "0"), (there, "5"))] == [
        None,
        None,
        b"w",
    ]


def test_answers_of_nothing_take_room_as_well() -> None:
    """Strangers who ask for ever other empty tiles, or by ever other long names, fill no memory."""
    here, answers = Standing(1, 5, 0), Answers(100 * SLOT)
    for number in range(1000):
        answers.keep(here, f"empty {number}", b"")
    assert sum(answers.find(here, f"empty {n}") is not None for n in range(1000)) < 100
    for number in range(1000):
        answers.keep(here, f"{number}".rjust(9 * SLOT), b"1")
    assert sum(answers.find(here, f"{n}".rjust(9 * SLOT)) is not None for n in range(1000)) == 9


def test_nobody_is_answered_from_before() -> None:
    """Where the view stands goes forward only, whoever looked last."""
    position = Position()
    for at in (Standing(1, 5, 0), Standing(1, 4, 9), Standing(1, 5, 1), Standing(2, 0, 0), Standing(1, 9, 9)):
        position.seen(at)
    assert position.now == Standing(2, 0, 0)
