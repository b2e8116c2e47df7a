//! Dashboards, alerts and docs speak of the series that the binary exposes, of all of them, and of
//! nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use crate::support::gateway::Gateway;

const RUNBOOKS: &str = "https://github.com/tidegate/tidegate/blob/main/gateway/docs/runbooks/";

/// Grafana's names of the units in use: another one would be shown as it is written.
const UNITS: [&str; 9] =
    ["short", "none", "percentunit", "s", "ms", "bytes", "Bps", "cps", "reqps"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The files of a directory with this ending, with their text.
fn files(dir: &str, ending: &str) -> BTreeMap<String, String> {
    let found: BTreeMap<_, _> = fs::read_dir(root().join(dir))
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == ending))
        .map(|path| {
            let name = path.file_name().and_then(|n| n.to_str()).expect("a name").to_owned();
            (name, fs::read_to_string(&path).expect("text"))
        })
        .collect();
    assert!(!found.is_empty(), "no *.{ending} in {dir}");
    found
}

fn dashboards() -> BTreeMap<String, Value> {
    let parse = |(name, text): (String, String)| {
        let value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        (name, value)
    };
    files("dashboards", "json").into_iter().map(parse).collect()
}

/// The series that a text names.
fn series(text: &str) -> BTreeSet<String> {
    let name = Regex::new(r"\b(?:tidegate|process)_[a-z0-9_]+\b").expect("a pattern");
    let histogram = Regex::new("_seconds_(?:bucket|sum|count)$").expect("a pattern");
    name.find_iter(text)
        .map(|found| histogram.replace(found.as_str(), "_seconds").into_owned())
        .filter(|name| name != "tidegate_signature") // a cookie
        .collect()
}

#[test]
fn whatever_dashboards_alerts_and_docs_name_is_exposed() {
    let exposed = tidegate::telemetry::metrics::names();
    let mut texts = files("dashboards", "json");
    texts.extend(files("dashboards", "yaml"));
    texts.extend(files("dashboards", "md"));
    texts.extend(files("gateway/docs", "md"));
    texts.extend(files("gateway/docs/runbooks", "md"));
    texts.extend(files("gateway/docs/adr", "md"));
    for page in ["README.md", "gateway/ARCHITECTURE.md", "loadtest/README.md"] {
        texts.insert(page.to_owned(), read(page));
    }
    for (file, text) in texts {
        let unknown: Vec<_> = series(&text).difference(&exposed).cloned().collect();
        assert!(unknown.is_empty(), "{file} names what the gateway does not expose: {unknown:?}");
    }
}

#[test]
fn whatever_is_exposed_is_explained_and_drawn_or_watched() {
    let explained = series(&read("gateway/docs/metrics.md"));
    let watched: BTreeSet<_> = files("dashboards", "json")
        .into_values()
        .chain([read("dashboards/alerts.yaml")])
        .flat_map(|text| series(&text))
        .collect();
    for name in tidegate::telemetry::metrics::names() {
        assert!(explained.contains(&name), "gateway/docs/metrics.md does not say what {name} is");
        assert!(watched.contains(&name), "no dashboard and no alert shows {name}");
    }
}

#[tokio::test]
async fn a_running_gateway_exposes_what_the_list_says_with_a_help_each() {
    let names = tidegate::telemetry::metrics::names();
    let page = Gateway::ready(&[]).await.admin_get("/metrics").await.text();
    let helps: BTreeSet<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# HELP ")?.split_once(' '))
        .filter(|(_, help)| !help.trim().is_empty())
        .map(|(name, _)| name.to_owned())
        .collect();
    assert!(helps.is_subset(&names), "{:?}", helps.difference(&names));
    // These begin with their first sample: there is no TLS here, nothing malformed, and lag is not
    // told at once.
    let begin_later = [
        "tidegate_consumer_lag_records",
        "tidegate_malformed_records_total",
        "tidegate_tls_not_after_seconds",
    ];
    let missing: Vec<_> = names.difference(&helps).map(String::as_str).collect();
    assert!(missing.iter().all(|name| begin_later.contains(name)), "{missing:?}");
}

/// Asserts that a link to a runbook leads to a page.
fn leads_somewhere(url: &str) {
    let page = url.strip_prefix(RUNBOOKS).unwrap_or_else(|| panic!("{url} is no runbook"));
    assert!(root().join("gateway/docs/runbooks").join(page).is_file(), "{url} is not there");
}

