use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::event::MessageId;

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..24).prop_map(Bytes::from)
}

/// A field's name, as a log can have it: one's own names among them, and what is not UTF-8.
fn name() -> impl Strategy<Value = Bytes> {
    let own = ["reason", "at", "replayed", "o.reason", "x.00", "left_out", "original_key", "key"];
    prop_oneof![
        proptest::sample::select(own.to_vec()).prop_map(|n| Bytes::from_static(n.as_bytes())),
        bytes(),
    ]
}

fn letters() -> impl Strategy<Value = Letter> {
    let place = ("[^\\p{C}]{1,20}", any::<u32>(), "[0-9]{1,20}(-[0-9]{1,20})?")
        .prop_map(|(source, shard, offset)| Place::new(&source, shard, &offset));
    let original = (option::of(bytes()), vec((name(), bytes()), 0..6), option::of(bytes()))
        .prop_flat_map(|(key, fields, value)| {
            let original = Original { key, fields, value, ..Original::default() };
            (Just(original), any::<i64>(), prop_oneof![Just(0), any::<u64>()])
        })
        .prop_map(|(record, timestamp, left_out)| Original { timestamp, left_out, ..record });
    (place, "[a-z0-9_]{1,32}", ".{0,40}", ".{0,20}", any::<i64>(), original).prop_map(
        |(place, reason, detail, pod, at, record)| Letter {
            place,
            reason: Reason::parse(&reason).expect("a reason"),
            detail: detail.into(),
            pod: pod.into(),
            at,
            record,
        },
    )
}

fn open(parcel: &Parcel) -> Result<Entry, LetterError> {
    let fields = parcel.fields.iter().map(|(name, value)| (name.as_bytes(), &value[..]));
    Parcel::open(Some(parcel.key.as_bytes()), fields, parcel.value.as_deref())
}

proptest! {
    #[test]
    fn a_letter_comes_back_with_its_record_whatever_that_holds(letter in letters()) {
        prop_assert_eq!(open(&letter.parcel()), Ok(Entry::Letter(letter)));
    }

    #[test]
    fn a_marker_comes_back(letter in letters(), at in any::<i64>()) {
        let replay = Replay { message_id: MessageId::fresh(), pod: letter.pod, at };
        let parcel = replay.parcel(&letter.place);
        prop_assert_eq!(open(&parcel), Ok(Entry::Replayed(letter.place, replay)));
    }

    #[test]
    fn what_others_wrote_there_is_a_letter_or_an_error(
        key in option::of(prop_oneof![bytes(), Just(Bytes::from_static(b"t/0/1"))]),
        fields in vec((name(), prop_oneof![bytes(), Just(Bytes::from_static(b"7"))]), 0..9),
        value in option::of(bytes()),
    ) {
        let fields = fields.iter().map(|(name, value)| (&name[..], &value[..]));
        let _ = Parcel::open(key.as_deref(), fields, value.as_deref());
    }

    #[test]
    fn a_letter_that_is_too_large_loses_no_more_than_it_has_to(letter in letters(), most in 0..200usize) {
        let fit = letter.clone().fit(most);
        prop_assert!(fit.bytes() <= most);
        let lost = (letter.bytes() - fit.bytes()) as u64;
        prop_assert_eq!(fit.record.left_out, letter.record.left_out.saturating_add(lost));
        if letter.bytes() <= most {
            prop_assert_eq!(fit, letter);
        }
    }

    #[test]
    fn letters_get_smaller_until_nothing_is_left(letter in letters()) {
        let mut letter = Letter { record: Original { left_out: 0, ..letter.record }, ..letter };
        let all = letter.bytes() as u64;
        for _ in 0..3 {
            match letter.smaller() {
                Some(smaller) => {
                    prop_assert!(smaller.bytes() < letter.bytes());
                    letter = smaller;
                }
                None => break,
            }
        }
        prop_assert_eq!((letter.bytes(), letter.record.left_out), (0, all));
    }
}

#[test]
fn a_place_is_read_as_it_is_written_and_nothing_else_is_one() {
    for good in ["tidegate.events/3/17", "p:{events}/0/1763700000000-0", "a/b/0/0"] {
        assert_eq!(good.parse::<Place>().expect(good).to_string(), good);
    }
    assert_eq!("a/b/0/0".parse::<Place>().expect("a place").source(), "a/b");
    for bad in
        ["", "/", "//", "a/0", "/0/0", "a//0", "a/0/", "a/+1/0", "a/01/0", "a/0/x", "a\n/0/0"]
    {
        assert_eq!(bad.parse::<Place>(), Err(NoPlace), "{bad:?}");
    }
}

#[test]
fn a_detail_is_cut_between_characters() {
    let place = Place::new("t", 0, "1");
    let letter = Letter {
        place,
        reason: DeadLetter::Malformed.into(),
        detail: "".into(),
        pod: "p".into(),
        at: 0,
        record: Original::default(),
    };
    let cut = letter.with_detail(&"ä".repeat(MAX_DETAIL_BYTES)).detail;
    assert_eq!(cut.len(), MAX_DETAIL_BYTES);
    assert!(cut.chars().all(|c| c == 'ä'));
}
