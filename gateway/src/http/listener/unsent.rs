//! How much the kernel holds of what a client does not take.
#![expect(
    unsafe_code,
    reason = "socket2 has no TCP_NOTSENT_LOWAT. Without it the kernel takes up to 4 MB for each reader that has stopped reading, which cost three quarters of the CPU time and tripled the latency of those that read (loadtest/results/2026-11-21-slow-readers.md)"
)]

use std::io;
use std::os::fd::AsRawFd as _;

use tokio::net::TcpStream;

/// The most bytes that the kernel takes beyond those that are on their way, in bytes. Two of the
/// writes that a stream makes at once: enough that a client which reads never waits for the gateway.
const UNSENT_BYTES: libc::c_int = 128 * 1024;

/// Keeps the kernel from taking more than [`UNSENT_BYTES`] that it cannot send yet. A reader's lag is
/// then its place in the ring, and its write deadline begins when it stops reading and not megabytes
/// later.
///
/// # Errors
/// A kernel that does not know the option (Linux before 3.12, sandboxes).
pub(super) fn limit(socket: &TcpStream) -> io::Result<()> {
    let most = UNSENT_BYTES;
    // SAFETY: the descriptor is open for as long as `socket` is borrowed; the option's value is an
    // int that lives through the call, and its size is given.
    let failed = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_NOTSENT_LOWAT,
            (&raw const most).cast(),
            size_of_val(&most) as libc::socklen_t,
        )
    };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
