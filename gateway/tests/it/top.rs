//! `tidegate top`: the pods side by side.

use std::time::Duration;

use tokio::process::Command;

use crate::support::gateway::Gateway;
use crate::support::stream::Stream;

async fn top(args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    let ended = command.env_clear().arg("top").args(args).output();
    let ended = tokio::time::timeout(Duration::from_secs(20), ended).await;
    let output = ended.expect("it ends").expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_shown_side_by_side_with_their_sum_and_their_rooms() {
    let one = Gateway::ready(&["--pod-name=pod-1"]).await;
    let two = Gateway::ready(&["--pod-name=pod-2"]).await;
    let room = "/v1/subscribe/events/a/types/t";
    let mut streams = Vec::new();
    for gateway in [&one, &one, &two] {
        streams.push(Stream::connect(gateway.public(), room, &[]).await.0);
    }
    let [first, second] = [&one, &two].map(|pod| format!("http://{}", pod.admin()));
    // Events that come between the two looks.
    let publishing = async {
        loop {
            assert_eq!(one.publish("a", "t", r#"{"data":1}"#).await.status, 200);
        }
    };
    let args = [&*first, &*second, "--interval=1s", "--count=1"];
    let (code, out, err) = tokio::select! {
        never = publishing => never,
        ended = top(&args) => ended,
    };
    assert_eq!((code, &*err), (Some(0), ""), "{out}");
    let lines: Vec<Vec<&str>> = out.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(lines[0][..3], ["POD", "STREAMS", "ROOMS"]);
    assert_eq!(lines[1][..3], ["pod-1", "2", "1"], "{out}");
    assert_eq!(lines[1].last(), Some(&"up"));
    let sent: f64 = lines[1][6].parse().expect("a rate");
    let published: f64 = lines[1][5].parse().expect("a rate");
    assert!(published > 0.0 && sent > published, "{out}");
    assert!(lines[1][8].ends_with('s') && lines[1][9].ends_with('s'), "a latency: {out}");
    assert_eq!(lines[2][..3], ["pod-2", "1", "1"], "{out}");
    assert_eq!(lines[3][..3], ["all", "3", "2"], "{out}");
    assert_eq!(lines.last().expect("a line")[..], ["3", "a/t"], "{out}");
}

#[tokio::test]
async fn a_pod_that_does_not_answer_is_a_line_and_none_at_all_is_a_failure() {
    let gateway = Gateway::ready(&["--pod-name=pod-1"]).await;
    let up = format!("http://{}", gateway.admin());
    let [port] = tidegate_rig::free_ports();
    let down = format!("http://127.0.0.1:{port}");
    let (code, out, _) = top(&[&up, &down, "--interval=100ms", "--count=2"]).await;
    assert_eq!(code, Some(0), "{out}");
    assert_eq!(out.matches("does not answer: ").count(), 2, "{out}");
    assert_eq!(out.matches("pod-1").count(), 2, "{out}");
    let (code, out, _) = top(&[&down, "--interval=100ms", "--count=1"]).await;
    assert_eq!(code, Some(1), "{out}");
    // The public port has no such pages.
    let public = format!("http://{}", gateway.public());
    let (code, out, _) = top(&[&public, "--interval=100ms", "--count=1"]).await;
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains(" is answered with 404"), "{out}");
    for wrong in [&["nonsense"][..], &["--interval=1ms"], &["--count=0"]] {
        let (code, ..) = top(wrong).await;
        assert_ne!(code, Some(0), "{wrong:?}");
    }
}
