//! `tidegate publish` and `tidegate tail` against a gateway, as scripts use them.

use std::process::{Output, Stdio};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::timeout;

use crate::support::gateway::Gateway;
use crate::support::http::PATIENCE;

/// A command for this gateway, with nothing of this process's environment.
fn tidegate(gateway: &Gateway, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command
        .env_clear()
        .args(args)
        .args(["--url", &format!("http://{}", gateway.public())])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

async fn ended(child: Child) -> Ran {
    let Output { status, stdout, stderr } =
        timeout(PATIENCE, child.wait_with_output()).await.expect("an end in time").expect("ran");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ran { code: status.code(), out: text(stdout), err: text(stderr) }
}

async fn run(mut command: Command) -> Ran {
    ended(command.spawn().expect("it starts")).await
}

async fn publish(gateway: &Gateway, args: &[&str]) -> Ran {
    run(tidegate(gateway, &[&["publish"], args].concat())).await
}

fn json(line: &str) -> serde_json::Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// A running tail.
struct Tail {
    child: Child,
    out: Lines<BufReader<ChildStdout>>,
    err: Lines<BufReader<ChildStderr>>,
}

impl Tail {
    /// Starts one and waits until its stream is open.
    async fn open(gateway: &Gateway, args: &[&str]) -> Self {
        let args = [&["tail", "--verbose"], args].concat();
        let mut child = tidegate(gateway, &args).spawn().expect("it starts");
        let out = BufReader::new(child.stdout.take().expect("piped")).lines();
        let err = BufReader::new(child.stderr.take().expect("piped")).lines();
        let mut tail = Self { child, out, err };
        tail.told("tidegate.connected").await;
        tail
    }

    /// Waits until it says something with `part` in it.
    async fn told(&mut self, part: &str) -> String {
        let reading = async {
            while let Some(line) = self.err.next_line().await.expect("text") {
                if line.contains(part) {
                    return line;
                }
            }
            panic!("it ended and never said {part}");
        };
        timeout(PATIENCE, reading).await.unwrap_or_else(|_| panic!("it never said {part}"))
    }

    async fn line(&mut self) -> String {
        let line = timeout(PATIENCE, self.out.next_line()).await.expect("a line in time");
        line.expect("text").expect("a line")
    }

    async fn code(mut self) -> Option<i32> {
        timeout(PATIENCE, self.child.wait()).await.expect("an end in time").expect("ran").code()
    }
}

#[tokio::test]
async fn what_standard_input_publishes_a_tail_prints() {
    let gateway = Gateway::ready(&[]).await;
    let mut tail = Tail::open(&gateway, &["a/b ä", "t", "--json", "--count", "2"]).await;

    let mut command = tidegate(&gateway, &["publish", "a/b ä", "t", "--name", "N"]);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("it starts");
    let mut input = child.stdin.take().expect("piped");
    input.write_all(b"{\"n\": 1.50}\nnot json\n\n\"\\u00e4\"").await.expect("read");
    drop(input);
    let published = ended(child).await;
    assert_eq!(published.code, Some(1), "{}", published.err);
    assert!(published.err.starts_with("error: line 2: the data is no JSON"), "{}", published.err);
    let receipts: Vec<_> = published.out.lines().map(json).collect();
    assert_eq!(receipts.len(), 2, "{}", published.out);
    assert_eq!((&receipts[0]["line"], &receipts[1]["line"]), (&1.into(), &4.into()));

    for (receipt, data) in receipts.iter().zip(["{\"n\":1.50}", "\"\\u00e4\""]) {
        let line = tail.line().await;
        assert!(line.contains(&format!("\"data\":{data}")), "{line}");
        let envelope = json(&line);
        assert_eq!(envelope["message_id"], receipt["message_id"]);
        assert_eq!(envelope["event_id"], "a/b ä");
        assert_eq!(envelope["event_name"], "N");
    }
    assert_eq!(tail.code().await, Some(0));
}

#[tokio::test]
async fn a_tail_resumes_at_a_receipt_and_hears_of_broadcasts() {
    let gateway = Gateway::ready(&[]).await;
    let first = publish(&gateway, &["a", "t", "--data", "1"]).await;
    let cursor = json(&first.out)["cursor"].as_str().expect("a cursor").to_owned();
    for args in [&["a", "t", "--data", "2"][..], &["--broadcast", "news", "--data", "-3"]] {
        let ran = publish(&gateway, args).await;
        assert_eq!(ran.code, Some(0), "{}", ran.err);
    }
    let args = ["tail", "a", "t", "--last-event-id", &cursor, "--count", "2"];
    let ran = run(tidegate(&gateway, &args)).await;
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    // The two are on different shards, and no order is promised between those.
    let mut lines: Vec<_> = ran.out.lines().map(|line| &line[24..]).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["  */news  -3", "  a/t  2"]);
}

