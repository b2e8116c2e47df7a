//! Where a request carries its signatures and its user.

use std::fmt;

use http::HeaderMap;
use http::header::COOKIE;

use crate::event::{NameError, User};

/// The header with signatures: comma-separated, or a line each.
pub const SIGNATURE_HEADER: &str = "x-signature";
/// The query parameter with a signature; repeated for several.
pub const SIGNATURE_QUERY: &str = "signature";
/// The cookie with a signature, for a browser's `EventSource`, which cannot set headers.
pub const SIGNATURE_COOKIE: &str = "tidegate_signature";
/// The header with the user, in raw UTF-8.
pub const USER_HEADER: &str = "x-user";
/// The query parameter with the user.
pub const USER_QUERY: &str = "user";

/// What stands for a header that is not even ASCII: no signature is written like that.
const UNREADABLE: &str = "\u{FFFD}";

/// Where the signatures were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// The `x-signature` header.
    Header,
    /// The `signature` query parameter.
    Query,
    /// The `tidegate_signature` cookie.
    Cookie,
}

/// Whether a cookie may carry the signature.
///
/// A browser sends cookies with requests that any page makes: to read, CORS keeps the answer from
/// a foreign page; a publish would already have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cookies {
    /// To subscribe and to read the history.
    Read,
    /// To publish.
    Ignore,
}

/// What a request says about who it is: claims, not yet checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// The signatures in their order; all from one carrier.
    pub signatures: Vec<&'a str>,
    /// Where they were.
    pub carrier: Carrier,
    /// The user.
    pub user: Option<User>,
}

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("signatures", &self.signatures.len())
            .field("carrier", &self.carrier)
            .field("user", &self.user)
            .finish()
    }
}

impl<'a> Credentials<'a> {
    /// Takes them out of a request's headers and its decoded query parameters. The header wins over
    /// the query and the query over the cookie; a carrier without a signature in it is not there.
    /// An empty user is none.
    ///
    /// # Errors
    /// If the user is named twice in different ways, or is not a user's name.
    pub fn of(
        headers: &'a HeaderMap,
        query: impl IntoIterator<Item = (&'a str, &'a str)>,
        cookies: Cookies,
    ) -> Result<Self, CredentialsError> {
        let mut in_query = Vec::new();
        let mut users: Vec<&str> = Vec::new();
        for line in headers.get_all(USER_HEADER) {
            let user = std::str::from_utf8(line.as_bytes());
            users.push(user.map_err(|_| CredentialsError::UserNotUtf8)?);
        }
        for (name, value) in query {
            match name {
                SIGNATURE_QUERY => in_query.push(value),
                USER_QUERY => users.push(value),
                _ => {}
            }
        }
        let user = one_user(&users)?;
        let in_header =
            headers.get_all(SIGNATURE_HEADER).iter().map(|v| v.to_str().unwrap_or(UNREADABLE));
        let mut carrier = Carrier::Header;
        let mut signatures = listed(in_header);
        if signatures.is_empty() {
            carrier = Carrier::Query;
            signatures = listed(in_query.into_iter());
        }
        if signatures.is_empty() && cookies == Cookies::Read {
            carrier = Carrier::Cookie;
            signatures = listed(cookie(headers).into_iter());
        }
        Ok(Self { signatures, carrier, user })
    }
}

/// The elements of comma-separated lists, empty ones left out (RFC 9110, 5.6.1.2).
fn listed<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|s| !s.is_empty()).collect()
}

fn one_user(users: &[&str]) -> Result<Option<User>, CredentialsError> {
    let mut named = users.iter().filter(|user| !user.is_empty());
    let Some(user) = named.next() else {
        return Ok(None);
    };
    if named.any(|other| other != user) {
        return Err(CredentialsError::UsersDiffer);
    }
    Ok(Some(User::new(user)?))
}

/// The first cookie of our name. HTTP/2 may bring one header line for each cookie.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(COOKIE)
        .iter()
        // By bytes: another application's cookie on the same host need not be ASCII.
        .flat_map(|line| line.as_bytes().split(|b| *b == b';'))
        .filter_map(|pair| std::str::from_utf8(pair).ok()?.trim().split_once('='))
        .find(|(name, _)| *name == SIGNATURE_COOKIE)
        .map(|(_, value)| {
            value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value)
        })
}

