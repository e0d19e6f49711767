"""Go templates: what each construct comes to, what is refused and how, and that no text at all breaks the reader."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.cli import listing
from sampan.cli.templates.evaluate import Template
from sampan.cli.templates.values import typed
from sampan.errors import Invalid, SampanError, Unsupported

VALUE: dict[str, Any] = {
    "Name": "web",
    "Config": {"Cmd": None, "Env": ["A=1", "B=2"], "Labels": {"b": "2", "a": "1"}, "Volumes": None},
    "NetworkSettings": {
        "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "81/tcp": None},
        "Networks": {"bridge": {"IPAddress": "172.17.0.2"}},
    },
    "State": {"Running": True, "Paused": False, "Pid": 7, "Error": ""},
}


def render(template: str, value: Any = VALUE) -> str:
    return Template(template).render(typed(value))


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("", ""),
        ("plain }} text", "plain }} text"),
        ("{{.Name}}", "web"),
        ("{{ .Name }}", "web"),
        ("{{$.Name}}", "web"),
        ("{{json .Config}}", '{"Cmd":null,"Env":["A=1","B=2"],"Labels":{"a":"1","b":"2"},"Volumes":null}'),
        ("{{.Config.Cmd}} {{.Config.Volumes}} {{.Config.Labels}}", "[] map[] map[a:1 b:2]"),
        ("{{.Config.Labels.nosuch}}", "<no value>"),
        ('{{index .Config.Labels "nosuch"}}|{{index .Config.Labels "b"}}', "|2"),
        ('{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}', "8080"),
        ('{{index .NetworkSettings.Ports "80/tcp" 0}}', "{0.0.0.0 8080}"),
        ('{{index .NetworkSettings.Ports "81/tcp"}}', "[]"),
        ("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "172.17.0.2"),
        ("{{range $i, $e := .Config.Env}}{{if $i}},{{end}}{{$e}}{{end}}", "A=1,B=2"),
        ("{{range $e := .Config.Env}}{{$e}};{{end}}", "A=1;B=2;"),
        ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}} {{end}}", "a=1 b=2 "),
        ("{{range .Config.Cmd}}x{{else}}none{{end}}", "none"),
        ("{{range 3}}{{.}}{{end}}", "012"),
        ('{{range .Config.Env}}{{if eq . "B=2"}}{{break}}{{end}}{{.}}{{end}}', "A=1"),
        ('{{range .Config.Env}}{{if eq . "A=1"}}{{continue}}{{end}}{{.}}{{end}}', "B=2"),
        ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
        ("{{if .State.Paused}}1{{else if .State.Running}}2{{else}}3{{end}}", "2"),
        ("{{if .State.Paused}}1{{else if .State.Error}}2{{else}}3{{end}}", "3"),
        ("{{with .State.Health}}{{.Status}}{{else}}none{{end}}", "none"),
        ("{{with .Config}}{{len .Env}}{{$.Name}}{{end}}", "2web"),
        ("{{with $n := .Name}}{{$n}}{{end}}", "web"),
        ("{{$x := 1}}{{range .Config.Env}}{{$x = 2}}{{end}}{{$x}}", "2"),
        ("{{$x := 1}}{{if true}}{{$x := 2}}{{end}}{{$x}}", "1"),
        ('{{join .Config.Env ","}}', "A=1,B=2"),
        ('{{join .Config.Cmd ","}}', ""),
        ('{{split "a,b" ","}} {{index (split "a,b" ",") 1}}', "[a b] b"),
        ('{{upper "aé"}} {{lower "AÉ"}} {{title "a bc"}} {{title "it\'s"}}', "AÉ aé A Bc It'S"),
        ('{{pad "a" 1 2}}|{{pad "" 1 2}}|{{truncate "abc" 2}}|{{truncate "abc" 9}}', " a  ||ab|abc"),
        ('{{println "a" 1 true}}', "a 1 true\n"),
        ('{{print "a" 1 2 "b"}}', "a1 2b"),
        ('{{printf "%s-%05d-%-4s|%q|%v|%t|%5.2f|%x|%%" .Name 7 "a" "q" .Config.Env true 1.5 255}}', ""),
        ('{{"x" | printf "%s%s" "y" | upper}}', "YX"),
        ("{{eq 1 1}} {{eq 1 2 1}} {{ne 1 2}} {{lt 1 2}} {{le 2 2}} {{gt 1 2}} {{ge 2 2}}", ""),
        ('{{and 1 0}} {{and 1 2}} {{or 0 ""}} {{or 0 "x"}} {{not 0}} {{or 1 (index .Config.Env 9)}}', "0 2  x true 1"),
        ('{{len "é"}} {{len .Config.Cmd}} {{slice "abc" 1}} {{slice "abc" 1 2}}', "2 0 bc b"),
        ("a {{- 1 -}} b", "a1b"),
        ("a {{-1}} b", "a -1 b"),
        ("{{/* a comment */}}a {{- /* another */ -}} b", "ab"),
        ('{{`raw \\n`}} {{"\\t\\"\\u00e9\\x41\\\\"}} {{\'a\'}}', 'raw \\n \t"éA\\ 97'),
        ("{{0x1f}} {{1_000}} {{1.5}} {{1e3}} {{-2}} {{1e21}} {{0.00001}}", "31 1000 1.5 1000 -2 1e+21 1e-05"),
        ("{{true}} {{false}} {{nil | print}}", "true false <nil>"),
        ("{{(.Config).Env}}", "[A=1 B=2]"),
        ("{{.State}}", "{true false 7 }"),
    ],
)
def test_what_it_comes_to(template: str, text: str) -> None:
    special = {
        "{{printf": 'web-00007-a   |"q"|[A=1 B=2]|true| 1.50|ff|%',
        "{{eq 1 1": "true true true true true false true",
    }
    assert render(template) == special.get(template[:8], text)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{.Nam}}", "there is no field .Nam"),
        ("{{.Config.Foo}}", "there is no field .Foo"),
        ("{{.Name.Foo}}", "there is no .Foo of 'web'"),
        ("{{.State.Health.Status}}", "there is no .Status of what is not there"),
        ("{{foo .}}", "function 'foo' is not defined"),
        ("{{if false}}{{foo}}{{end}}", "function 'foo' is not defined"),
        ("{{.Name", "an action has no end"),
        ("{{", "an action has no end"),
        ("{{}}", "an action is empty"),
        ("{{/* x }}", "a comment has no end"),
        ("{{if}}{{end}}", "{{if}} lacks a value"),
        ("{{if 1}}", "{{if}} has no {{end}}"),
        ("{{end}}", "unexpected {{end}}"),
        ("{{else}}", "unexpected {{else}}"),
        ("{{if 1}}{{else}}{{else}}{{end}}", "{{if}} has a second {{else}}"),
        ("{{break}}", "{{break}} outside of {{range}}"),
        ("{{$x}}", "undefined variable $x"),
        ("{{$x = 1}}", "undefined variable $x"),
        ("{{if 0}}{{$x := 1}}{{end}}{{$x}}", "undefined variable $x"),
        ("{{if 0}}{{$x := 1}}{{else}}{{$x}}{{end}}", "undefined variable $x"),
        ("{{$a, $b := 1}}", "two variables are for {{range}} only"),
        ("{{(1}}", "a parenthesis is not closed"),
        ("{{1)}}", "unexpected ')'"),
        ("{{1 | 2}}", "what comes after | is to be a function"),
        ("{{1 |}}", "an action lacks a value"),
        ('{{"\\z"}}', "unknown escape \\z"),
        ("{{'ab'}}", "is not one character"),
        ("{{08}}", "'08' is not a number"),
        ("{{#}}", "unexpected '#'"),
        ('{{"a"b}}', "unexpected 'b' after an operand"),
        ("{{. .Name}}", "a value has arguments"),
        ("{{len 1}}", "len of int"),
        ("{{len}}", "len takes 1 argument, not 0"),
        ("{{index .Config.Env 2}}", "index 2 is out of range: there are 2"),
        ('{{index .Config.Env "a"}}', "is no whole number"),
        ("{{index .Name.x 0}}", "there is no .x"),
        ('{{eq 1 "a"}}', "eq cannot compare int with string"),
        ("{{lt true false}}", "lt cannot compare bool with bool"),
        ('{{join "a" ","}}', "join needs a list and a text"),
        ('{{printf "%d" "a"}}', "printf cannot show 'a' as '%d'"),
        ('{{printf "%s"}}', "printf has no value for '%s'"),
        ('{{printf "a" 1}}', "has too many values"),
        ('{{printf "%99999d" 1}}', "is wider than"),
        ("{{range 1000000000}}{{end}}", "range cannot go through '1000000000'"),
        ("{{" + "(" * 60 + "1" + ")" * 60 + "}}", "more than 50 parentheses"),
        ("{{if 1}}" * 60, "more than 50 blocks"),
    ],
)
def test_what_is_refused(template: str, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        render(template)
    assert caught.value.message.startswith("invalid template: ")
    assert said in caught.value.message


def test_templates_in_templates_are_refused_by_name() -> None:
    with pytest.raises(Unsupported, match="define"):
        render('{{define "a"}}{{end}}')


def test_a_misspelt_field_has_a_hint() -> None:
    with pytest.raises(Invalid) as caught:
        render("{{.State.Runing}}")
    assert caught.value.hint == "did you mean .Running?"


_WORDS = st.sampled_from(
    "{{ }} {{- -}} if else end range with break continue define .Name .Config.Env . $ $x := = , | ( ) eq index len "
    "printf \"%s\" 'a' `r` 1 0x 1.5 /* */ json nil true".split()
)


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.text(max_size=60), st.lists(st.one_of(_WORDS, st.just(" ")), max_size=25).map("".join)))
def test_no_text_breaks_it(template: str) -> None:
    for source in (template, f"{{{{{template}}}}}"):
        with suppress(SampanError):  # anything else fails the test
            render(source)


@given(st.text())
def test_text_without_actions_stays_as_it_is(text: str) -> None:
    if "{{" not in text:
        assert render(text) == text


@given(st.text())
def test_any_text_can_be_a_constant(text: str) -> None:
    quoted = "".join(f"\\U{ord(letter):08x}" for letter in text if not 0xD800 <= ord(letter) < 0xE000)
    kept = "".join(letter for letter in text if not 0xD800 <= ord(letter) < 0xE000)
    assert render(f'{{{{"{quoted}"}}}}') == kept


COLUMNS: "listing.Columns" = {
    "ID": ("IMAGE ID", lambda thing: thing["id"]),
    "Names": ("NAMES", lambda thing: thing["name"]),
    "Label": ("", lambda thing: lambda key: thing["labels"].get(key, "")),
}
THINGS = [
    {"id": "1234567890ab", "name": "a", "labels": {"org.one-two": "x"}},
    {"id": "2", "name": "b\x1b[2J", "labels": {}},
]


@pytest.mark.parametrize(
    ("template", "lines"),
    [
        ("{{.ID}}", ["1234567890ab", "2"]),
        (r"{{.ID}}\t{{.Names}}", ["1234567890ab\ta", "2\tb\x1b[2J"]),
        ("json", ['{"ID":"1234567890ab","Names":"a"}', '{"ID":"2","Names":"b\\u001b[2J"}']),
        (r"table {{.ID}}\t{{.Names}}", ["IMAGE ID       NAMES", "1234567890ab   a", "2              b\ufffd[2J"]),
        (
            r'table {{upper .Names}}\t{{.Label "org.one-two"}}',
            ["NAMES     one two", "A         x", "B\ufffd[2J"],
        ),
        (r"table {{truncate .ID 3}}", ["IMAGE ID", "123", "2"]),
    ],
)
def test_listings(template: str, lines: list[str]) -> None:
    assert listing.lines(THINGS, COLUMNS, template) == lines


def test_an_empty_listing_has_titles() -> None:
    assert listing.lines([], COLUMNS, "table {{.Names}}") == ["NAMES"]
    assert listing.lines([], COLUMNS, "{{.Names}}") == []
