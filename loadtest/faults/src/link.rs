//! A TCP proxy of our own between two of the parts: what goes wrong on a wire, at will, without root.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::wire::{self, BUFFER_BYTES};

const CONNECT: Duration = Duration::from_secs(5);
const BACKLOG: u32 = 1024;
const CHUNK: usize = 16 * 1024;

/// How a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Both ends are told that nothing more comes.
    Fin,
    /// Both ends are reset.
    Rst,
}

#[derive(Debug, Clone, Copy)]
struct State {
    /// Nothing goes either way and nobody is connected on; nothing is lost. As with a cable that
    /// is pulled, what was sent comes once it is back.
    still: bool,
    /// How often connections were cut, and how the last time.
    cuts: u64,
    cut: Cut,
    /// One in so many connections was meant.
    one_in: u64,
}

/// A proxy before one address.
#[derive(Debug)]
pub struct Link {
    addr: SocketAddr,
    state: watch::Sender<State>,
    accepting: JoinHandle<()>,
    open: Arc<AtomicU64>,
}

impl Link {
    /// Listens on a free port of `on`, for `to`.
    ///
    /// # Errors
    /// What the system says.
    pub async fn start(on: IpAddr, to: SocketAddr) -> io::Result<Self> {
        let socket = if on.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // The connections get it from their listener.
        socket.set_recv_buffer_size(BUFFER_BYTES)?;
        socket.set_send_buffer_size(BUFFER_BYTES)?;
        socket.bind((on, 0).into())?;
        let listener = socket.listen(BACKLOG)?;
        let addr = listener.local_addr()?;
        let state = State { still: false, cuts: 0, cut: Cut::Fin, one_in: 1 };
        let (state, follow) = watch::channel(state);
        let open = Arc::new(AtomicU64::new(0));
        let accepting = tokio::spawn(accept(listener, to, follow, Arc::clone(&open)));
        Ok(Self { addr, state, accepting, open })
    }

    /// Where to connect.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How many connections go through it.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Lets nothing through, or all again.
    pub fn set_still(&self, still: bool) {
        self.state.send_modify(|state| state.still = still);
    }

    /// Cuts one in so many of the connections that stand.
    pub fn cut(&self, cut: Cut, one_in: u64) {
        self.state.send_modify(|state| {
            state.cuts += 1;
            (state.cut, state.one_in) = (cut, one_in.max(1));
        });
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    to: SocketAddr,
    state: watch::Receiver<State>,
    open: Arc<AtomicU64>,
) {
    let mut number = 0;
    let mut gate = state.clone();
    loop {
        let Ok((near, _)) = listener.accept().await else { continue };
        if gate.wait_for(|state| !state.still).await.is_err() {
            return;
        }
        number += 1;
        let (state, open) = (state.clone(), Arc::clone(&open));
        tokio::spawn(async move {
            open.fetch_add(1, Ordering::Relaxed);
            // Its ends know already, or learn it now.
            let _ = forward(near, to, state, number).await;
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

async fn forward(
    mut near: TcpStream,
    to: SocketAddr,
    state: watch::Receiver<State>,
    number: u64,
) -> io::Result<()> {
    let far = timeout(CONNECT, wire::connect(to)).await.map_err(io::Error::from).flatten();
    let mut far = match far {
        Ok(far) => far,
        // Refused there, refused here.
        Err(_) => return reset(&near),
    };
    near.set_nodelay(true)?;
    let before = state.borrow().cuts;
    let ended = {
        let (near_in, near_out) = near.split();
        let (far_in, far_out) = far.split();
        let mut cut = state.clone();
        tokio::select! {
            biased;
            // What was meant for others is no longer looked at once another cut comes.
            cut = cut.wait_for(|s| s.cuts > before && number.is_multiple_of(s.one_in)) => {
                cut.ok().map(|state| state.cut)
            }
            ended = both(
                pump(near_in, far_out, state.clone()),
                pump(far_in, near_out, state),
            ) => match ended {
                Ok(()) => None,
                // One end is reset, and so is the other.
                Err(_) => Some(Cut::Rst),
            },
        }
    };
    if ended == Some(Cut::Rst) {
        reset(&near)?;
        reset(&far)?;
    }
    Ok(())
}

async fn both(
    one: impl Future<Output = io::Result<()>>,
    other: impl Future<Output = io::Result<()>>,
) -> io::Result<()> {
    tokio::try_join!(one, other).map(|_| ())
}

/// Copies until the end, which it hands on.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut state: watch::Receiver<State>,
) -> io::Result<()> {
    let mut chunk = [0; CHUNK];
    loop {
        let read = from.read(&mut chunk).await?;
        // After reading: what comes while nothing goes is held, too. The sender is gone when the
        // link is.
        if state.wait_for(|state| !state.still).await.is_err() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&chunk[..read]).await?;
    }
}

/// Makes the socket say RST when it is closed.
fn reset(socket: &TcpStream) -> io::Result<()> {
    socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO))
}
