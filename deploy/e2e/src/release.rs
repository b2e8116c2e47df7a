//! A Helm release.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::kube::{self, Kube, until};
use crate::pod::Pod;

/// How long pods may take to come or to go: several drains, on a busy machine.
pub(crate) const SETTLED: Duration = Duration::from_secs(240);

/// A release of the chart.
#[derive(Debug, Clone)]
pub(crate) struct Release {
    pub(crate) name: &'static str,
    pub(crate) kube: Kube,
    pub(crate) chart: PathBuf,
    pub(crate) values: Value,
}

impl Release {
    /// `helm install`, which does not wait.
    pub(crate) async fn install(&self) -> Result<()> {
        self.helm("install", &self.values).await
    }

    /// `helm upgrade` to these values, which does not wait.
    pub(crate) async fn upgrade(&self, values: &Value) -> Result<()> {
        self.helm("upgrade", values).await
    }

    async fn helm(&self, verb: &str, values: &Value) -> Result<()> {
        let chart = self.chart.to_str().context("the chart's path")?;
        let args = [verb, self.name, chart, "--namespace", &self.kube.namespace, "--values", "-"];
        kube::run("helm", &args, Some(&values.to_string())).await?;
        Ok(())
    }

    /// `helm test`: what it says.
    pub(crate) async fn test(&self) -> Result<String> {
        let namespace = &self.kube.namespace;
        let args = ["test", self.name, "--namespace", namespace, "--timeout", "3m"];
        kube::run("helm", &args, None).await
    }

    /// `helm uninstall`, which does not wait for the pods.
    pub(crate) async fn uninstall(&self) -> Result<()> {
        let args = ["uninstall", self.name, "--namespace", &self.kube.namespace];
        kube::run("helm", &args, None).await?;
        Ok(())
    }

    /// What selects its objects.
    pub(crate) fn label(&self) -> String {
        format!("app.kubernetes.io/instance={}", self.name)
    }

    /// What selects its gateways.
    pub(crate) fn selector(&self) -> String {
        format!("{},app.kubernetes.io/component=gateway", self.label())
    }

    /// Its gateways, in the order of their making; those without an address are left out.
    pub(crate) async fn pods(&self) -> Result<Vec<Pod>> {
        let list = self.kube.get(&["pods", "--selector", &self.selector()]).await?;
        let mut pods: Vec<Pod> =
            list["items"].as_array().into_iter().flatten().filter_map(Pod::read).collect();
        pods.sort_by(|a, b| (&a.created, &a.name).cmp(&(&b.created, &b.name)));
        Ok(pods)
    }

    /// Waits until exactly so many gateways are there, and all are ready.
    pub(crate) async fn settled(&self, count: usize) -> Result<Vec<Pod>> {
        until(&format!("{} has {count} pods", self.name), SETTLED, async || {
            let pods = self.pods().await?;
            let is_settled = |pod: &Pod| pod.is_ready && !pod.is_leaving;
            if pods.len() != count || !pods.iter().all(is_settled) {
                bail!("there are {pods:?}");
            }
            Ok(Some(pods))
        })
        .await
    }

    /// `deployment/…`.
    pub(crate) async fn deployment(&self) -> Result<String> {
        self.one("deployment").await
    }

    /// The only object of a kind, as `kind/name`.
    pub(crate) async fn one(&self, kind: &str) -> Result<String> {
        let args = ["get", kind, "--selector", &self.label(), "--output", "name"];
        let said = self.kube.run(&args).await?;
        match said.lines().collect::<Vec<_>>()[..] {
            [one] => Ok(one.to_owned()),
            _ => bail!("{} has not one {kind}: {said:?}", self.name),
        }
    }

    /// Sets the number of pods.
    pub(crate) async fn scale(&self, replicas: u32) -> Result<()> {
        let deployment = self.deployment().await?;
        self.kube.run(&["scale", &deployment, "--replicas", &replicas.to_string()]).await?;
        Ok(())
    }

    /// Waits until a rollout is through.
    pub(crate) async fn rolled_out(&self) -> Result<()> {
        let deployment = self.deployment().await?;
        self.kube.run(&["rollout", "status", &deployment, "--timeout", "240s"]).await?;
        Ok(())
    }

    /// What its consumer groups begin with.
    pub(crate) fn group_prefix(&self) -> String {
        format!("tidegate/{}/{}/", self.kube.namespace, self.name)
    }
}