/// Why the user of a request cannot be told. Not a matter of signatures: a bad request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// Two different users.
    #[error("x-user and ?user= name different users; send one of them")]
    UsersDiffer,
    /// Not text.
    #[error("x-user must be UTF-8")]
    UserNotUtf8,
    /// Not a name.
    #[error(transparent)]
    User(#[from] NameError),
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn headers(lines: &[(&'static str, &[u8])]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                let value = HeaderValue::from_bytes(value).expect("header value");
                (HeaderName::from_static(name), value)
            })
            .collect()
    }

    #[test]
    fn the_first_carrier_that_has_a_signature_wins() {
        let all = headers(&[
            ("x-signature", b"a, b"),
            ("x-signature", b"c,"),
            ("cookie", b"x=1; tidegate_signature=k"),
        ]);
        let query = [("signature", "q"), ("signature", "r"), ("x", "y")];
        let of = |headers: &HeaderMap, query: &[(&str, &str)], cookies| {
            let found = Credentials::of(headers, query.iter().copied(), cookies).expect("one user");
            (found.carrier, found.signatures.join(" "))
        };
        assert_eq!(of(&all, &query, Cookies::Read), (Carrier::Header, "a b c".to_owned()));
        let cookie = headers(&[
            ("x-signature", b""),
            ("cookie", b"\xFF=\xFF; a=b"),
            ("cookie", b"tidegate_signature=\"k\"; tidegate_signature=l"),
        ]);
        assert_eq!(of(&cookie, &query, Cookies::Read), (Carrier::Query, "q r".to_owned()));
        assert_eq!(of(&cookie, &[], Cookies::Read), (Carrier::Cookie, "k".to_owned()));
        assert_eq!(of(&cookie, &[], Cookies::Ignore).1, "");
        let odd = headers(&[("x-signature", b"\xFF")]);
        assert_eq!(of(&odd, &query, Cookies::Read), (Carrier::Header, UNREADABLE.to_owned()));
    }

    #[test]
    fn a_user_is_named_once_or_alike() {
        let user = |lines: &[(&'static str, &[u8])], query: &[(&str, &str)]| {
            Credentials::of(&headers(lines), query.iter().copied(), Cookies::Read).map(|c| c.user)
        };
        let anna = Ok(Some(User::new("Änna").expect("user")));
        assert_eq!(user(&[("x-user", "Änna".as_bytes())], &[]), anna);
        assert_eq!(user(&[("x-user", "Änna".as_bytes())], &[("user", "Änna")]), anna);
        assert_eq!(user(&[("x-user", b"")], &[("user", "Änna")]), anna);
        assert_eq!(user(&[], &[]), Ok(None));
        let differ = Err(CredentialsError::UsersDiffer);
        assert_eq!(user(&[("x-user", b"a")], &[("user", "b")]), differ);
        assert_eq!(user(&[("x-user", b"a"), ("x-user", b"b")], &[]), differ);
        assert_eq!(user(&[("x-user", b"\xFF")], &[]), Err(CredentialsError::UserNotUtf8));
        assert!(matches!(user(&[], &[("user", "a\nb")]), Err(CredentialsError::User(_))));
    }

    #[test]
    fn debug_shows_no_signature() {
        let headers = headers(&[("x-signature", b"v1.k.1.abc")]);
        let found = Credentials::of(&headers, [], Cookies::Read).expect("credentials");
        assert!(!format!("{found:?}").contains("abc"));
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(
            signature in prop::collection::vec(any::<u8>(), 0..40),
            cookie in prop::collection::vec(any::<u8>(), 0..40),
            user in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let lines = [("x-signature", signature), ("cookie", cookie), ("x-user", user)];
            let headers = lines
                .iter()
                .filter_map(|(name, value)| {
                    Some((HeaderName::from_static(name), HeaderValue::from_bytes(value).ok()?))
                })
                .collect::<HeaderMap>();
            if let Ok(found) = Credentials::of(&headers, [], Cookies::Read) {
                prop_assert!(found.signatures.iter().all(|s| !s.contains([',', '\r', '\n'])));
            }
        }
    }
}
