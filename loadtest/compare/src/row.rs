//! What a row is: a load, who is put under it, and what the gateway has to reach.

use crate::figures::Figure;
use crate::server::Kind;

/// What a gateway's figure is held against.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Against {
    /// A number.
    Nothing,
    /// As many times another server's in the same pair.
    Server(Kind),
    /// As many times its own in the same pair, without what the row is about.
    Without,
    /// What it has more than without what the row is about, divided by so many.
    More(f64),
}

/// Something that the gateway has to reach in a row.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// What is looked at.
    pub figure: Figure,
    /// The most that it may be.
    pub most: f64,
    /// Of what.
    pub against: Against,
}

/// A load.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// What the command line calls it.
    pub name: &'static str,
    /// What the table calls it.
    pub title: &'static str,
    /// swarm's command and flags, without those of the server.
    pub swarm: &'static [&'static str],
    /// The load without what the row is about, which the gateway gets as well in every pair: what the
    /// table calls it, and swarm's command and flags.
    pub without: Option<(&'static str, &'static [&'static str])>,
    /// What is due at once goes in one batch request, to those who have one.
    pub batch: bool,
    /// How the gateway is set up.
    pub gateway: Kind,
    /// What it is measured with in every pair.
    pub floors: &'static [Kind],
    /// What it is measured with in some pairs, and has to be ahead of.
    pub peers: &'static [Kind],
    /// In which figures.
    pub ahead: &'static [Figure],
    /// The columns.
    pub figures: &'static [Figure],
    /// What it has to reach besides being ahead.
    pub targets: &'static [Target],
}

/// A server under a row's load, or under the one without what the row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// The server.
    pub kind: Kind,
    /// It is the latter load.
    pub without: bool,
}

impl Case {
    /// A server under the row's load.
    #[must_use]
    pub const fn of(kind: Kind) -> Self {
        Self { kind, without: false }
    }
}

impl Row {
    /// Who is measured here, the gateway first: all of the floors, and the peers that are there if
    /// they have their turn.
    #[must_use]
    pub fn cases(&self, with_peers: bool) -> Vec<Case> {
        let mut cases = vec![Case::of(self.gateway)];
        cases.extend(self.without.map(|_| Case { kind: self.gateway, without: true }));
        cases.extend(self.floors.iter().copied().map(Case::of));
        let peers = self.peers.iter().copied().filter(|kind| with_peers && kind.is_there());
        cases.extend(peers.map(Case::of));
        cases
    }

    /// swarm's command and flags for a case.
    #[must_use]
    pub fn flags(&self, case: Case) -> &'static [&'static str] {
        match self.without {
            Some((_, flags)) if case.without => flags,
            _ => self.swarm,
        }
    }

    /// The value of a flag of its load.
    #[must_use]
    pub fn flag(&self, name: &str) -> Option<&'static str> {
        self.swarm.iter().find_map(|flag| flag.strip_prefix(name)?.strip_prefix('='))
    }

    /// Everything that the gateway has to reach: nothing may be lost, then the row's own, then to be
    /// ahead of each peer.
    #[must_use]
    pub fn all_targets(&self) -> Vec<Target> {
        let clean = Target { figure: Figure::Amiss, most: 0.0, against: Against::Nothing };
        let clean = self.figures.contains(&Figure::Amiss).then_some(clean);
        let ahead = self.peers.iter().filter(|kind| kind.is_there()).flat_map(|kind| {
            let against = Against::Server(*kind);
            self.ahead.iter().map(move |figure| Target { figure: *figure, most: 1.0, against })
        });
        clean.into_iter().chain(self.targets.iter().copied()).chain(ahead).collect()
    }

    /// About how long one run takes, in seconds, when a load publishes for so long.
    #[must_use]
    pub fn run_seconds(&self, seconds: f64) -> f64 {
        let readers =
            self.flag("--readers").or_else(|| self.flag("--connections")?.rsplit('.').next());
        let readers = readers.and_then(|text| text.parse::<f64>().ok()).unwrap_or(1.0);
        let own = self.flag("--seconds").and_then(|text| text.parse().ok());
        let published = if self.swarm[0] == "idle" { 0.5 } else { own.unwrap_or(seconds) };
        published + START + readers * A_READER
    }
}

/// What a run takes besides its load: both processes' start and end, and the wait before the first event.
const START: f64 = 0.6;
/// What it takes to open and close a stream.
const A_READER: f64 = 90e-6;
