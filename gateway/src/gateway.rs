//! Assembly: makes the parts, joins them, owns every task, and takes them down in order.

mod descriptors;
mod memory;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::{self, Keyring, Keys, Rules as AuthRules, Verifier};
use crate::config::{Auth, AuthMode, Config, LogKind, Tls as TlsSettings};
use crate::connection::wheel::Wheel;
use crate::consumer::{Consumer, Dedupe};
use crate::health::{Health, Latch};
use crate::http::admin::{self, Admin, ConnectionsReport, RoomReport};
use crate::http::crew::Crew;
use crate::http::listener::{self, Rules};
use crate::http::quota::Quota;
use crate::http::rate::Rate;
use crate::http::tls::{self, Files, Tls};
use crate::http::{self, App, Places};
use crate::hub::{Bounds, Hub, Spelling};
use crate::kubernetes::Kubernetes;
use crate::log::Log;
use crate::log::letter::{self, Desk};
use crate::replay::{Limits, Replays};
use crate::shutdown::{Phase, Shutdown};
use crate::telemetry::{self, metrics, traces};
use crate::undelivered::Undelivered;

/// How often the keys' file is read.
const KEYS_READ_EVERY: Duration = Duration::from_secs(1);
/// How often what has grown too old is let go of.
const SWEEP: Duration = Duration::from_secs(1);
/// How often it is looked whether the readers' frames make the window larger than it may be. By what
/// they encode in two of these it can be.
const BUDGET_LOOK: Duration = Duration::from_millis(50);
/// Sockets beyond the streams and the held refusals: publishers, probes, connections that come.
const SPARE_SOCKETS: usize = 4096;
/// How long publishers have to be told what became of their events, once the log has said so.
const LAST_ANSWERS: Duration = Duration::from_secs(1);
/// How long the last connections have, once every stream was told goodbye.
const LAST_CONNECTIONS: Duration = Duration::from_secs(5);
/// How long a collector has to take the last spans.
const LAST_SPANS: Duration = Duration::from_secs(2);
/// How long the last dead letters have. Events that are being published have the rest.
const LAST_LETTERS: Duration = Duration::from_secs(5);

