//! The loop.

use std::{
    collections::HashMap,
    io::{self, ErrorKind, Read, Write},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use mio::{
    Events, Interest, Poll, Token, Waker,
    net::{TcpListener, TcpStream},
};

use super::{
    Options, Outcome,
    client::{Parsed, Request, data, line_room, parse},
    room::Room,
};
use crate::{clock, sockets};

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);

const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
    Cache-Control: no-cache, no-transform\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Somebody who has not asked for a stream.
#[derive(Debug)]
struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
}

/// An open stream: no buffers, only a place in its room's log.
#[derive(Debug)]
struct Reader {
    stream: TcpStream,
    room: u32,
    /// Where it stands in the room's members.
    slot: u32,
    /// The next byte to write.
    place: u64,
    /// The kernel takes no more for now.
    full: bool,
}

#[derive(Debug)]
enum Socket {
    Client(Box<Client>),
    Reader(Reader),
    Free,
}

pub(super) struct Server {
    options: Options,
    stop: Arc<AtomicBool>,
    poll: Poll,
    listener: TcpListener,
    sockets: Vec<Socket>,
    free: Vec<u32>,
    rooms: Vec<Room>,
    names: HashMap<Vec<u8>, u32>,
    dirty: Vec<u32>,
    outcome: Outcome,
}

