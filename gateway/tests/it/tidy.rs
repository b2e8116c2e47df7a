//! What the tree must look like: layering, and that what is written is true.

use std::fs;
use std::path::{Path, PathBuf};

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// All Rust files below `dir`, with their text.
fn files(dir: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path).expect("text");
            // A test module of its own is no code of the gateway.
            if !path.ends_with("tests.rs") {
                found.push((path, text));
            }
        }
    }
    found
}

/// The files of a module: `src/name.rs` and all below `src/name/`.
fn module(name: &str) -> Vec<(PathBuf, String)> {
    let inside = |path: &Path| {
        let path = path.strip_prefix(source()).expect("below src");
        path == Path::new(&format!("{name}.rs")) || path.starts_with(name)
    };
    let found: Vec<_> = files(&source()).into_iter().filter(|(path, _)| inside(path)).collect();
    assert!(!found.is_empty(), "no module {name}");
    found
}

/// A file's lines of code: no comments, and nothing from its test module on.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(n, line)| (n + 1, line))
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Asserts that no line of code in `files` has one of `words`.
fn absent(files: &[(PathBuf, String)], words: &[&str], why: &str) {
    for (path, text) in files {
        for (n, line) in code(text) {
            for word in words {
                assert!(!line.contains(word), "{}:{n}: {word:?}: {why}", path.display());
            }
        }
    }
}

#[test]
fn imports_run_one_way_only() {
    let layers: [(&str, &[&str]); 8] = [
        ("event", &["log", "hub", "http", "connection", "consumer", "gateway"]),
        ("cursor", &["log", "hub", "http", "connection", "consumer", "gateway"]),
        ("wire", &["log", "hub", "http", "connection", "consumer", "gateway"]),
        ("json", &["log", "hub", "http", "connection", "consumer", "gateway"]),
        ("log", &["hub", "http", "connection", "consumer", "gateway", "wire"]),
        ("hub", &["http", "connection", "consumer", "gateway"]),
        ("consumer", &["http", "connection", "gateway"]),
        ("connection", &["http", "gateway", "consumer"]),
    ];
    for (name, above) in layers {
        let words: Vec<String> = above.iter().map(|m| format!("crate::{m}")).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        absent(&module(name), &words, "imports run from http::publish to the socket");
    }
}

#[test]
fn the_hub_does_no_io_and_never_awaits() {
    let hub = module("hub");
    absent(&hub, &[".await", "async fn", "tokio::net", "tokio::spawn", "std::fs"], "it blocks all");
}

#[test]
fn only_the_consumer_routes_to_the_hub() {
    let others: Vec<_> = files(&source())
        .into_iter()
        .filter(|(path, _)| {
            !path.ends_with("consumer.rs") && !path.starts_with(source().join("hub"))
        })
        .collect();
    absent(&others, &["hub.route("], "an event reaches the hub only through a log");
}

#[test]
fn only_the_wire_spells_events() {
    let others: Vec<_> = files(&source())
        .into_iter()
        .filter(|(path, _)| {
            !path.ends_with("wire.rs") && !path.components().any(|c| c.as_os_str() == "client")
        })
        .collect();
    absent(&others, &["\"data: ", "\"event: ", "\"retry: "], "only wire.rs knows SSE syntax");
}

#[test]
fn only_the_settings_read_the_environment() {
    let others: Vec<_> = files(&source())
        .into_iter()
        .filter(|(path, _)| {
            !path.starts_with(source().join("config")) && !path.ends_with("config.rs")
        })
        .collect();
    absent(&others, &["env::var", "env::vars"], "only config reads the environment");
}

#[test]
fn only_one_module_knows_kubernetes() {
    let inside = module("kubernetes");
    let others: Vec<_> =
        files(&source()).into_iter().filter(|file| !inside.contains(file)).collect();
    absent(
        &others,
        &["kube::", "k8s_openapi", "use kube;"],
        "src/kubernetes is the only user of kube",
    );
    let logs: Vec<_> =
        module("log").into_iter().chain(module("hub")).chain(module("auth")).collect();
    absent(&logs, &["crate::kubernetes"], "what it looks after knows nothing of it");
}

#[test]
fn the_architecture_page_names_files_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let mut named = 0;
    for name in page.split('`').filter(|s| s.ends_with(".rs") && !s.contains(' ')) {
        let exists = ["", "src", "tests/it"].iter().any(|dir| root.join(dir).join(name).exists());
        assert!(exists, "ARCHITECTURE.md names {name}, which is not there");
        named += 1;
    }
    assert!(named > 20, "the page says where things are");
}

#[test]
fn no_page_has_a_merge_left_in_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = ["../README.md", "ARCHITECTURE.md", "../loadtest/README.md", "../deploy/README.md"];
    for page in pages {
        let text = fs::read_to_string(root.join(page)).expect(page);
        let left = text.lines().find(|line| line.starts_with("<<<<<<<") || *line == "=======");
        assert_eq!(left, None, "{page}");
    }
}

#[test]
fn the_readmes_table_is_the_settings() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(readme).expect("README.md");
    let table = tidegate::config::markdown_table();
    assert!(
        readme.contains(table.trim()),
        "put the output of `tidegate check-config --markdown` into README.md"
    );
}