/// Runs a gateway until it has drained.
///
/// # Errors
/// Settings that cannot work on this machine: an address in use, a key file that is not there.
pub async fn run(config: Config, log_level: telemetry::LevelHandle) -> anyhow::Result<()> {
    metrics::init();
    metrics::connections_limit(config.limits.connections);
    descriptors::raise(config.limits.connections);
    let config = Arc::new(config);
    let shutdown = Arc::new(Shutdown::new(&config.drain));
    let health = Arc::new(Health::new());
    let spans = traces::start(&config.otel, &config.pod.name)?;
    let (letters, mailman) = letter::outbox(&config);
    let hub = Hub::new(bounds(&config), letters.clone());
    let (verifier, fixed_keys) = verifier(&config.auth).await?;
    let tls = tls(&config.tls).await?;
    let public = listener::bind(config.public.addr)?;
    let admin_listener = listener::bind(config.admin.addr)?;
    let (public_addr, admin_addr) = (public.local_addr()?, admin_listener.local_addr()?);

    let dedupe = Dedupe::new(config.dedupe.window);
    let undelivered = Undelivered::new(config.log.window_age);
    let consumer = Consumer::new(
        Arc::clone(&hub),
        Arc::clone(&health),
        Arc::clone(&dedupe),
        Arc::clone(&undelivered),
        log_name(&config),
        letters.clone(),
    );
    let log = Arc::new(Log::open(&config, consumer)?);
    let replays = Replays::new(
        Arc::clone(&hub),
        Arc::clone(&log),
        replay_limits(&config),
        config.dedupe.window,
    );
    let no_more_letters = CancellationToken::new();
    let mailman = tokio::spawn(mailman.run(Arc::clone(&log), no_more_letters.clone()));
    let promises =
        tokio::spawn(Arc::clone(&undelivered).run(Arc::clone(&log), Arc::clone(&hub), letters));
    lanes(&hub)?;
    let wheel = Wheel::new();
    let alarms = tokio::spawn(Arc::clone(&wheel).run());
    let rounds = tokio::spawn(rounds(Arc::clone(&hub)));
    let app = Arc::new(App {
        hub: Arc::clone(&hub),
        log: Arc::clone(&log),
        replays,
        undelivered: Arc::clone(&undelivered),
        dedupe,
        verifier: Arc::clone(&verifier),
        shutdown: Arc::clone(&shutdown),
        wheel: Arc::clone(&wheel),
        streams: Places::new(config.limits.connections),
        rate: Rate::new(config.limits.connection_rate),
        per_ip: Quota::new(config.limits.connections_per_ip),
        per_user: Quota::new(config.limits.connections_per_user),
        held: Arc::new(tokio::sync::Semaphore::new(config.limits.held_refusals)),
        pages: Places::new(http::history::MOST_PAGES),
        config: Arc::clone(&config),
    });

    let tracker = TaskTracker::new();
    let crew = Arc::new(Crew::start(cores())?);
    let (close_public, public_closed) = watch::channel(false);
    let (close_admin, admin_closed) = watch::channel(false);
    let sockets = config.limits.connections + config.limits.held_refusals + SPARE_SOCKETS;
    let rules = |sockets, tls: Option<&Tls>| Rules {
        header_timeout: config.limits.header_timeout,
        write_timeout: config.stream.write_timeout,
        connections: Places::new(sockets),
        tls: tls.map(Tls::acceptor),
    };
    let desk = Arc::new(Desk::new(Arc::clone(&log), &config));
    let admin_router =
        admin::router(admin(&app, &health, log_level)).merge(admin::letters::router(desk));
    let admin_tracker = TaskTracker::new();
    // Before anybody can see this pod: a signal that nobody waits for ends it without a drain.
    let signals = tokio::spawn(Arc::clone(&shutdown).run_signals());
    let admin_task = tokio::spawn(listener::serve(
        admin_listener,
        admin_router,
        rules(SPARE_SOCKETS, None),
        admin_closed,
        admin_tracker,
        Arc::clone(&crew),
    ));
    let public_task = tokio::spawn(listener::serve(
        public,
        http::router(Arc::clone(&app)),
        rules(sockets, tls.as_ref()),
        public_closed,
        tracker.clone(),
        crew,
    ));
    health.set(Latch::Listener, Ok(()));
    tracing::info!(
        public = %public_addr,
        admin = %admin_addr,
        pod = config.pod.name,
        log = log_name(&config),
        tls = tls.is_some(),
        version = env!("CARGO_PKG_VERSION"),
        "listening"
    );
    if config.auth.mode == AuthMode::Off {
        tracing::warn!("auth.mode is off: anybody who reaches the public port may publish");
    } else if config.cors.origins.iter().any(|origin| origin == "*") {
        tracing::warn!("cors.origins is *: any page may read with its visitor's cookie");
    }

    let sweeper = tokio::spawn(sweep(Arc::clone(&app), Arc::clone(&verifier), wheel));
    let keyring = Arc::new(Keyring::new(verifier, fixed_keys));
    let kubernetes = Arc::new(Kubernetes::start(&config, admin_addr.port(), &keyring, &log));
    let reloader = tokio::spawn(follow_keys(keyring, config.auth.keys_file.clone()));
    let certificates = tokio::spawn(follow_certificate(tls));

    shutdown.until(Phase::Unready).await;
    // Beside the drain: another pod can lead while this one says goodbye to its streams.
    let left = tokio::spawn({
        let (kubernetes, deadline) = (Arc::clone(&kubernetes), shutdown.deadline());
        async move { kubernetes.leave(deadline).await }
    });
    drain(&app, &health, &tracker, close_public).await;
    // What was accepted is flushed while /metrics can still be read.
    let deadline = shutdown.deadline();
    let last_letters = deadline.checked_sub(LAST_ANSWERS).unwrap_or(deadline);
    let last_letters = last_letters.min(Instant::now() + LAST_LETTERS);
    // First of all what was written: without these notes other pods make letters of it.
    promises.abort();
    let told = undelivered.tell(&log, &hub);
    if !matches!(tokio::time::timeout_at(last_letters, told).await, Ok(Ok(()))) {
        tracing::warn!("notes of deliveries were left when the time was over");
    }
    no_more_letters.cancel();
    if tokio::time::timeout_at(last_letters, mailman).await.is_err() {
        tracing::warn!("dead letters were left when the time was over");
    }
    tokio::select! {
        biased;
        () = log.close(deadline.checked_sub(LAST_ANSWERS).unwrap_or(deadline)) => {}
        () = shutdown.until(Phase::Done) => tracing::warn!("the log was not closed in time"),
    }
    // Who waited for that has an answer now, and it has to be written.
    tokio::select! {
        biased;
        () = shutdown.until(Phase::Done) => {}
        () = tracker.wait() => {}
        () = tokio::time::sleep(LAST_ANSWERS) => {}
    }
    tokio::select! {
        biased;
        () = shutdown.until(Phase::Done) => {}
        _ = left => {}
    }
    let _ = close_admin.send(true);
    for task in [sweeper, reloader, certificates, signals, alarms, rounds, public_task, admin_task]
    {
        task.abort();
    }
    hub.close_lanes();
    if let Some(spans) = spans {
        spans.finish(LAST_SPANS).await;
    }
    tracing::info!("drained");
    Ok(())
}

