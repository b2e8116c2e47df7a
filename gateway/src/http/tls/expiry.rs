//! When a certificate ends: the one field of X.509 that is needed here, and no more.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The version, which only old certificates leave out.
const EXPLICIT_0: u8 = 0xA0;

/// `notAfter` of a certificate in DER (RFC 5280, 4.1), in Unix seconds; none if it is not there.
pub(super) fn not_after(certificate: &[u8]) -> Option<i64> {
    let (_, certificate, _) = value(certificate).filter(|(tag, ..)| *tag == SEQUENCE)?;
    let (_, mut rest, _) = value(certificate).filter(|(tag, ..)| *tag == SEQUENCE)?;
    if let Some((EXPLICIT_0, _, after)) = value(rest) {
        rest = after;
    }
    // Serial number, the signature's algorithm, the issuer; then the validity.
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        rest = value(rest).filter(|(found, ..)| *found == tag)?.2;
    }
    let (_, validity, _) = value(rest).filter(|(tag, ..)| *tag == SEQUENCE)?;
    let (_, _, rest) = value(validity)?;
    let (tag, time, _) = value(rest)?;
    seconds(tag, std::str::from_utf8(time).ok()?)
}

/// The first value of `der`: its tag, what is in it, and what comes after it.
fn value(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, length], rest) = der.split_first_chunk::<2>()?;
    let (length, rest) = match length {
        0..=0x7F => (usize::from(length), rest),
        // A certificate is not longer than four bytes can say.
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7F))?;
            (bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (inside, after) = rest.split_at_checked(length)?;
    Some((tag, inside, after))
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` (RFC 5280, 4.1.2.5).
fn seconds(tag: u8, text: &str) -> Option<i64> {
    let digits = text.strip_suffix('Z').filter(|d| d.bytes().all(|b| b.is_ascii_digit()))?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = digits.split_at_checked(2)?;
            let year: i16 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = digits.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let mut pairs = rest.as_bytes().chunks_exact(2).map(|pair| {
        let digit = |byte: u8| i8::try_from(byte - b'0').ok();
        Some(digit(pair[0])? * 10 + digit(pair[1])?)
    });
    let mut next = || pairs.next().flatten();
    let (month, day, hour, minute, second) = (next()?, next()?, next()?, next()?, next()?);
    let time = DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
}
