"""The documents speak of things that exist, are linked, and fit a screen."""

import ast
import re
from pathlib import Path

import pytest

from tests.support.net import NET, files_of, names_of_net

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "layers/carbyne/carbyne"
DOCS = {str(path.relative_to(ROOT)): path.read_text() for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))}
DECISIONS = sorted(path for path in (ROOT / "docs/decisions").iterdir() if path.name != "README.md")


def names_in(folder):
    """Names of the tests below ``tests/<folder>``."""
    paths = (ROOT / "tests" / folder).rglob("test_*.py")
    return {name for path in paths for name in re.findall(r"^def (test_\w+)\(", path.read_text(), re.MULTILINE)}


TESTS = names_in("")
WIDTH_MAX = 100
FENCED = re.compile(r"^```.*?^```$|^ {4}[^\n]*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|srcset|href)=\"([^\"]+)\"")

every_document = pytest.mark.parametrize("name", sorted(DOCS))


def anchors(text):
    """The names by which headings can be linked, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_document
def test_no_line_is_too_wide(name):
    wide = {n: len(line) for n, line in enumerate(DOCS[name].splitlines(), 1) if len(line) > WIDTH_MAX}
    assert not wide, f"lines of {name} over {WIDTH_MAX} characters: {wide}"


@every_document
def test_every_link_resolves(name):
    for link in LINK.findall(FENCED.sub("", DOCS[name])):
        path, _, anchor = "".join(link).partition("#")
        if re.match(r"https?:", path):
            continue
        path = re.sub(r"^\.\./\.\./actions/workflows/(\w+\.yml).*", r".github/workflows/\1", path)  # GitHub's own pages
        target = (ROOT / name).parent / path if path else ROOT / name
        assert target.exists(), f"{name} links to {path}, which does not exist"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target.read_text()), f"{name} links to {path}#{anchor}: no such heading"


@every_document
def test_every_test_that_is_named_exists(name):
    named = set(re.findall(r"`(test_\w+)`", DOCS[name]))
    assert named <= TESTS, named - TESTS


@every_document
def test_every_module_that_is_named_exists(name):
    for module in re.findall(r"`((?:\w+/)+\w+\.(?:py|lua))`", DOCS[name]):
        assert (PACKAGE / module).exists() or (ROOT / module).exists(), f"{name} names {module}"


def test_every_decision_is_in_the_index():
    index = DOCS["docs/decisions/README.md"]
    missing = [path.name for path in DECISIONS if f"]({path.name})" not in index]
    assert not missing, f"add a line to docs/decisions/README.md for: {', '.join(missing)}"


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.name)
def test_a_decision_has_its_number_its_title_and_its_date(path):
    number = re.fullmatch(r"(\d{4})-[a-z0-9-]+\.md", path.name)
    assert number, f"call it NNNN-slug.md: {path.name}"
    assert re.match(rf"# {number[1]}: .+\n\n\d{{4}}-\d\d-\d\d\b", path.read_text()), (
        f'{path.name} begins "# {number[1]}: Title", an empty line, the date'
    )


def test_no_two_decisions_have_one_number():
    numbers = [path.name[:4] for path in DECISIONS]
    assert len(set(numbers)) == len(numbers), sorted({n for n in numbers if numbers.count(n) > 1})


def test_the_table_of_rooms_is_the_tree():
    rows = []
    for room in sorted(PACKAGE.glob("*/__init__.py")):
        about = (ast.get_docstring(ast.parse(room.read_text())) or "").partition("\n")[0]
        rows.append(f"| `{room.parent.name}/` | {about.replace('``', '`')} |")
    section = DOCS["docs/architecture.md"].partition("\n## Rooms\n")[2].partition("\n## ")[0]
    written = [line for line in section.splitlines() if line.startswith("| `")]
    assert sorted(written) == rows, "docs/architecture.md, Rooms, should have:\n" + "\n".join(rows)


def test_every_invariant_names_a_test():
    invariants = re.split(r"^### \d+\. ", DOCS["docs/invariants.md"], flags=re.MULTILINE)[1:]
    assert len(invariants) == 11
    assert all("`test_" in invariant for invariant in invariants)


def test_the_table_of_planted_bugs_is_complete():
    bugs = re.findall(r'^@bug\ndef _\(.*\n    """(.+)"""$', (ROOT / "tests/model/bugs.py").read_text(), re.MULTILINE)
    section = DOCS["docs/invariants.md"].partition("\n## Planted bugs\n")[2]
    rows = re.findall(r"^\| \d+ \| (.+) \|$", section, re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert set(rows) == set(bugs), f"missing: {set(bugs) - set(rows)}, no such bug: {set(rows) - set(bugs)}"


def test_each_rule_of_recovery_names_what_runs_it_and_a_planted_bug():
    section = DOCS["docs/invariants.md"].partition("\n## Late rows and recovery\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^- Rule (\d)\. .+? \(`(\w+)`\)\. Bug: (.+)\.$", _joined(section), re.MULTILINE)
    assert len(rows) == section.count("\n- "), "each has a rule, a step and a bug"
    assert {int(rule) for rule, *_ in rows} == set(range(1, 9)), "rules 1 to 8"
    steps = set(re.findall(r"^    def (\w+)", (ROOT / "tests/model/simulation.py").read_text(), re.MULTILINE))
    bugs = re.findall(r'^    """(.+)"""$', (ROOT / "tests/model/bugs.py").read_text(), re.MULTILINE)
    assert {step for _, step, _ in rows} <= steps, f"no such step: {[row for row in rows if row[1] not in steps]}"
    assert {bug for *_, bug in rows} <= set(bugs), f"no such bug: {[row for row in rows if row[2] not in bugs]}"


def _joined(text):
    """With each item of a list on one line."""
    return re.sub(r"\n +", " ", text)


def test_the_picture_of_the_flow_has_every_function():
    picture = (ROOT / "docs/images/flow.svg").read_text()
    names = re.findall(r'class="(?:name|note)[^>]*>([^<]+)<', picture)
    drawn = set(re.findall(r"[a-z]+", " ".join(names)))
    functions = {folder.parent.name for folder in (ROOT / "functions").glob("*/app.py")}
    assert functions <= drawn, f"docs/images/flow.svg lacks: {functions - drawn}"


@every_document
def test_every_make_target_and_parameter_that_is_named_exists(name):
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    targets |= set(re.search(r"^BENCHES := (.*)$", makefile, re.MULTILINE)[1].split())
    made = set(re.findall(r"(?:`|^    |^)make ([a-z-]+)", DOCS[name], re.MULTILINE))
    assert made <= targets, f"{name}: no make target {made - targets}"
    template = (ROOT / "template.yaml").read_text().partition("\nParameters:\n")[2].partition("\nMappings:")[0]
    parameters = set(re.findall(r"^  (\w+):", template, re.MULTILINE))
    given = re.findall(r'(?:PARAMETERS=|--parameter-overrides )"([^"]+)"', DOCS[name])
    named = {word.partition("=")[0] for text in given for word in text.replace("\\\n", " ").split()}
    assert named <= parameters, f"{name}: no parameter {named - parameters}"


def test_each_bug_of_the_net_names_a_test_that_needs_no_server():
    section = DOCS["docs/invariants.md"].partition("\n## The net\n")[2].partition("\n## ")[0]
    named = re.findall(r"^- .+(?:\n  .+)?:\n  `(test_\w+)`$", section, re.MULTILINE)
    assert len(named) == len(set(named)) == section.count("\n- ") == 46
    assert set(named) <= names_in("unit") | names_in("model")


def test_bugs_that_the_net_plants_are_those_of_the_document():
    bugs = names_of_net()
    assert NET.keys() <= bugs.keys(), f"not in docs/invariants.md: {NET.keys() - bugs.keys()}"
    assert all(files_of(bugs[bug]) for bug in NET)