#[tokio::test]
async fn a_useless_cursor_is_told_as_a_gap_and_the_tail_goes_on() {
    let gateway = Gateway::ready(&[]).await;
    let mut tail = Tail::open(&gateway, &["a", "t", "--last-event-id", "nonsense"]).await;
    let gap = tail.told("gap").await;
    assert!(gap.contains("(invalid) of a/t"), "{gap}");
    publish(&gateway, &["a", "t", "--data", "1"]).await;
    assert!(tail.line().await.ends_with("  a/t  1"));
}

#[tokio::test]
async fn a_tail_ends_with_its_rooms_last_event_with_its_reader_and_with_ctrl_c() {
    let gateway = Gateway::ready(&[]).await;
    let tail = Tail::open(&gateway, &["a", "t"]).await;
    publish(&gateway, &["a", "t", "--data", "1", "--final"]).await;
    assert_eq!(tail.code().await, Some(0), "complete");

    let tail = Tail::open(&gateway, &["b", "t", "--count", "2"]).await;
    publish(&gateway, &["b", "t", "--data", "1", "--final"]).await;
    assert_eq!(tail.code().await, Some(1), "complete, and one did not come");

    let Tail { mut child, out, err: _err } = Tail::open(&gateway, &["c", "t"]).await;
    drop(out);
    let status = timeout(PATIENCE, child.wait()).await.expect("an end in time").expect("ran");
    assert_eq!(status.code(), Some(0), "without another event");

    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let tail = Tail::open(&gateway, &["d", "t"]).await;
        let pid = tail.child.id().expect("it runs").to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status().await.expect("kill");
        assert!(sent.success());
        assert_eq!(tail.code().await, Some(code), "{signal}");
    }
}

#[tokio::test]
async fn a_tail_outlives_a_stream_that_the_gateway_ends() {
    let gateway = Gateway::ready(&["--stream-max-age", "100ms", "--stream-retry", "50ms"]).await;
    let mut tail = Tail::open(&gateway, &["a", "t"]).await;
    tail.told("goodbye").await;
    for n in 0..20 {
        let ran = publish(&gateway, &["a", "t", "--data", &n.to_string()]).await;
        assert_eq!(ran.code, Some(0), "{}", ran.err);
    }
    for n in 0..20 {
        let line = tail.line().await;
        assert!(line.ends_with(&format!("  a/t  {n}")), "{n}: {line}");
    }
}

#[tokio::test]
async fn a_key_opens_what_a_stranger_may_not() {
    let settings = ["--auth-mode", "hmac", "--auth-keys", "k:sesame"];
    let gateway = Gateway::ready(&[&settings[..], &["--auth-require-body-hash"]].concat()).await;
    let stranger = run(tidegate(&gateway, &["tail", "a", "t"])).await;
    assert_eq!(stranger.code, Some(1));
    assert!(stranger.err.starts_with("error: 401 unauthorized: "), "{}", stranger.err);
    let stranger = publish(&gateway, &["a", "t", "--data", "1", "--key", "k:guess"]).await;
    assert_eq!(stranger.code, Some(1));
    assert!(stranger.err.starts_with("error: refused: 401 unauthorized: "), "{}", stranger.err);

    let anna = ["--key", "k:sesame", "--user", "änna"];
    let args = [&["a", "t", "--room", "b/*"][..], &anna].concat();
    let mut tail = Tail::open(&gateway, &args).await;
    for (id, to) in [("a", "bert"), ("a", "änna"), ("b", "änna")] {
        let args = [id, "t", "--to-user", to, "--data", &format!("\"{id} for {to}\"")];
        let ran = publish(&gateway, &[&args[..], &["--key", "k:sesame"]].concat()).await;
        assert_eq!(ran.code, Some(0), "{}", ran.err);
    }
    // Two rooms, in either order.
    let mut lines = [tail.line().await, tail.line().await].map(|line| line[24..].to_owned());
    lines.sort_unstable();
    assert_eq!(lines, ["  a/t  \"a for änna\"", "  b/t  \"b for änna\""]);
}

#[tokio::test]
async fn a_key_for_lines_makes_a_second_run_harmless() {
    let gateway = Gateway::ready(&[]).await;
    let import = async || {
        let args = ["publish", "a", "t", "--idempotency-key", "import"];
        let mut command = tidegate(&gateway, &args);
        let mut child = command.stdin(Stdio::piped()).spawn().expect("it starts");
        let mut input = child.stdin.take().expect("piped");
        input.write_all(b"1\n2\n").await.expect("read");
        drop(input);
        let ran = ended(child).await;
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        ran.out.lines().map(json).collect::<Vec<_>>()
    };
    let (first, second) = (import().await, import().await);
    assert_eq!(first.len(), 2);
    assert_ne!(first[0]["message_id"], first[1]["message_id"]);
    for (first, second) in first.iter().zip(&second) {
        assert_eq!(second["duplicate"], true);
        assert_eq!(first["message_id"], second["message_id"]);
        assert_eq!(first["cursor"], second["cursor"]);
    }
}
