//! Terminals.

use std::fs;
use std::io::{Read, Write};

use coracle_launcher::{Created, create, exec};
use serde_json::json;

use crate::fixture::{Bundle, Sleeper, read, wait};

crate::tests![
    of_the_first_process,
    of_a_joining_process,
    of_the_reapers_child,
    belongs_to_the_user,
    needs_devpts,
];

const LOOK: &str = "tty; stty size; test -t 0 && test -t 1 && test -t 2 && echo all; \
                    cat /proc/self/stat | cut -d' ' -f7 | sed 's/^0$/none/; s/^[0-9].*/ctty/'";

fn terminal(bundle: &mut Bundle) {
    bundle.spec["process"]["terminal"] = json!(true);
    bundle.spec["process"]["consoleSize"] = json!({"height": 31, "width": 97});
}

fn of_the_first_process() {
    let mut bundle = Bundle::sh(&format!(
        "{LOOK}; read line; echo got $line; ls -1 /dev/pts; \
        stat -c %t /dev/console"
    ));
    terminal(&mut bundle);
    let mut created = create(&bundle.request()).unwrap();
    let console = created.console().unwrap();
    let process = created.start().unwrap();
    let mut terminal = fs::File::from(console);
    let mut output = String::new();
    while !output.contains("ctty\r\n") {
        let mut some = [0; 100];
        let count = terminal.read(&mut some).unwrap();
        output += std::str::from_utf8(&some[..count]).unwrap();
    }
    terminal.write_all(b"hello\n").unwrap();
    output += &read(terminal.into());
    assert_eq!(wait(&process), 0);
    assert!(
        output.contains("/dev/pts/0\r\n31 97\r\nall\r\nctty\r\n"),
        "{output}"
    );
    assert!(
        output.contains("got hello\r\n0\r\nptmx\r\n88\r\n"),
        "{output}"
    );
}

fn of_a_joining_process() {
    let mut bundle = Bundle::new();
    let sleeper = Sleeper::start(&mut bundle);
    let mut request = sleeper.exec(&bundle, &format!("{LOOK}; stty -a | grep -c isig"));
    request.process.set_terminal(Some(true));
    let size = serde_json::from_value(json!({"height": 31, "width": 97})).unwrap();
    request.process.set_console_size(Some(size));
    let mut process = exec(&request).unwrap();
    let console = process.console.take().unwrap();
    let output = read(console);
    assert_eq!(wait(&process), 0);
    assert_eq!(output, "/dev/pts/0\r\n31 97\r\nall\r\nctty\r\n1\r\n");
}

fn of_the_reapers_child() {
    let mut bundle = Bundle::sh(&format!(
        "{LOOK}; trap 'echo int; exit 5' INT; kill -INT 1; while :; do sleep 0.05; done"
    ));
    terminal(&mut bundle);
    let mut request = bundle.request();
    request.init = true;
    let mut process = create(&request).and_then(Created::start).unwrap();
    let output = read(process.console.take().unwrap());
    assert_eq!(wait(&process), 5);
    assert!(
        output.contains("31 97\r\nall\r\nctty\r\nint\r\n"),
        "{output}"
    );
}

fn belongs_to_the_user() {
    let mut bundle = Bundle::sh("stat -c '%u:%g %a' /dev/pts/0 /dev/console; echo x > /dev/tty");
    terminal(&mut bundle);
    let mut request = bundle.request();
    request.user = Some("bob".into());
    let mut process = create(&request).and_then(Created::start).unwrap();
    let output = read(process.console.take().unwrap());
    assert_eq!(wait(&process), 0);
    assert_eq!(output, "1000:5 620\r\n1000:5 620\r\nx\r\n");
}

fn needs_devpts() {
    let mut bundle = Bundle::new();
    terminal(&mut bundle);
    let mounts = bundle.spec["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| mount["destination"] != "/dev/pts");
    assert!(
        bundle
            .refused()
            .to_string()
            .contains("needs a mount of devpts")
    );
}
