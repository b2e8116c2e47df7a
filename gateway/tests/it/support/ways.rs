//! The ways in which a stream reaches its client, behind one kind of reader.

use std::net::SocketAddr;

use ::http::Request;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::decoding::Decoder;
use super::gateway::Gateway;
use super::http::{PATIENCE, header};
use super::proxy::{Kind, Proxy};
use super::stream::{Block, parse};
use super::tls::{Files, NAME, Pair};

/// How a stream travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// HTTP/1.1: the socket leaves hyper.
    HandedOff,
    /// HTTP/1.1 with a body in the request, for which the socket stays.
    WithBody,
    Http10,
    Http2,
    Tls,
    Http2OverTls,
    Through(Kind),
    /// The same with this content coding.
    Coded(&'static str, &'static Way),
}

impl Way {
    /// The way without its coding, and that.
    fn apart(self) -> (Self, Option<&'static str>) {
        match self {
            Self::Coded(coding, way) => (way.apart().0, Some(coding)),
            way => (way, None),
        }
    }
}

/// A gateway, and what its clients need to speak to it in one way.
pub struct Site {
    pub gateway: Gateway,
    way: Way,
    /// What its clients ask for and get.
    pub coding: Option<&'static str>,
    pair: Option<Pair>,
    _files: Option<Files>,
    pub proxy: Option<Proxy>,
    client: reqwest::Client,
}

impl Site {
    /// Starts one; `None` if the way cannot be tried on this machine.
    pub async fn start(way: Way, flags: &[&str]) -> Option<Self> {
        let (way, coding) = way.apart();
        if let Way::Through(kind) = way
            && !kind.is_installed()
        {
            return None;
        }
        let tls = matches!(way, Way::Tls | Way::Http2OverTls);
        let pair = tls.then(|| Pair::until(2099));
        let files = pair.as_ref().map(Files::with);
        let more = files.as_ref().map(Files::flags);
        let more = more.iter().flatten().map(String::as_str);
        let on = coding.map(|coding| format!("--stream-{coding}=true"));
        let flags: Vec<&str> = flags.iter().copied().chain(more).chain(on.as_deref()).collect();
        let gateway = Gateway::ready(&flags).await;
        let client = match &pair {
            Some(pair) => pair.client(gateway.public(), false),
            None => {
                let _ = rustls::crypto::ring::default_provider().install_default();
                reqwest::Client::builder().tls_certs_only([]).build().expect("a client")
            }
        };
        let proxy = match way {
            Way::Through(kind) => Some(Proxy::start(kind, gateway.public()).await),
            _ => None,
        };
        Some(Self { gateway, way, coding, pair, _files: files, proxy, client })
    }

