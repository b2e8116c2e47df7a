//! Streams that resume, against a server that says what it is told to say.

use std::{
    error::Error,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use tidegate_swarm::{
    resume::{Clients, Outcome, Plan},
    sequence::Faults,
    target::Target,
};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

const STREAMS: usize = 6;
const CONNECTED: &str = "retry: 20\nid: c0\nevent: tidegate.connected\ndata: {}\n\n";
const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
const PATIENCE: Duration = Duration::from_secs(10);

fn events(numbers: &[u64]) -> String {
    let block = |n: &u64| format!("id: c{}\nevent: load\ndata: {{\"seq\":{n},\"t\":1}}\n\n", n + 1);
    numbers.iter().map(block).collect()
}

/// What a connection is answered, by its number and its `Last-Event-ID`.
type Script = fn(usize, Option<&str>) -> String;

/// A server that answers every connection by the script. Streams stay open unless they say goodbye.
fn serve(script: Script) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    let number = Arc::new(AtomicUsize::new(0));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let number = Arc::clone(&number);
            thread::spawn(move || answer(stream, number.fetch_add(1, Relaxed), script));
        }
    });
    Ok(addr)
}

fn answer(mut stream: TcpStream, number: usize, script: Script) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let mut last_id = None;
    while let Some(line) = lines.next().transpose()?
        && !line.is_empty()
    {
        if let Some(id) = line.strip_prefix("Last-Event-ID: ") {
            last_id = Some(id.to_owned());
        }
    }
    let text = script(number, last_id.as_deref());
    stream.write_all(text.as_bytes())?;
    if !text.contains("goodbye") && text.starts_with(HEAD) {
        // Until the client has gone.
        let _ = lines.next();
    }
    Ok(())
}

/// Streams lose one server and have three events to get from another, which follows the script.
fn resume(script: Script, most: Duration) -> Result<(usize, Outcome)> {
    let first = serve(|_, _| format!("{HEAD}{CONNECTED}"))?;
    let heir = serve(script)?;
    let target = Target::new(format!("http://{first}").parse()?, "room", "load")?;
    let plan = Plan { connections: STREAMS, rooms: 2, sources: 3, in_flight: STREAMS };
    let mut clients = Clients::new(plan)?;
    clients.run(&target, PATIENCE)?;
    assert_eq!(clients.complete(), STREAMS);
    clients.lose(3);
    assert_eq!(clients.complete(), 0);
    let heir = target.on(format!("http://{heir}").parse()?);
    clients.run(&heir, most)?;
    Ok((clients.complete(), clients.finish()))
}

#[test]
fn streams_resume_from_the_id_of_the_server_that_they_lost() -> Result {
    let script: Script = |_, last_id| {
        assert_eq!(last_id, Some("c0"));
        format!("{HEAD}{CONNECTED}{}", events(&[0, 1, 2]))
    };
    let (complete, seen) = resume(script, PATIENCE)?;
    let all = STREAMS as u64;
    assert_eq!((complete, seen.complete), (STREAMS, all));
    assert_eq!((seen.deliveries, seen.faults), (3 * all, Faults::default()));
    assert_eq!((seen.attempts, seen.failed.total(), seen.ended.total()), (all, 0, 0));
    for times in [&seen.head, &seen.connected, &seen.first, &seen.last, &seen.since_loss] {
        assert_eq!(times.count(), all);
    }
    Ok(())
}

#[test]
fn a_stream_that_is_sent_away_comes_again_when_it_was_told_to() -> Result {
    let script: Script = |number, last_id| match number {
        // Before anything, after some events, and with no stream at all.
        0 => format!("{HEAD}retry: 300\nevent: tidegate.goodbye\ndata: {{}}\n\n"),
        1 => format!(
            "{HEAD}{CONNECTED}{}retry: 20\nevent: tidegate.goodbye\ndata: {{}}\n\n",
            events(&[0, 1])
        ),
        2 => "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_owned(),
        _ if last_id == Some("c2") => format!("{HEAD}{CONNECTED}{}", events(&[2])),
        _ => format!("{HEAD}{CONNECTED}{}", events(&[0, 1, 2])),
    };
    let (complete, seen) = resume(script, PATIENCE)?;
    assert_eq!((complete, seen.faults), (STREAMS, Faults::default()));
    assert_eq!((seen.attempts, seen.goodbyes), (STREAMS as u64 + 3, 2));
    assert_eq!((seen.failed.total(), seen.ended.total()), (1, 2));
    assert!(seen.last.ms(1.0) >= 300.0, "the pause counts: {} ms", seen.last.ms(1.0));
    Ok(())
}

#[test]
fn what_is_lost_doubled_or_said_to_be_missing_is_counted() -> Result {
    let script: Script = |number, _| {
        let gap = "id: c2\nevent: tidegate.gap\ndata: {}\n\n";
        match number {
            0 => format!("{HEAD}{CONNECTED}{}", events(&[0, 2])),
            1 => format!("{HEAD}{CONNECTED}{}", events(&[0, 0, 1, 2])),
            2 => format!("{HEAD}{CONNECTED}{gap}{}", events(&[2])),
            3 => format!("{HEAD}{CONNECTED}{}", events(&[1, 0, 2])),
            _ => format!("{HEAD}{CONNECTED}{}", events(&[0, 1, 2])),
        }
    };
    let (complete, seen) = resume(script, Duration::from_secs(1))?;
    assert_eq!((complete, seen.complete), (STREAMS - 2, STREAMS as u64 - 2));
    let expected = Faults { lost: 1, doubled: 1, out_of_order: 1, missed: 2 };
    assert_eq!((seen.faults, seen.gaps), (expected, 1));
    Ok(())
}
