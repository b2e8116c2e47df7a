//! The kinds of values: how each is read, what is accepted, and how it is shown.

mod parse;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::Value;

use parse::{
    duration, is_broker, items, name, network, not_zero, number, object_name, optional, origin,
    plain_name, positive, selector, url, within,
};

use super::secret::{MASK, Secret, mask_user_info, show_option};
use super::setting::{Kind, Shape, Traits};
use super::table::{self, Slow};
use super::units::{parse_duration, parse_size, show_duration, show_size};

/// What an optional setting is shown as when it is off.
const NONE: &str = "none";

const fn one(placeholder: &'static str, accepts: &'static str) -> Traits {
    Traits { accepts, placeholder, shape: Shape::One, secret: false }
}

const fn list(placeholder: &'static str, accepts: &'static str) -> Traits {
    Traits { accepts, placeholder, shape: Shape::List, secret: false }
}

pub(super) const ADDRESS: Kind<SocketAddr> = Kind {
    traits: one("ADDR", "an IP address and a port, such as 0.0.0.0:30000 or [::]:30000"),
    parse: |text| text.trim().parse().map_err(|_| "it is no address with a port".to_owned()),
    show: displayed,
};

pub(super) const NETWORKS: Kind<Vec<IpNet>> = Kind {
    traits: list(
        "NETS",
        "networks and addresses, such as 10.0.0.0/8, 192.0.2.7, fd00::/8; or none",
    ),
    parse: |text| items(text).map(network).collect(),
    show: |nets| Value::Array(nets.iter().map(displayed).collect()),
};

pub(super) const POD_NAME: Kind<String> = Kind {
    traits: one("NAME", "1 to 253 letters, digits, '.', '_' and '-'"),
    parse: |text| plain_name(text, 253),
    show: displayed,
};

pub(super) const TOPIC: Kind<String> = Kind {
    traits: one("TOPIC", "1 to 249 letters, digits, '.', '_' and '-'"),
    parse: |text| {
        plain_name(text, 249).and_then(|name| match name.as_str() {
            "." | ".." => Err("Kafka has no topic of this name".to_owned()),
            _ => Ok(name),
        })
    },
    show: displayed,
};

pub(super) const GROUP_PREFIX: Kind<String> = Kind {
    traits: one("PREFIX", "1 to 200 letters, digits, '.', '_', '-' and '/', no '/' at the ends"),
    parse: |text| {
        let name = name(text, 200, "._-/")?;
        let ends = name.starts_with('/') || name.ends_with('/');
        if ends { Err("it begins or ends with '/'".to_owned()) } else { Ok(name) }
    },
    show: displayed,
};

pub(super) const REDIS_PREFIX: Kind<String> = Kind {
    traits: one("PREFIX", "1 to 200 letters, digits, '.', '_', '-', '/' and ':'"),
    parse: |text| name(text, 200, "._-/:"),
    show: displayed,
};

pub(super) const LOG_LEVEL: Kind<String> = Kind {
    traits: one(
        "LEVEL",
        "error, warn, info, debug, trace or off, also for parts: info,tidegate::hub=debug",
    ),
    parse: |text| crate::telemetry::parse_filter(text).map(|_| text.trim().to_owned()),
    show: displayed,
};

pub(super) const COLLECTOR: Kind<Option<String>> = Kind {
    traits: one("URL", "http://HOST:PORT or https://HOST:PORT; or none"),
    parse: |text| optional(text, |text| url(text, &["http", "https"])),
    show: |url| url.as_ref().map_or_else(none, displayed),
};

/// A share.
pub(super) const RATIO: Kind<f64> = Kind {
    traits: Traits {
        accepts: "a number from 0 to 1",
        placeholder: "RATIO",
        shape: Shape::Fraction,
        secret: false,
    },
    parse: |text| match text.trim().parse::<f64>() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        Ok(_) => Err("it is less than 0 or more than 1".to_owned()),
        Err(_) => Err("it is no number".to_owned()),
    },
    show: |ratio| Value::from(*ratio),
};

pub(super) const SWITCH: Kind<bool> = Kind {
    traits: Traits {
        accepts: "true or false",
        placeholder: "BOOL",
        shape: Shape::Switch,
        secret: false,
    },
    parse: |text| match text.trim().to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "1" => Ok(true),
        "false" | "off" | "no" | "0" => Ok(false),
        _ => Err("it is neither true nor false".to_owned()),
    },
    show: |switch| Value::Bool(*switch),
};

/// A duration that may be zero.
pub(super) const DURATION_OR_ZERO: Kind<Duration> = Kind {
    traits: one("DURATION", "a duration such as 500ms, 15s, 10m, 1h or 2d, or 0"),
    parse: parse_duration,
    show: |duration| Value::String(show_duration(*duration)),
};

