//! The command line.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use clap::Parser;

use crate::scenario::Scenario;

/// The chart and the gateway on the cluster of KUBECONFIG. Needs `kubectl`, `helm`, `nginx`, `curl`, and
/// what starts a real Kafka: a JDK 17 and Maven.
#[derive(Debug, Clone, Parser)]
#[command(name = "e2e", version, about, max_term_width = 100)]
pub(crate) struct Cli {
    /// Only these, between `install` and `uninstall` [default: all]
    #[arg(value_enum)]
    pub(crate) scenarios: Vec<Scenario>,
    /// The gateway's image, which the nodes have
    #[arg(long, default_value = "localhost/tidegate:e2e")]
    pub(crate) image: String,
    /// The chart
    #[arg(long, default_value = "helm/tidegate")]
    pub(crate) chart: PathBuf,
    /// Where the ingress controller and the Gateway answer, plain HTTP
    #[arg(long, default_value = "http://10.92.0.1")]
    pub(crate) ingress: String,
    /// Class of the Ingress
    #[arg(long, default_value = "traefik")]
    pub(crate) ingress_class: String,
    /// The chart's `ingress.flavour`
    #[arg(long, default_value = "traefik")]
    pub(crate) ingress_flavour: String,
    /// `namespace/name` of the Gateway for the HTTPRoute
    #[arg(long, default_value = "ingress/traefik")]
    pub(crate) gateway: String,
    /// This machine's address, as pods reach it: Kafka listens there
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::new(10, 90, 0, 1)))]
    pub(crate) node_address: IpAddr,
    /// Prometheus, as KEDA's operator reaches it [default: port 9090 of the node address]
    #[arg(long)]
    pub(crate) prometheus: Option<String>,
    /// Leaves this one out, which the report says at its top
    #[arg(long, value_enum, value_name = "SCENARIO")]
    pub(crate) without: Vec<Scenario>,
    /// Ids, of two rooms each
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(2..=100))]
    pub(crate) ids: u16,
    /// Readers of each kind, of which there are five for each id
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) copies: u16,
    /// Events a second, all together
    #[arg(long, default_value_t = 40.0)]
    pub(crate) rate: f64,
    /// Writes the report there, too
    #[arg(long)]
    pub(crate) report: Option<PathBuf>,
    /// Leaves what it has made after a failure, to look at
    #[arg(long)]
    pub(crate) keep: bool,
}
