//! A connection to Redis, and where it goes.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::{
    AsyncConnectionConfig, ConnectionAddr, IntoConnectionInfo as _, Pipeline, RedisConnectionInfo,
    ServerError, Value,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use super::Keys;
use crate::config::{Redis, Secret};
use crate::cursor::Tag;

/// How long a connection may take to be made, up to the log's epoch.
pub(super) const CONNECT: Duration = Duration::from_secs(3);
/// How long a connection may be silent before the kernel looks whether its other end is there, and
/// how long data may lie unacknowledged.
const KEEPALIVE: Duration = Duration::from_secs(10);

const HELLO: &str = include_str!("hello.lua");
const PUBLISH: &str = include_str!("publish.lua");
const LOOK: &str = include_str!("look.lua");

/// Where Redis is and how it is spoken to. Holds the password and shows none.
pub(super) struct Server {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    login: RedisConnectionInfo,
    /// How many streams a log that begins here gets.
    streams: u32,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Server {
    /// Reads `redis.url` and, for `rediss://`, the certificates to trust.
    pub(super) fn new(settings: &Redis) -> anyhow::Result<Self> {
        let url = settings.url.as_ref().map(Secret::expose).context("redis.url is not set")?;
        // The crate's own TLS would take rustls's process-wide provider.
        let (plain, secure) = match url.strip_prefix("rediss://") {
            Some(rest) => (format!("redis://{rest}"), true),
            None => (url.to_owned(), false),
        };
        // The crate's message would show the URL with its password.
        let info = plain
            .into_connection_info()
            .map_err(|error| anyhow!("redis.url: {}", error.category()))?;
        let ConnectionAddr::Tcp(host, port) = info.addr() else {
            return Err(anyhow!("redis.url names no host"));
        };
        let tls = secure.then(|| tls(host, settings.ca_file.as_deref())).transpose()?;
        let login = info.redis_settings().clone();
        Ok(Self { host: host.clone(), port: *port, tls, login, streams: settings.shards })
    }

    async fn connect(&self) -> Result<Box<dyn Wire>, String> {
        let at = |error: std::io::Error| format!("{}:{}: {error}", self.host, self.port);
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(at)?;
        tcp.set_nodelay(true).map_err(at)?;
        let socket = SockRef::from(&tcp);
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3);
        socket.set_tcp_keepalive(&keepalive).map_err(at)?;
        socket.set_tcp_user_timeout(Some(KEEPALIVE * 2)).map_err(at)?;
        match &self.tls {
            None => Ok(Box::new(tcp)),
            Some((connector, name)) => {
                let tls = connector.connect(name.clone(), tcp).await.map_err(at)?;
                Ok(Box::new(tls))
            }
        }
    }
}

fn tls(host: &str, ca_file: Option<&Path>) -> anyhow::Result<(TlsConnector, ServerName<'static>)> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            let of_file = || format!("redis.ca_file {}", path.display());
            for certificate in CertificateDer::pem_file_iter(path).with_context(of_file)? {
                roots.add(certificate.with_context(of_file)?).with_context(of_file)?;
            }
        }
        None => {
            // What cannot be read of the system's is left out; without any the handshake says so.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).context("redis.url's host")?;
    Ok((TlsConnector::from(Arc::new(config)), name))
}

/// A byte stream in both directions.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Which log it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// The log's epoch as it is written.
    pub(super) epoch: String,
    /// The tag of all its positions.
    pub(super) tag: Tag,
    /// How many streams its events are spread over.
    pub(super) streams: u32,
    /// Epochs that it had before its end was lost, the newest first.
    pub(super) former: Vec<String>,
}

impl Identity {
    /// Whether it is that log, or what is left of it.
    pub(super) fn continues(&self, other: &Self) -> bool {
        self.streams == other.streams
            && (self.epoch == other.epoch || self.former.contains(&other.epoch))
    }
}

