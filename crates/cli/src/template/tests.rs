use serde_json::json;

use super::*;

fn render(template: &str, value: &Value) -> Result<String> {
    Template::parse(template)?.render(value)
}

fn sample() -> Value {
    json!({
        "ID": "abc",
        "N": 3,
        "Zero": 0,
        "Nothing": null,
        "State": {"Status": "running", "Health": null},
        "Env": ["A=1", "B=2"],
        "Labels": {"a.b": "c", "d": "e"},
        "Ports": {"80/tcp": [{"HostPort": "8080"}]},
    })
}

#[test]
fn values_are_filled_in() {
    for (template, expected) in [
        ("{{.ID}}", "abc"),
        ("x{{ .State.Status }}y", "xrunningy"),
        ("{{json .Env}}", r#"["A=1","B=2"]"#),
        ("{{.Env | json}}", r#"["A=1","B=2"]"#),
        ("{{.Env}}", "[A=1 B=2]"),
        ("{{.Labels}}", "map[a.b:c d:e]"),
        ("{{.Nothing}}", "<no value>"),
        ("{{index .Labels \"a.b\"}}", "c"),
        ("{{index .Env 1}}", "B=2"),
        ("{{(index (index .Ports \"80/tcp\") 0).HostPort}}", "8080"),
        ("{{join .Env \", \"}}", "A=1, B=2"),
        ("{{upper .ID}} {{.ID | upper | lower}}", "ABC abc"),
        ("{{truncate .ID 2}}{{pad .ID 1 2}}|", "ab abc  |"),
        ("{{range .Env}}<{{.}}>{{end}}", "<A=1><B=2>"),
        (
            "{{range $i, $e := .Env}}{{$i}}={{$e}};{{end}}",
            "0=A=1;1=B=2;",
        ),
        (
            "{{range $k, $v := .Labels}}{{$k}}:{{$v}} {{end}}",
            "a.b:c d:e ",
        ),
        ("{{range .Nothing}}x{{else}}none{{end}}", "none"),
        ("{{if .Zero}}a{{else if .N}}b{{else}}c{{end}}", "b"),
        ("{{if .Missing}}a{{else}}b{{end}}", "b"),
        ("{{if .State.Health}}a{{else}}none{{end}}", "none"),
        ("{{with .State}}{{.Status}}{{$.ID}}{{end}}", "runningabc"),
        ("{{$x := .ID}}{{$x}}", "abc"),
        (
            "{{range .Env}}{{if eq . \"A=1\"}}{{continue}}{{end}}{{.}}{{end}}",
            "B=2",
        ),
        ("{{range .Env}}{{.}}{{break}}{{end}}", "A=1"),
        ("a {{- /* nothing */ -}} b", "ab"),
        ("a {{- .N -}} b", "a3b"),
        ("{{.ID}}\\t{{.N}}\\n", "abc\t3\n"),
        ("{{\"{{\"}}{{`}}`}}", "{{}}"),
        (
            "{{and .ID .N}} {{or .Zero .ID}} {{not .Zero}}",
            "3 abc true",
        ),
        ("{{if and (gt .N 2) (eq .ID \"x\" \"abc\")}}y{{end}}", "y"),
        ("{{len .Env}}{{len .ID}}", "23"),
        ("{{slice .ID 1}}", "bc"),
        ("{{title \"a bc\"}}", "A Bc"),
        ("{{range split \"a:b\" \":\"}}{{.}},{{end}}", "a,b,"),
        ("{{println .ID .N}}", "abc 3\n"),
    ] {
        assert_eq!(
            render(template, &sample()).as_deref(),
            Ok(expected),
            "{template}"
        );
    }
}

#[test]
fn mistakes_are_named() {
    for (template, part) in [
        ("{{.Missing}}", "has no field \"Missing\""),
        ("{{.State.Missing.More}}", ".State has no field"),
        ("{{.State.Health.Status}}", ".State.Health is nothing"),
        ("{{.ID", "without"),
        ("{{}}", "empty action"),
        ("{{nope .ID}}", "function \"nope\" not defined"),
        ("{{printf \"%s\" .ID}}", "printf"),
        ("{{if .ID}}", "without {{end}}"),
        ("{{end}}", "unexpected {{end}}"),
        ("{{.ID .N}}", "only a function"),
        ("{{upper .N}}", "wants a string"),
        ("{{upper}}", "wrong number of arguments"),
        ("{{index .Env 9}}", "out of range"),
        ("{{$x}}", "undefined variable"),
        ("{{\"a}}", "no end"),
        ("{{template \"x\"}}", "not supported"),
        ("{{(.ID}}", "without \")\""),
        ("{{. ; .}}", "unexpected"),
        ("{{range .ID}}{{end}}", "can't go through"),
    ] {
        let error = render(template, &sample()).unwrap_err().to_string();
        assert!(error.contains(part), "{template}: {error}");
    }
}

#[test]
fn nesting_is_bounded() {
    let deep = "{{if .}}".repeat(10_000);
    assert!(Template::parse(&deep[..60_000]).is_err());
    let deep = format!("{{{{{}", "(".repeat(10_000));
    assert!(Template::parse(&deep).is_err());
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused(text: String) {
        let _ = render(&text, &sample());
    }

    #[test]
    fn any_action_is_read_or_refused(text in "(\\{\\{[-.$a-z|()\"=:0-9 ]{0,12}\\}\\}){0,4}") {
        let _ = render(&text, &sample());
    }
}
