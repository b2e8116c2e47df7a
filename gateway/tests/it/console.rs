//! The console page: whole in itself, strict, and gone where it is switched off.

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
    for tag in ["script", "style"] {
        let (_, rest) = text.split_once(&format!("<{tag}>")).expect("the tag");
        let (inside, rest) = rest.split_once(&format!("</{tag}>")).expect("its end");
        let hash = STANDARD.encode(Sha256::digest(inside));
        assert!(policy.contains(&format!("{tag}-src 'sha256-{hash}'")), "{tag}");
        assert!(!rest.contains(&format!("<{tag}")), "one {tag}");
    }
    for outside in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!text.contains(outside), "{outside}");
    }
}

#[tokio::test]
async fn a_console_that_is_switched_off_is_not_there() {
    let gateway = Gateway::ready(&["--console-enabled=false"]).await;
    let page = http::get(gateway.public(), "/", &[]).await;
    assert_eq!(page.status, 404);
    assert_eq!(page.json()["type"], "urn:tidegate:problem:not-found");
}
