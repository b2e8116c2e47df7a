//! The program as people and scripts run it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};

use crate::support::http::{Answer, Wire, get};

/// The program, with nothing of this process's environment.
fn tidegate(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.env_clear().args(args);
    command
}

fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code().expect("a code"), text(stdout), text(stderr))
}

#[test]
fn good_settings_are_printed_with_their_origins_and_without_secrets() {
    let args =
        ["--auth-legacy-signature", "check-config", "--kafka-options-sasl-password", "swordfish"];
    let mut command = tidegate(&args);
    command.env("TIDEGATE_AUTH_KEYS", "k:swordfish").env("TIDEGATE_PORT", "tcp://10.0.0.1:30000");
    let (code, out, err) = run(&mut command);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("legacy_signature = true  # --auth-legacy-signature\n"), "{out}");
    assert!(out.contains("keys = \"***\"  # TIDEGATE_AUTH_KEYS\n"), "{out}");
    assert!(out.contains("\"sasl.password\" = \"***\"  # --kafka-options\n"), "{out}");
    assert!(out.contains("heartbeat = \"15s\"  # default\n"), "{out}");
    assert_eq!(err, "warning: no setting has the environment variable TIDEGATE_PORT\n");
}

#[test]
fn bad_settings_are_all_told_and_end_with_78() {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().expect("a file");
    writeln!(file, "[stream]\nheartbeats = '1s'").expect("written");
    let path = file.path().to_str().expect("UTF-8");
    for command in ["check-config", "serve", "sign"] {
        let mut args = vec![command, "--config", path, "--limits-connections=0"];
        if command == "sign" {
            args.extend(["subscribe", "a", "b"]);
        }
        let (code, out, err) = run(tidegate(&args).env("TIDEGATE_LOG_KIND", "postgres"));
        assert_eq!((code, &*out), (78, ""), "{command}: {err}");
        assert_eq!(err.lines().count(), 3, "{err}");
        for part in [
            "stream.heartbeats",
            "did you mean stream.heartbeat?",
            "--limits-connections",
            "TIDEGATE_LOG_KIND",
        ] {
            assert!(err.contains(part), "{part}: {err}");
        }
    }
}

#[test]
fn a_wrong_use_ends_with_2() {
    for args in [
        &["--stream-heartbeats", "1s"][..],
        &["fly"],
        &["sign", "subscribe", "a"],
        &["sign", "dance", "a", "b"],
        &["sign", "subscribe", "a", "b", "--expires", "soon"],
        &["--pod-name", "a", "tail", "a", "b"],
        &["check-config", "--json", "--markdown"],
    ] {
        let (code, out, err) = run(&mut tidegate(args));
        assert_eq!((code, &*out), (2, ""), "{args:?}: {err}");
        assert!(err.starts_with("error: "), "{err}");
    }
    let (_, _, err) = run(&mut tidegate(&["--stream-heartbeats", "1s"]));
    assert!(err.contains("'--stream-heartbeat'"), "a suggestion: {err}");
}

#[test]
fn help_lists_every_setting_and_the_exit_codes() {
    for args in [&["--help"][..], &["serve", "--help"], &["help"]] {
        let (code, out, _) = run(&mut tidegate(args));
        assert_eq!(code, 0);
        for part in ["--limits-connections-per-ip", "--config", "Exit codes:", "78 bad settings"] {
            assert!(out.contains(part), "{args:?} {part}: {out}");
        }
    }
    let (_, out, _) = run(&mut tidegate(&["sign", "--help"]));
    assert!(out.contains("--auth-keys-file") && !out.contains("--limits-connections"), "{out}");
}

#[test]
fn the_table_of_settings_is_markdown() {
    let (code, out, _) = run(&mut tidegate(&["check-config", "--markdown"]));
    assert_eq!(code, 0);
    assert_eq!(out, tidegate::config::markdown_table());
}

#[test]
fn what_is_signed_can_be_used_as_it_is_printed() {
    let base = "https://gw.example/sse";
    for (args, path) in [
        (["subscribe", "a/ä", "t"], "/v1/subscribe/events/a%2F%C3%A4/types/t?"),
        (["subscribe", "a", "*"], "/v1/subscribe/events/a/types/*?"),
        (["publish", "a", "t"], "/v1/sse/events/a/types/t?"),
        (["publish", "*", "t"], "/v1/sse/broadcast/types/t?"),
        (["publish", "a", "*"], "/v1/sse/batch?event_id=a&"),
        (["publish", "*", "*"], "/v1/sse/batch?"),
    ] {
        let rest = ["--auth-keys=k1:sesame", "--user=anna b", "--url", base];
        let (code, out, err) = run(tidegate(&["sign"]).args(args).args(rest));
        assert_eq!((code, &*err), (0, ""), "{args:?}");
        let lines: Vec<_> = out.lines().collect();
        let [signature, url] = lines[..] else { panic!("two lines: {out}") };
        assert!(signature.starts_with("v1.k1."), "{signature}");
        assert_eq!(url, format!("{base}{path}user=anna%20b&signature={signature}"));
    }
}

