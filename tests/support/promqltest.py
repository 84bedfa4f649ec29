"""Runs the test files of Prometheus' own engine (promql/promqltest/testdata/*.test) against ours.

The files come with the oracle (``tests/support/oracle.py``).  Their language: ``load <step>`` with series and values,
``clear``, and ``eval instant at <time> <query>`` or ``eval range from <start> to <end> step <step> <query>`` with what
is expected.  As there, a statement about one time is asked again with all its selectors fixed at that time by ``@``, at
other times, and in the middle of a range.
"""

import math
import re
from dataclasses import fields, replace
from functools import partial
from typing import NamedTuple

import numpy as np
from carbyne.core.errors import QueryError
from carbyne.core.labels import STALE_BITS
from carbyne.promql import query
from carbyne.promql.labels import NAME, drop, made, put
from carbyne.promql.parsed import parse
from carbyne.promql.scope import QuerySpan
from carbyne.promql.select import SeriesSamples, tests_of
from carbyne.promql.tree import Expr, FunctionCall, Select, Subquery, children

STALE = np.array([STALE_BITS], np.uint64).view(np.float64)[0]
UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000, "y": 31_536_000_000}
INSTANT = re.compile(r"eval(?:_(\w+))?\s+instant\s+(?:at\s+(\S+)\s+)?(.+)")
RANGE = re.compile(r"eval(?:_(\w+))?\s+range\s+from\s+(\S+)\s+to\s+(\S+)\s+step\s+(\S+)\s+(.+)")
EXPECT = re.compile(r"expect\s+(ordered|fail|warn|no_warn|info|no_info)(?:\s+(regex|msg):(.+))?")
OF_SPAN = re.compile(r"\b(start|end|range|step)\s*\(\s*\)")
BY_TIME = {
    *("time", "timestamp", "predict_linear", "start", "end", "range", "step", "day_of_month", "day_of_week"),
    *("day_of_year", "days_in_month", "hour", "minute", "month", "year"),
}
COMMAND = re.compile(r"(load|eval)(_\w+)?\s|clear$")
LABEL = re.compile(
    r'\s*("(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|[\w.:]+)\s*(?:=\s*("(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'))?\s*,?'
)
VALUE = re.compile(
    r"(_|stale|[+-]?(?:inf|nan|[\d.]+(?:e[+-]?\d+)?))([+-](?:inf|nan|[\d.]+(?:e[+-]?\d+)?))?(?:x(\d+))?", re.I
)


class SkippedError(Exception):
    """A statement about something that is not stored; the message is the reason."""


class Result(NamedTuple):
    """``outcome``: ``passed``, ``failed`` or the reason why a statement was not answered."""

    line: int
    query: str
    outcome: str
    details: str


class Memory:
    """A Selector of what was loaded: labels -> time -> value.  ``histograms``, ``starts``: series that have such."""

    def __init__(self):
        self.samples, self.histograms, self.starts = {}, {}, set()

    def select(self, selection):
        matches = tests_of(selection.matches)
        selected = []
        for labels in sorted({*self.samples, *self.histograms}):
            if not matches(labels):
                continue
            if labels in self.starts:
                raise SkippedError("start timestamps")
            if any(selection.after_ms < ts <= selection.until_ms for ts in self.histograms.get(labels, ())):
                raise SkippedError("native histograms")
            pairs = sorted((ts, value) for ts, value in self.samples.get(labels, {}).items())
            pairs = [pair for pair in pairs if selection.after_ms < pair[0] <= selection.until_ms]
            if pairs:
                times, values = zip(*pairs, strict=True)
                selected.append(SeriesSamples(labels, np.array(times, np.int64), np.array(values, np.float64)))
        return selected


def duration_ms(written):
    """``1m30s``, ``-5m``, or seconds."""
    sign = -1 if written.startswith("-") else 1
    written = written.lstrip("+-")
    parts = re.findall(r"(\d+)(ms|[smhdwy])", written)
    if "".join(number + unit for number, unit in parts) == written and parts:
        return sign * sum(int(number) * UNITS_MS[unit] for number, unit in parts)
    return sign * round(float(written) * 1000)


def _unquoted(written):
    if written[:1] not in {'"', "'"}:
        return written
    return re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t"}.get(m[1], m[1]), written[1:-1])


