//! The values that releases are installed with.

use serde_json::{Value, json};

use crate::cli::Cli;

/// The Secret with the signing keys.
pub(crate) const KEYS_SECRET: &str = "signing-keys";

/// What every release here has: the given Kafka, signatures, and small pods, of which there are many
/// on one node. Drains are shorter than by default, so that a run ends within minutes.
pub(crate) fn common(cli: &Cli, brokers: &str) -> Value {
    let (repository, tag) = cli.image.rsplit_once(':').unwrap_or((&cli.image, ""));
    json!({
        "image": {"repository": repository, "tag": tag, "pullPolicy": "IfNotPresent"},
        "log": {"kind": "kafka", "windowBytes": "64MiB"},
        "kafka": {"brokers": [brokers], "partitions": 4},
        "auth": {"mode": "hmac", "existingSecret": KEYS_SECRET},
        "stream": {"heartbeat": "5s"},
        "drain": {"grace": "6s", "window": "15s", "deadline": "30s"},
        "preStop": {"sleep": 3},
        "minReadySeconds": 5,
        "resources": {
            "requests": {"cpu": "20m", "memory": "64Mi"},
            "limits": {"memory": "512Mi"},
        },
    })
}

/// What the main release has besides: both ways in, and all that needs the API server.
pub(crate) fn main(cli: &Cli, brokers: &str, hosts: [&str; 2]) -> Value {
    let (namespace, name) = cli.gateway.split_once('/').unwrap_or(("", &cli.gateway));
    let mut values = common(cli, brokers);
    let further = json!({
        "replicaCount": 3,
        "ingress": {
            "enabled": true,
            "flavour": cli.ingress_flavour,
            "className": cli.ingress_class,
            "hosts": [hosts[0]],
        },
        "httpRoute": {
            "enabled": true,
            "parentRefs": [{"name": name, "namespace": namespace}],
            "hostnames": [hosts[1]],
        },
        "kubernetes": {"watchSecret": true, "deletionCost": true, "janitor": true},
        "prometheusAnnotations": true,
    });
    merge(&mut values, &further);
    values
}

/// Puts `further` over `values`, member by member.
pub(crate) fn merge(values: &mut Value, further: &Value) {
    match (values, further) {
        (Value::Object(values), Value::Object(further)) => {
            for (name, value) in further {
                merge(values.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (values, further) => *values = further.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_replaced_member_by_member() {
        let mut values = json!({"drain": {"grace": "6s", "window": "15s"}, "hosts": ["a"]});
        merge(&mut values, &json!({"drain": {"window": "9s"}, "hosts": ["b"], "new": 1}));
        let expected = json!({"drain": {"grace": "6s", "window": "9s"}, "hosts": ["b"], "new": 1});
        assert_eq!(values, expected);
    }
}
