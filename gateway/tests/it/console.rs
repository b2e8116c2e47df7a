//! The console page: whole in itself, strict, and gone where it is switched off. The client module,
//! which never is. What they do is tried in a real browser: `tests/browser`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::support::gateway::Gateway;
use crate::support::http;

#[tokio::test]
async fn the_console_is_one_page_whose_policy_allows_its_own_script_and_style_only() {
    let gateway = Gateway::ready(&[]).await;
    let page = http::get(gateway.public(), "/", &[]).await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").expect("a policy").to_owned();
    assert!(policy.starts_with("default-src 'none'; connect-src 'self';"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    let text = page.text();
    for (tag, begin) in [("script", r#"<script type="module">"#), ("style", "<style>")] {
        let (_, rest) = text.split_once(begin).expect("the tag");
        let (inside, rest) = rest.split_once(&format!("</{tag}>")).expect("its end");
        let hash = STANDARD.encode(Sha256::digest(inside));
        assert!(policy.contains(&format!("{tag}-src 'sha256-{hash}'")), "{tag}");
        assert!(!rest.contains(&format!("<{tag}")), "one {tag}");
    }
    for outside in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!text.contains(outside), "{outside}");
    }
    let module = http::get(gateway.public(), "/tidegate.js", &[]).await;
    assert!(text.contains(&module.text()), "the page has the module that is served");
}

#[tokio::test]
async fn a_console_that_is_switched_off_is_not_there() {
    let gateway = Gateway::ready(&["--console-enabled=false"]).await;
    let page = http::get(gateway.public(), "/", &[]).await;
    assert_eq!(page.status, 404);
    assert_eq!(page.json()["type"], "urn:tidegate:problem:not-found");
}

const FILES: [(&str, &str, &str); 2] = [
    ("/tidegate.js", "text/javascript; charset=utf-8", "export function open("),
    ("/tidegate.d.ts", "text/plain; charset=utf-8", "export function open("),
];

#[tokio::test]
async fn the_client_module_and_its_types_are_there_without_the_console_and_without_a_signature() {
    let flags = ["--console-enabled=false", "--auth-mode=hmac", "--auth-keys=k1:one-secret"];
    let gateway = Gateway::ready(&flags).await;
    for (path, kind, part) in FILES {
        let file = http::get(gateway.public(), path, &[]).await;
        assert_eq!(file.status, 200, "{path}");
        assert_eq!(file.header("content-type"), Some(kind));
        assert_eq!(file.header("x-content-type-options"), Some("nosniff"));
        assert!(file.text().contains(part), "{path}");
    }
}

#[tokio::test]
async fn a_module_that_has_not_changed_is_not_sent_again() {
    let gateway = Gateway::ready(&[]).await;
    let to = gateway.public();
    for (path, ..) in FILES {
        let first = http::get(to, path, &[]).await;
        let tag = first.header("etag").expect("a tag").to_owned();
        assert_eq!(first.header("cache-control"), Some("no-cache"), "asked for at every load");
        for known in [tag.clone(), format!("\"x\", W/{tag}"), "*".to_owned()] {
            let again = http::get(to, path, &[("if-none-match", &known)]).await;
            assert_eq!((again.status, again.text().as_str()), (304, ""), "{known}");
            assert_eq!(again.header("etag"), Some(tag.as_str()));
        }
        let other = http::get(to, path, &[("if-none-match", "\"x\"")]).await;
        assert_eq!((other.status, other.text()), (200, first.text()));
    }
    let tags: Vec<_> = [http::get(to, FILES[0].0, &[]).await, http::get(to, FILES[1].0, &[]).await]
        .iter()
        .map(|file| file.header("etag").map(str::to_owned))
        .collect();
    assert_ne!(tags[0], tags[1]);
}

#[tokio::test]
async fn pages_of_listed_origins_may_import_the_module_and_others_may_not() {
    let page = "https://app.example.com";
    let gateway = Gateway::ready(&["--cors-origins", page]).await;
    for (path, ..) in FILES {
        for (origin, allowed) in [(page, Some(page)), ("https://other.example", None)] {
            let file = http::get(gateway.public(), path, &[("origin", origin)]).await;
            assert_eq!(file.status, 200);
            assert_eq!(file.header("access-control-allow-origin"), allowed, "{path}");
            assert_eq!(file.header("vary"), Some("Origin"));
        }
    }
}
