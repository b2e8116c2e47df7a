//! A batch's body as lines.

use std::cell::OnceCell;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use tidegate::http::batch::lines::Lines;
use tidegate::problem::{Problem, ProblemKind};
use tokio::runtime::{Builder, Runtime};

use crate::Outcome;
use crate::dice::Dice;

/// Line ends, blanks and a little text.
pub const TOKENS: &[&str] = &[
    "\n",
    "\r\n",
    "\r",
    "\n\n",
    "\r\r\n",
    " ",
    "\t",
    "\u{b}",
    "\u{c}",
    "\0",
    "a",
    "{}",
    "\u{85}",
    "\u{2028}",
    "aaaaaaaaaaaaaaaa",
];

/// How a body is read: the first bytes of an input.
const HEAD: usize = 3;
/// The longest line that is asked for, in bytes.
const MOST: u8 = 40;

/// How long a line may be, where the body is cut, and some lines.
pub fn make(dice: &mut Dice) -> Vec<u8> {
    let mut out: Vec<u8> = (0..HEAD).map(|_| dice.bits() as u8).collect();
    for _ in 0..dice.below(8) {
        let length = dice.below(usize::from(MOST) + 4);
        let blanks = dice.one_in(4);
        out.extend((0..length).map(|_| if blanks { b' ' } else { b'x' }));
        out.extend(dice.pick(&["\n", "\n", "\r\n", "\n\n"]).bytes());
    }
    if dice.one_in(2) {
        out.extend(b"no end");
    }
    out
}

/// However a body is cut, its lines are those that lie between its line ends; one that is too long
/// is only said to be, and what breaks off has no last line.
pub fn check(input: &[u8]) -> Outcome {
    let Some((head, body)) = input.split_first_chunk::<HEAD>() else {
        return Outcome::Refused("no body");
    };
    let most = usize::from(head[0] % MOST) + 1;
    let breaks_off = head[1] % 4 == 0;
    let expected = between_ends(body, most, breaks_off);
    let read = read(pieces(body, u64::from(head[2])), most, breaks_off);
    assert_eq!(read, expected, "most {most}");
    match read.iter().all(|(_, text)| text.is_some()) {
        true => Outcome::Accepted,
        false => Outcome::Refused("too-large"),
    }
}

/// A line's number, and its text unless it is too long.
type Text = (u64, Option<Vec<u8>>);

fn between_ends(body: &[u8], most: usize, breaks_off: bool) -> Vec<Text> {
    let mut lines: Vec<&[u8]> = body.split(|byte| *byte == b'\n').collect();
    if breaks_off {
        lines.pop();
    }
    let lines = (1..).zip(lines).map(|(n, line)| (n, line.strip_suffix(b"\r").unwrap_or(line)));
    let told = lines.filter(|(_, line)| line.len() > most || !line.trim_ascii().is_empty());
    told.map(|(n, line)| (n, (line.len() <= most).then(|| line.to_vec()))).collect()
}

/// The body in pieces of chance lengths, some of them empty.
fn pieces(mut body: &[u8], seed: u64) -> Vec<Bytes> {
    let mut dice = Dice::new(seed);
    let mut pieces = Vec::new();
    while !body.is_empty() {
        let (piece, rest) = body.split_at(dice.below(body.len().min(64) + 1));
        pieces.push(Bytes::copy_from_slice(piece));
        body = rest;
    }
    pieces
}

fn read(pieces: Vec<Bytes>, most: usize, breaks_off: bool) -> Vec<Text> {
    thread_local! {
        static RUNTIME: OnceCell<Runtime> = const { OnceCell::new() };
    }
    let end = breaks_off.then(|| Err(std::io::Error::other("gone")));
    let body = Body::from_stream(stream::iter(pieces.into_iter().map(Ok).chain(end)));
    let reading = async {
        let mut lines = Lines::new(body, most);
        let mut read = Vec::new();
        loop {
            match lines.next(Duration::from_secs(60)).await {
                Ok(Some(line)) => {
                    let is_too_long = |p: &Problem| p.kind == ProblemKind::TooLarge;
                    assert!(line.text.as_ref().err().is_none_or(is_too_long), "{line:?}");
                    read.push((line.number, line.text.ok().map(|text| text.to_vec())));
                }
                Ok(None) => {
                    assert!(!breaks_off, "a body that broke off has ended");
                    return read;
                }
                Err(problem) => {
                    assert!(breaks_off && problem.kind == ProblemKind::BadRequest, "{problem:?}");
                    return read;
                }
            }
        }
    };
    RUNTIME.with(|runtime| {
        runtime
            .get_or_init(|| Builder::new_current_thread().enable_time().build().expect("a runtime"))
            .block_on(reading)
    })
}
