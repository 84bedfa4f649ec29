"""Templates of labels and annotations, as Go's text/template and Prometheus' functions have them."""

import time

import pytest
from carbyne.core.limits import PATTERNS_REMEMBERED, RULE_TEXT_BYTES_MAX
from carbyne.promql import select
from carbyne.rules.template_tree import TemplateFault
from carbyne.rules.templates import TemplateData, check_template, expand

LABELS = {"instance": "db-1.example.com:9100", "job": "node", "empty": ""}


def text(template, value=1234567.5, labels=LABELS):
    check_template(template)
    return expand(template, TemplateData(labels, value, 1_700_000_000_000), lambda: None)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("no action }}", "no action }}"),
        ("{{ $labels.job }} {{ .Labels.instance }}|{{ $labels.none }}|", "node db-1.example.com:9100||"),
        ("{{ $value }} {{ .Value }}", "1.2345675e+06 1.2345675e+06"),
        ("a {{- /* gone */ -}} b", "ab"),
        ("a {{/* gone */}} b", "a  b"),
        ("a  {{- $labels.job -}}  b", "anodeb"),
        ("{{ if gt $value 10.0 }}high{{ else }}low{{ end }}", "high"),
        ("{{ if lt $value 1.0 }}a{{ else if eq $labels.job `node` `x` }}b{{ else }}c{{ end }}", "b"),
        ("{{ with $labels.none }}{{ . }}{{ else }}none{{ end }}{{ with $labels.job }}{{ . }}{{ end }}", "nonenode"),
        ("{{ range $k, $v := $labels }}{{ $k }}={{ $v }},{{ end }}", "empty=,instance=db-1.example.com:9100,job=node,"),
        ("{{ range .Labels }}[{{ . }}]{{ end }}", "[][db-1.example.com:9100][node]"),
        ("{{ range $externalLabels }}x{{ else }}none{{ end }}", "none"),
        ("{{ $x := `a` }}{{ if true }}{{ $x = `b` }}{{ end }}{{ $x }}", "b"),
        ("{{ $x := `a` }}{{ if true }}{{ $x := `b` }}{{ end }}{{ $x }}", "a"),
        ("{{ and $labels.job `x` }}{{ or $labels.none `y` }}{{ not true }}", "xyfalse"),
        ("{{ index $labels `job` | toUpper | printf `%q` }}", '"NODE"'),
        ("{{ (index .Labels `job`) }}{{ len $labels.job }}{{ len .Labels }}", "node43"),
        ("{{ print 1 2 `a` 3 }}{{ println `x` 1 }}", "1 2a3x 1\n"),
        ("{{ print nil }}{{ eq nil 1 }}", "<nil>false"),
        ("{{ range $k, $v := $labels }}{{ if eq $k `job` }}{{ break }}{{ end }}{{ $k }};{{ end }}", "empty;instance;"),
        ("{{ range $labels }}{{ if not . }}{{ continue }}{{ end }}{{ . }};{{ end }}", "db-1.example.com:9100;node;"),
        ("{{ range $labels }}{{ range $labels }}{{ break }}{{ end }}x{{ end }}", "xxx"),
        ("{{ with $labels.none }}a{{ else with $labels.job }}{{ . }}{{ else }}c{{ end }}", "node"),
        ("{{ reReplaceAll `a*` `x` `baaac` }}{{ reReplaceAll `.*` `y` `ab` }}{{ reReplaceAll `b|` `-` `abc` }}",
         "xbxcxy-a-c-"),
        ("{{ match `a.b` \"a\\nb\" }}{{ match `(?s)a.b` \"a\\nb\" }}", "falsetrue"),
        ("{{ title `it's 1e3 at a-1.example.com` }} {{ title `a..b a:b` }}", "It's 1E3 At A-1.Example.com A..B A:b"),
        ("{{ parseDuration `-5m` }} {{ printf `%T %T` $value 1 }}", "-300 float64 int"),
        ("{{ $labels }}", "map[empty: instance:db-1.example.com:9100 job:node]"),
        ('{{ "\\"\\t\\u00e9\\x41" }}', '"\té' + "A"),
        ("{{ externalURL }}{{ pathPrefix }}{{ $externalURL }}{{ now }}", "1.7e+09"),
        ("{{ match `^db` $labels.instance }}", "true"),
        ("{{ reReplaceAll `([^.]+)\\.(.*)` `${2}-$1$$` $labels.instance }}", "example.com:9100-db-1$"),
        ("{{ stripPort $labels.instance }} {{ stripDomain $labels.instance }}", "db-1.example.com db-1:9100"),
        ("{{ stripPort `[::1]:80` }} {{ stripDomain `10.0.0.1:80` }} {{ stripDomain `a.b` }}", "::1 10.0.0.1:80 a"),
        ("{{ title `a big_one x-y` }} {{ toLower `AB` }}", "A Big_one X-Y ab"),
        ("{{ urlQueryEscape `a b&c` }} {{ urlquery `a b` 1 }}", "a+b%26c a+b1"),
        ("{{ graphLink `a > 1` }} {{ tableLink `a` }}", "/graph?g0.expr=a+%3E+1&g0.tab=0 /graph?g0.expr=a&g0.tab=1"),
        ("{{ parseDuration `1h30m` }}", "5400"),
        ("{{ humanize $value }} {{ humanize1024 $value }}", "1.235M 1.177Mi"),
        ("{{ humanize 0.0 }} {{ humanize 0.0012 }} {{ humanize -1500 }} {{ humanize1024 0.5 }}", "0 1.2m -1.5k 0.5"),
        ("{{ humanizeDuration $value }} {{ humanizeDuration 59.5 }}", "14d 6h 56m 7s 59.5s"),
        ("{{ humanizeDuration 0.0015 }}", "1.5ms"),
        ("{{ humanizeDuration -3661 }} {{ humanizeDuration 0 }} {{ humanizeDuration `61` }}", "-1h 1m 1s 0s 1m 1s"),
        ("{{ humanizePercentage 0.12345 }}", "12.35%"),
        ("{{ humanizeTimestamp 1435065584.128 }}", "2015-06-23 13:19:44.128 +0000 UTC"),
        ("{{ printf `%.2f|%8.1f|%-8s|%08.3f|%+d|%x|%v|%t|%5t` $value 1.25 `ab` 3.14159 7 255 `s` true false }}",
         "1234567.50|     1.2|ab      |0003.142|+7|ff|s|true|false"),
        ("{{ printf `%g %e %.3g %G %s %d %%` $value $value $value 1e-7 $value $value }}",
         "1.2345675e+06 1.234568e+06 1.23e+06 1E-07 %!s(float64=1.2345675e+06) %!d(float64=1.2345675e+06) %"),
        ("{{ printf `%d` }}|{{ printf `a` 1.5 `b` }}", "%!d(MISSING)|a%!(EXTRA float64=1.5, string=b)"),
        ("{{ 5 | printf `%d-%s` 4 }}", "4-%!s(int=5)"),
    ],
)  # fmt: skip
def test_a_template(template, expected):
    assert text(template) == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_none_have_gos_names(value):
    named = {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}[str(value)]
    assert (
        text("{{ $value }} {{ humanize $value }} {{ printf `%5.1f` $value }}", value) == f"{named} {named} {named:>5}"
    )


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ query `up` | first | value }}", "query: queries are not served in templates"),
        ("{{ define `x` }}{{ end }}", "define: templates in templates are not served"),
        ("{{ template `x` }}", "template: templates in templates are not served"),
        ("{{ if true }}{{ break }}{{ end }}", "{{break}} outside of a range"),
        ("{{ range $labels }}{{ else }}{{ continue }}{{ end }}", "{{continue}} outside of a range"),
        ("{{ print `a``b` }}", "unexpected '`b`' in an action; a space is missing"),
        ("{{ print(1) }}", "unexpected '(' in an action; a space is missing"),
        ("{{\u00a0$value }}", "unexpected '\\xa0$value }}' in an action"),
        ("{{ nil | print }}", "nil is not a command"),
        ("{{ 012 }}", "012 is no decimal number that Go takes"),
        ("{{ 9223372036854775808 }}", "9223372036854775808 is no decimal number"),
        ("{{ 1e400 }}", "1e400 is no decimal number"),
        ("{{ nothing 1 }}", "function 'nothing' is not defined"),
        ("{{ $nothing }}", "undefined variable '$nothing'"),
        ("{{ if true }}{{ $x := 1 }}{{ end }}{{ $x }}", "undefined variable '$x'"),
        ("{{ if true }}", "{{if}} has no {{end}}"),
        ("{{ end }}", "unexpected {{end}}"),
        ("{{ }}", "a value is missing"),
        ("{{ humanize }}", "humanize takes 1 arguments; got 0"),
        ("{{ 1 2 }}", "only a function takes arguments"),
        ("{{ 1", "an action is not closed"),
        ("{{ (1 }}", "a parenthesis is not closed"),
        ("{{ 1 ) }}", "unexpected ')'"),
        ("{{ `a }}", "unexpected '`a }}' in an action"),
        ('{{ "\\q" }}', "unknown escape \\q"),
        ('{{ "\\ud800" }}', "\\ud800 is no character"),
        ("{{ " + "(" * 30 + "1" + ")" * 30 + " }}", "parentheses nested deeper"),
        ("{{ if 1 }}" * 30 + "{{ end }}" * 30, "blocks nested deeper"),
        ("{{ | }}", "a value is missing"),
        ("{{ $x, $y := 1 }}", "variables are set one at a time"),
    ],
)
def test_what_is_refused_when_a_file_is_checked(template, reason):
    with pytest.raises(TemplateFault) as refused:
        check_template(template)
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ $value.x }}", "can't evaluate field x"),
        ("{{ .Nothing }}", "can't evaluate field Nothing; there are Labels"),
        ("{{ gt $value 1 }}", "incompatible types for comparison"),
        ("{{ humanize `x` }}", 'strconv.ParseFloat: parsing "x": invalid syntax'),
        ("{{ humanize ` 1` }}", 'parsing " 1": invalid syntax'),
        ("{{ humanize `\u0661` }}", 'parsing "\u0661": invalid syntax'),
        ("{{ humanize `1e400` }}", 'parsing "1e400": value out of range'),
        ("{{ eq $labels $labels }}", "non-comparable type map[string]string"),
        ("{{ $ }}", "the whole of the data is no value"),
        ("{{ match `(` `a` }}", "invalid regular expression"),
        ("{{ printf `%9999d` 1 }}", "a width above 200"),
        ("{{ range $value }}{{ end }}", "range can't iterate"),
        ("{{ parseDuration `x` }}", "not a valid duration string"),
        ("{{ index $value `a` }}", "can't index item of type float64"),
        (f"{{{{ parseDuration `{'9' * 400}s` }}}}", "not a valid duration string"),
        ("{{ if false }}{{ $x := 1 }}{{ else }}{{ $x }}{{ end }}", "undefined variable '$x'"),
        ("{{ or true ($x := 1) }}{{ $x }}", "undefined variable '$x'"),
    ],
)
def test_what_goes_wrong_is_written_in_the_place_of_the_text(template, reason):
    assert text(template).startswith("<error expanding template: ") and reason in text(template)