def metric_of(line):
    """(labels, whether these are start timestamps, the rest of the line)."""
    name = re.match(r"[a-zA-Z_:][\w:]*", line)
    at = name.end() if name else 0
    pairs = {NAME: name[0]} if name else {}
    if line[at : at + 1] == "{":
        at += 1
        while line[at] != "}":
            label = LABEL.match(line, at)
            key, value = label[1], label[2]
            if value is None:
                pairs[NAME] = _unquoted(key)
            else:
                pairs[_unquoted(key)] = _unquoted(value)
            at = label.end()
        at += 1
    is_start = line.startswith("@st", at)
    return made(pairs), is_start, line[at + 3 * is_start :].strip()


def values_of(written):
    """One entry for each step: a number, None for nothing, or a str for a histogram."""
    values = []
    written = re.sub(r"\s*\{\{.*?\}\}(?:[+-]\{\{.*?\}\})?", lambda m: " H", written)
    for token in written.split():
        if token.startswith("H"):
            values += ["histogram"] * (int(token[2:]) + 1 if len(token) > 1 else 1)
            continue
        match = VALUE.fullmatch(token)
        if not match:
            raise ValueError(f"not a value: {token}")
        times = int(match[3]) if match[3] else None
        if match[1] == "_":
            values += [None] * (times or 1)
            continue
        first = STALE if match[1] == "stale" else number(match[1])
        step = number(match[2]) if match[2] else 0.0
        values += [first if not nth else first + nth * step for nth in range((times or 0) + 1)]
    return values


def number(written):
    """As PromQL writes numbers."""
    return float(int(written, 16)) if "0x" in written.lower() else float(written)


class Runner:
    """Runs one file."""

    def __init__(self, *, late_names=True):
        self.memory = Memory()
        self._options = query.Options(lambda: 0.0, late_names=late_names)
        self.results, self.evaluations = [], 0

    def run(self, text):
        """Results of all statements."""
        lines = [line.strip() for line in text.splitlines()]
        lines = ["" if line.startswith("#") else line for line in lines]
        at = 0
        while at < len(lines):
            end = at + 1
            while lines[at] and end < len(lines) and lines[end] and not COMMAND.match(lines[end]):
                end += 1
            block = lines[at:end]
            if block[0].startswith("load"):
                self._load(block)
            elif block[0] == "clear":
                self.memory = Memory()
            elif block[0].startswith("eval"):
                self._eval(at + 1, block)
            elif block[0]:
                raise ValueError(f"line {at + 1}: {block[0]}")
            at = end
        return self.results

    def _load(self, block):
        command, step = block[0].split()
        step_ms = duration_ms(step)
        for line in block[1:]:
            labels, is_start, rest = metric_of(line)
            if is_start:
                self.memory.starts.add(labels)
                continue
            if command == "load_with_nhcb":
                self._note_histogram(labels, rest, step_ms)
            for nth, value in enumerate(values_of(rest)):
                if value == "histogram":
                    self.memory.histograms.setdefault(labels, set()).add(nth * step_ms)
                elif value is not None:
                    self.memory.samples.setdefault(labels, {})[nth * step_ms] = value

    def _note_histogram(self, labels, rest, step_ms):
        name = dict(labels).get(NAME, "")
        for ending in ("_bucket", "_count", "_sum"):
            if name.endswith(ending):
                base = put(drop(labels, {"le"}), NAME, name.removesuffix(ending))
                self.memory.histograms.setdefault(base, set()).update(
                    nth * step_ms for nth in range(len(values_of(rest)))
                )

    def _eval(self, line, block):
        written = INSTANT.fullmatch(block[0]) or RANGE.fullmatch(block[0])
        try:
            details = self._compare(written, block[1:])
            outcome = "failed" if details else "passed"
        except SkippedError as reason:
            outcome, details = str(reason), ""
        self.results.append(Result(line, written.groups()[-1], outcome, details))

    def _compare(self, written, lines):
        """What is wrong, empty if nothing is."""
        mode, *times, text = written.groups()
        expected = Expected(mode, lines)
        if expected.histograms:
            raise SkippedError("native histograms")
        if len(times) > 1:
            span = QuerySpan(*map(duration_ms, times))
            return self._checked(expected, lambda: query.over(text, span, self.memory, self._options), span)
        at_ms = duration_ms(times[0] or "0")
        return self._at_times(text, at_ms, expected)

    def _at_times(self, text, at_ms, expected):
        """A statement at its time, and with all selectors fixed at it at other times."""
        try:
            tree = parse(text)
        except QueryError as error:
            return self._failed(expected, error)
        for node, time_ms in [(tree, at_ms), *fixed(tree, at_ms)]:
            self.evaluations += 1
            span = QuerySpan(time_ms, time_ms, 0)
            wrong = self._checked(expected, partial(self._answer, text, node, span), span)
            in_range = tree.kind in {"vector", "scalar"} and not expected.ordered and not OF_SPAN.search(text)
            if not wrong and in_range and not expected.fails:
                wrong = self._in_range(text, node, time_ms)
            if wrong:
                return f"at {time_ms} ms: {wrong}"
        return ""

    def _answer(self, text, node, span):
        return query.answer(text, node, span, self.memory, self._options)

    def _checked(self, expected, ask, span):
        try:
            answer = ask()
        except QueryError as error:
            return self._failed(expected, error)
        if expected.fails:
            return "expected a failure"
        return expected.compare(answer, span) or expected.compare_notes(answer)

    def _failed(self, expected, error):
        reason = refused(error.message)
        if reason:
            raise SkippedError(reason)
        if not expected.fails:
            return f"failed: {error.message}"
        told = [want for kind, how, want in expected.notes if kind == "fail" and how]
        return "" if all(said(expected, error.message, want) for want in told) else f"another error: {error.message}"

    def _in_range(self, text, node, at_ms):
        """The middle of three steps is the same."""
        try:
            once = self._answer(text, node, QuerySpan(at_ms, at_ms, 0)).frame
            three = self._answer(text, node, QuerySpan(at_ms - 60_000, at_ms + 60_000, 60_000)).frame
        except QueryError as error:
            return f"in range: {error.message}"
        alone = {labels: once.values[row, 0] for row, labels in enumerate(once.labels)}
        middle = {labels: three.values[row, 1] for row, labels in enumerate(three.labels) if three.there[row, 1]}
        same = alone.keys() == middle.keys() and all(almost(alone[key], middle[key]) for key in alone)
        return "" if same else f"in range: {middle} instead of {alone}"


