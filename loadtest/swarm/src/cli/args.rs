//! Flags, and the plans that they make.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum, value_parser};

use crate::{
    adapter::{Adapter, Wire},
    clock, publishers,
    publishers::{Stamp, Style},
    scenario::{Cycles, Idle, Load},
    sockets::MOST_SOURCES,
    subscribers,
    target::{ExtraHeader, Origin, PUBLISH_PATH, SUBSCRIBE_PATH, Target},
    usage::Server,
};

/// More readers than any limit on open files here allows.
const MOST_READERS: u64 = 200_000;

/// Readers of one source address, well below the ports it has.
const PER_SOURCE: usize = 5_000;

/// What a scenario does unless told otherwise.
#[derive(Debug, Clone, Copy)]
pub(super) struct Defaults {
    readers: u32,
    rate: f64,
    bytes: u32,
}

pub(super) const FANOUT: Defaults = Defaults { readers: 1_000, rate: 50.0, bytes: 200 };
pub(super) const LATENCY: Defaults = Defaults { readers: 1, rate: 200.0, bytes: 1024 };

/// How readers are spread over rooms.
#[derive(Debug, Clone, Copy)]
enum Rooms {
    One,
    PerRoom(usize),
}

fn rooms(text: &str) -> Result<Rooms, String> {
    match text {
        "one" => Ok(Rooms::One),
        "each" => Ok(Rooms::PerRoom(1)),
        _ => match text.parse() {
            Ok(n) if n > 0 => Ok(Rooms::PerRoom(n)),
            _ => Err("must be `one`, `each` or the number of readers in a room".into()),
        },
    }
}

pub(super) fn between(least: f64, most: f64) -> impl Fn(&str) -> Result<f64, String> + Clone {
    move |text| match text.parse() {
        Ok(value) if (least..=most).contains(&value) => Ok(value),
        _ => Err(format!("must be a number from {least} to {most}")),
    }
}

/// `1000..15000`, or a list with commas.
fn steps(text: &str) -> Result<Vec<usize>, String> {
    let text = text.replace("..", ",");
    let steps: Option<Vec<usize>> = text.split(',').map(|part| part.parse().ok()).collect();
    steps
        .filter(|steps| steps.is_sorted() && steps.len() <= 100)
        .filter(|steps| steps.iter().all(|&n| (1..=MOST_READERS as usize).contains(&n)))
        .ok_or_else(|| "must be ascending numbers, such as 1000..15000 or 1000,5000,15000".into())
}

/// The server and the output.
#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    /// The server: http, on a loopback address
    #[arg(long, default_value = "http://127.0.0.1:30000")]
    url: Origin,
    /// The server's process, for its CPU time and memory; repeat for several
    #[arg(long)]
    pid: Vec<u32>,
    /// What room ids start with [default: one of its own for every run]
    #[arg(long)]
    room_prefix: Option<String>,
    /// The rooms' event type
    #[arg(long = "type", default_value = "load")]
    event_type: String,
    /// Where streams are, with {id} and {type}
    #[arg(long, default_value = SUBSCRIBE_PATH)]
    subscribe_path: String,
    /// Where events are posted, with {id} and {type}
    #[arg(long, default_value = PUBLISH_PATH)]
    publish_path: String,
    /// A header for every request, `name: value`; repeat for several
    #[arg(long)]
    header: Vec<ExtraHeader>,
    /// Append the JSON line to this file too
    #[arg(long)]
    pub(super) metrics_json: Option<PathBuf>,
    /// Exit with 1 if anything was lost, doubled, out of order or refused
    #[arg(long)]
    pub(super) check: bool,
}

impl ServerArgs {
    pub(super) fn target(&self) -> Result<Arc<Target>> {
        // Rooms of an earlier run would have its numbers.
        let own = || format!("swarm-{:x}", clock::now() / 1_000_000);
        let prefix = self.room_prefix.clone().unwrap_or_else(own);
        let target = Target::new(self.url.clone(), &prefix, &self.event_type)?
            .with_paths(&self.subscribe_path, &self.publish_path)?
            .with_headers(&self.header);
        Ok(Arc::new(target))
    }

