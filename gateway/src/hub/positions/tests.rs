use super::*;
use crate::log::mapping::{Mapping, Part, ValueKind};

const KEEP: Duration = Duration::from_secs(60);

fn id(text: &str) -> EventId {
    EventId::new(text).expect("an id")
}

fn begun(sources: &[Source]) -> Positions {
    let mut positions = Positions::default();
    positions.set_sources(sources, KEEP);
    for shard in sources.iter().flat_map(Source::all_shards) {
        positions.start(shard, Position::default(), Offset(0));
    }
    positions
}

fn mapping() -> Arc<Mapping> {
    let event_type = Part::Constant("t".into());
    Mapping::mapped(Part::Topic, event_type, None, ValueKind::Json).expect("a mapping").into()
}

#[test]
fn all_partitions_of_a_source_that_is_not_keyed_feed_every_room_and_none_is_a_stray() {
    let keyed = Source::new("keyed", Role::Events, 4);
    let loose = Source::new("loose", Role::Events, 3).unkeyed();
    let mut positions = begun(&[keyed.clone(), loose.clone()]);
    for room in ["a", "b", "c"] {
        let vector = positions.vector(&id(room)).expect("whole");
        let named: Vec<Shard> = vector.components().iter().map(|c| c.0).collect();
        let mut expected: Vec<Shard> = loose.all_shards().collect();
        expected.push(keyed.shard_of(room.as_bytes()));
        expected.sort();
        assert_eq!(named, expected);
        for shard in loose.all_shards() {
            assert!(!positions.note_stray(room, shard, KEEP));
        }
    }
    // When it grows there is nothing that lies by the former number.
    positions.set_sources(&[keyed.clone(), Source { shards: 5, ..loose }], KEEP);
    assert_eq!(positions.shards_for(&id("a")).count(), 6);
    let elsewhere = keyed.all_shards().find(|shard| *shard != keyed.shard_of(b"a"));
    assert!(positions.note_stray("a", elsewhere.expect("another"), KEEP));
}

#[test]
fn a_partition_of_others_without_a_leader_closes_no_room() {
    let own = Source::new("own", Role::Events, 2);
    let others = Source::new("others", Role::Events, 2).with_mapping(mapping()).unkeyed();
    let mut positions = begun(std::slice::from_ref(&own));
    positions.set_sources(&[own.clone(), others.clone()], KEEP);
    let led = Shard { source: others.id, index: 1 };
    positions.start(led, Position::default(), Offset(0));
    let vector = positions.vector(&id("a")).expect("open");
    assert_eq!((vector.components().len(), vector.get(led).is_some()), (2, true));
    // The gateway's own closes those that it can feed: their cursors would be wrong.
    let grown = Source { shards: 3, ..own };
    positions.set_sources(&[grown.clone(), others], KEEP);
    let closed = |id: &&EventId| grown.shard_of(id.as_str().as_bytes()).index == 2;
    let rooms: Vec<EventId> = (0..20).map(|n| id(&n.to_string())).collect();
    let room = rooms.iter().find(closed).expect("one lies there");
    assert_eq!(positions.vector(room), None);
    assert!(positions.vector_so_far(room).get(led).is_some());
}

#[test]
fn sixty_four_unkeyed_partitions_fit_in_a_cursor_beside_the_keyed_topics() {
    let keyed = (0..32).map(|n| Source::new(&format!("keyed.{n}"), Role::Events, 100));
    let loose = (0..64).map(|n| Source::new(&format!("loose.{n}"), Role::Events, 1).unkeyed());
    let own = [Source::new("e", Role::Events, 12), Source::new("b", Role::Broadcast, 1)];
    let all: Vec<Source> = own.into_iter().chain(keyed).chain(loose).collect();
    let vector = begun(&all).vector(&id("a")).expect("whole");
    assert_eq!(vector.components().len(), 2 + 32 + 64);
    let most = vector.grown_chars();
    assert!(most <= crate::cursor::LONGEST_CHARS, "{most}");
}
