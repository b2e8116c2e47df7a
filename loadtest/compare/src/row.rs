//! The loads, and what each has to reach.

use crate::figures::Figure;
use crate::server::Kind;

/// Something that a row has to reach.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// What is looked at, of the gateway.
    pub figure: Figure,
    /// The most that it may be: as many times the other server's in the same pair, or itself.
    pub most: f64,
    /// Whom it is compared with.
    pub against: Option<Kind>,
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
    /// A burst goes in one batch request, to those who have one.
    pub batch: bool,
    /// Which servers it is for, besides the gateway.
    pub others: &'static [Kind],
    /// The columns.
    pub figures: &'static [Figure],
    /// What it has to reach.
    pub targets: &'static [Target],
}

const fn ratio(figure: Figure, most: f64, against: Kind) -> Target {
    Target { figure, most, against: Some(against) }
}

const fn value(figure: Figure, most: f64) -> Target {
    Target { figure, most, against: None }
}

const LOAD: &[Figure] = &[
    Figure::Cpu,
    Figure::UserCpu,
    Figure::Syscalls,
    Figure::Rate,
    Figure::P50,
    Figure::P99,
    Figure::P999,
    Figure::Amiss,
];
const IDLE: &[Figure] = &[Figure::Stream, Figure::Connect, Figure::Open];
const EVERYBODY: &[Kind] = &[Kind::Floor, Kind::FloorBatched, Kind::Nchan, Kind::Axum];
const FLOORS: &[Kind] = &[Kind::Floor, Kind::FloorBatched];

/// Every load, in the table's order.
pub const ROWS: &[Row] = &[
    Row {
        name: "paced",
        title: "1,000 readers of one room, 200 B, 50 events a second",
        swarm: &["fanout", "--readers=1000", "--rooms=one", "--bytes=200", "--rate=50"],
        batch: false,
        others: EVERYBODY,
        figures: LOAD,
        targets: &[
            ratio(Figure::Cpu, 1.15, Kind::Floor),
            value(Figure::UserCpu, 0.5),
            value(Figure::Syscalls, 1.01),
        ],
    },
    Row {
        name: "paced-10k",
        title: "10,000 readers of one room, 200 B, 5 events a second",
        swarm: &["fanout", "--readers=10000", "--rooms=one", "--bytes=200", "--rate=5"],
        batch: false,
        others: EVERYBODY,
        figures: LOAD,
        targets: &[ratio(Figure::P99, 1.5, Kind::Floor)],
    },
    Row {
        name: "large",
        title: "1,000 readers of one room, 10 KB, 10 events a second",
        swarm: &["fanout", "--readers=1000", "--rooms=one", "--bytes=10240", "--rate=10"],
        batch: false,
        others: EVERYBODY,
        figures: LOAD,
        targets: &[],
    },
    Row {
        name: "bursts",
        title: "1,000 readers of one room, 200 B, bursts of 20 in one request, 20 a second",
        swarm: &[
            "fanout",
            "--readers=1000",
            "--rooms=one",
            "--bytes=200",
            "--rate=400",
            "--burst=20",
        ],
        batch: true,
        others: EVERYBODY,
        figures: LOAD,
        targets: &[
            ratio(Figure::Cpu, 1.3, Kind::FloorBatched),
            ratio(Figure::Cpu, 0.35, Kind::Floor),
        ],
    },
    Row {
        name: "six",
        title: "1,667 rooms of six, 200 B, 1,667 events a second",
        swarm: &["fanout", "--readers=10002", "--rooms=6", "--bytes=200", "--rate=1667"],
        batch: false,
        others: EVERYBODY,
        figures: LOAD,
        targets: &[ratio(Figure::Cpu, 1.3, Kind::Floor)],
    },
    Row {
        name: "ones",
        title: "10,000 rooms of one, 200 B, 2,000 events a second",
        swarm: &["fanout", "--readers=10000", "--rooms=each", "--bytes=200", "--rate=2000"],
        batch: false,
        others: EVERYBODY,
        figures: LOAD,
        targets: &[ratio(Figure::Cpu, 1.5, Kind::Floor)],
    },
    Row {
        name: "stalled",
        title: "200 readers of one room of whom a quarter stop reading, 10 KB, 50 events a second",
        swarm: &["fanout", "--readers=200", "--stalled=0.25", "--bytes=10240", "--rate=50"],
        batch: false,
        others: EVERYBODY,
        figures: LOAD,
        targets: &[],
    },
    Row {
        name: "healthy",
        title: "the same 150 readers without those who stall",
        swarm: &["fanout", "--readers=150", "--bytes=10240", "--rate=50"],
        batch: false,
        others: EVERYBODY,
        figures: LOAD,
        targets: &[],
    },
    Row {
        name: "churn",
        title: "1,000 readers who leave after 20 events and come again, 200 B, 50 events a second",
        swarm: &[
            "fanout",
            "--readers=1000",
            "--bytes=200",
            "--rate=50",
            "--leave-after=20",
            "--sources=50",
        ],
        batch: false,
        others: FLOORS,
        figures: LOAD,
        targets: &[],
    },
    Row {
        name: "idle",
        title: "idle streams of one room, 1,000 to 15,000",
        swarm: &["idle", "--connections=1000..15000", "--rooms=one", "--hold=1"],
        batch: false,
        others: EVERYBODY,
        figures: IDLE,
        targets: &[value(Figure::Stream, 3.0), value(Figure::Connect, 60.0)],
    },
    Row {
        name: "idle-rooms",
        title: "idle streams with a room each, 1,000 to 15,000",
        swarm: &["idle", "--connections=1000..15000", "--rooms=each", "--hold=1"],
        batch: false,
        others: EVERYBODY,
        figures: IDLE,
        targets: &[value(Figure::Stream, 4.5)],
    },
    Row {
        name: "ramp",
        title: "1,000 streams and then 4,000 more at once",
        swarm: &["idle", "--connections=1000..5000", "--rooms=one", "--hold=0", "--in-flight=4000"],
        batch: false,
        others: EVERYBODY,
        figures: IDLE,
        targets: &[value(Figure::Open, 2.0)],
    },
];

/// The row of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == name)
}
