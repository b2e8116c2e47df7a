//! The loads, and what each has to reach.

use crate::figures::Figure;
use crate::row::{Against, Row, Target};
use crate::server::Kind;

const fn ratio(figure: Figure, most: f64, to: Kind) -> Target {
    Target { figure, most, against: Against::Server(to) }
}

const fn value(figure: Figure, most: f64) -> Target {
    Target { figure, most, against: Against::Nothing }
}

const LOAD: &[Figure] = &[
    Figure::Cpu,
    Figure::UserCpu,
    Figure::Syscalls,
    Figure::Rate,
    Figure::P50,
    Figure::P99,
    Figure::P999,
    Figure::IntervalP50,
    Figure::IntervalP99,
    Figure::FirstByte,
    Figure::Memory,
    Figure::Amiss,
    Figure::NotTaken,
];
const IDLE: &[Figure] = &[Figure::Stream, Figure::Connect, Figure::Open, Figure::FirstByte];
const FLOOR: &[Kind] = &[Kind::Floor];
const FLOORS: &[Kind] = &[Kind::Floor, Kind::FloorBatched];
const PEERS: &[Kind] = &[Kind::Nchan, Kind::Axum];
const AHEAD: &[Figure] = &[Figure::Cpu, Figure::P99];
const AHEAD_IDLE: &[Figure] = &[Figure::Stream, Figure::Connect];

/// How many of the readers stall in `stalled`.
const STALLED: f64 = 50.0;

/// What most rows are: events one by one, beside the floor and the peers.
const PACED: Row = Row {
    name: "paced",
    title: "1,000 readers of one room, 200 B, 50 events a second",
    swarm: &["fanout", "--readers=1000", "--rooms=one", "--bytes=200", "--rate=50"],
    without: None,
    batch: false,
    gateway: Kind::Tidegate,
    floors: FLOOR,
    peers: PEERS,
    ahead: AHEAD,
    figures: LOAD,
    targets: &[
        ratio(Figure::Cpu, 1.15, Kind::Floor),
        value(Figure::UserCpu, 0.5),
        value(Figure::Syscalls, 1.01),
    ],
};

/// What the bursts are: 20 events in one request, beside both floors.
const BURSTS: Row = Row {
    name: "bursts",
    title: "1,000 readers of one room, 200 B, bursts of 20 in one request, 20 a second",
    swarm: &["fanout", "--readers=1000", "--rooms=one", "--bytes=200", "--rate=400", "--burst=20"],
    batch: true,
    floors: FLOORS,
    targets: &[ratio(Figure::Cpu, 1.3, Kind::FloorBatched), ratio(Figure::Cpu, 0.35, Kind::Floor)],
    ..PACED
};

/// What the idle streams are.
const STILL: Row = Row {
    name: "idle",
    title: "idle streams of one room, 1,000 to 15,000",
    swarm: &["idle", "--connections=1000..15000", "--rooms=one", "--hold=0"],
    ahead: AHEAD_IDLE,
    figures: IDLE,
    targets: &[value(Figure::Stream, 3.0), value(Figure::Connect, 60.0)],
    ..PACED
};

