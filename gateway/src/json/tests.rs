use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::*;

fn reason(text: &str) -> Reason {
    minify(text, 16).expect_err(text).reason
}

#[test]
fn whitespace_goes_and_every_spelling_stays() {
    for (text, want) in [
        ("{}", "{}"),
        (" [ ] ", "[]"),
        ("{ \"a\" : [ 1.0 , 1e2,-0.5E+3 ] , \"b\":null }", "{\"a\":[1.0,1e2,-0.5E+3],\"b\":null}"),
        ("\t\"a b \\u00e9\\/ \\ud800\"\r\n", "\"a b \\u00e9\\/ \\ud800\""),
        ("[1,\n\n2]", "[1,2]"),
        ("123456789012345678901234567890.10", "123456789012345678901234567890.10"),
        ("1e999", "1e999"),
        ("{\"a\":1,\"a\":2}", "{\"a\":1,\"a\":2}"),
        ("\"\u{2028}\u{85}\u{7f}\"", "\"\u{2028}\u{85}\u{7f}\""),
    ] {
        assert_eq!(minify(text, 16).expect(text), want);
    }
}

#[test]
fn text_without_whitespace_is_not_copied() {
    assert!(matches!(minify(" {\"a\":[1,2]}\n", 16), Ok(Cow::Borrowed("{\"a\":[1,2]}"))));
    let body = Bytes::from_static(b" [1,2] ");
    let minified = minify_bytes(&body, 16).expect("json");
    assert_eq!(minified.as_ptr(), body[1..].as_ptr());
}

#[test]
fn what_is_not_json_is_named_with_its_place() {
    assert_eq!(
        minify("[1,]", 16).expect_err("a trailing comma").to_string(),
        "at byte 3: a value is expected here"
    );
    assert_eq!(reason(""), Reason::End(Expected::Value));
    assert_eq!(reason("\u{FEFF}{}"), Reason::ByteOrderMark);
    assert_eq!(reason("{\"a\":1,}"), Reason::Unexpected(Expected::Name));
    assert_eq!(reason("{\"a\" 1}"), Reason::Unexpected(Expected::Colon));
    assert_eq!(reason("{\"a\":1]"), Reason::Unexpected(Expected::CommaOrBrace));
    assert_eq!(reason("[1}"), Reason::Unexpected(Expected::CommaOrBracket));
    assert_eq!(reason("[1"), Reason::End(Expected::CommaOrBracket));
    assert_eq!(reason("\"a"), Reason::End(Expected::Quote));
    assert_eq!(reason("\"a\nb\""), Reason::Control);
    assert_eq!(reason("\"\\x\""), Reason::Escape);
    assert_eq!(reason("\"\\u12g4\""), Reason::Escape);
    assert_eq!(reason("01"), Reason::Number);
    assert_eq!(reason("-"), Reason::Number);
    assert_eq!(reason("1.e3"), Reason::Number);
    assert_eq!(reason("nul"), Reason::Unexpected(Expected::Literal));
    assert_eq!(reason("{} {}"), Reason::Unexpected(Expected::Nothing));
    assert_eq!(
        minify_bytes(&Bytes::from_static(b"\"\xFF\""), 16),
        Err(JsonError { at: 1, reason: Reason::NotUtf8 })
    );
}

#[test]
fn nesting_is_bounded_and_never_recurses() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(minify(&nested(16), 16).is_ok());
    assert_eq!(reason(&nested(17)), Reason::TooDeep(16));
    assert!(minify(&nested(MAX_DEPTH), usize::MAX).is_ok());
    let hostile = "{\"a\":[".repeat(1_000_000);
    let error = minify(&hostile, usize::MAX).expect_err("too deep");
    assert_eq!(error.reason, Reason::TooDeep(MAX_DEPTH));
    // A container that was closed does not count any more.
    assert!(minify("[[],[[]],{\"a\":[]}]", 3).is_ok());
}