/// Waits for the shutdown and takes the public side down: unready, then closed to new
/// connections, then each stream at its own moment.
async fn drain(
    app: &App,
    health: &Health,
    tracker: &TaskTracker,
    close_public: watch::Sender<bool>,
) {
    app.shutdown.until(Phase::Unready).await;
    metrics::draining(true);
    health.set(Latch::NotDraining, Err("the pod is shutting down".to_owned()));
    tracing::info!(streams = app.streams.taken(), "draining");
    app.shutdown.until(Phase::Closing).await;
    let _ = close_public.send(true);
    app.wheel.wake_all();
    tracker.close();
    let deadline = app.shutdown.deadline();
    let over = Instant::now() + app.config.drain.window + LAST_CONNECTIONS;
    tokio::select! {
        biased;
        () = app.shutdown.until(Phase::Done) => {}
        () = tracker.wait() => {}
        () = tokio::time::sleep_until(over.min(deadline)) => {
            tracing::warn!(streams = app.streams.taken(), "streams are left that do not end; they are cut");
        }
    }
}

/// The threads that write to parked readers.
fn lanes(hub: &Arc<Hub>) -> anyhow::Result<()> {
    for number in 0..hub.lanes() {
        let hub = Arc::clone(hub);
        std::thread::Builder::new()
            .name(format!("fan-out-{number}"))
            .spawn(move || hub.run_lane(number))
            .context("no thread for the fan-out")?;
    }
    Ok(())
}

/// Wakes the readers of large rooms when what they have to write was gathered.
async fn rounds(hub: Arc<Hub>) {
    loop {
        match hub.wake_gathered() {
            None => hub.gathering().notified().await,
            Some(due) => tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                () = hub.gathering().notified() => {}
            },
        }
    }
}