    /// How `/metrics` calls it.
    pub fn protocol(&self) -> &'static str {
        match self.way {
            Way::HandedOff | Way::WithBody | Way::Tls | Way::Through(_) => "\"http1.1\"",
            Way::Http10 => "\"http1.0\"",
            Way::Http2 | Way::Http2OverTls => "\"h2\"",
            Way::Coded(..) => unreachable!("taken apart"),
        }
    }

    fn addr(&self) -> SocketAddr {
        self.proxy.as_ref().map_or(self.gateway.public(), Proxy::addr)
    }

    /// Opens a stream; panics unless it is answered with 200.
    pub async fn open(&self, path: &str, headers: &[(&str, &str)]) -> Reader {
        let accepted = self.coding.map(|coding| ("accept-encoding", coding));
        let headers: Vec<_> = headers.iter().copied().chain(accepted).collect();
        let opened = async {
            let headers = &headers[..];
            match self.way {
                Way::HandedOff | Way::Through(_) => {
                    self.http1(self.socket().await, "1.1", path, headers).await
                }
                Way::WithBody => {
                    let headers = [headers, &[("content-length", "5")]].concat();
                    self.http1(self.socket().await, "1.1", path, &headers).await
                }
                Way::Http10 => self.http1(self.socket().await, "1.0", path, headers).await,
                Way::Tls => self.http1(self.session("http/1.1").await, "1.1", path, headers).await,
                Way::Http2 => http2(self.socket().await, path, headers).await,
                Way::Http2OverTls => http2(self.session("h2").await, path, headers).await,
                Way::Coded(..) => unreachable!("taken apart"),
            }
        };
        timeout(PATIENCE, opened).await.expect("an answer in time")
    }

    /// Opens a stream and reads its first block.
    pub async fn connect(&self, path: &str, headers: &[(&str, &str)]) -> (Reader, Block) {
        let mut reader = self.open(path, headers).await;
        // Only who hands its socket over says that it closes it.
        let closes = header(&reader.head, "connection") == Some("close");
        match self.way {
            Way::HandedOff => assert!(closes, "{}", reader.head),
            Way::WithBody | Way::Tls => assert!(!closes, "{}", reader.head),
            _ => {}
        }
        assert_eq!(header(&reader.head, "content-encoding"), self.coding);
        let first = reader.block().await.expect("a first block");
        assert_eq!(first.event.as_deref(), Some("tidegate.connected"), "{first:?}");
        (reader, first)
    }

    /// A socket whose kernel takes little before it is read.
    async fn socket(&self) -> TcpStream {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(16 * 1024).expect("a small buffer");
        socket.connect(self.addr()).await.expect("connected")
    }

    async fn session(&self, alpn: &str) -> impl AsyncRead + AsyncWrite + Send + Unpin + 'static {
        let pair = self.pair.as_ref().expect("a certificate");
        pair.session(self.addr(), &[alpn]).await.expect("a session")
    }

    async fn http1(
        &self,
        mut io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        version: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Reader {
        let mut request =
            format!("GET {path} HTTP/{version}\r\nhost: t\r\naccept: text/event-stream\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        // In one write: hyper does not see a client go whose body was late and nobody read.
        let body = if self.way == Way::WithBody { "hello" } else { "" };
        io.write_all(format!("{request}\r\n{body}").as_bytes()).await.expect("written");
        let mut seen = Vec::new();
        let at = loop {
            assert!(io.read_buf(&mut seen).await.is_ok_and(|n| n > 0), "an answer");
            if let Some(at) = seen.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
        };
        let rest = seen.split_off(at);
        let head = String::from_utf8(seen).expect("ASCII");
        assert!(head.starts_with(&format!("HTTP/{version} 200 ")), "{head}");
        let chunked = header(&head, "transfer-encoding") == Some("chunked");
        assert_eq!(chunked, version == "1.1", "{head}");
        Reader::new(head, async move |tell| match chunked {
            true => read_chunks(io, rest, tell).await,
            false => read_all(io, rest, tell).await,
        })
    }

    /// Publishes and returns the status and the answer.
    pub async fn publish(&self, id: &str, kind: &str, body: &str) -> serde_json::Value {
        let path = format!("/v1/sse/events/{id}/types/{kind}");
        let answer = self.post(&path, "application/json", body).await;
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    /// Posts to the gateway itself; panics unless it is answered with 200.
    pub async fn post(&self, path: &str, kind: &str, body: &str) -> String {
        let url = match &self.pair {
            Some(_) => format!("https://{NAME}{path}"),
            None => format!("http://{}{path}", self.gateway.public()),
        };
        let post = self.client.post(url).header("content-type", kind).body(body.to_owned());
        let answer = timeout(PATIENCE, post.send()).await.expect("in time").expect("an answer");
        assert_eq!(answer.status(), 200);
        timeout(PATIENCE, answer.text()).await.expect("in time").expect("a body")
    }
}

async fn http2(
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    path: &str,
    headers: &[(&str, &str)],
) -> Reader {
    let mut client = super::http2::over(io, 65_535).await;
    let mut request = Request::get(format!("http://t{path}")).header("accept", "text/event-stream");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (answer, _) =
        client.send_request(request.body(()).expect("a request"), true).expect("sent");
    let answer = answer.await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let head: String = answer
        .headers()
        .iter()
        .map(|(name, value)| format!("{name}: {}\r\n", value.to_str().expect("ASCII")))
        .collect();
    let mut body = answer.into_body();
    Reader::new(head, async move |tell| {
        // The connection lives as long as somebody may ask for something on it.
        let _client = client;
        while let Some(data) = body.data().await {
            let Ok(data) = data else { return };
            let length = data.len();
            if tell.send(Some(data)).await.is_err() {
                return;
            }
            body.flow_control().release_capacity(length).expect("released");
        }
        let _ = tell.send(None).await;
    })
}

type Tell = mpsc::Sender<Option<Bytes>>;

/// Tells the chunks' data, and the end if it is a clean one.
async fn read_chunks(mut io: impl AsyncRead + Unpin, mut seen: Vec<u8>, tell: Tell) {
    loop {
        let line = seen.windows(2).position(|two| two == b"\r\n");
        let size = line.map(|at| {
            let text = std::str::from_utf8(&seen[..at]).expect("ASCII");
            let size = usize::from_str_radix(text, 16);
            (at + 2, size.unwrap_or_else(|_| panic!("no chunk's size: {text:?}")))
        });
        match size {
            Some((at, size)) if seen.len() >= at + size + 2 => {
                assert_eq!(&seen[at + size..at + size + 2], b"\r\n", "a chunk ends with CRLF");
                let data: Bytes = seen[at..at + size].to_vec().into();
                seen.drain(..at + size + 2);
                let is_last = data.is_empty();
                if tell.send((!is_last).then_some(data)).await.is_err() || is_last {
                    return;
                }
            }
            _ => {
                if !io.read_buf(&mut seen).await.is_ok_and(|n| n > 0) {
                    return;
                }
            }
        }
    }
}

/// Tells everything up to the connection's end.
async fn read_all(mut io: impl AsyncRead + Unpin, mut seen: Vec<u8>, tell: Tell) {
    loop {
        if !seen.is_empty() && tell.send(Some(std::mem::take(&mut seen).into())).await.is_err() {
            return;
        }
        match io.read_buf(&mut seen).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(_) => return,
        }
    }
    let _ = tell.send(None).await;
}

/// How a stream went on.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// The body was complete.
    Clean,
    /// The connection was cut.
    Cut,
}

