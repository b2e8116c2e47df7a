//! The commands that `helm install` prints, as they are printed.

use anyhow::{Context as _, Result};

use crate::kube;
use crate::notes::Notes;
use crate::site::Site;

/// What the shell has before the first command. Names of hosts are nobody's here, and a command that
/// goes on is stopped with all that it has started.
const BEFORE: &str = r#"
set -eum
work=$(mktemp -d)
trap 'for job in $(jobs -p); do kill -- -"$job" 2>/dev/null || true; done; rm -rf "$work"' EXIT
curl() { command curl --silent --show-error --fail-with-body --connect-to "$HOST:80:$INGRESS" "$@"; }
# within WHAT COMMAND…: waits for ten seconds.
within() {
  local what=$1
  shift
  for _ in $(seq 100); do "$@" 2>/dev/null && return; sleep 0.1; done
  echo "not within ten seconds: $what" >&2
  exit 1
}
listens() { (exec 3<>"/dev/tcp/localhost/$1"); }
"#;

/// And after the last one.
const AFTER: &str = r#"
within 'the event that was published' grep -q '"items":3' "$work/stream"
echo 'THE EVENT CAME'
"#;

pub(super) async fn run(site: &Site, notes: &mut Notes) -> Result<()> {
    let namespace = &site.main.kube.namespace;
    let args = ["get", "notes", site.main.name, "--namespace", namespace];
    let commands = commands(&kube::run("helm", &args, None).await?);
    let script = script(&commands);
    let host = site.main.values["ingress"]["hosts"][0].as_str().context("no host")?;
    let (host, ingress) = (format!("HOST={host}"), format!("INGRESS={}", site.ingress));
    let said = kube::run("env", &[&host, &ingress, "bash", "-c", &script], None).await?;
    notes.check(
        said.contains("THE EVENT CAME"),
        format!("all {} commands of the notes work, and the event came", commands.len()),
    );
    Ok(())
}

/// The commands: what is indented, a line each unless it ends with a backslash.
fn commands(notes: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in notes.lines() {
        let Some(line) = line.strip_prefix("  ") else { continue };
        match commands.last_mut().filter(|_| goes_on) {
            Some(last) => {
                last.push('\n');
                last.push_str(line);
            }
            None => commands.push(line.to_owned()),
        }
        goes_on = line.ends_with('\\');
    }
    commands
}

/// A script that runs them. A stream is read beside the others, and a port that is forwarded is waited
/// for.
fn script(commands: &[String]) -> String {
    let mut script = BEFORE.to_owned();
    for command in commands {
        if command.contains("curl -N ") {
            script += &format!("{command} >\"$work/stream\" &\n");
            script += "within 'the first block' grep -q tidegate.connected \"$work/stream\"\n";
            continue;
        }
        script += command;
        script.push('\n');
        if let Some(forward) = command.strip_suffix(" &") {
            let ports = forward.split(' ').next_back().unwrap_or_default();
            let port = ports.split(':').next().unwrap_or_default();
            script += &format!("within 'port {port}' listens {port}\n");
        }
    }
    script + AFTER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_what_is_indented() {
        let notes = "Read:\n\n  base=x\n  curl -N \"$base\"\n\nWrite:\n\n  curl $base \\\n    -d 1\n\
                     \n  kubectl port-forward a 30001 &\nend\n";
        let commands = commands(notes);
        let expected = [
            "base=x",
            "curl -N \"$base\"",
            "curl $base \\\n  -d 1",
            "kubectl port-forward a 30001 &",
        ];
        assert_eq!(commands, expected);
        let script = script(&commands);
        for line in [
            "curl -N \"$base\" >\"$work/stream\" &",
            "kubectl port-forward a 30001 &",
            "within 'port 30001' listens 30001",
        ] {
            assert!(script.lines().any(|l| l == line), "{line} in\n{script}");
        }
    }
}