    pub(super) fn server(&self) -> Server {
        Server::new(self.pid.clone())
    }
}

/// How readers connect.
#[derive(Debug, Args)]
struct ConnectArgs {
    /// Readers of a room: `one` room for all, `each` its own, or a number
    #[arg(long, default_value = "one", value_parser = rooms)]
    rooms: Rooms,
    /// Threads for the readers
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u16).range(1..=16))]
    threads: u16,
    /// Loopback addresses to connect from [default: one for every 5,000 readers]
    #[arg(long, value_parser = value_parser!(u32).range(1..=i64::from(MOST_SOURCES)))]
    sources: Option<u32>,
    /// Ask for gzip, and read what comes in it
    #[arg(long)]
    gzip: bool,
    /// Connections begun per second, 0: as fast as --in-flight lets them
    #[arg(long, default_value_t = 0.0, value_parser = between(0.0, 1e6))]
    connect_rate: f64,
    /// Connections that may wait for their response at a time
    #[arg(long, default_value_t = 256, value_parser = value_parser!(u32).range(1..=100_000))]
    in_flight: u32,
    /// Seconds that opening the streams may take
    #[arg(long, default_value_t = 60.0, value_parser = between(0.1, 600.0))]
    open_timeout: f64,
    /// Milliseconds between the last stream's opening and the measurement
    #[arg(long, default_value_t = 500, value_parser = value_parser!(u64).range(0..=60_000))]
    settle_ms: u64,
}

impl ConnectArgs {
    fn plan(&self, target: &Target, readers: usize) -> subscribers::Plan {
        let sources = u32::try_from(readers.div_ceil(PER_SOURCE)).unwrap_or(MOST_SOURCES);
        subscribers::Plan {
            target: Arc::new(target.clone().with_gzip(self.gzip)),
            readers,
            per_room: match self.rooms {
                Rooms::One => readers.max(1),
                Rooms::PerRoom(n) => n,
            },
            threads: usize::from(self.threads),
            sources: self.sources.unwrap_or(sources).clamp(1, MOST_SOURCES),
            connect_rate: self.connect_rate,
            in_flight: self.in_flight as usize,
            stalled: 0.0,
            stalled_buffer: 0,
            leave_after: None,
            reconnect: false,
            resume: false,
            from_start: false,
        }
    }

    fn open(&self) -> Duration {
        Duration::from_secs_f64(self.open_timeout)
    }

