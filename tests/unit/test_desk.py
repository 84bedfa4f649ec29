"""What the operator's commands write: tables and progress for people at a terminal, plain lines for scripts."""

import io
import re
import sys
from contextlib import contextmanager
from unittest.mock import patch

import pytest
from carbyne.cli import main
from carbyne.cli.desk import Desk

TITLES = ("id", "name")
ROWS = [("1", "[red]agents[/red]"), ("22", "dashboard")]
HIDE, SHOW, ERASE = "\x1b[?25l", "\x1b[?25h", "\x1b[2K"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@contextmanager
def terminal(monkeypatch, kind="xterm", stdout=None):
    """stderr, and stdout unless it is given, as one terminal, 40 characters wide."""
    written = Terminal()
    monkeypatch.setenv("TERM", kind)
    monkeypatch.setenv("COLUMNS", "40")
    with patch.multiple(sys, stdout=stdout or written, stderr=written):
        yield written


def lines(text):
    """Without colours."""
    return [line.rstrip() for line in re.sub(r"\x1b\[[\d;]*m", "", text).splitlines()]


@pytest.mark.parametrize("forced", [False, True])
def test_a_script_gets_rows_with_tabs_and_each_line_of_progress(capsys, monkeypatch, forced):
    if forced:  # as some builds do for colours
        monkeypatch.setenv("FORCE_COLOR", "1")
    desk = Desk()
    desk.progress("half")
    desk.progress("all")
    desk.say_rows(TITLES, ROWS)
    assert capsys.readouterr() == ("1\t[red]agents[/red]\n22\tdashboard\n", "half\nall\n")


def test_a_terminal_gets_columns_with_titles_and_cells_as_they_are(monkeypatch):
    with terminal(monkeypatch) as written:
        Desk().say_rows(TITLES, ROWS)
    assert lines(written.getvalue()) == ["id  name", "1   [red]agents[/red]", "22  dashboard"]


def test_a_cell_too_wide_for_the_terminal_is_wrapped_and_not_cut(monkeypatch):
    with terminal(monkeypatch) as written:
        Desk().say_rows(TITLES, [("0123456789abcdef", "x" * 50)])
    assert written.getvalue().count("x") == 50 and "0123456789abcdef" in written.getvalue()
    assert max(map(len, lines(written.getvalue()))) <= 40


def test_progress_on_a_terminal_is_one_line_that_is_gone_before_the_result(monkeypatch):
    with terminal(monkeypatch) as written:
        desk = Desk()
        desk.progress("[half]")
        desk.progress("all")
        shown = written.getvalue()
        desk.say("done")
        ended = written.getvalue().removeprefix(shown)
        desk.progress("more")
        assert written.getvalue().endswith("more"), "it can be shown again"
        desk.end_progress()
        desk.end_progress()
    assert shown.startswith(HIDE) and shown.index("[half]") < shown.index(ERASE) < shown.index("all")
    assert ERASE in ended and SHOW in ended and ended.endswith("done\n")
    assert written.getvalue().endswith(ERASE)


def test_progress_on_a_terminal_that_cannot_move_its_cursor_is_lines(monkeypatch):
    with terminal(monkeypatch, kind="dumb") as written:
        desk = Desk()
        desk.progress("half")
        desk.progress("all")
    assert written.getvalue() == "half\nall\n"


def test_what_is_said_goes_to_stdout_while_progress_is_on_a_terminal(monkeypatch):
    pipe = io.StringIO()
    with terminal(monkeypatch, stdout=pipe) as written:
        desk = Desk()
        desk.progress("half")
        desk.say("done")
        desk.say_rows(TITLES, ROWS)
    assert pipe.getvalue() == "done\n1\t[red]agents[/red]\n22\tdashboard\n"
    assert "half" in written.getvalue() and "done" not in written.getvalue()


def test_a_command_that_is_interrupted_gives_the_cursor_back(monkeypatch):
    class Interrupted(Desk):
        def dynamodb(self):
            self.progress("half")
            raise KeyboardInterrupt

    with terminal(monkeypatch) as written, pytest.raises(KeyboardInterrupt):
        main(["tenants", "list", "--accounts-table", "x"], Interrupted())
    assert HIDE in written.getvalue()
    assert written.getvalue().rindex(SHOW) > written.getvalue().rindex("half")
