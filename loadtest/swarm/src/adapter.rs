//! Servers that are to be spoken to over TLS or HTTP/2, for readers and publishers that speak
//! HTTP/1.1 in the clear: a listener of our own that translates, one connection or stream of the
//! server's for each of theirs.
//!
//! It costs the generator a second way over loopback. The server's CPU time and memory do not
//! contain it, the latencies do.

use std::{
    io::{self, ErrorKind},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    thread::JoinHandle,
};

use bytes::Bytes;
use h2::client::SendRequest;
use memchr::memmem;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::{Mutex, oneshot},
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};
use tokio_util::either::Either;

/// The longest head of a request that is translated.
const HEAD_BYTES: usize = 16 * 1024;
/// What the server may send of an HTTP/2 stream before it is read, in bytes.
const STREAM_WINDOW: u32 = 1 << 20;
/// And of all streams of a connection.
const CONNECTION_WINDOW: u32 = 16 << 20;

/// What the server is spoken to in.
#[derive(Debug, Clone, Default)]
pub struct Wire {
    /// TLS, and whose certificates are believed.
    pub tls: Option<Arc<ClientConfig>>,
    /// HTTP/2 by prior knowledge, with at most so many streams on a connection.
    pub streams: Option<usize>,
}

impl Wire {
    /// TLS with a server whose certificate is, or was signed by, one in this file.
    ///
    /// # Errors
    /// When there is none in it.
    pub fn trusting(file: &Path, streams: Option<usize>) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(file)? {
            roots.add(certificate?)?;
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let protocol: &[u8] = if streams.is_some() { b"h2" } else { b"http/1.1" };
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(Self { tls: Some(Arc::new(config)), streams })
    }
}

/// A running adapter, until it is dropped.
#[derive(Debug)]
pub struct Adapter {
    addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Adapter {
    /// Listens on loopback, and translates on a thread of its own.
    ///
    /// # Errors
    /// When there is no port, or no thread.
    pub fn start(wire: Wire, server: SocketAddr) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let addr = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let serve = async move {
            tokio::select! {
                _ = stopped => {}
                () = serve(listener, Server { wire, addr: server, pool: Mutex::default() }) => {}
            }
        };
        let thread = std::thread::Builder::new()
            .name("adapter".into())
            .spawn(move || runtime.block_on(serve))?;
        Ok(Self { addr, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Adapter {
    fn drop(&mut self) {
        // Dropped is as good as sent.
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The server, and the HTTP/2 connection that has room for more.
struct Server {
    wire: Wire,
    addr: SocketAddr,
    pool: Mutex<Option<(SendRequest<Bytes>, usize)>>,
}

type Link = Either<TcpStream, Box<TlsStream<TcpStream>>>;

impl Server {
    async fn connect(&self) -> io::Result<Link> {
        let stream = TcpStream::connect(self.addr).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.wire.tls else { return Ok(Either::Left(stream)) };
        let name = ServerName::from(self.addr.ip());
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?;
        Ok(Either::Right(Box::new(stream)))
    }

    /// A handle of a connection that has room for one stream more.
    async fn stream(&self, most: usize) -> io::Result<SendRequest<Bytes>> {
        // Held over the handshake: whoever comes meanwhile is to share the connection.
        let mut pool = self.pool.lock().await;
        if let Some((client, used)) = &mut *pool
            && *used < most
        {
            *used += 1;
            return Ok(client.clone());
        }
        let (client, connection) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake(self.connect().await?)
            .await
            .map_err(io::Error::other)?;
        tokio::spawn(connection);
        *pool = Some((client.clone(), 1));
        Ok(client)
    }
}

async fn serve(listener: TcpListener, server: Server) {
    let server = Arc::new(server);
    while let Ok((client, _)) = listener.accept().await {
        let server = Arc::clone(&server);
        // What fails is closed, which its reader or publisher counts.
        tokio::spawn(async move { translate(client, &server).await });
    }
}

async fn translate(mut client: TcpStream, server: &Server) -> io::Result<()> {
    client.set_nodelay(true)?;
    let Some(most) = server.wire.streams else {
        let mut link = server.connect().await?;
        copy_bidirectional(&mut client, &mut link).await?;
        return Ok(());
    };
    let request = request(&mut client, server).await?;
    let mut requests = server.stream(most).await?.ready().await.map_err(io::Error::other)?;
    let (response, _) = requests.send_request(request, true).map_err(io::Error::other)?;
    let (head, mut body) = response.await.map_err(io::Error::other)?.into_parts();
    let content_type = head.headers.get(http::header::CONTENT_TYPE).map(|value| value.as_bytes());
    let mut answer = format!("HTTP/1.1 {} \r\nContent-Type: ", head.status.as_u16()).into_bytes();
    answer.extend_from_slice(content_type.unwrap_or_default());
    answer.extend_from_slice(b"\r\n\r\n");
    client.write_all(&answer).await?;
    let (mut from, mut to) = client.split();
    let mut rest = [0; 64];
    loop {
        let data = tokio::select! {
            data = body.data() => data,
            // Nothing more is asked: it is gone, and so is the stream.
            _ = from.read(&mut rest) => return Ok(()),
        };
        // The body then ends with the connection.
        let Some(data) = data.transpose().map_err(io::Error::other)? else { return Ok(()) };
        to.write_all(&data).await?;
        body.flow_control().release_capacity(data.len()).map_err(io::Error::other)?;
    }
}

/// The request for a stream, as HTTP/2 has it.
async fn request(client: &mut TcpStream, server: &Server) -> io::Result<http::Request<()>> {
    let mut head = Vec::new();
    while memmem::find(&head, b"\r\n\r\n").is_none() {
        if client.read_buf(&mut head).await? == 0 || head.len() > HEAD_BYTES {
            return Err(ErrorKind::InvalidData.into());
        }
    }
    let text = String::from_utf8(head).map_err(io::Error::other)?;
    let mut lines = text.lines();
    let path =
        lines.next().and_then(|line| line.split(' ').nth(1)).ok_or(ErrorKind::InvalidData)?;
    let scheme = if server.wire.tls.is_some() { "https" } else { "http" };
    let mut request = http::Request::get(format!("{scheme}://{}{path}", server.addr));
    let headers = lines.filter_map(|line| line.split_once(": "));
    for (name, value) in headers.filter(|(name, _)| !name.eq_ignore_ascii_case("host")) {
        request = request.header(name, value);
    }
    request.body(()).map_err(io::Error::other)
}