    fn settle(&self) -> Duration {
        Duration::from_millis(self.settle_ms)
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum StyleArg {
    /// A request an event, Tidegate's publish body
    Single,
    /// A request an event, the payload alone as the body
    Raw,
    /// A request a burst, Tidegate's NDJSON batch
    Batch,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum StampArg {
    /// When the event was due
    Intended,
    /// When its request was written
    Sent,
}

/// Readers and publishers.
#[derive(Debug, Args)]
pub(super) struct LoadArgs {
    #[command(flatten)]
    pub(super) server: ServerArgs,
    #[command(flatten)]
    connect: ConnectArgs,
    /// Readers; 0 only publishes [default: 1000, latency 1]
    #[arg(long, value_parser = value_parser!(u32).range(0..=MOST_READERS as i64))]
    readers: Option<u32>,
    /// Events per second over all rooms; 0 only reads [default: 50, latency 200]
    #[arg(long, value_parser = between(0.0, 1e6))]
    rate: Option<f64>,
    /// Events that are due at once in a room
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(1..=10_000))]
    burst: u32,
    /// Neighbouring rooms whose events are due at once: one request with --style batch
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(1..=10_000))]
    across: u32,
    /// Size of an event's data in bytes [default: 200, latency 1024]
    #[arg(long, value_parser = value_parser!(u32).range(0..=1 << 20))]
    bytes: Option<u32>,
    /// Seconds to publish, or to read
    #[arg(long, default_value_t = 10.0, value_parser = between(0.1, 3_600.0))]
    seconds: f64,
    /// Connections of the publishers [default: one a room, at most 4]
    #[arg(long, value_parser = value_parser!(u32).range(1..=1_000))]
    publishers: Option<u32>,
    /// Requests that one of them may have open at a time [default: the burst, or --across]
    #[arg(long, value_parser = value_parser!(u32).range(1..=10_000))]
    pipeline: Option<u32>,
    /// Take the publishers' connections in turn: the order in a room is then the server's
    #[arg(long)]
    spread: bool,
    /// How events are posted
    #[arg(long, default_value = "single")]
    style: StyleArg,
    /// Which time an event carries
    #[arg(long, default_value = "intended")]
    stamp: StampArg,
    /// Try a failed publish again so often, with idempotency keys
    #[arg(long, default_value_t = 0, value_parser = value_parser!(u32).range(0..=1_000))]
    retries: u32,
    /// Seconds to wait for the last responses
    #[arg(long, default_value_t = 10.0, value_parser = between(0.1, 600.0))]
    publish_timeout: f64,
    /// The part of the readers that stop reading, 0 to 1
    #[arg(long, default_value_t = 0.0, value_parser = between(0.0, 1.0))]
    stalled: f64,
    /// A stalled reader's receive buffer in bytes
    #[arg(long, default_value_t = 16_384, value_parser = value_parser!(u32).range(1_024..=1 << 24))]
    stalled_buffer: u32,
    /// Readers leave after so many events and come again
    #[arg(long, value_parser = value_parser!(u32).range(1..))]
    leave_after: Option<u32>,
    /// Readers whose stream the server ended come again
    #[arg(long)]
    reconnect: bool,
    /// Readers who come again resume with Last-Event-ID, and are owed everything
    #[arg(long)]
    resume: bool,
    /// The run ends when nothing has come for so many milliseconds
    #[arg(long, default_value_t = 2_000, value_parser = value_parser!(u64).range(10..=600_000))]
    quiet_ms: u64,
    /// Seconds that a server may take, once everything was published, until everything has come
    #[arg(long, default_value_t = 120.0, value_parser = between(0.1, 3_600.0))]
    catch_up: f64,
    /// Speak TLS with the server, and believe the certificates in this file
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Read over HTTP/2, at most so many streams on a connection
    #[arg(long, value_name = "STREAMS", value_parser = value_parser!(u32).range(1..=10_000))]
    http2: Option<u32>,
}

impl LoadArgs {
    /// Puts the adapters that are needed between a load and its server.
    pub(super) fn adapt(&self, load: &mut Load) -> Result<Vec<Adapter>> {
        let server = load.readers.target.origin.addr;
        let wire = |streams: Option<u32>| {
            let streams = streams.map(|n| n as usize);
            let plain = Wire { tls: None, streams };
            self.tls_ca.as_ref().map_or(Ok(plain), |file| {
                Wire::trusting(file, streams).with_context(|| format!("reading {}", file.display()))
            })
        };
        let mut adapters = Vec::new();
        let mut through = |target: &mut Arc<Target>, streams| -> Result<()> {
            let adapter = Adapter::start(wire(streams)?, server)?;
            let host = target.origin.host.clone();
            *target = Arc::new(target.on(Origin { addr: adapter.addr(), host }));
            adapters.push(adapter);
            Ok(())
        };
        if self.tls_ca.is_some() || self.http2.is_some() {
            through(&mut load.readers.target, self.http2)?;
        }
        // HTTP/1.1 will do for them.
        if let Some(publishers) = &mut load.publishers
            && self.tls_ca.is_some()
        {
            through(&mut publishers.target, None)?;
        }
        Ok(adapters)
    }

