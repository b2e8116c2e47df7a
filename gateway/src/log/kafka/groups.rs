//! The consumer groups of this release's pods, of which some outlive their pods.
//!
//! A group is ours only if its name is exactly the prefix, a pod and eight hexadecimal digits. The
//! prefix of one release can be the beginning of another's, and so can a pod's name.
//!
//! No group with a member is ever removed: whether it has one is the coordinator's to say, at the
//! moment of the removal and not a moment before. What the listing says of members is not looked
//! at: it comes from `DescribeGroups`, which takes a KIP-848 group for one that is dead.

use std::fmt;

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::types::RDKafkaErrorCode;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::client::LogLines;
use super::options::Options;
use super::topics::{self, LOOKUP_TIMEOUT};

/// How many hexadecimal digits a group's name ends with.
const DIGITS: usize = 8;

/// The name of a group: of a pod that has just started.
pub(super) fn name(prefix: &str, pod: &str) -> String {
    format!("{prefix}/{pod}/{:0DIGITS$x}", rand::random::<u32>())
}

/// A group whose name is one of this release's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// Its whole name.
    pub name: String,
    /// The pod that it is, or was, of.
    pub pod: String,
}

impl Group {
    /// The group called `name`, if that is `<prefix>/<pod>/<8 hex>`.
    #[must_use]
    pub fn parse(prefix: &str, name: &str) -> Option<Self> {
        let rest = name.strip_prefix(prefix)?.strip_prefix('/')?;
        let (pod, digits) = rest.split_once('/')?;
        let is_digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        let is_ours = !pod.is_empty() && digits.len() == DIGITS && digits.bytes().all(is_digit);
        is_ours.then(|| Self { name: name.to_owned(), pod: pod.to_owned() })
    }
}

/// What became of a group that was to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// It is gone.
    Removed,
    /// Somebody else was faster.
    WasGone,
    /// It has a member.
    InUse,
    /// The brokers do not remove it.
    Refused(String),
}

/// Why groups were not listed or not removed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GroupsError {
    /// No client, for settings that librdkafka does not take.
    #[error("no client for the consumer groups: {0}")]
    Client(String),
    /// The brokers did not list them.
    #[error("the consumer groups cannot be listed: {0}")]
    List(String),
    /// The brokers did not answer whether they removed them; some may be gone.
    #[error("consumer groups cannot be removed: {0}")]
    Remove(String),
    /// The brokers do not remove one, for this reason.
    #[error(
        "Kafka does not remove consumer groups: {0}; the gateway's user needs Delete and Describe \
         on those of kafka.group_prefix"
    )]
    Refused(String),
}

/// What an answer that has not come in time is called.
const LATE: &str = "the brokers did not answer in time";

/// The groups of this release's pods.
#[derive(Clone)]
pub struct Groups {
    prefix: String,
    own: String,
    options: Options,
    lines: LogLines,
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Groups").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Groups {
    pub(super) fn new(prefix: &str, own: &str, options: &Options, lines: &LogLines) -> Self {
        Self {
            prefix: prefix.to_owned(),
            own: own.to_owned(),
            options: options.clone(),
            lines: lines.clone(),
        }
    }

    /// That of this process.
    #[must_use]
    pub fn own(&self) -> &str {
        &self.own
    }

    /// All there are, with members or without.
    ///
    /// # Errors
    /// Says why there is no list, at `deadline` at the latest.
    pub async fn list(&self, deadline: Instant) -> Result<Vec<Group>, GroupsError> {
        let own = self.clone();
        let work = spawn_blocking(move || {
            let client = own.admin()?;
            let listed = client.inner().fetch_group_list(None, LOOKUP_TIMEOUT);
            topics::retire(client);
            let listed = listed.map_err(|error| GroupsError::List(topics::text(&error)))?;
            let names = listed.groups().iter().map(|group| group.name());
            let mut ours: Vec<_> =
                names.filter_map(|name| Group::parse(&own.prefix, name)).collect();
            ours.sort();
            Ok(ours)
        });
        match tokio::time::timeout_at(deadline, work).await {
            Ok(Ok(done)) => done,
            Ok(Err(panicked)) => Err(GroupsError::List(panicked.to_string())),
            Err(_) => Err(GroupsError::List(LATE.to_owned())),
        }
    }

