//! What all scenarios share: the cluster, a real Kafka beside it, two namespaces, the main release and
//! the ways to it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::json;
use tidegate_faults::door::{Door, Doors, Key};
use tidegate_faults::shell::Undo;
use tidegate_rig::kafka::{self, Kafka, Listener};

use crate::cli::Cli;
use crate::kube::{self, Kube, until};
use crate::release::Release;
use crate::values::{self, KEYS_SECRET};

/// How long the API server may take to answer at all.
const ANSWERS: Duration = Duration::from_secs(60);

/// The doors of the main release.
pub(crate) const BY_INGRESS: usize = 0;
pub(crate) const BY_ROUTE: usize = 1;

/// Everything that scenarios work with.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) cli: Cli,
    pub(crate) kafka: Kafka,
    /// Where pods find Kafka.
    pub(crate) brokers: String,
    pub(crate) main: Release,
    /// Another namespace, for releases that come and go.
    pub(crate) beside: Kube,
    /// The main release by its Ingress and by its HTTPRoute, signed with the current key.
    pub(crate) doors: Arc<Doors>,
    /// Where the ingress controller answers.
    pub(crate) ingress: SocketAddr,
    /// The key that requests are signed with.
    key: Mutex<Key>,
    /// What names of this run have in them that no other run's have.
    tag: String,
    loads: AtomicU32,
    /// What the main namespace had in it before the release.
    before: Mutex<BTreeSet<String>>,
    undo: Undo,
}

impl Site {
    /// Starts Kafka and makes the namespaces.
    ///
    /// # Errors
    /// A program is missing, the cluster does not answer, or this machine does not have the address.
    pub(crate) async fn start(cli: Cli) -> Result<Self> {
        ensure!(cli.chart.join("Chart.yaml").exists(), "no chart in {}", cli.chart.display());
        kube::run("helm", &["version", "--short"], None).await?;
        let nobody = Kube { namespace: "default".to_owned() };
        until("the cluster of KUBECONFIG answers", ANSWERS, async || {
            nobody.run(&["version"]).await.map(Some)
        })
        .await?;
        let ingress = address(&cli.ingress)?;

        let [port] = tidegate_rig::free_ports();
        let at = SocketAddr::new(cli.node_address, port);
        drop(std::net::TcpListener::bind(at).with_context(|| {
            format!("{} is no address of this machine: --node-address", cli.node_address)
        })?);
        let listeners = vec![Listener { listens: at, told: at }];
        let options = kafka::Options { listeners, ..kafka::Options::default() };
        let kafka = Kafka::set_up(options).await;
        kafka.restart().await;

        let tag = format!("{:06x}", rand::random::<u32>() & 0xff_ffff);
        let namespaces = [format!("tidegate-e2e-{tag}"), format!("tidegate-e2e-{tag}-b")];
        // Also if we are killed.
        let undo = Undo::with(&format!(
            "kubectl delete namespace {} --ignore-not-found --wait=false",
            namespaces.join(" ")
        ))
        .map_err(|error| anyhow!(error))?;
        let [main, beside] = namespaces.map(|namespace| Kube { namespace });
        let hosts = ["ingress", "route"].map(|way| format!("{way}.{}.test", main.namespace));
        let door = |host: &String| Door { addr: ingress, host: host.clone(), proxied: true };
        let key = Key::random("k1", &mut rand::rng());
        let doors = Doors::new(hosts.iter().map(door).collect()).signed(key.clone());
        let values = values::main(&cli, &at.to_string(), [&hosts[0], &hosts[1]]);
        let site = Self {
            main: Release { name: "gate", kube: main, chart: chart(&cli)?, values },
            brokers: at.to_string(),
            kafka,
            beside,
            doors: Arc::new(doors),
            ingress,
            key: Mutex::new(key.clone()),
            tag,
            loads: AtomicU32::new(0),
            before: Mutex::default(),
            undo,
            cli,
        };
        for kube in [&site.main.kube, &site.beside] {
            kube.apply(&json!({
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {
                    "name": kube.namespace,
                    // What the chart promises: nothing that the API server would refuse here.
                    "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
                },
            }))
            .await?;
        }
        put_keys(&site.main.kube, &[&key]).await?;
        Ok(site)
    }

    /// The key that requests are signed with.
    pub(crate) fn key(&self) -> Key {
        self.key.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Signs everything with another one.
    pub(crate) fn use_key(&self, key: &Key) {
        *self.key.lock().unwrap_or_else(PoisonError::into_inner) = key.clone();
        self.doors.sign_with(key.clone());
    }

    /// What the ids of a load begin with: of no other on this log.
    pub(crate) fn prefix(&self) -> String {
        format!("{}-{}", self.tag, self.loads.fetch_add(1, Ordering::Relaxed))
    }

    /// Remembers what the main namespace has in it before the release.
    pub(crate) fn remember(&self, objects: BTreeSet<String>) {
        *self.before.lock().unwrap_or_else(PoisonError::into_inner) = objects;
    }

    /// What it had.
    pub(crate) fn remembered(&self) -> BTreeSet<String> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Installs a release in the other namespace, which signs with the current key, lets `act` do
    /// something with it, and uninstalls it whatever comes of that.
    pub(crate) async fn with_another<T>(
        &self,
        name: &'static str,
        further: &serde_json::Value,
        act: impl AsyncFnOnce(&Release) -> Result<T>,
    ) -> Result<T> {
        put_keys(&self.beside, &[&self.key()]).await?;
        let mut all = values::common(&self.cli, &self.brokers);
        values::merge(&mut all, further);
        let chart = self.main.chart.clone();
        let release = Release { name, kube: self.beside.clone(), chart, values: all };
        release.install().await?;
        let acted = act(&release).await;
        release.uninstall().await?;
        release.settled(0).await.context("its end")?;
        acted
    }

    /// Removes the namespaces, or keeps them to be looked at.
    pub(crate) async fn end(self, keep: bool) -> Result<()> {
        if keep {
            self.undo.call_off().await;
            return Ok(());
        }
        let (main, beside) = (&self.main.kube.namespace, &self.beside.namespace);
        let args = ["delete", "namespace", main, beside, "--ignore-not-found", "--timeout", "180s"];
        self.main.kube.run(&args).await?;
        Ok(())
    }
}

/// Writes the Secret of the signing keys.
pub(crate) async fn put_keys(kube: &Kube, keys: &[&Key]) -> Result<()> {
    let lines: Vec<String> = keys.iter().map(|key| key.line()).collect();
    kube.apply(&json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": KEYS_SECRET},
        "stringData": {"keys": lines.join("\n")},
    }))
    .await
}

fn chart(cli: &Cli) -> Result<PathBuf> {
    cli.chart.canonicalize().with_context(|| cli.chart.display().to_string())
}

/// The address of `http://…`.
fn address(url: &str) -> Result<SocketAddr> {
    let at = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
    let with_port =
        if at.parse::<SocketAddr>().is_ok() { at.to_owned() } else { format!("{at}:80") };
    with_port.parse().with_context(|| format!("{url} is not http://ADDRESS[:PORT]"))
}
