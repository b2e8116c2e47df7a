//! Making sockets by the ten thousand.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use mio::net::TcpStream;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// How many of the 127.0.0.0/8 addresses connections may come from at most.
pub const MOST_SOURCES: u32 = 200;

/// Starts connecting and does not wait.
///
/// One source address has some 28,000 ports towards one server, so connections are spread over
/// `127.0.0.1` and its neighbours. `receive_buffer` asks for a small kernel buffer, in bytes.
///
/// # Errors
/// What the kernel says; `EADDRNOTAVAIL` when the source address has no port left.
pub fn connect(
    target: SocketAddr,
    source: u32,
    receive_buffer: Option<usize>,
) -> io::Result<TcpStream> {
    let socket = Socket::new(
        Domain::for_address(target),
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    socket.set_tcp_nodelay(true)?;
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    if target.is_ipv4() && source > 0 {
        // Ports whose last connection lingers in TIME_WAIT may be used again.
        socket.set_reuse_address(true)?;
        let last = u8::try_from(1 + source % MOST_SOURCES).unwrap_or(1);
        let ip = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
        socket.bind(&SocketAddr::new(ip, 0).into())?;
    }
    match socket.connect(&target.into()) {
        Ok(()) => {}
        Err(error) if in_progress(&error) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}

fn in_progress(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
        || error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error())
}

/// Whether a connection is made: `Ok(false)` if the kernel is still at it.
///
/// # Errors
/// Why it could not be made.
pub fn connected(stream: &TcpStream) -> io::Result<bool> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}

/// Ends a connection with a reset, so that it does not linger in `TIME_WAIT`.
///
/// Ten thousand that linger for a minute leave the next run's sources hardly a port, and the kernel
/// searches for each: 700 µs a connection instead of 20.
pub fn reset(stream: TcpStream) {
    // Refused means that it lingers.
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}

/// A listener that takes a rush of connections, and its address.
///
/// # Errors
/// What the kernel says.
pub fn listen(addr: SocketAddr) -> io::Result<mio::net::TcpListener> {
    let socket = Socket::new(
        Domain::for_address(addr),
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(4096)?;
    Ok(mio::net::TcpListener::from_std(socket.into()))
}

/// Raises the limit on open files as far as it goes, and returns it.
#[must_use]
pub fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum;
    if limit.current != hard {
        // Refused means that the current limit stays, and it is what is returned.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: hard, maximum: hard });
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Waits on one thread: short enough to notice, long enough to cost nothing.
pub fn pause() {
    std::thread::park_timeout(Duration::from_millis(2));
}

#[cfg(test)]
mod tests {
    use std::{io::Read, net::TcpListener};

    use super::*;

    #[test]
    fn a_reset_connection_does_not_linger() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = connect(listener.local_addr().unwrap(), 1, None).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        reset(stream);
        // Whoever is told of an end in good order has a peer that lingers.
        assert_eq!(peer.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }
}
