//! Who publishes what, and who reads it.

use std::time::Duration;

/// Where an event goes, as a publisher says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// Whoever reads the room.
    Room {
        /// The room's `event_id`.
        id: String,
        /// The room's `event_type`.
        kind: String,
    },
    /// This user, where they read the room.
    User {
        /// The room's `event_id`.
        id: String,
        /// The room's `event_type`.
        kind: String,
        /// The user.
        user: String,
    },
    /// Everybody.
    All {
        /// The event's type.
        kind: String,
    },
}

/// Events with consecutive numbers, in the order of their publisher.
#[derive(Debug, Clone)]
pub struct Series {
    /// What it is called in events, keys and reports.
    pub name: String,
    /// Where its events go.
    pub audience: Audience,
    /// The time between two of its events.
    pub every: Duration,
    /// An event that is said to be *certainly not in the log* is tried again with another key: if
    /// that was not true, it comes twice.
    pub believes: bool,
}

/// A reader's stream.
#[derive(Debug, Clone)]
pub struct ReaderPlan {
    /// What it is called in reports.
    pub name: String,
    /// Path and query of its stream.
    pub path: String,
    /// The room that it signs for, or `*` and `*` when there are several.
    pub room: (String, String),
    /// As whom; empty for nobody.
    pub user: &'static str,
    /// The indices of the series that it must get, and no others.
    pub series: Vec<usize>,
}

/// Everybody.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What is published.
    pub series: Vec<Series>,
    /// Who reads.
    pub readers: Vec<ReaderPlan>,
}

const TYPES: [&str; 2] = ["Opened", "Closed"];
const USER: &str = "ann";

impl Plan {
    /// `ids` ids of two rooms each, at `rate` events a second together, and `copies` readers of each
    /// kind: of a room, of all types of an id, of several rooms, and as a user. Ids begin with
    /// `prefix`; two plans on the same log must not share one.
    #[must_use]
    pub fn new(prefix: &str, ids: usize, rate: f64, copies: usize) -> Self {
        let name = |id: usize| format!("{prefix}-{id}");
        let mut series = Vec::new();
        for id in 0..ids {
            for kind in TYPES {
                let audience = Audience::Room { id: name(id), kind: kind.to_owned() };
                series.push((format!("{}/{kind}", name(id)), audience));
            }
        }
        for id in 0..ids.div_ceil(2) {
            let (kind, user) = (TYPES[0].to_owned(), USER.to_owned());
            let audience = Audience::User { id: name(id), kind, user };
            series.push((format!("{}/{}@{USER}", name(id), TYPES[0]), audience));
        }
        series.push((format!("{prefix}-*/Notice"), Audience::All { kind: "Notice".to_owned() }));
        let every = Duration::from_secs_f64(series.len() as f64 / rate);
        let series: Vec<Series> = series
            .into_iter()
            .enumerate()
            .map(|(n, (name, audience))| Series { name, audience, every, believes: n % 2 == 0 })
            .collect();
        let readers = (0..copies).flat_map(|copy| readers(&name, ids, copy, &series)).collect();
        Self { series, readers }
    }
}

fn readers(
    name: &impl Fn(usize) -> String,
    ids: usize,
    copy: usize,
    series: &[Series],
) -> Vec<ReaderPlan> {
    let mut readers = Vec::new();
    let mut add = |what: String, path: String, rooms: &[(usize, Option<&str>)], user: bool| {
        let wanted = |audience: &Audience| match audience {
            Audience::All { .. } => true,
            Audience::User { .. } if !user => false,
            Audience::Room { id, kind } | Audience::User { id, kind, .. } => {
                rooms.iter().any(|(n, k)| name(*n) == *id && k.is_none_or(|k| k == kind))
            }
        };
        let wanted = series.iter().enumerate().filter(|(_, s)| wanted(&s.audience));
        readers.push(ReaderPlan {
            name: format!("{what}#{copy}"),
            path,
            room: match rooms {
                [(n, kind)] => (name(*n), kind.unwrap_or("*").to_owned()),
                _ => ("*".to_owned(), "*".to_owned()),
            },
            user: if user { USER } else { "" },
            series: wanted.map(|(n, _)| n).collect(),
        });
    };
    for id in 0..ids {
        let base = format!("/v1/subscribe/events/{}/types", name(id));
        for kind in TYPES {
            let path = format!("{base}/{kind}");
            add(format!("{}/{kind}", name(id)), path, &[(id, Some(kind))], false);
        }
        add(format!("{}/*", name(id)), format!("{base}/*?name=message"), &[(id, None)], false);
        let path = format!("{base}/{}?user={USER}", TYPES[0]);
        add(format!("{}/{}@{USER}", name(id), TYPES[0]), path, &[(id, Some(TYPES[0]))], true);
        let other = (id + 1) % ids;
        let path = format!(
            "/v1/subscribe?room={}/{}&room={}/{}&user={USER}",
            name(id),
            TYPES[0],
            name(other),
            TYPES[1]
        );
        let rooms = [(id, Some(TYPES[0])), (other, Some(TYPES[1]))];
        add(format!("{}+{}@{USER}", name(id), name(other)), path, &rooms, true);
    }
    readers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_are_owed_their_rooms_their_users_and_broadcasts() {
        let plan = Plan::new("cart", 2, 10.0, 1);
        let owed = |reader: &str| -> Vec<&str> {
            let reader = plan.readers.iter().find(|r| r.name == reader).expect("a reader");
            reader.series.iter().map(|&n| plan.series[n].name.as_str()).collect()
        };
        assert_eq!(owed("cart-0/Closed#0"), ["cart-0/Closed", "cart-*/Notice"]);
        assert_eq!(owed("cart-1/*#0"), ["cart-1/Opened", "cart-1/Closed", "cart-*/Notice"]);
        assert_eq!(
            owed("cart-0/Opened@ann#0"),
            ["cart-0/Opened", "cart-0/Opened@ann", "cart-*/Notice"]
        );
        assert_eq!(
            owed("cart-0+cart-1@ann#0"),
            ["cart-0/Opened", "cart-1/Closed", "cart-0/Opened@ann", "cart-*/Notice"]
        );
    }
}