async fn sweep(app: Arc<App>, verifier: Arc<Verifier>, wheel: Arc<Wheel>) {
    let hub = &app.hub;
    let mut ebb = memory::Ebb::default();
    let mut tick = tokio::time::interval(SWEEP);
    let mut look = tokio::time::interval(BUDGET_LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut keys = verifier.changes();
    loop {
        tokio::select! {
            biased;
            // Keys were removed: every stream looks at its own. The verifier outlives this task.
            Ok(()) = keys.changed() => {
                wheel.wake_all();
                continue;
            }
            _ = tick.tick() => {}
            _ = look.tick() => {
                hub.keep_to_budget();
                continue;
            }
        }
        hub.sweep();
        metrics::rooms(hub.rooms());
        metrics::window_bytes(hub.window_bytes());
        if ebb.is_due(app.streams.taken(), Instant::now()) {
            // Nobody waits for it.
            drop(tokio::task::spawn_blocking(memory::give_back));
        }
    }
}

/// The verifier with the keys of settings and file, and those of the settings alone.
async fn verifier(settings: &Auth) -> anyhow::Result<(Arc<Verifier>, Keys)> {
    let fixed = match &settings.keys {
        Some(keys) => Keys::parse(keys.expose()).context("auth.keys")?,
        None => Keys::default(),
    };
    let keys = match &settings.keys_file {
        Some(path) => auth::reload::read(&fixed, path)
            .await
            .with_context(|| format!("auth.keys_file {}", path.display()))?,
        None => fixed.clone(),
    };
    let rules = AuthRules {
        mode: settings.mode,
        max_lifetime: settings.max_lifetime,
        require_body_hash: settings.require_body_hash,
        legacy_signature: settings.legacy_signature,
    };
    Ok((Arc::new(Verifier::new(rules, keys)), fixed))
}

/// Follows the keys' file, if there is one.
async fn follow_keys(keyring: Arc<Keyring>, path: Option<PathBuf>) {
    if let Some(path) = path {
        auth::reload::follow(&keyring, &path, KEYS_READ_EVERY).await;
    }
}

/// TLS for the public port, if it is set. `check-config` has seen to it that there are both files.
async fn tls(settings: &TlsSettings) -> anyhow::Result<Option<Tls>> {
    let (Some(cert), Some(key)) = (&settings.cert_file, &settings.key_file) else {
        return Ok(None);
    };
    let files = Files { cert: cert.clone(), key: key.clone() };
    Tls::open(files).await.map(Some).context("tls.cert_file and tls.key_file")
}

/// Follows the certificate's files, if there are any.
async fn follow_certificate(tls: Option<Tls>) {
    if let Some(tls) = tls {
        tls.follow(tls::EVERY).await;
    }
}

/// The cores that this process may use.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn bounds(config: &Config) -> Bounds {
    Bounds {
        window_bytes: config.log.window_bytes,
        window_age: config.log.window_age,
        value_bytes: config.limits.body_bytes,
        queue_bytes: config.stream.queue_bytes,
        // The other half of the cores reads the log, answers publishers and opens streams.
        lanes: cores().div_ceil(2),
        spelling: Spelling {
            json_depth: config.limits.json_depth,
            lz4_min_bytes: config.stream.lz4_min_bytes,
        },
    }
}

fn replay_limits(config: &Config) -> Limits {
    Limits {
        bytes: config.limits.replay_bytes,
        events: config.limits.replay_events,
        time: config.limits.replay_time,
        concurrent: config.limits.replay_concurrent,
        wait: config.limits.replay_wait,
    }
}

fn log_name(config: &Config) -> &'static str {
    match config.log.kind {
        LogKind::Memory => "memory",
        LogKind::Kafka => "kafka",
        LogKind::Redis => "redis",
    }
}

fn admin(app: &Arc<App>, health: &Arc<Health>, log_level: telemetry::LevelHandle) -> Admin {
    let reported = Arc::clone(app);
    Admin {
        health: Arc::clone(health),
        config: app.config.to_json_masked(),
        log_level,
        connections: Arc::new(move |limit| connections(&reported, limit)),
    }
}

fn connections(app: &App, limit: usize) -> ConnectionsReport {
    let (largest, rooms) = app.hub.largest_rooms(limit);
    ConnectionsReport {
        pod: app.config.pod.name.clone(),
        group: app.log.groups().map(|groups| groups.own().to_owned()),
        total: app.streams.taken(),
        draining: app.shutdown.phase() != Phase::Running,
        truncated: rooms > largest.len(),
        rooms: largest
            .into_iter()
            .map(|(pattern, connections)| RoomReport {
                event_id: pattern.id.to_string(),
                event_type: pattern.kind_text().to_owned(),
                connections,
            })
            .collect(),
    }
}