#[test]
fn objects_are_read_member_by_member() {
    let mut scanner = Scanner::new(" { \"a\\\"b\" : [ 1 ] , \"c\" : \"d\" } ", 16);
    let mut first = true;
    scanner.open_object().expect("object");
    assert_eq!(scanner.next_name(&mut first), Ok(Some("a\\\"b")));
    assert_eq!(scanner.skip(), Ok("[ 1 ]"));
    assert_eq!(scanner.next_name(&mut first), Ok(Some("c")));
    assert_eq!(scanner.string(), Ok("d"));
    assert_eq!(scanner.next_name(&mut first), Ok(None));
    assert_eq!(scanner.end(), Ok(()));
    for bad in ["{,}", "{\"a\":1,}", "{\"a\":1 \"b\":2}", "{\"a\"", "{a:1}"] {
        let mut scanner = Scanner::new(bad, 16);
        let mut first = true;
        scanner.open_object().expect(bad);
        let outcome = loop {
            match scanner.next_name(&mut first) {
                Ok(Some(_)) => scanner.skip().map(|_| ()).expect(bad),
                other => break other,
            }
        };
        assert!(outcome.is_err(), "{bad}");
    }
}

#[test]
fn a_special_byte_is_found_wherever_it_stands_in_a_word() {
    for special in [b'"', b'\\', 0, 0x1F] {
        for at in 0..24 {
            // 0x7F, 0x80 and 0xFF are next to what the word arithmetic looks for.
            for plain in [b' ', b'!', b'#', b'[', b']', 0x7F, 0x80, 0xFF] {
                let mut bytes = [plain; 24];
                bytes[at] = special;
                assert_eq!(text::plain_end(&bytes, 0), at);
            }
        }
    }
    assert_eq!(text::plain_end(b"abcdefghi", 3), 9);
}

#[test]
fn escapes_are_read_and_half_characters_refused() {
    assert_eq!(unescape("plain"), Ok(Cow::Borrowed("plain")));
    assert_eq!(
        unescape(r#"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00x"#).as_deref(),
        Ok("\"\\/\u{8}\u{C}\n\r\té😀x")
    );
    for bad in [r"\ud800", r"\ude00", r"\ud800x", r"\ud800\u0041", r"\ud83dXX\ude00"] {
        assert_eq!(unescape(bad), Err(UnpairedSurrogate), "{bad}");
    }
}

/// JSON with whitespace in odd places, and things that are nearly JSON.
fn nearly_json() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("{"),
        Just("}"),
        Just("["),
        Just("]"),
        Just(","),
        Just(":"),
        Just(" "),
        Just("\n"),
        Just("\r"),
        Just("\t"),
        Just("\"a\""),
        Just("\"\\u00e9\""),
        Just("\"\\ud800\""),
        Just("\""),
        Just("\\"),
        Just("0"),
        Just("-1"),
        Just("1.50"),
        Just("1e9"),
        Just("."),
        Just("true"),
        Just("false"),
        Just("null"),
        Just("\u{1}"),
        Just("é"),
        Just("{\"k\":"),
        Just("\"k\":"),
    ];
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn serde_json_agrees_on_what_is_json(text in prop_oneof![nearly_json(), any::<String>()]) {
        let ours = minify(&text, MAX_DEPTH);
        prop_assert_eq!(ours.is_ok(), serde_json::from_str::<IgnoredAny>(&text).is_ok());
        if let Ok(minified) = ours {
            prop_assert!(!minified.contains(['\r', '\n']));
            prop_assert_eq!(minify(&minified, MAX_DEPTH), Ok(Cow::Borrowed(&*minified)));
        }
    }

    #[test]
    fn minified_text_means_what_it_meant(value in value()) {
        let pretty = serde_json::to_string_pretty(&value).expect("serialises");
        let minified = minify(&pretty, MAX_DEPTH).expect("is JSON");
        prop_assert_eq!(&*minified, serde_json::to_string(&value).expect("serialises"));
    }

    #[test]
    fn strings_mean_what_serde_json_reads(text in any::<String>(), raw in r"([a-zé]|\\[nu\\]|[0-9a-fD]|\\u[dD][89cC]00){0,12}") {
        let quoted = serde_json::to_string(&text).expect("serialises");
        prop_assert_eq!(unescape(&quoted[1..quoted.len() - 1]), Ok(Cow::Borrowed(&*text)));
        let quoted = format!("\"{raw}\"");
        if minify(&quoted, 1).is_ok() {
            let theirs = serde_json::from_str::<String>(&quoted).ok();
            prop_assert_eq!(unescape(&raw).ok().map(Cow::into_owned), theirs);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = minify_bytes(&Bytes::from(bytes), 4);
    }
}