#[test]
fn every_panel_says_what_it_shows_in_which_unit_and_from_where_on_it_is_bad() {
    let mut uids = BTreeSet::new();
    for (file, board) in dashboards() {
        let uid = board["uid"].as_str().expect("a uid");
        assert_eq!(format!("tidegate-{file}"), format!("{uid}.json"), "the uid is the file's name");
        assert!(uids.insert(uid.to_owned()));
        let mut ids = BTreeSet::new();
        for panel in board["panels"].as_array().expect("panels") {
            let title = panel["title"].as_str().expect("a title");
            let at = format!("{file}: {title}");
            assert!(ids.insert(panel["id"].as_u64()), "{at}: its id is another's");
            if panel["type"] == "row" {
                continue;
            }
            let defaults = &panel["fieldConfig"]["defaults"];
            assert!(panel["description"].as_str().is_some_and(|d| d.ends_with('.')), "{at}");
            assert!(
                defaults["unit"].as_str().is_some_and(|u| UNITS.contains(&u)),
                "{at}: its unit"
            );
            let steps = defaults["thresholds"]["steps"].as_array().expect("thresholds");
            assert!(steps[0]["value"].is_null(), "{at}: the first step has no bound");
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{at}");
            assert!(!panel["targets"].as_array().expect("targets").is_empty(), "{at}");
            for link in panel["links"].as_array().into_iter().flatten() {
                leads_somewhere(link["url"].as_str().expect("a URL"));
            }
        }
    }
    assert_eq!(uids.len(), 6);
}

#[test]
fn every_query_is_of_the_chosen_pods_and_rates_span_what_grafana_says() {
    let selector = r#"namespace=~"$namespace",job=~"$job",pod=~"$pod""#;
    let own = Regex::new(r"(?:tidegate|process)_[a-z0-9_]+(\{[^}]*\})?").expect("a pattern");
    let span = Regex::new(r"\[([^\]]+)\]").expect("a pattern");
    for (file, board) in dashboards() {
        let panels = board["panels"].as_array().expect("panels");
        let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
        let annotations = board["annotations"]["list"].as_array().expect("annotations");
        for expr in targets.chain(annotations).map(|t| t["expr"].as_str().expect("a query")) {
            for found in own.captures_iter(expr) {
                let labels = found.get(1).map_or("", |labels| labels.as_str());
                assert!(labels.contains(selector), "{file}: {expr}");
            }
            for found in span.captures_iter(expr) {
                let known = ["$__rate_interval", "$__range", "5m", "10m offset 1m"];
                assert!(known.contains(&&found[1]) || found[1] == *"10m", "{file}: {expr}");
            }
        }
        let variables: Vec<_> = board["templating"]["list"]
            .as_array()
            .expect("variables")
            .iter()
            .filter_map(|variable| variable["name"].as_str())
            .filter(|name| *name != "testid")
            .collect();
        assert_eq!(variables, ["datasource", "namespace", "job", "pod"], "{file}");
        for link in board["links"].as_array().expect("links") {
            match link["url"].as_str() {
                Some(url) => leads_somewhere(url),
                None => assert_eq!(link["tags"], serde_json::json!(["tidegate"]), "{file}"),
            }
        }
    }
}

#[derive(Deserialize)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Alert>,
}

#[derive(Deserialize)]
struct Alert {
    alert: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Tests {
    tests: Vec<Test>,
}

#[derive(Deserialize)]
struct Test {
    alert_rule_test: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    alertname: String,
    #[serde(default)]
    exp_alerts: Vec<BTreeMap<String, BTreeMap<String, String>>>,
}

#[test]
fn every_alert_leads_to_a_runbook_and_is_seen_to_fire_and_to_stay_quiet() {
    let rules: Rules = serde_saphyr::from_str(&read("dashboards/alerts.yaml")).expect("rules");
    let tests: Tests = serde_saphyr::from_str(&read("dashboards/alerts_test.yaml")).expect("tests");
    let cases: Vec<_> = tests.tests.iter().flat_map(|test| &test.alert_rule_test).collect();
    let alerts: Vec<_> = rules.groups.iter().flat_map(|group| &group.rules).collect();
    assert!(alerts.len() > 10);
    let mut linked = BTreeSet::from([format!("{RUNBOOKS}README.md")]);
    for alert in alerts {
        let name = &alert.alert;
        let severity = alert.labels.get("severity").expect("a severity");
        assert!(["warning", "critical"].contains(&severity.as_str()), "{name}");
        for words in ["summary", "description"] {
            assert!(alert.annotations[words].len() > 20, "{name}: {words}");
        }
        let url = &alert.annotations["runbook_url"];
        leads_somewhere(url);
        linked.insert(url.clone());
        let of_it = |case: &&&Case| case.alertname == *name;
        let fires = cases.iter().filter(of_it).any(|case| {
            case.exp_alerts.iter().any(|alert| alert["exp_labels"]["severity"] == *severity)
        });
        assert!(fires, "no test sees {name} ({severity}) fire");
        assert!(
            cases.iter().filter(of_it).any(|c| c.exp_alerts.is_empty()),
            "{name} is never quiet"
        );
    }
    for page in files("gateway/docs/runbooks", "md").keys() {
        assert!(linked.contains(&format!("{RUNBOOKS}{page}")), "no alert leads to {page}");
    }
}