/// A duration longer than zero.
pub(super) const DURATION: Kind<Duration> = Kind {
    traits: one("DURATION", "a duration such as 500ms, 15s, 10m, 1h or 2d, longer than 0"),
    parse: duration,
    show: |duration| Value::String(show_duration(*duration)),
};

/// A duration longer than zero, or none.
pub(super) const OPTIONAL_DURATION: Kind<Option<Duration>> = Kind {
    traits: one("DURATION", "a duration such as 15s, 10m, 1h or 2d, longer than 0, or none"),
    parse: |text| optional(text, duration),
    show: |duration| duration.map_or_else(none, |some| Value::String(show_duration(some))),
};

/// A number of bytes that may be zero.
pub(super) const SIZE_OR_ZERO: Kind<usize> = Kind {
    traits: one("SIZE", "a size such as 64KiB, 1MB or 1048576"),
    parse: parse_size,
    show: |bytes| Value::String(show_size(*bytes)),
};

/// A number of bytes above zero.
pub(super) const SIZE: Kind<usize> = Kind {
    traits: one("SIZE", "a size such as 64KiB, 1MB or 1048576, larger than 0"),
    parse: |text| parse_size(text).and_then(not_zero),
    show: |bytes| Value::String(show_size(*bytes)),
};

/// How many, also none at all.
pub(super) const COUNT_OR_ZERO: Kind<usize> =
    Kind { traits: one("N", "a whole number, or 0"), parse: number, show: counted };

/// How many; at least one.
pub(super) const COUNT: Kind<usize> =
    Kind { traits: one("N", "a whole number of at least 1"), parse: positive, show: counted };

/// How many at most; at least one, or no limit.
pub(super) const OPTIONAL_COUNT: Kind<Option<usize>> = Kind {
    traits: one("N", "a whole number of at least 1, or none"),
    parse: |text| optional(text, positive),
    show: |count| count.as_ref().map_or_else(none, counted),
};

/// How many, also none at all, where few bits do.
pub(super) const SMALL_COUNT_OR_ZERO: Kind<u32> =
    Kind { traits: one("N", "a whole number, or 0"), parse: number, show: counted };

/// How many partitions a topic gets.
pub(super) const PARTITIONS: Kind<u32> = Kind {
    traits: one("N", "a whole number from 1 to 10000"),
    parse: |text| number(text).and_then(|count| within(count, 1, 10_000)),
    show: counted,
};

/// How many shards a log of our own has.
pub(super) const SHARDS: Kind<u32> = Kind {
    traits: one("N", "a whole number from 1 to 1024"),
    parse: |text| number(text).and_then(|count| within(count, 1, 1024)),
    show: counted,
};

/// How many replicas a topic gets.
pub(super) const REPLICATION: Kind<Option<u16>> = Kind {
    traits: one("N", "a whole number from 1 to 32767, or none for the broker's default"),
    parse: |text| optional(text, |text| number(text).and_then(|count| within(count, 1, 32_767))),
    show: |count| count.as_ref().map_or_else(none, counted),
};

/// How deep JSON may nest.
pub(super) const DEPTH: Kind<usize> = Kind {
    traits: one("N", "a whole number from 1 to 128"),
    parse: |text| number(text).and_then(|depth| within(depth, 1, crate::json::MAX_DEPTH)),
    show: counted,
};

pub(super) const BROKERS: Kind<String> = Kind {
    traits: list("BROKERS", "brokers such as kafka-0:9092,kafka-1:9092"),
    parse: |text| {
        let brokers: Vec<_> = items(text).collect();
        match brokers.iter().all(|broker| is_broker(broker)) {
            true => Ok(brokers.join(",")),
            false => Err("not every one is a host, or a host and a port".to_owned()),
        }
    },
    show: displayed,
};

/// Options by name, as a JSON object; `Given` makes it from whatever they came in.
pub(super) const OPTIONS: Kind<BTreeMap<String, String>> = Kind {
    traits: Traits {
        accepts: "name=value, by librdkafka's names",
        placeholder: "NAME=VALUE",
        shape: Shape::Map,
        secret: false,
    },
    parse: |text| match text {
        "" => Ok(BTreeMap::new()),
        _ => serde_json::from_str(text).map_err(|error| error.to_string()),
    },
    show: |options| {
        let shown = |(name, value): (&String, &String)| {
            (name.clone(), Value::String(show_option(name, value)))
        };
        Value::Object(options.iter().map(shown).collect())
    },
};

