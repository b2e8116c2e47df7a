//! The server that many would write first: axum's `Sse` over a broadcast channel a room, with
//! nothing kept, checked or resumed. The gateway is measured beside it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::extract::{Path, State};
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use axum::routing::{get, post};
use clap::Parser;
use futures_util::Stream;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// How many events a reader may be behind before it loses some.
const CAPACITY: usize = 1024;

/// A plain SSE server: `axum::response::Sse` and `tokio::sync::broadcast`.
#[derive(Debug, Parser)]
#[command(name = "baseline", version, about, max_term_width = 100)]
struct Cli {
    /// Loopback address to listen on
    #[arg(long, default_value = "127.0.0.1:30001")]
    addr: SocketAddr,
}

type Room = broadcast::Sender<Arc<str>>;

/// The rooms, by id and type.
#[derive(Debug, Default, Clone)]
struct Rooms(Arc<Mutex<HashMap<(String, String), Room>>>);

impl Rooms {
    fn get(&self, room: (String, String)) -> Room {
        let mut rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.entry(room).or_insert_with(|| broadcast::channel(CAPACITY).0).clone()
    }
}

async fn publish(
    State(rooms): State<Rooms>,
    Path(room): Path<(String, String)>,
    body: String,
) -> &'static str {
    // Nobody there is no error.
    let _ = rooms.get(room).send(body.into());
    "{}"
}

async fn subscribe(
    State(rooms): State<Rooms>,
    Path(room): Path<(String, String)>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let events = rooms.get(room).subscribe();
    let stream = futures_util::stream::unfold(events, async |mut events| {
        loop {
            match events.recv().await {
                Ok(data) => return Some((Ok(Event::default().data(data)), events)),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    });
    Sse::new(stream).keep_alive(KeepAlive::default())
}

#[tokio::main]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    ensure!(cli.addr.ip().is_loopback(), "{} is not a loopback address", cli.addr);
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most })
        .context("raising the limit of open files")?;
    let app = Router::new()
        .route("/v1/subscribe/events/{id}/types/{type}", get(subscribe))
        .route("/v1/sse/events/{id}/types/{type}", post(publish))
        .with_state(Rooms::default());
    let listener =
        TcpListener::bind(cli.addr).await.with_context(|| format!("listening on {}", cli.addr))?;
    writeln!(std::io::stdout(), "baseline on http://{}", listener.local_addr()?)?;
    axum::serve(listener, app).await?;
    Ok(())
}