def fixed(tree, at_ms):
    """(tree, time): all selectors looking at ``at_ms``, asked at other times; none if it matters when it is asked."""
    if any(isinstance(node, FunctionCall) and node.name in BY_TIME for node in _nodes(tree)):
        return []
    times = [-10 * at_ms, 0, at_ms // 5, at_ms, 10 * at_ms] if at_ms else [-1000, 0, 1000]
    return [(_fixed(tree, at_ms), time_ms) for time_ms in times]


def _nodes(tree):
    return [tree, *(below for child in children(tree) for below in _nodes(child))]


def _fixed(node, at_ms):
    """A subquery is fixed as a whole: its body looks at its steps."""
    if isinstance(node, Select | Subquery):
        return replace(node, at=at_ms if node.at is None else node.at)
    changed = {
        field.name: _fixed(getattr(node, field.name), at_ms)
        for field in fields(node)
        if isinstance(getattr(node, field.name), Expr)
    }
    if isinstance(node, FunctionCall):
        changed["arguments"] = tuple(_fixed(argument, at_ms) for argument in node.arguments)
    return replace(node, **changed)


def refused(message):
    """Why a query was refused at parse time, empty if it was not."""
    for sign, reason in (
        ("native histograms are not stored", "native histograms"),
        ("start timestamps of series are not stored", "start timestamps"),
        ("modifiers of range selectors", "anchored and smoothed"),
        ("durations can't be computed", "arithmetic in durations"),
        ("second argument of info()", "info without a label"),
        ("escapes of bytes", "escapes of bytes"),
    ):
        if sign in message:
            return reason
    return "other syntax" if message.startswith('invalid parameter "query"') else ""


def said(expected, message, want):
    """Whether an error is the expected one."""
    how = next(how for kind, how, told in expected.notes if kind == "fail" and told == want)
    return bool(re.search(want, message)) if how == "regex" else message == want


class Expected:
    """What a statement expects."""

    def __init__(self, mode, lines):
        self.fails, self.ordered = mode == "fail", mode == "ordered"
        self.notes, self.series, self.scalar, self.text, self.range = [], {}, None, None, None
        if mode in {"warn", "info"}:
            self.notes.append((mode, "", ""))
        self.histograms = any("{{" in line and not line.startswith("expect") for line in lines)
        for line in [] if self.histograms else lines:
            self._line(line)

    def _line(self, line):
        span = re.match(r"expect range vector from (\S+) to (\S+) step (\S+)", line)
        if span:
            self.range = QuerySpan(*map(duration_ms, span.groups()))
        elif line.startswith("expect string "):
            self.text = _unquoted(line.removeprefix("expect string ").strip().replace("`", '"'))
        elif line.startswith("expect "):
            kind, how, text = EXPECT.fullmatch(line).groups()
            self.ordered |= kind == "ordered"
            self.fails |= kind == "fail"
            text = (text or "").strip()
            self.notes.append((kind, how or "", text.strip('"') if how == "msg" else text))
        elif line.startswith("expected_fail_message"):
            self.notes.append(("fail", "msg", line.removeprefix("expected_fail_message").strip()))
        elif line.startswith("expected_fail_regexp"):
            self.notes.append(("fail", "regex", line.removeprefix("expected_fail_regexp").strip()))
        elif re.fullmatch(r"[+-]?(?:[\d.]+(?:[eE][+-]?\d+)?|0x[0-9a-fA-F]+|[iI]nf|[nN]a[nN])", line):
            self.scalar = number(line)
        else:
            labels, _, rest = metric_of(line)
            self.series[labels] = values_of(rest)

    def compare(self, answer, span):
        """What is wrong with the values."""
        if self.text is not None:
            return "" if answer.text == self.text else f"{answer.text!r}"
        if answer.kind == "matrix" and answer.frame is None:
            return self._compare_samples(answer)
        if self.scalar is not None:
            got = answer.frame.values[0, 0]
            return "" if answer.kind == "scalar" and almost(got, self.scalar) else f"scalar {got}"
        got = {labels: row for row, labels in enumerate(answer.frame.labels)}
        if got.keys() != self.series.keys():
            return f"series {sorted(got)} instead of {sorted(self.series)}"
        if self.ordered and list(got) != list(self.series):
            return f"order {list(got)}"
        times = span.times()
        for labels, values in self.series.items():
            row = got[labels]
            want = [*values, *[None] * (len(times) - len(values))]
            for at, value in enumerate(want):
                there = bool(answer.frame.there[row, at])
                if there != (value is not None) or (there and not almost(answer.frame.values[row, at], value)):
                    shown = [
                        v if t else None for v, t in zip(answer.frame.values[row], answer.frame.there[row], strict=True)
                    ]
                    return f"{labels} step {at}: {shown} instead of {values}"
        return ""

    def _compare_samples(self, answer):
        got = {each.labels: list(zip(each.ts_ms.tolist(), each.values.tolist(), strict=True)) for each in answer.series}
        times = self.range.times().tolist() if self.range else []
        want = {
            labels: [(ts, value) for ts, value in zip(times, values, strict=False) if value is not None]
            for labels, values in self.series.items()
        }
        return "" if got == want else f"{got} instead of {want}"

    def compare_notes(self, answer):
        """What is wrong with warnings and infos."""
        for kind, got in (("warn", answer.warnings), ("info", answer.infos)):
            want = [(how, text) for told, how, text in self.notes if told == kind]
            if any(told == f"no_{kind}" for told, _, _ in self.notes) and got:
                return f"unexpected {kind}: {got}"
            if want and not got:
                return f"no {kind}"
            for how, text in want:
                if how and not any(re.search(text, each) if how == "regex" else each == text for each in got):
                    return f"{kind} {got} instead of {text}"
            unmet = [each for each in got if want and not any(_told(how, text, each) for how, text in want)]
            if unmet:
                return f"more {kind}: {unmet}"
        return ""


def _told(how, text, each):
    return not how or (bool(re.search(text, each)) if how == "regex" else each == text)


def almost(left, right):
    """Equal but for rounding, NaN to NaN."""
    if math.isnan(left) or math.isnan(right):
        return math.isnan(left) and math.isnan(right)
    return left == right or math.isclose(left, right, rel_tol=1e-6, abs_tol=0) or abs(left - right) < 1e-300