    pub(super) fn load(&self, defaults: Defaults) -> Result<Load> {
        let target = self.server.target()?;
        let rate = self.rate.unwrap_or(defaults.rate);
        let duration = Duration::from_secs_f64(self.seconds);
        let readers = self.readers.unwrap_or(defaults.readers) as usize;
        ensure!(readers > 0 || rate > 0.0, "neither readers nor events: nothing to do");
        let readers = subscribers::Plan {
            stalled: self.stalled,
            stalled_buffer: self.stalled_buffer as usize,
            leave_after: self.leave_after,
            reconnect: self.reconnect,
            resume: self.resume,
            // Only who publishes knows that the first number is 0.
            from_start: rate > 0.0,
            ..self.connect.plan(&target, readers)
        };
        let plan = publishers::Plan {
            target,
            rooms: readers.rooms(),
            rate,
            burst: self.burst,
            across: self.across as usize,
            bytes: self.bytes.unwrap_or(defaults.bytes) as usize,
            duration,
            connections: self.publishers.map_or(readers.rooms().min(4), |n| n as usize),
            pipeline: self.pipeline.unwrap_or(self.burst.max(self.across)) as usize,
            spread: self.spread,
            retries: self.retries,
            style: match self.style {
                StyleArg::Single => Style::Single,
                StyleArg::Raw => Style::Raw,
                StyleArg::Batch => Style::Batch,
            },
            stamp: match self.stamp {
                StampArg::Intended => Stamp::Intended,
                StampArg::Sent => Stamp::Sent,
            },
            patience: Duration::from_secs_f64(self.publish_timeout),
        };
        Ok(Load {
            readers,
            publishers: (rate > 0.0).then_some(plan),
            server: self.server.server(),
            open: self.connect.open(),
            settle: self.connect.settle(),
            quiet: Duration::from_millis(self.quiet_ms),
            catch_up: Duration::from_secs_f64(self.catch_up),
            read: duration,
        })
    }
}

/// Idle streams.
#[derive(Debug, Args)]
pub(super) struct IdleArgs {
    #[command(flatten)]
    pub(super) server: ServerArgs,
    #[command(flatten)]
    connect: ConnectArgs,
    /// Open streams at each step: 1000..15000, or a list with commas
    #[arg(long, default_value = "1000..15000", value_parser = steps)]
    connections: Steps,
    /// Seconds to watch the idle streams' CPU time at each step
    #[arg(long, default_value_t = 5.0, value_parser = between(0.0, 600.0))]
    hold: f64,
}

/// An alias, or clap would take the list for a flag that repeats.
type Steps = Vec<usize>;

impl IdleArgs {
    pub(super) fn idle(&self) -> Result<Idle> {
        let most = self.connections.last().copied().unwrap_or(0);
        Ok(Idle {
            readers: self.connect.plan(&*self.server.target()?, most),
            steps: self.connections.clone(),
            server: self.server.server(),
            open: self.connect.open(),
            settle: self.connect.settle(),
            hold: Duration::from_secs_f64(self.hold),
        })
    }
}

/// Streams that come and go.
#[derive(Debug, Args)]
pub(super) struct CyclesArgs {
    #[command(flatten)]
    pub(super) server: ServerArgs,
    #[command(flatten)]
    connect: ConnectArgs,
    /// Streams that are open at a time
    #[arg(long, default_value_t = 1_000, value_parser = value_parser!(u32).range(1..=200_000))]
    streams: u32,
    /// Streams that are opened and closed in all
    #[arg(long, default_value_t = 200_000, value_parser = value_parser!(u64).range(1..=100_000_000))]
    cycles: u64,
    /// Readings of the memory on the way
    #[arg(long, default_value_t = 10, value_parser = value_parser!(u64).range(1..=1_000))]
    readings: u64,
    /// Seconds that streams stay open once all of a round are
    #[arg(long, default_value_t = 0.1, value_parser = between(0.0, 600.0))]
    hold: f64,
}

impl CyclesArgs {
    pub(super) fn cycles(&self) -> Result<Cycles> {
        let target = self.server.target()?;
        let mut readers = self.connect.plan(&target, self.streams as usize);
        if self.connect.sources.is_none() {
            // Ports of connections that are gone linger: those of all rounds count.
            let all = usize::try_from(self.cycles).unwrap_or(usize::MAX).div_ceil(PER_SOURCE);
            let sources = u32::try_from(all).unwrap_or(MOST_SOURCES);
            readers.sources = sources.max(readers.sources).min(MOST_SOURCES);
        }
        Ok(Cycles {
            readers,
            cycles: self.cycles,
            readings: self.readings,
            server: self.server.server(),
            open: self.connect.open(),
            hold: Duration::from_secs_f64(self.hold),
            settle: self.connect.settle(),
        })
    }
}