impl Server {
    pub(super) fn new(
        addr: SocketAddr,
        options: Options,
        stop: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        let mut listener = sockets::listen(addr)?;
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            options,
            stop,
            poll,
            listener,
            sockets: Vec::new(),
            free: Vec::new(),
            rooms: Vec::new(),
            names: HashMap::new(),
            dirty: Vec::new(),
            outcome: Outcome::default(),
        })
    }

    pub(super) fn addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    pub(super) fn waker(&self) -> io::Result<Waker> {
        Waker::new(self.poll.registry(), WAKER)
    }

    pub(super) fn run(mut self) -> io::Result<Outcome> {
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; 256 * 1024];
        while !self.stop.load(Relaxed) {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(),
                    WAKER => {}
                    Token(at) => {
                        if event.is_readable() || event.is_read_closed() || event.is_error() {
                            self.on_readable(at, &mut buffer);
                        }
                        if event.is_writable() {
                            self.on_writable(at);
                        }
                    }
                }
            }
            for room in std::mem::take(&mut self.dirty) {
                self.rooms[room as usize].dirty = false;
                self.flush(room);
            }
        }
        Ok(self.outcome)
    }

    fn accept(&mut self) {
        // An error other than WouldBlock is the client's, or a lack that passes: the rest of the
        // queue is taken when the next connection comes.
        while let Ok((mut stream, _)) = self.listener.accept() {
            let at = match self.free.pop() {
                Some(at) => at as usize,
                None if self.sockets.len() < self.options.connections => {
                    self.sockets.push(Socket::Free);
                    self.sockets.len() - 1
                }
                None => continue,
            };
            let both = Interest::READABLE | Interest::WRITABLE;
            if stream.set_nodelay(true).is_err()
                || self.poll.registry().register(&mut stream, Token(at), both).is_err()
            {
                self.free.push(u32::try_from(at).unwrap_or(u32::MAX));
                continue;
            }
            let client = Client { stream, input: Vec::new(), output: Vec::new() };
            self.sockets[at] = Socket::Client(Box::new(client));
        }
    }

    fn on_readable(&mut self, at: usize, buffer: &mut [u8]) {
        loop {
            let stream = match self.sockets.get_mut(at) {
                Some(Socket::Client(client)) => &mut client.stream,
                Some(Socket::Reader(reader)) => &mut reader.stream,
                Some(Socket::Free) | None => return,
            };
            match stream.read(buffer) {
                Ok(0) => return self.close(at),
                Ok(read) => self.on_bytes(at, &buffer[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.close(at),
            }
        }
    }

    /// Serves the requests of a client; a reader has nothing more to say.
    fn on_bytes(&mut self, at: usize, bytes: &[u8]) {
        let Socket::Client(client) = &mut self.sockets[at] else { return };
        let mut input = std::mem::take(&mut client.input);
        input.extend_from_slice(bytes);
        let mut used = 0;
        let mut output = Vec::new();
        loop {
            match parse(&input[used..]) {
                Parsed::Partial => break,
                Parsed::Broken => return self.close(at),
                Parsed::Complete(request, len) => {
                    used += len;
                    match request {
                        Request::Subscribe(room) => return self.subscribe(at, room),
                        Request::Unknown => respond(&mut output, "404 Not Found", b"{}"),
                        Request::Publish(room, body) => {
                            let Some(id) = self.publish(room, data(body)) else {
                                return self.close(at);
                            };
                            let receipt = format!("{{\"message_id\":\"{id}\"}}");
                            respond(&mut output, "200 OK", receipt.as_bytes());
                        }
                        Request::Batch(lines) => {
                            let receipts = self.batch(lines);
                            respond(&mut output, "200 OK", &receipts);
                        }
                    }
                }
            }
        }
        input.drain(..used);
        let Socket::Client(client) = &mut self.sockets[at] else { return };
        client.input = input;
        client.output.extend_from_slice(&output);
        if answer(client).is_err() {
            self.close(at);
        }
    }

    fn batch(&mut self, lines: &[u8]) -> Vec<u8> {
        let mut receipts = Vec::new();
        let lines = lines.split(|&b| b == b'\n').filter(|line| !line.is_empty());
        for (n, line) in lines.enumerate() {
            let id = line_room(line).and_then(|room| self.publish(&room, data(line)));
            let status = if id.is_some() { 200 } else { 422 };
            receipts.extend_from_slice(
                format!("{{\"line\":{},\"status\":{status}}}\n", n + 1).as_bytes(),
            );
        }
        receipts
    }

    fn room(&mut self, name: &[u8]) -> Option<u32> {
        if let Some(&room) = self.names.get(name) {
            return Some(room);
        }
        if self.rooms.len() >= self.options.rooms {
            return None;
        }
        let room = u32::try_from(self.rooms.len()).ok()?;
        self.rooms.push(Room::new(name));
        self.names.insert(name.to_vec(), room);
        Some(room)
    }

    /// Returns the event's number over all rooms.
    fn publish(&mut self, name: &[u8], data: &[u8]) -> Option<u64> {
        let at = self.room(name)?;
        let room = &mut self.rooms[at as usize];
        room.append(data, clock::now() / 1_000_000);
        self.outcome.events += 1;
        if !self.options.batched {
            self.flush(at);
        } else if !std::mem::replace(&mut room.dirty, true) {
            self.dirty.push(at);
        }
        Some(self.outcome.events)
    }

    fn subscribe(&mut self, at: usize, name: &[u8]) {
        let Some(room) = self.room(name) else { return self.close(at) };
        let Socket::Client(client) = std::mem::replace(&mut self.sockets[at], Socket::Free) else {
            return;
        };
        let mut stream = client.stream;
        let members = &mut self.rooms[room as usize].members;
        let slot = u32::try_from(members.len()).unwrap_or(u32::MAX);
        members.push(u32::try_from(at).unwrap_or(u32::MAX));
        let head = stream.write(STREAM_HEAD);
        let place = self.rooms[room as usize].end();
        self.sockets[at] = Socket::Reader(Reader { stream, room, slot, place, full: false });
        // A fresh socket's buffer holds the head.
        if !matches!(head, Ok(n) if n == STREAM_HEAD.len()) {
            self.close(at);
        }
    }

    fn on_writable(&mut self, at: usize) {
        let served = match self.sockets.get_mut(at) {
            Some(Socket::Client(client)) => answer(client),
            Some(Socket::Reader(reader)) if reader.full => {
                reader.full = false;
                self.outcome.writes += 1;
                deliver(reader, &self.rooms[reader.room as usize])
            }
            _ => Ok(()),
        };
        if served.is_err() {
            self.close(at);
        }
    }

    /// Writes what is pending to every reader of a room that takes it.
    fn flush(&mut self, room_at: u32) {
        let room = &mut self.rooms[room_at as usize];
        let mut behind = false;
        let mut gone = Vec::new();
        for &at in &room.members {
            let Socket::Reader(reader) = &mut self.sockets[at as usize] else { continue };
            if !reader.full {
                self.outcome.writes += 1;
                if deliver(reader, room).is_err() {
                    gone.push(at);
                    continue;
                }
            }
            behind |= reader.place < room.end();
        }
        if room.trim(behind, self.options.ring_bytes) {
            for &at in &room.members {
                let Socket::Reader(reader) = &self.sockets[at as usize] else { continue };
                if room.pending(reader.place).is_none() {
                    self.outcome.cut += 1;
                    gone.push(at);
                }
            }
        }
        for at in gone {
            self.close(at as usize);
        }
    }

    fn close(&mut self, at: usize) {
        match std::mem::replace(&mut self.sockets[at], Socket::Free) {
            Socket::Reader(reader) => {
                let members = &mut self.rooms[reader.room as usize].members;
                members.swap_remove(reader.slot as usize);
                if let Some(&moved) = members.get(reader.slot as usize)
                    && let Socket::Reader(moved) = &mut self.sockets[moved as usize]
                {
                    moved.slot = reader.slot;
                }
            }
            Socket::Client(_) => {}
            // Closed before, in the same turn: its place must not be handed out twice.
            Socket::Free => return,
        }
        self.free.push(u32::try_from(at).unwrap_or(u32::MAX));
    }
}

/// Writes all that is pending for one reader.
fn deliver(reader: &mut Reader, room: &Room) -> io::Result<()> {
    let pending = room.pending(reader.place).ok_or(ErrorKind::InvalidData)?;
    if pending.is_empty() {
        return Ok(());
    }
    match reader.stream.write(pending) {
        Ok(written) => {
            reader.place += written as u64;
            reader.full = written < pending.len();
            Ok(())
        }
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            reader.full = true;
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn answer(client: &mut Client) -> io::Result<()> {
    while !client.output.is_empty() {
        match client.stream.write(&client.output) {
            Ok(written) => drop(client.output.drain(..written)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn respond(output: &mut Vec<u8>, status: &str, body: &[u8]) {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    output.extend_from_slice(head.as_bytes());
    output.extend_from_slice(body);
}
