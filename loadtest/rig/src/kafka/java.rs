//! Java with Kafka's jars, which come from Maven Central at first use.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::OnceCell;

use super::{Kafka, PATIENCE};

const VERSION: &str = "4.1.0";

static LIBRARIES: OnceCell<PathBuf> = OnceCell::const_new();

/// A Java program that answers each line of its input with one.
#[derive(Debug)]
pub struct Lines {
    program: Child,
    answers: tokio::io::Lines<BufReader<ChildStdout>>,
}

impl Lines {
    /// Starts a source file with Kafka's own client library; its first argument are the brokers.
    pub async fn java(kafka: &Kafka, source: &Path, args: &[&str]) -> Self {
        let mut program = java(kafka.path())
            .await
            .arg(source)
            .arg(kafka.brokers())
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("java runs");
        let answers = BufReader::new(program.stdout.take().expect("piped")).lines();
        Self { program, answers }
    }

    /// Says a line and waits for the answer.
    pub async fn ask(&mut self, line: &str) -> String {
        let input = self.program.stdin.as_mut().expect("piped");
        input.write_all(format!("{line}\n").as_bytes()).await.expect("java reads");
        input.flush().await.expect("java reads");
        let answer = tokio::time::timeout(PATIENCE, self.answers.next_line()).await;
        answer.expect("an answer in time").expect("an answer").expect("java goes on")
    }
}

pub(super) async fn java(directory: &Path) -> Command {
    let mut args = java_args().await.into_iter();
    let mut command = Command::new(args.next().expect("java"));
    command.args(args).current_dir(directory).stdin(Stdio::null());
    command
}

/// `java` with Kafka's jars, tuned to start fast.
pub(super) async fn java_args() -> Vec<String> {
    let libraries = LIBRARIES.get_or_init(libraries).await;
    let mut args: Vec<String> =
        ["java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-cp"]
            .map(str::to_owned)
            .to_vec();
    args.push(format!("{}/*", libraries.display()));
    args
}

/// Where what was fetched is kept, and Kafka's jars in it.
fn cache() -> Option<(PathBuf, PathBuf)> {
    let cache = std::env::home_dir()?.join(".cache/tidegate");
    let libraries = cache.join(format!("kafka-{VERSION}"));
    Some((cache, libraries))
}

/// Whether Kafka's jars are there, so that a start does not have to fetch them.
#[must_use]
pub fn is_fetched() -> bool {
    cache().is_some_and(|(_, libraries)| libraries.exists())
}

/// Where Kafka's jars are; fetched from Maven Central at first use and kept for the next run.
async fn libraries() -> PathBuf {
    let (cache, libraries) = cache().expect("a home directory");
    if libraries.exists() {
        return libraries;
    }
    fs::create_dir_all(&cache).expect("a cache directory");
    // Beside its place, so that the renaming is atomic, and under a name of its own, so that
    // several test runs can fetch at once.
    let fetched =
        tempfile::Builder::new().prefix("fetch-").tempdir_in(&cache).expect("a directory");
    let pom = format!(
        "<project><modelVersion>4.0.0</modelVersion><groupId>tidegate</groupId>\
         <artifactId>kafka</artifactId><version>1</version><dependencies><dependency>\
         <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>\
         <version>{VERSION}</version></dependency></dependencies></project>"
    );
    fs::write(fetched.path().join("pom.xml"), pom).expect("pom.xml");
    let jars = fetched.path().join("libs");
    let maven = Command::new("mvn")
        .args(["-q", "-B", "-f"])
        .arg(fetched.path().join("pom.xml"))
        .arg("dependency:copy-dependencies")
        .arg(format!("-DoutputDirectory={}", jars.display()))
        .stdin(Stdio::null())
        .output()
        .await
        .expect(
            "these tests run a real Apache Kafka: install a JDK of version 17 or later and Maven \
             (Debian: apt-get install openjdk-17-jdk-headless maven)",
        );
    assert!(
        maven.status.success(),
        "Kafka's jars could not be fetched from Maven Central: {}",
        String::from_utf8_lossy(&maven.stdout)
    );
    if let Err(error) = fs::rename(&jars, &libraries) {
        assert!(libraries.exists(), "Kafka's jars could not be kept: {error}");
    }
    libraries
}