/// A connection with the scripts loaded. Used by one task only, a pipeline at a time.
pub(super) struct Link {
    connection: MultiplexedConnection,
    driver: JoinHandle<()>,
    /// How the server names the script that publishes.
    pub(super) publish: String,
    /// How the server names the script that looks at streams.
    pub(super) look: String,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Link {
    /// Connects, by `deadline` at the latest, and asks which log it is. A log whose epoch is
    /// `replace` is begun anew.
    pub(super) async fn open(
        server: &Server,
        keys: &Keys,
        replace: Option<&str>,
        deadline: Instant,
    ) -> Result<(Self, Identity), String> {
        let deadline = deadline.min(Instant::now() + CONNECT);
        let opening = async {
            let wire = server.connect().await?;
            let config = AsyncConnectionConfig::new().set_response_timeout(None);
            let (connection, driver) =
                MultiplexedConnection::new_with_config(&server.login, wire, config)
                    .await
                    .map_err(|error| error.to_string())?;
            let driver = tokio::spawn(driver);
            let mut link = Self { connection, driver, publish: String::new(), look: String::new() };
            let identity = link.hello(server, keys, replace).await?;
            Ok((link, identity))
        };
        timeout_at(deadline, opening)
            .await
            .unwrap_or_else(|_| Err(format!("{server:?} did not answer in time")))
    }

    async fn hello(
        &mut self,
        server: &Server,
        keys: &Keys,
        replace: Option<&str>,
    ) -> Result<Identity, String> {
        let mut pipe = redis::pipe();
        pipe.cmd("SCRIPT").arg("LOAD").arg(PUBLISH);
        pipe.cmd("SCRIPT").arg("LOAD").arg(LOOK);
        pipe.cmd("EVAL").arg(HELLO).arg(3);
        pipe.arg(keys.epoch()).arg(keys.streams()).arg(keys.former_epochs());
        pipe.arg(rand::random::<u32>()).arg(server.streams).arg(replace.unwrap_or_default());
        let mut answers = self.call(&pipe, CONNECT).await?.into_iter();
        let mut next = || answers.next().unwrap_or(Value::Nil);
        self.publish = text(&next())?.to_owned();
        self.look = text(&next())?.to_owned();
        let identity = next();
        let [epoch, streams, former] = items(&identity)? else {
            return Err(unexpected(&identity));
        };
        let former: Result<_, _> =
            items(former)?.iter().map(|e| text(e).map(str::to_owned)).collect();
        let epoch = text(epoch)?.to_owned();
        let streams = text(streams)?.parse().map_err(|_| unexpected(streams))?;
        // Whatever was written there: it tells one log from another.
        let number = epoch.parse().unwrap_or_else(|_| crc32c::crc32c(epoch.as_bytes()));
        Ok(Identity { epoch, tag: Tag::of_epoch(number), streams, former: former? })
    }

    /// Whether the connection was lost since it was last used: nothing can be sent any more.
    pub(super) fn is_lost(&self) -> bool {
        self.driver.is_finished()
    }

    /// Sends commands and returns an answer for each, an error too. After an `Err` the connection
    /// is of no use, and some commands may have been carried out.
    pub(super) async fn call(
        &mut self,
        pipe: &Pipeline,
        patience: Duration,
    ) -> Result<Vec<Value>, String> {
        let count = pipe.cmd_iter().count();
        match timeout(patience, self.connection.req_packed_commands(pipe, 0, count)).await {
            Ok(Ok(answers)) if answers.len() == count => Ok(answers),
            Ok(Ok(_)) => Err("Redis answered with something else than was asked".to_owned()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("Redis did not answer within {patience:?}")),
        }
    }
}

/// What the server complained of.
pub(super) fn complaint(error: &ServerError) -> String {
    format!("{} {}", error.code(), error.details().unwrap_or_default()).trim_end().to_owned()
}

/// An answer that is none of what the command has.
pub(super) fn unexpected(value: &Value) -> String {
    match value {
        Value::ServerError(error) => complaint(error),
        // Not its content: that may be an event's.
        Value::Nil => "Redis answered with nothing".to_owned(),
        _ => "Redis answered with something unexpected".to_owned(),
    }
}

/// The items of an answer that is a list.
pub(super) fn items(value: &Value) -> Result<&[Value], String> {
    match value {
        Value::Array(items) => Ok(items),
        other => Err(unexpected(other)),
    }
}

/// The bytes of an answer that is a string.
pub(super) fn bytes(value: &Value) -> Result<&[u8], String> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.as_bytes()),
        other => Err(unexpected(other)),
    }
}

/// The text of an answer that is a string.
pub(super) fn text(value: &Value) -> Result<&str, String> {
    std::str::from_utf8(bytes(value)?).map_err(|_| unexpected(value))
}

/// The number of an answer that is one.
pub(super) fn number(value: &Value) -> Result<i64, String> {
    match value {
        Value::Int(number) => Ok(*number),
        other => Err(unexpected(other)),
    }
}