/// An open stream. While it is not read, little is taken from the connection.
pub struct Reader {
    pub head: String,
    told: mpsc::Receiver<Option<Bytes>>,
    decoder: Decoder,
    text: Vec<u8>,
    /// Before this no block ends.
    searched: usize,
    reading: AbortHandle,
    /// The last id that was seen, as an `EventSource` keeps it.
    pub last_id: Option<String>,
}

impl Reader {
    fn new<F: Future<Output = ()> + Send + 'static>(
        head: String,
        read: impl FnOnce(Tell) -> F,
    ) -> Self {
        let (tell, told) = mpsc::channel(1);
        let reading = tokio::spawn(read(tell)).abort_handle();
        let decoder = Decoder::of(header(&head, "content-encoding"));
        Self { head, told, decoder, text: Vec::new(), searched: 0, reading, last_id: None }
    }

    /// The next block, or how the stream ended.
    pub async fn next(&mut self) -> Result<Block, End> {
        let next = async {
            loop {
                let unseen = self.text.get(self.searched..).unwrap_or_default();
                let found = unseen.windows(2).position(|two| two == b"\n\n");
                if let Some(at) = found.map(|at| self.searched + at) {
                    self.searched = 0;
                    let text: Vec<u8> = self.text.drain(..at + 2).collect();
                    let block = parse(std::str::from_utf8(&text).expect("UTF-8"));
                    if block.id.is_some() {
                        self.last_id.clone_from(&block.id);
                    }
                    return Ok(block);
                }
                // Large blocks come in many parts.
                self.searched = self.text.len().saturating_sub(1);
                match self.told.recv().await {
                    Some(Some(data)) => self.text.extend(self.decoder.decode(&data)),
                    Some(None) => {
                        self.decoder.expect_end();
                        assert!(self.text.is_empty(), "the last block is whole");
                        return Err(End::Clean);
                    }
                    None => return Err(End::Cut),
                }
            }
        };
        timeout(PATIENCE, next).await.expect("a block in time")
    }

    /// The next block, heartbeats and all.
    pub async fn block(&mut self) -> Option<Block> {
        self.next().await.ok()
    }

    /// The next block that is not a heartbeat.
    pub async fn event(&mut self) -> Block {
        loop {
            let block = self.next().await.expect("the stream goes on");
            if block.event.as_deref() != Some("tidegate.heartbeat") && !block.comment {
                return block;
            }
        }
    }

    /// The `data` members of the next `count` events.
    pub async fn take(&mut self, count: usize) -> Vec<serde_json::Value> {
        let mut taken = Vec::with_capacity(count);
        while taken.len() < count {
            let block = self.event().await;
            assert!(!block.is_own(), "{block:?}");
            taken.push(block.json()["data"].clone());
        }
        taken
    }

    /// Asserts that the stream says goodbye for this reason next, and then ends cleanly.
    pub async fn expect_goodbye(&mut self, reason: &str) {
        let goodbye = self.event().await;
        assert_eq!(goodbye.event.as_deref(), Some("tidegate.goodbye"), "{goodbye:?}");
        assert_eq!(goodbye.json()["reason"], reason);
        assert!(goodbye.retry.is_some() && goodbye.id.is_none(), "{goodbye:?}");
        assert_eq!(self.next().await, Err(End::Clean));
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.reading.abort();
    }
}
