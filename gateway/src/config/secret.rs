//! What must not be shown.

use std::fmt;

/// What stands in a secret's place.
pub(super) const MASK: &str = "***";

/// Parts of librdkafka's names whose values are secret.
const SECRET_PARTS: [&str; 8] = [
    "password",
    "secret",
    "token",
    "jaas",
    "key.pem",
    "private.key",
    "oauthbearer.config",
    "keystore.bytes",
];

/// Text that is never shown: its `Debug`, its `Display` and its serialised form are a mask.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` from being shown.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. Not for log lines, messages or anything that is kept.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl serde::Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

/// The value of a librdkafka option as it may be shown.
pub(super) fn show_option(name: &str, value: &str) -> String {
    let name = name.to_ascii_lowercase();
    let secret = SECRET_PARTS.iter().any(|part| name.contains(part));
    if secret { MASK.to_owned() } else { mask_user_info(value) }
}

/// A URL as it may be shown: whatever stands between the user's name and the `@` is masked.
pub(super) fn mask_user_info(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let Some((user_info, _)) = authority.rsplit_once('@') else { return url.to_owned() };
    let Some((user, _)) = user_info.split_once(':') else { return url.to_owned() };
    format!("{scheme}://{user}:{MASK}{}", &rest[user_info.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_shown_in_no_form() {
        let secret = Secret::new("swordfish");
        assert_eq!(format!("{secret} {secret:?} {secret:#?}"), "*** *** ***");
        assert_eq!(serde_json::to_string(&secret).unwrap(), r#""***""#);
        assert_eq!(secret.expose(), "swordfish");
    }

    #[test]
    fn only_the_password_of_a_url_is_masked() {
        for (url, shown) in [
            ("redis://me:swordfish@host:6379/0", "redis://me:***@host:6379/0"),
            ("redis://:sword@fish@host", "redis://:***@host"),
            ("redis://me@host", "redis://me@host"),
            ("redis://host:6379/a@b:c", "redis://host:6379/a@b:c"),
            ("redis://host", "redis://host"),
            ("plain", "plain"),
        ] {
            assert_eq!(mask_user_info(url), shown);
        }
    }

    #[test]
    fn options_that_hold_a_secret_are_masked_by_their_name() {
        for name in [
            "sasl.password",
            "ssl.key.password",
            "ssl.keystore.password",
            "ssl.key.pem",
            "sasl.oauthbearer.client.secret",
            "sasl.oauthbearer.config",
            "sasl.jaas.config",
            "SASL.PASSWORD",
        ] {
            assert_eq!(show_option(name, "swordfish"), MASK, "{name}");
        }
        assert_eq!(show_option("sasl.username", "me"), "me");
        assert_eq!(show_option("ssl.key.location", "/keys/tls.key"), "/keys/tls.key");
    }
}