pub(super) const SECRETS: Kind<Option<Secret>> = Kind {
    traits: Traits {
        accepts: "kid:secret or kid:secret:end, where end is YYYY-MM-DD or Unix seconds",
        placeholder: "KEYS",
        shape: Shape::List,
        secret: true,
    },
    parse: |text| optional(text, |text| Ok(Secret::new(text))),
    show: |secret| secret.as_ref().map_or_else(none, |_| Value::String(MASK.to_owned())),
};

/// A Redis URL, of which only the password is masked.
pub(super) const REDIS_URL: Kind<Option<Secret>> = Kind {
    traits: Traits {
        accepts: "redis://[user:password@]host[:port][/db], or rediss:// for TLS; or none",
        placeholder: "URL",
        shape: Shape::One,
        secret: true,
    },
    parse: |text| optional(text, |text| url(text, &["redis", "rediss"]).map(Secret::new)),
    show: |url| {
        let shown = |url: &Secret| Value::String(mask_user_info(url.expose()));
        url.as_ref().map_or_else(none, shown)
    },
};

/// Policies for slow readers, each once; the first is the default.
pub(super) const SLOW: Kind<Vec<Slow>> = Kind {
    traits: list("POLICIES", table::SLOW.traits.accepts),
    parse: |text| {
        let mut all = Vec::new();
        for item in items(text) {
            let slow = (table::SLOW.parse)(item).map_err(|_| format!("{item:?} is no policy"))?;
            match all.contains(&slow) {
                true => return Err(format!("{item} is there twice")),
                false => all.push(slow),
            }
        }
        if all.is_empty() { Err("it names none".to_owned()) } else { Ok(all) }
    },
    show: |all| all.iter().map(|slow| slow.as_str()).collect(),
};

pub(super) const ORIGINS: Kind<Vec<String>> = Kind {
    traits: list("ORIGINS", "origins such as https://app.example.com, or * for any; or none"),
    parse: |text| items(text).map(origin).collect(),
    show: |origins| Value::Array(origins.iter().map(displayed).collect()),
};

pub(super) const FILE: Kind<Option<PathBuf>> = Kind {
    traits: one("FILE", "a path, or none"),
    parse: |text| optional(text, |text| Ok(PathBuf::from(text))),
    show: |path| path.as_ref().map_or_else(none, |path| displayed(&path.display())),
};

/// What an object is called in Kubernetes' API.
pub(super) const OBJECT_NAME: Kind<Option<String>> = Kind {
    traits: one(
        "NAME",
        "1 to 253 lower-case letters, digits, '-' and '.', a letter or digit at the ends; or none",
    ),
    parse: |text| optional(text, object_name),
    show: |name| name.as_ref().map_or_else(none, displayed),
};

/// Which objects of Kubernetes' API are meant. Whether it is well-formed the API server says.
pub(super) const SELECTOR: Kind<Option<String>> = Kind {
    traits: one("LABELS", "a label selector such as app.kubernetes.io/instance=tidegate; or none"),
    parse: |text| optional(text, selector),
    show: |selector| selector.as_ref().map_or_else(none, displayed),
};

/// Declares a closed set of words: the enum, and its kind.
macro_rules! words {
    ($(
        $(#[$doc:meta])+
        $Name:ident, $KIND:ident, $accepts:literal {
            $( $(#[$word_doc:meta])+ $Word:ident = $word:literal, )+
        }
    )+) => {$(
        $(#[$doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $Name { $( $(#[$word_doc])+ $Word, )+ }

        impl $Name {
            /// As it is written in the settings.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $( Self::$Word => $word, )+ }
            }
        }

        pub(super) const $KIND: super::setting::Kind<$Name> = super::setting::Kind {
            traits: super::setting::Traits {
                accepts: $accepts,
                placeholder: "WORD",
                shape: super::setting::Shape::One,
                secret: false,
            },
            parse: |text| match text.trim().to_ascii_lowercase().as_str() {
                $( $word => Ok($Name::$Word), )+
                _ => Err("there is no such choice".to_owned()),
            },
            show: |word| serde_json::Value::String(word.as_str().to_owned()),
        };
    )+};
}

pub(super) use words;

fn none() -> Value {
    Value::String(NONE.to_owned())
}

fn displayed(value: &impl Display) -> Value {
    Value::String(value.to_string())
}

fn counted<T: Copy + Into<CountValue>>(count: &T) -> Value {
    Value::from((*count).into().0)
}

/// A count in as many bits as any has.
struct CountValue(u64);

impl From<u16> for CountValue {
    fn from(count: u16) -> Self {
        Self(count.into())
    }
}

impl From<u32> for CountValue {
    fn from(count: u32) -> Self {
        Self(count.into())
    }
}

impl From<usize> for CountValue {
    fn from(count: usize) -> Self {
        Self(count as u64)
    }
}
