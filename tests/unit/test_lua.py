"""Every script's header is true: what it names is bound in the body, and the other way round."""

import re
from pathlib import Path

import pytest
from carbyne.adapters.redis.commands import Script as Loaded
from carbyne.core import stamps
from carbyne.samples import rows
from carbyne.stream import records

LUA = sorted((Path(__file__).parents[2] / "lua").glob("*.lua"))
PARTS = sorted((Path(__file__).parents[2] / "lua" / "parts").glob("*.lua"))
INCLUDE = re.compile(r"^-- include (\w+)$", re.MULTILINE)
SECTIONS = ("KEYS", "ARGV", "RETURNS", "EFFECTS", "COST")


class Script:
    """A script in parts: ``purpose``, ``sections`` and ``body``."""

    def __init__(self, path):
        self.lines = Loaded.load(path.stem).text.splitlines()
        comments = self.lines[1 : self.lines.index("")]
        assert all(line.startswith("--") for line in comments), "the header ends with an empty line"
        self.sections = {name: [] for name in SECTIONS}
        purpose, current = [], None
        for line in comments:
            if heading := re.match(r"-- ([A-Z]{4,}) ", line):
                current = self.sections[heading[1]]
            text = line[2:].strip()
            (purpose if current is None else current).append(text.removeprefix(heading[1]).strip() if heading else text)
        self.purpose = " ".join(purpose).strip()
        self.body = "\n".join(self.lines[self.lines.index("") + 1 :])
        self.code = re.sub(r"--[^\n]*", "", self.body)

    def numbered(self, section):
        """{number: name} of the arguments that a section numbers."""
        matches = (re.match(r"(\d+) (\w+)", line) for line in self.sections[section])
        return {int(match[1]): match[2] for match in matches if match}

    def repeated(self, section):
        """Whether more follow behind the numbered ones."""
        return any(re.match(r"(?:then\b|for each\b)", line) for line in self.sections[section])

    def bound(self, array):
        """{number: local} of ``local a, b = ARGV[1], tonumber(ARGV[2])`` and its like."""
        result = {}
        for names, values in re.findall(r"^local ([\w, ]+) = (.+)$", self.code, re.MULTILINE):
            for name, value in zip(names.split(", "), re.split(r", (?![^()]*\))", values), strict=False):
                if match := re.fullmatch(rf"(?:tonumber\()?{array}\[(\d+)\]\)?(?: == \"1\")?", value):
                    result[int(match[1])] = name
        return result


@pytest.fixture(params=LUA, ids=lambda path: path.stem)
def script(request):
    return Script(request.param)


def test_there_are_scripts():
    assert {"write", "read", "init"} <= {path.stem for path in LUA}
    assert {path.stem for path in PARTS} == {included for path in LUA for included in INCLUDE.findall(path.read_text())}


def test_the_first_line_lets_redis_check_the_keys(script):
    assert re.fullmatch(r"#!lua( flags=[a-z,-]+)?", script.lines[0])


def test_the_header_has_every_section(script):
    assert script.purpose.endswith(".")
    for name in SECTIONS:
        assert script.sections[name] and script.sections[name][0], name


@pytest.mark.parametrize("array", ["KEYS", "ARGV"])
def test_each_argument_is_bound_to_the_local_that_the_header_names(script, array):
    named, bound = script.numbered(array), script.bound(array)
    assert list(named) == list(range(1, len(named) + 1))
    assert set(named) == set(bound)
    for number, name in named.items():
        assert bound[number] in (name, f"{name}_key"), f"{array}[{number}]"


@pytest.mark.parametrize("array", ["KEYS", "ARGV"])
def test_numbered_arguments_are_read_once_and_computed_ones_only_where_the_header_says_so(script, array):
    literal = [int(number) for number in re.findall(rf"{array}\[(\d+)\]", script.code)]
    assert sorted(literal) == sorted(script.numbered(array))
    computed = re.findall(rf"{array}\[[^\]]*[a-z][^\]]*\]", script.code)
    assert bool(computed) <= script.repeated(array)