def test_the_number_of_a_group_may_be_long():
    long = "{{ $x := `" + "1" * 3000 + "` }}{{ reReplaceAll `(a)` (printf `<${%s%s}>` $x $x) `a` }}"
    assert text(long) == "<>"


@pytest.mark.parametrize(
    ("pattern", "by", "inside"),
    [
        ("``", "x" * 2000, "a" * 2000),
        ("`a`", "", "a" * 4000),
        ("`(a)`", "$2" * 1000, "a" * 2000),
        ("`a`", "${b}$" * 300, "a" * 2000),
    ],
)
def test_a_replacement_ends_before_it_has_taken_long(pattern, by, inside):
    """One of these took ten seconds: a text of 5 MB was made, and then refused."""
    begun_s = time.process_time()
    assert "reReplaceAll: " in text(f"{{{{ reReplaceAll {pattern} `{by}` `{inside}` }}}}")
    assert time.process_time() - begun_s < 1.0


def test_a_text_of_many_digits_is_refused_at_once():
    """A pattern that gives digits back took a second of each step."""
    begun_s = time.process_time()
    assert "invalid syntax" in text("{{ $x := `" + "1" * 3000 + "` }}{{ humanize (print $x $x `x`) }}")
    assert time.process_time() - begun_s < 0.5


