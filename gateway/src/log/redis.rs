//! The log on Redis Streams.
//!
//! * The rooms' events are spread over `<prefix>:{events}:<n>` by murmur2 of the `event_id`;
//!   broadcasts are in `<prefix>:{broadcast}`. How many streams there are is fixed with the first
//!   pod and kept in `<prefix>:{events}:shards`.
//! * An entry has the fields of [`record::field`](super::record::field), and `key` and `data`.
//! * An entry's id, `ms-seq`, is its offset: `ms << 64 | seq`, an opaque order with holes. Its
//!   `ms` is the event's time.
//! * `<prefix>:{events}:epoch` is random and set once; every position's tag is made of it. A log
//!   whose epoch is another one has been replaced.
//! * An event is appended and its `Idempotency-Key` looked up in one script (`publish.lua`):
//!   `<stream's set>:key:<uuid>` holds the first one's id and place for `dedupe.window`, by the
//!   server's clock, and every use renews it.
//! * Dead letters are in `<prefix>:{dead-letters}` (`letters`).
//! * Every pod reads all streams by itself, on a connection of its own (`reader`); there are no
//!   consumer groups. Publishing goes through another connection (`writer`), reading back what is
//!   older than the window through a third (`span`).
//!
//! One server takes the writes; its name may move between servers (a failover). A Redis Cluster is
//! none: its redirections are not followed, and a broadcast's script touches two slots.

mod advice;
pub mod entry;
mod letters;
mod link;
mod place;
mod reader;
mod span;
mod writer;

use std::fmt;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::note::Note;
use super::{PublishError, Receipt, Role, Sink, Source, Span, Stretch, Unread};
use crate::config::Config;
use crate::cursor::{Offset, Shard};
use crate::event::NewEvent;
pub use letters::LetterScan;
use letters::Letters;
use link::Server;
use reader::Reader;
use span::SpanReader;
use writer::Writer;

/// The offset as places name it: the entry's id.
#[must_use]
pub fn spell(offset: Offset) -> String {
    entry::id(offset)
}

/// The stream of the dead letters of the log whose keys begin with `prefix`.
#[must_use]
pub fn dead_letters(prefix: &str) -> String {
    format!("{prefix}:{{dead-letters}}")
}

/// The names of the log's keys.
#[derive(Debug, Clone)]
struct Keys {
    prefix: String,
}

impl Keys {
    /// The set of streams that events of this kind are in; also the source's name.
    fn set(&self, role: Role) -> String {
        match role {
            Role::Events => format!("{}:{{events}}", self.prefix),
            Role::Broadcast => format!("{}:{{broadcast}}", self.prefix),
        }
    }

    fn stream(&self, role: Role, index: u32) -> String {
        match role {
            Role::Events => format!("{}:{index}", self.set(role)),
            Role::Broadcast => self.set(role),
        }
    }

    fn dead_letters(&self) -> String {
        dead_letters(&self.prefix)
    }

    fn epoch(&self) -> String {
        format!("{}:epoch", self.set(Role::Events))
    }

    fn former_epochs(&self) -> String {
        format!("{}:former", self.epoch())
    }

    fn streams(&self) -> String {
        format!("{}:shards", self.set(Role::Events))
    }

    /// The stream of the notes; also their source's name.
    fn deliveries(&self) -> String {
        format!("{}:{{deliveries}}", self.prefix)
    }

    /// The sources of a log whose events are spread over so many streams.
    fn sources(&self, streams: u32) -> [Source; 2] {
        [
            Source::new(&self.set(Role::Events), Role::Events, streams),
            Source::new(&self.set(Role::Broadcast), Role::Broadcast, 1),
        ]
    }
}

/// The log on a Redis server.
pub struct RedisLog {
    server: Arc<Server>,
    writer: Writer,
    spans: SpanReader,
    reader: JoinHandle<()>,
    letters: Letters,
    keys: Keys,
}

impl fmt::Debug for RedisLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisLog").field("server", &self.server).finish_non_exhaustive()
    }
}

impl RedisLog {
    /// Begins to read the streams of `config` into `sink`. Returns at once.
    ///
    /// # Errors
    /// A `redis.url` that cannot be read, or a `redis.ca_file` that holds no certificates.
    pub fn open(config: &Config, sink: impl Sink) -> anyhow::Result<Self> {
        let server = Arc::new(Server::new(&config.redis).context("log.kind redis")?);
        let keys = Keys { prefix: config.redis.prefix.clone() };
        let reader = Reader::new(Arc::clone(&server), keys.clone(), config, sink);
        Ok(Self {
            spans: SpanReader::new(Arc::clone(&server), keys.clone()),
            writer: Writer::start(Arc::clone(&server), keys.clone(), config),
            reader: tokio::spawn(reader.run()),
            letters: Letters::new(Arc::clone(&server), keys.clone(), config),
            keys,
            server,
        })
    }

    /// Appends `event`, unless its key was used within `dedupe.window`, and waits until Redis and
    /// `redis.wait_replicas` replicas have it, at the latest until `deadline`.
    ///
    /// # Errors
    /// [`PublishError`] says whether the event can be in the log.
    pub async fn publish(
        &self,
        event: &NewEvent,
        deadline: Instant,
    ) -> Result<Receipt, PublishError> {
        self.writer.publish(event, deadline).await
    }

    /// The shard that notes lie in.
    #[must_use]
    pub fn notes(&self) -> Shard {
        span::notes_shard(self.spans.keys())
    }

    /// Appends notes.
    ///
    /// # Errors
    /// [`PublishError`]: some may have been appended.
    pub async fn note(&self, notes: &[Note], deadline: Instant) -> Result<(), PublishError> {
        self.spans.note(notes, deadline).await
    }

    /// Reads back a part of a stream.
    ///
    /// # Errors
    /// [`Unread`] if there is no such stream, or Redis does not answer until `deadline`.
    pub async fn read(&self, span: Span, deadline: Instant) -> Result<Stretch, Unread> {
        self.spans.read(span, deadline).await
    }

    /// The offset from which on the entries of `shard` are not older than `time`, in milliseconds
    /// since the Unix epoch.
    ///
    /// # Errors
    /// As [`RedisLog::read`].
    pub async fn seek(&self, shard: Shard, time: i64, deadline: Instant) -> Result<Offset, Unread> {
        self.spans.seek(shard, time, deadline).await
    }

    /// The dead letters.
    pub(super) fn letters(&self) -> &Letters {
        &self.letters
    }

    /// The source called `name`.
    pub(super) fn source_of(&self, name: &str) -> Option<Source> {
        // How many streams there are does not matter to what its entries mean.
        self.keys.sources(1).into_iter().find(|source| *source.name == *name)
    }

    /// Waits for what is being published, at the latest until `deadline`, and stops handing
    /// records on.
    pub async fn close(&self, deadline: Instant) {
        self.writer.close(deadline).await;
        self.reader.abort();
    }
}