def test_scripts_never_list_the_keyspace_and_build_no_key(script):
    for command in re.findall(r"redis\.p?call\(([^,)]+)", script.code):
        assert re.fullmatch(r'"[A-Z]+"', command), "commands are literals"
        assert command.strip('"') not in {"KEYS", "SCAN", "RANDOMKEY", "FLUSHALL", "FLUSHDB", "EVAL"}
    for command, key in re.findall(r'redis\.p?call\("([A-Z]+)", ([^,)\s]+)', script.code):
        assert not key.startswith('"'), f"{command} {key}: a key comes from KEYS"


def test_no_variable_is_global(script):
    local = set(re.findall(r"\bfunction (\w+)", script.code))
    for names in re.findall(r"\blocal (?!function)([\w, ]+)", script.code):
        local |= set(names.replace(" ", "").split(","))
    for names in re.findall(r"\bfor ([\w, ]+) (?:=|in)", script.code):
        local |= set(names.replace(" ", "").split(","))
    for parameters in re.findall(r"\bfunction *\w*\(([\w, ]*)\)", script.code):
        local |= set(parameters.replace(" ", "").split(","))
    assert not re.findall(r"^\s*function ", script.code, re.MULTILINE)
    for names in re.findall(r"^\s*([a-zA-Z_][\w, ]*?)\s*=(?!=)", script.code, re.MULTILINE):
        if not names.startswith(("local ", "for ")):
            assert set(names.replace(" ", "").split(",")) <= local, names


SHARED = {
    "STAMP_BYTES": {str(stamps.STAMP_BYTES)},
    "STATE_BYTES": {str(rows.STATE_BYTES)},
    "HEAD": {str(rows.HEAD_BYTES)},
    "WHOLE": {f'"{rows.WHOLE.decode()}"'},
    "LIST_BYTES": {str(rows.LIST_BYTES)},
    "DENSE": {str(rows.DENSE)},
    "SPARSE": {str(rows.SPARSE)},
    "RUNS": {str(rows.RUNS)},
    "BITMAP": {str(rows.BITMAP)},
    "TS_MS_MAX": {f"2^{records.TS_MS_MAX.bit_length() - 1}"},
}
"""Constants that Python has too: name -> how a script may write it."""
OWN = {"CHUNK"}
"""Constants that each script sets for itself."""


def constants(script):
    for names, values in re.findall(r"^\s*local ([A-Z_, ]+) = (.+)$", script.code, re.MULTILINE):
        yield from zip(names.split(", "), values.strip().split(", "), strict=True)


def test_constants_that_python_has_too_are_the_same(script):
    for name, value in constants(script):
        assert value in SHARED.get(name, {value}), name


def test_constants_of_one_name_are_the_same_in_all_scripts():
    """Those of Python are all in use, so that none is compared with nothing."""
    values = {}
    for script in map(Script, LUA):
        for name, value in constants(script):
            values.setdefault(name, set()).add(value)
    assert SHARED.keys() <= values.keys()
    assert [name for name in values.keys() - SHARED.keys() - OWN if len(values[name]) > 1] == []


def test_scripts_that_free_memory_run_on_a_full_redis_and_reading_ones_write_nothing():
    flags = {path.stem: path.read_text().splitlines()[0] for path in LUA}
    for name, line in flags.items():
        writes = re.search(r'call\("(?:SET|SETNX|H(?:SET|DEL)\w*|Z(?:ADD|REM)|DEL|P?EXPIRE\w*|PERSIST)"', read(name))
        assert ("no-writes" in line) == (not writes), name
    for name in ("begin", "claim", "confirm", "partial", "whole"):
        assert "allow-oom" in flags[name]


def read(name):
    return next(path for path in LUA if path.stem == name).read_text()