def test_patterns_that_are_remembered_are_few():
    """A tenant that matched 256 of these held 280 MB of an evaluator until its end."""
    inside = "ab" * 2000
    for number in range(PATTERNS_REMEMBERED + 20):
        assert text(f"{{{{ match `{number}|(a|b)*a(a|b){{18}}c` $labels.a }}}}", labels={"a": inside}) == "false"
    assert select._compiled.cache_info().currsize == PATTERNS_REMEMBERED <= 64


def test_the_caller_may_end_an_expansion_at_each_step():
    steps = []

    def check_time():
        steps.append(1)
        if len(steps) > 5:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        expand("{{ $value }}" * 100, TemplateData({}, 1.0, 0), check_time)
    assert len(steps) == 6


def test_expansions_are_bounded():
    many = {f"l{number}": "x" * 200 for number in range(60)}
    nested = "{{ range $labels }}" * 4 + "{{ . }}" + "{{ end }}" * 4
    assert "longer than 8192 bytes" in text(nested, labels=many)
    silent = "{{ range $labels }}" * 4 + "{{ if . }}{{ end }}" + "{{ end }}" * 4
    assert "more than 10000 steps" in text(silent, labels=many)
    growing = "{{ $x := `" + "y" * 100 + "` }}" + "{{ $x = print $x $x $x }}" * 100
    assert len(growing) <= RULE_TEXT_BYTES_MAX and "longer than 8192 bytes" in text(growing)
