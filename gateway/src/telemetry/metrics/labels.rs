//! The values of labels that no other module has a closed list of.

use http::Version;

use crate::disconnect::Disconnect;

/// Declares a closed list of label values.
macro_rules! label {
    (
        $(#[$doc:meta])*
        $name:ident { $($(#[$value_doc:meta])* $value:ident = $text:literal),+ $(,)? }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$value_doc])* $value),+ }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$value),+];

            /// As the series spell it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$value => $text),+ }
            }
        }
    };
}

label! {
    /// How a stream travels.
    Protocol {
        /// HTTP/1.0: the stream ends with the connection.
        Http10 = "http1.0",
        /// HTTP/1.1, chunked.
        Http11 = "http1.1",
        /// HTTP/2.
        Http2 = "h2",
    }
}

impl Protocol {
    /// That of a request.
    #[must_use]
    pub fn of(version: Version) -> Self {
        match version {
            Version::HTTP_2 => Self::Http2,
            Version::HTTP_10 => Self::Http10,
            _ => Self::Http11,
        }
    }
}

label! {
    /// What is wrong with a record that is no event.
    MalformedKind {
        /// It has no key.
        NoKey = "no_key",
        /// It has no event type.
        NoType = "no_type",
        /// Its key, a header or its value is not UTF-8.
        NotUtf8 = "not_utf8",
        /// A name in it is none that the wire can carry.
        Name = "name",
        /// Its value is null.
        NullValue = "null_value",
        /// Its value is not JSON.
        NotJson = "not_json",
        /// Its topic's mapping finds no id or type.
        Mapping = "mapping",
        /// It is no CloudEvent.
        CloudEvent = "cloudevent",
        /// Its value is larger than an event may be.
        TooLarge = "too_large",
    }
}

label! {
    /// Why a stream or a socket was not taken.
    Refused {
        /// `limits.connections` streams are open.
        Connections = "connections",
        /// The pod shuts down.
        Draining = "draining",
        /// The log was not reached yet.
        NotReady = "not_ready",
        /// As many sockets are open as may be: closed unanswered.
        Sockets = "sockets",
        /// More streams come than `limits.connection_rate` allows.
        Rate = "rate",
        /// `limits.connections_per_ip` streams are open from the address.
        PerIp = "per_ip",
        /// `limits.connections_per_user` streams of the user are open.
        PerUser = "per_user",
        /// No TLS session came about.
        Tls = "tls",
    }
}

label! {
    /// Who ended a stream.
    EndedBy {
        /// The client, or something on the way to it.
        Client = "client",
        /// This pod.
        Gateway = "gateway",
    }
}

impl EndedBy {
    /// Who does when this is why.
    #[must_use]
    pub fn of(reason: Disconnect) -> Self {
        match reason {
            Disconnect::ClientGone => Self::Client,
            _ => Self::Gateway,
        }
    }
}

label! {
    /// What was written to a stream.
    SentKind {
        /// An event of a room or a broadcast.
        Event = "event",
        /// A heartbeat.
        Heartbeat = "heartbeat",
    }
}

label! {
    /// Why a write failed.
    SendFailure {
        /// The client took nothing for `stream.write_timeout`.
        WriteTimeout = "write_timeout",
    }
}

label! {
    /// Where replayed events came from.
    ReplayFrom {
        /// The recent window.
        Window = "window",
        /// The log itself.
        Log = "log",
    }
}

label! {
    /// Why an event can never be delivered.
    DeadLetter {
        /// It is no event.
        Malformed = "malformed",
        /// The topic's mapping takes a part from where it has none.
        MappingFailed = "mapping_failed",
        /// It is larger than an event may be.
        TooLarge = "too_large",
        /// No pod wrote it to a stream within its `deliver_within`.
        Undelivered = "undelivered",
    }
}

label! {
    /// Why a dead letter was not kept.
    LostLetter {
        /// Too many waited already.
        QueueFull = "queue_full",
        /// The log did not take it for too long.
        NotTaken = "not_taken",
    }
}

label! {
    /// What a pod does in its cluster.
    Task {
        /// Watching the Secret with the keys.
        Secret = "secret",
        /// Electing the pod that does what one has to do for all.
        Lease = "lease",
        /// Keeping the pods' deletion costs.
        DeletionCost = "deletion_cost",
        /// Removing consumer groups that were left behind.
        Janitor = "janitor",
    }
}