    /// Removes groups that have no member. What was listed is all that this takes, so no group of
    /// others can be meant.
    ///
    /// # Errors
    /// Says why nothing is known of what became of them, at `deadline` at the latest.
    pub async fn remove(
        &self,
        groups: &[&Group],
        deadline: Instant,
    ) -> Result<Vec<Removal>, GroupsError> {
        if groups.is_empty() {
            return Ok(Vec::new());
        }
        let client = self.admin()?;
        let names: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
        let left = deadline.saturating_duration_since(Instant::now());
        let options = AdminOptions::new().request_timeout(Some(left.min(LOOKUP_TIMEOUT)));
        let removed = tokio::time::timeout_at(deadline, client.delete_groups(&names, &options));
        let removed = removed.await;
        topics::retire(client);
        let results = match removed {
            Ok(Ok(results)) => results,
            Ok(Err(error)) => return Err(GroupsError::Remove(topics::text(&error))),
            Err(_) => return Err(GroupsError::Remove(LATE.to_owned())),
        };
        let said = |name: &str| {
            let of = |result: &&Result<String, (String, RDKafkaErrorCode)>| match result {
                Ok(group) | Err((group, _)) => group == name,
            };
            match results.iter().find(of) {
                Some(Ok(_)) => Removal::Removed,
                Some(Err((_, RDKafkaErrorCode::GroupIdNotFound))) => Removal::WasGone,
                Some(Err((_, RDKafkaErrorCode::NonEmptyGroup))) => Removal::InUse,
                Some(Err((_, code))) => Removal::Refused(code.to_string()),
                None => Removal::Refused("no answer".to_owned()),
            }
        };
        Ok(names.into_iter().map(said).collect())
    }

    fn admin(&self) -> Result<AdminClient<LogLines>, GroupsError> {
        self.options
            .admin()
            .create_with_context(self.lines.clone())
            .map_err(|error| GroupsError::Client(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_exact_shape_of_a_name_is_ours() {
        let pod = |prefix: &str, name: &str| Group::parse(prefix, name).map(|group| group.pod);
        assert_eq!(pod("a/b", "a/b/pod-1/0123abcd").as_deref(), Some("pod-1"));
        assert_eq!(pod("tidegate", "tidegate/x.y_z/ffffffff").as_deref(), Some("x.y_z"));
        for (prefix, name) in [
            ("a/b", "a/bc/pod/0123abcd"),
            ("a/b", "a/b"),
            ("a/b", "a/b/"),
            ("a/b", "a/b/pod"),
            ("a/b", "a/b//0123abcd"),
            ("a/b", "a/b/pod/"),
            ("a/b", "a/b/pod/0123abc"),
            ("a/b", "a/b/pod/0123abcde"),
            ("a/b", "a/b/pod/0123ABCD"),
            ("a/b", "a/b/pod/0123abcg"),
            ("a/b", "a/b/pod/0123abcd/"),
            ("a/b", "x/a/b/pod/0123abcd"),
            // The release `rel/x` of somebody whose prefix goes on where ours ends.
            ("tidegate/ns/rel", "tidegate/ns/rel/x/y/deadbeef"),
            ("tidegate/ns/rel", "tidegate/ns/rel2/y/deadbeef"),
            ("tidegate/ns", "tidegate/ns/rel/y/deadbeef"),
        ] {
            assert_eq!(pod(prefix, name), None, "{prefix} {name}");
        }
    }

    const WORD: &str = "[a-z0-9][a-z0-9.-]{0,6}";
    const PREFIX: &str = "[a-z]{1,3}(/[a-z]{1,3}){0,3}";

    proptest! {
        #[test]
        fn a_name_that_was_made_is_known_again(prefix in PREFIX, pod in WORD) {
            let made = name(&prefix, &pod);
            let group = Group::parse(&prefix, &made).expect("ours");
            prop_assert_eq!((group.name, group.pod), (made, pod));
        }

        #[test]
        fn no_release_takes_the_groups_of_another(one in PREFIX, other in PREFIX, pod in WORD) {
            prop_assume!(one != other);
            prop_assert_eq!(Group::parse(&one, &name(&other, &pod)), None);
        }
    }
}