/// Every load, in the table's order.
pub const ROWS: &[Row] = &[
    PACED,
    Row {
        name: "paced-10k",
        title: "10,000 readers of one room, 200 B, 3 events a second",
        swarm: &["fanout", "--readers=10000", "--rooms=one", "--bytes=200", "--rate=3"],
        targets: &[ratio(Figure::P99, 1.5, Kind::Floor)],
        ..PACED
    },
    Row {
        name: "large",
        title: "1,000 readers of one room, 10 KB, 20 events a second",
        swarm: &["fanout", "--readers=1000", "--rooms=one", "--bytes=10240", "--rate=20"],
        targets: &[],
        ..PACED
    },
    Row {
        name: "large-10k",
        title: "10,000 readers of one room, 10 KB, 2 events a second",
        swarm: &["fanout", "--readers=10000", "--rooms=one", "--bytes=10240", "--rate=2"],
        targets: &[],
        ..PACED
    },
    BURSTS,
    Row {
        name: "bursts-10k",
        title: "10,000 readers of one room, 200 B, bursts of 20 in one request, one a second",
        swarm: &[
            "fanout",
            "--readers=10000",
            "--rooms=one",
            "--bytes=200",
            "--rate=20",
            "--burst=20",
        ],
        ..BURSTS
    },
    Row {
        name: "large-bursts",
        title: "1,000 readers of one room, 10 KB, bursts of 20 in one request, two a second",
        swarm: &[
            "fanout",
            "--readers=1000",
            "--rooms=one",
            "--bytes=10240",
            "--rate=40",
            "--burst=20",
        ],
        targets: &[],
        ..BURSTS
    },
    Row {
        name: "large-bursts-10k",
        title: "10,000 readers of one room, 10 KB, bursts of 20 in one request, one in three seconds",
        swarm: &[
            "fanout",
            "--readers=10000",
            "--rooms=one",
            "--bytes=10240",
            "--rate=6.7",
            "--burst=20",
        ],
        targets: &[],
        ..BURSTS
    },
    Row {
        name: "six",
        title: "1,667 rooms of six, 200 B, 1,667 events a second",
        swarm: &["fanout", "--readers=10002", "--rooms=6", "--bytes=200", "--rate=1667"],
        targets: &[ratio(Figure::Cpu, 1.3, Kind::Floor)],
        ..PACED
    },
    Row {
        name: "ones",
        title: "10,000 rooms of one, 200 B, 2,000 events a second",
        swarm: &["fanout", "--readers=10000", "--rooms=each", "--bytes=200", "--rate=2000"],
        targets: &[ratio(Figure::Cpu, 1.5, Kind::Floor)],
        ..PACED
    },
    Row {
        name: "tokens",
        title: "2,000 rooms of one, 30 tokens of 64 B a second each, those of 200 rooms in one request",
        swarm: &[
            "fanout",
            "--readers=2000",
            "--rooms=each",
            "--bytes=64",
            "--rate=60000",
            "--across=200",
        ],
        batch: true,
        floors: FLOORS,
        targets: &[],
        ..PACED
    },
    Row {
        name: "stalled",
        title: "200 readers of one room of whom a quarter stop reading, 10 KB, 200 events a second",
        // The kernel takes 2.6 MB before the server notices: more than a second's worth.
        swarm: &[
            "fanout",
            "--readers=200",
            "--stalled=0.25",
            "--bytes=10240",
            "--rate=200",
            "--seconds=3",
        ],
        without: Some((
            "without those who stall",
            &["fanout", "--readers=150", "--bytes=10240", "--rate=200", "--seconds=3"],
        )),
        targets: &[
            Target { figure: Figure::P99, most: 1.5, against: Against::Without },
            Target { figure: Figure::Memory, most: 0.0625, against: Against::More(STALLED) },
        ],
        ..PACED
    },
    Row {
        name: "gzip",
        title: "1,000 readers of one room who ask for gzip, 200 B, 50 events a second",
        swarm: &["fanout", "--readers=1000", "--rooms=one", "--bytes=200", "--rate=50", "--gzip"],
        without: Some(("without gzip", PACED.swarm)),
        floors: &[],
        peers: &[],
        targets: &[Target { figure: Figure::Cpu, most: 1.05, against: Against::Without }],
        ..PACED
    },
    Row {
        name: "gzip-large",
        title: "1,000 readers of one room who ask for gzip, 10 KB, 10 events a second",
        swarm: &["fanout", "--readers=1000", "--rooms=one", "--bytes=10240", "--rate=10", "--gzip"],
        without: Some((
            "without gzip",
            &["fanout", "--readers=1000", "--rooms=one", "--bytes=10240", "--rate=10"],
        )),
        floors: &[],
        peers: &[],
        targets: &[Target { figure: Figure::Cpu, most: 1.05, against: Against::Without }],
        ..PACED
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
        targets: &[],
        ..PACED
    },
    STILL,
    Row {
        name: "idle-rooms",
        title: "idle streams with a room each, 1,000 to 15,000",
        swarm: &["idle", "--connections=1000..15000", "--rooms=each", "--hold=0"],
        targets: &[value(Figure::Stream, 4.5)],
        ..STILL
    },
    Row {
        name: "ramp",
        title: "1,000 streams and then 4,000 more at once",
        swarm: &["idle", "--connections=1000..5000", "--rooms=one", "--hold=0", "--in-flight=4000"],
        ahead: &[Figure::Connect, Figure::Open],
        targets: &[value(Figure::Open, 2.0)],
        ..STILL
    },
    Row {
        name: "kafka",
        title: "one reader, 1 KB, 200 events a second, through Kafka",
        swarm: &["latency", "--rate=200", "--bytes=1024"],
        gateway: Kind::TidegateKafka,
        floors: &[Kind::Tidegate],
        peers: &[],
        targets: &[value(Figure::P50, 1.5), value(Figure::P99, 5.0)],
        ..PACED
    },
    Row {
        name: "http2",
        title: "1,000 readers of one room over HTTP/2, 100 on a connection, 200 B, 20 events a second",
        swarm: &["fanout", "--readers=1000", "--bytes=200", "--rate=20", "--http2=100"],
        without: Some(("over HTTP/1.1", &["fanout", "--readers=1000", "--bytes=200", "--rate=20"])),
        floors: &[],
        peers: &[],
        targets: &[],
        ..PACED
    },
    Row {
        name: "tls",
        title: "500 readers of one room over TLS, 200 B, 20 events a second",
        swarm: &["fanout", "--readers=500", "--bytes=200", "--rate=20"],
        gateway: Kind::TidegateTls,
        floors: &[Kind::Tidegate],
        peers: &[],
        targets: &[],
        ..PACED
    },
];

/// The row of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Case;

    #[test]
    fn every_target_is_against_somebody_who_is_measured() {
        for (n, row) in ROWS.iter().enumerate() {
            assert!(
                ROWS[..n].iter().all(|other| other.name != row.name),
                "{} is there twice",
                row.name
            );
            for target in row.all_targets() {
                let case = match target.against {
                    Against::Server(kind) => Case::of(kind),
                    Against::Without | Against::More(_) => {
                        Case { kind: row.gateway, without: true }
                    }
                    Against::Nothing => Case::of(row.gateway),
                };
                assert!(row.cases(true).contains(&case), "{}: {target:?}", row.name);
                assert!(row.figures.contains(&target.figure), "{}: {target:?}", row.name);
            }
        }
    }

    #[test]
    fn peers_take_part_in_some_pairs_only() {
        let row = find("stalled").expect("a row");
        let cases = row.cases(false);
        assert_eq!(cases.len(), 3);
        assert_eq!(row.flags(cases[1]), row.without.expect("there is").1);
        assert_eq!(row.flags(cases[2]), row.swarm);
        assert!(row.cases(true).contains(&Case::of(Kind::Axum)));
    }

    #[test]
    fn a_runs_length_is_estimated_from_its_flags() {
        let seconds = |name| find(name).expect("a row").run_seconds(3.0);
        assert!(seconds("paced") < 4.0 && seconds("paced-10k") > 4.4);
        assert!(seconds("kafka") < 4.0 && seconds("idle") > 1.5);
    }
}
