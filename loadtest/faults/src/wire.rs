//! HTTP/1.1 over a bare socket: a request, and its answer piece by piece.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use tidegate_swarm::http::{Decoder, Head, Piece};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// How long a connection may take to stand.
const CONNECT: Duration = Duration::from_secs(5);
/// What the kernel keeps of a connection, each way.
pub const BUFFER_BYTES: u32 = 16 * 1024;
/// The longest body of an answer that is kept. Ours are problems and receipts.
const BODY_BYTES: usize = 64 * 1024;

/// A connection to a gateway.
#[derive(Debug)]
pub struct Wire {
    socket: TcpStream,
    decoder: Decoder,
    /// What was read and not used yet.
    unread: Vec<u8>,
}

/// A part of an answer.
#[derive(Debug)]
pub enum Part {
    /// The head, once.
    Head(Head),
    /// Some of the body.
    Body(Vec<u8>),
    /// The answer is complete.
    End,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// At most 64 KiB of the body.
    pub body: Vec<u8>,
    /// The server closes after it.
    pub close: bool,
}

impl Wire {
    /// Connects.
    ///
    /// # Errors
    /// What the system says, or that it took too long.
    pub async fn connect(to: SocketAddr) -> io::Result<Self> {
        let socket = timeout(CONNECT, connect(to)).await.map_err(|_| ErrorKind::TimedOut)??;
        Ok(Self { socket, decoder: Decoder::default(), unread: Vec::new() })
    }

    /// Sends a request.
    ///
    /// # Errors
    /// What the system says.
    pub async fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.socket.write_all(request).await
    }

    /// The next part of the answer. Nothing is lost when this is given up in the middle.
    ///
    /// # Errors
    /// The connection broke or ended before the answer did, or this is no HTTP.
    pub async fn part(&mut self) -> io::Result<Part> {
        loop {
            let mut left = self.unread.as_slice();
            let part = match self.decoder.next(&mut left) {
                Ok(Some(Piece::Head(head))) => Some(Part::Head(head)),
                Ok(Some(Piece::Body(bytes))) => Some(Part::Body(bytes.to_vec())),
                Ok(Some(Piece::End)) => Some(Part::End),
                Ok(None) => None,
                Err(error) => return Err(io::Error::new(ErrorKind::InvalidData, error)),
            };
            let used = self.unread.len() - left.len();
            self.unread.drain(..used);
            if let Some(part) = part {
                return Ok(part);
            }
            if self.socket.read_buf(&mut self.unread).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// The whole answer.
    ///
    /// # Errors
    /// As [`Self::part`].
    pub async fn answer(&mut self) -> io::Result<Answer> {
        let mut answer = Answer { status: 0, body: Vec::new(), close: false };
        loop {
            match self.part().await? {
                Part::Head(head) => (answer.status, answer.close) = (head.status, head.close),
                Part::Body(bytes) if answer.body.len() < BODY_BYTES => answer.body.extend(bytes),
                Part::Body(_) => {}
                Part::End => return Ok(answer),
            }
        }
    }
}

/// Connects a socket of small buffers: the kernel's own would hold minutes of events for a reader
/// that stands still.
///
/// # Errors
/// What the system says.
pub async fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_recv_buffer_size(BUFFER_BYTES)?;
    socket.set_send_buffer_size(BUFFER_BYTES)?;
    let socket = socket.connect(to).await?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// Asks for something on a connection of its own.
///
/// # Errors
/// As [`Wire::answer`], or that it took longer than `patience`.
pub async fn get(to: SocketAddr, path: &str, patience: Duration) -> io::Result<Answer> {
    let asking = async {
        let mut wire = Wire::connect(to).await?;
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: {to}\r\n\r\n").as_bytes()).await?;
        wire.answer().await
    };
    timeout(patience, asking).await.map_err(|_| ErrorKind::TimedOut)?
}