#[test]
fn what_cannot_be_signed_is_refused_with_the_reason() {
    let sign = |args: &[&str]| run(tidegate(&["sign"]).args(args));
    for (args, reason) in [
        (&["subscribe", "a", "b"][..], "there is no key: set auth.keys or auth.keys_file"),
        (&["subscribe", "a", "open", "--auth-keys=k:s"], "event_type must not be \"open\""),
        (&["subscribe", "a", "b", "--auth-keys=k:s", "--kid=j"], "there is no key called j"),
        (&["subscribe", "a", "b", "--auth-keys=k:s:2020-01-01"], "every key has ended"),
        (&["subscribe", "a", "b", "--auth-keys=k:s", "--expires=0"], "--expires is 0"),
        (
            &["subscribe", "a", "b", "--auth-keys=k:s", "--expires=2h", "--auth-max-lifetime=1h"],
            "--expires is longer than auth.max_lifetime allows",
        ),
        (&["subscribe", "a", "b", "--auth-keys=k:s", "--body-file=x"], "--body-file x"),
        (&["subscribe", "a", "b", "--auth-keys-file=/nowhere"], "auth.keys_file /nowhere"),
        (&["subscribe", "a", "b", "--auth-keys=k:s", "--url=gw"], "--url"),
    ] {
        let (code, out, err) = sign(args);
        assert_eq!((code, &*out), (1, ""), "{args:?}: {err}");
        assert!(err.starts_with(&format!("error: {reason}")), "{args:?}: {err}");
    }
}

#[test]
fn a_signature_can_cover_a_body_and_come_from_any_key() {
    let mut keys = tempfile::NamedTempFile::new().expect("a file");
    writeln!(keys, "# ours\nold:s:2020-01-01\nnew:s").expect("written");
    let path = keys.path().to_str().expect("UTF-8");
    let mut command = tidegate(&["sign", "publish", "a", "t", "--body-file=-", "--auth-keys-file"]);
    let mut child =
        command.arg(path).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs");
    child.stdin.take().expect("stdin").write_all(b"{\"data\":1}").expect("written");
    let output = child.wait_with_output().expect("it ends");
    let out = String::from_utf8(output.stdout).expect("UTF-8");
    let signature = out.lines().next().expect("a signature");
    assert!(signature.starts_with("v1.new.") && signature.ends_with(".b"), "{signature}");
}

/// A gateway that ends with the test.
struct Gateway {
    child: Child,
    admin: SocketAddr,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the program as a gateway on free ports, and waits for its log line that says so.
fn start(mut command: Command) -> Gateway {
    let free = ["--public-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0"];
    let mut child = command
        .args(free)
        .arg("--telemetry-log-format=json")
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let stderr = BufReader::new(child.stderr.take().expect("piped"));
    let mut gateway = Gateway { child, admin: ([0, 0, 0, 0], 0).into() };
    for line in stderr.lines() {
        let line = line.expect("UTF-8");
        let line: serde_json::Value = serde_json::from_str(&line).expect("a line is JSON");
        if line["message"] == "listening" {
            gateway.admin = line["admin"].as_str().expect("an address").parse().expect("one");
            return gateway;
        }
    }
    panic!("it ended");
}

async fn put(to: SocketAddr, path: &str, body: &str) -> Answer {
    let mut wire = Wire::connect(to).await;
    let length = body.len();
    let head = format!("PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
    wire.send(format!("{head}{body}").as_bytes()).await;
    wire.answer().await
}

#[tokio::test]
async fn without_a_command_it_is_the_gateway_and_shows_its_settings_masked() {
    let mut command = tidegate(&["--stream-heartbeat", "7s"]);
    command.env("TIDEGATE_AUTH_KEYS", "k:swordfish").env("TIDEGATE_POD_NAME", "pod-a");
    let gateway = tokio::task::spawn_blocking(|| start(command)).await.expect("started");

    let answer = get(gateway.admin, "/v1/config", &[]).await;
    assert_eq!(answer.status, 200);
    let config = answer.json();
    assert_eq!(config["stream.heartbeat"]["value"], "7s");
    assert_eq!(config["stream.heartbeat"]["origin"], "--stream-heartbeat");
    assert_eq!(config["pod.name"]["value"], "pod-a");
    assert_eq!(config["auth.keys"]["value"], "***");
    assert!(!answer.text().contains("swordfish"));

    for (level, status) in [("debug", 204), ("inof", 400), ("warn,tidegate::hub=trace", 204)] {
        let answer = put(gateway.admin, "/v1/log-level", level).await;
        assert_eq!(answer.status, status, "{level}: {}", answer.text());
    }
}
