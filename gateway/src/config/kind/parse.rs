//! How values are read.

use std::fmt::Display;
use std::time::Duration;

use http::Uri;
use ipnet::IpNet;

use super::NONE;
use crate::config::units::{parse_duration, parse_number};

pub(super) fn optional<T>(
    text: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, String> {
    match text.trim() {
        "" | "none" | "off" => Ok(None),
        text => parse(text).map(Some),
    }
}

/// The items of a list: those between commas and line ends that are not empty. `none` is no item.
pub(super) fn items(text: &str) -> impl Iterator<Item = &str> {
    let text = if text.trim() == NONE { "" } else { text };
    text.split([',', '\n']).map(str::trim).filter(|item| !item.is_empty())
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("it is 0".to_owned()),
        duration => Ok(duration),
    }
}

pub(super) fn not_zero(number: usize) -> Result<usize, String> {
    if number == 0 { Err("it is 0".to_owned()) } else { Ok(number) }
}

pub(super) fn number<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    T::try_from(parse_number(text)?).map_err(|_| "the number is too large".to_owned())
}

pub(super) fn positive(text: &str) -> Result<usize, String> {
    number(text).and_then(not_zero)
}

pub(super) fn within<T: PartialOrd + Display>(number: T, least: T, most: T) -> Result<T, String> {
    match (number < least, number > most) {
        (true, _) => Err(format!("it is less than {least}")),
        (_, true) => Err(format!("it is more than {most}")),
        _ => Ok(number),
    }
}

pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<std::net::IpAddr>().map(IpNet::from);
    text.parse().or_else(|_| address()).map_err(|_| format!("{text:?} is no network"))
}

pub(super) fn plain_name(text: &str, longest: usize) -> Result<String, String> {
    name(text, longest, "._-")
}

pub(super) fn name(text: &str, longest: usize, besides: &str) -> Result<String, String> {
    let name = text.trim();
    if name.is_empty() {
        return Err("it is empty".to_owned());
    }
    if name.len() > longest {
        return Err(format!("it is longer than {longest} characters"));
    }
    match name.chars().find(|c| !c.is_ascii_alphanumeric() && !besides.contains(*c)) {
        Some(other) => Err(format!("it holds {other:?}")),
        None => Ok(name.to_owned()),
    }
}

/// RFC 1123's subdomains, as Kubernetes has them.
pub(super) fn object_name(text: &str) -> Result<String, String> {
    let name = name(text, 253, "-.")?;
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err("it holds an upper-case letter".to_owned());
    }
    let is_bare = |part: &str| part.is_empty() || part.starts_with('-') || part.ends_with('-');
    match name.split('.').any(is_bare) {
        true => {
            Err("it, or a part of it between dots, does not begin and end with a letter or digit"
                .to_owned())
        }
        false => Ok(name),
    }
}

/// The characters that a label selector can have, in any order.
pub(super) fn selector(text: &str) -> Result<String, String> {
    name(text, 1_000, "._-/=!,() ")
}

pub(super) fn is_broker(text: &str) -> bool {
    let address = text.split_once("://").map_or(text, |(_, address)| address);
    // The last colon of an IPv6 address in brackets is the port's, or none is.
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (address, None),
    };
    !host.is_empty()
        && !text.contains(char::is_whitespace)
        && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0))
}

pub(super) fn url(text: &str, schemes: &[&str]) -> Result<String, String> {
    let uri: Uri = text.parse().map_err(|_| "it is no URL".to_owned())?;
    if !uri.scheme_str().is_some_and(|scheme| schemes.contains(&scheme)) {
        return Err(format!("it does not begin with {}://", schemes.join(":// or ")));
    }
    match uri.host() {
        Some(host) if !host.is_empty() => Ok(text.to_owned()),
        _ => Err("it names no host".to_owned()),
    }
}

pub(super) fn origin(text: &str) -> Result<String, String> {
    if text == "*" {
        return Ok(text.to_owned());
    }
    let (scheme, host) = text.split_once("://").unwrap_or_default();
    let is_scheme = !scheme.is_empty()
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+.-".contains(&b));
    // As browsers send it: no path, not even "/", and no upper case.
    let is_host =
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic() && !b"/?#@*".contains(&b));
    if is_scheme && is_host {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(format!("{text:?} is no origin: it is a scheme, a host and at most a port"))
    }
}
