//! A Redis that goes away, loses what it had, or refuses.

use std::path::Path;
use std::process::Command;

use super::*;
use crate::support::gateway::Gateway;

#[tokio::test]
async fn a_restart_with_its_data_loses_and_repeats_nothing() {
    let redis = Redis::start().await;
    let config = settings(&redis);
    let pods = [Pod::ready(&config).await, Pod::ready(&config).await];
    let tag = pods[0].tag();
    for n in 0..20 {
        pods[n % 2].publish("a", &n.to_string()).await;
    }
    redis.kill().await;
    for pod in &pods {
        pod.is_cut_off().await;
    }
    let refused = pods[0].try_publish(&event("a", "no")).await;
    assert!(matches!(refused, Err(PublishError::NotAccepted(_))), "{refused:?}");
    redis.restart().await;
    pods[0].publish_again("a", "20").await;
    for pod in &pods {
        pod.sees("a", &numbers(0..21)).await;
        pod.seen.told(|told| {
            told.assert_in_order();
            assert!(told.is_reachable());
            assert_eq!(told.starts.len(), config.redis.shards as usize + 1, "begun once");
        });
        assert_eq!(pod.tag(), tag);
    }
}

#[tokio::test]
async fn a_restart_without_its_data_is_another_log() {
    let redis = Redis::start().await;
    let config = settings(&redis);
    let pods = [Pod::ready(&config).await, Pod::ready(&config).await];
    let tag = pods[0].tag();
    let old = pods[0].publish("a", "old").await;
    for pod in &pods {
        pod.sees("a", &["old".to_owned()]).await;
    }
    redis.stop().await;
    redis.wipe().await;
    redis.restart().await;
    let new = pods[0].publish_again("a", "new").await;
    assert_ne!(new.tag, tag);
    for pod in &pods {
        pod.sees("a", &["old".to_owned(), "new".to_owned()]).await;
        assert_eq!(pod.tag(), new.tag);
        pod.seen.told(|told| assert_eq!(told.starts.len(), 2 * (config.redis.shards as usize + 1)));
    }
    assert_eq!(old.tag, tag);
}

#[tokio::test]
async fn a_log_that_is_flushed_under_an_open_connection_is_another_one() {
    let redis = Redis::start().await;
    let config = settings(&redis);
    let pod = Pod::ready(&config).await;
    let tag = pod.tag();
    pod.publish("a", "old").await;
    pod.sees("a", &["old".to_owned()]).await;
    redis.command::<()>(&["FLUSHALL"]).await;
    let new = pod.publish("a", "new").await;
    assert_ne!(new.tag, tag);
    pod.sees("a", &["old".to_owned(), "new".to_owned()]).await;
    let record = pod.seen.told(|told| told.records.last().expect("two").clone());
    assert_eq!((record.tag, record.offset), (new.tag, new.offset));
    assert_eq!(pod.tag(), new.tag);
}

#[tokio::test]
async fn an_older_copy_of_the_data_is_another_log_and_repeats_nothing() {
    let redis = Redis::start().await;
    let config = settings(&redis);
    let pods = [Pod::ready(&config).await, Pod::ready(&config).await];
    let tag = pods[0].tag();
    pods[0].publish("a", "1").await;
    for pod in &pods {
        pod.sees("a", &["1".to_owned()]).await;
    }
    redis.stop().await;
    let copy = tempfile::tempdir().expect("a directory");
    copy_files(&redis.data(), copy.path());
    redis.restart().await;
    pods[0].publish_again("a", "2").await;
    for pod in &pods {
        pod.sees("a", &["1".to_owned(), "2".to_owned()]).await;
    }
    redis.stop().await;
    redis.wipe().await;
    copy_files(copy.path(), &redis.data());
    redis.restart().await;
    // The second is not in the log any more, and cursors past it must not be taken as good.
    for pod in &pods {
        eventually("begun anew", SOON, async || pod.tag() != tag).await;
    }
    eventually("the pods agree", SOON, async || pods[0].tag() == pods[1].tag()).await;
    let third = pods[1].publish_again("a", "3").await;
    assert_eq!(third.tag, pods[0].tag());
    for pod in &pods {
        pod.sees("a", &["1".to_owned(), "2".to_owned(), "3".to_owned()]).await;
    }
}

#[tokio::test]
async fn a_stream_that_was_trimmed_past_a_pods_place_begins_anew_at_its_start() {
    let redis = Redis::start().await;
    let mut config = settings(&redis);
    config.redis.shards = 1;
    let pod = Pod::ready(&config).await;
    let tag = pod.tag();
    pod.publish("a", "1").await;
    pod.sees("a", &["1".to_owned()]).await;
    let name = stream(&config, 0);
    let add = |data| ["XADD", &name, "*", "key", "a", "event_type", "t", "data", data];
    redis
        .transaction(&[
            &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"],
            &add("2"),
            &add("3"),
            &["XTRIM", &name, "MAXLEN", "1"],
        ])
        .await;
    pod.sees("a", &["1".to_owned(), "3".to_owned()]).await;
    pod.seen.told(|told| {
        let (shard, from, log_start) = *told.starts.last().expect("begun");
        let third = told.records.last().expect("the third");
        assert_eq!((shard, from.next, log_start), (third.shard, third.offset, third.offset));
        assert_eq!(from.tag, tag, "the log is the same");
        assert_eq!(told.starts.len(), 3, "two streams at first, one anew");
    });
}

#[tokio::test]
async fn a_connection_that_breaks_is_made_again() {
    let redis = Redis::start().await;
    let config = settings(&redis);
    let pod = Pod::ready(&config).await;
    for n in 0..20 {
        if n % 5 == 4 {
            redis.command::<u64>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
        }
        pod.publish_again("a", &n.to_string()).await;
    }
    pod.sees("a", &numbers(0..20)).await;
    // A server that has forgotten the scripts is given them again.
    redis.command::<()>(&["SCRIPT", "FLUSH"]).await;
    pod.publish("a", "20").await;
    pod.sees("a", &numbers(0..21)).await;
}

#[tokio::test]
async fn a_pod_whose_redis_comes_later_says_so_and_begins_then() {
    let redis = Redis::stopped(&[]);
    let config = settings(&redis);
    let pod = Pod::open(&config);
    pod.is_cut_off().await;
    let refused = pod.try_publish(&event("a", "no")).await;
    assert!(matches!(refused, Err(PublishError::NotAccepted(_))), "{refused:?}");
    assert_eq!(pod.seen.told(|told| (told.sources.len(), told.starts.len())), (0, 0));
    redis.restart().await;
    pod.publish_again("a", "1").await;
    pod.sees("a", &["1".to_owned()]).await;
    assert!(pod.seen.told(|told| told.is_reachable() && told.caught_up.is_some()));
}

#[tokio::test]
async fn what_a_silent_server_was_sent_has_an_unknown_outcome_and_the_rest_is_not_accepted() {
    let redis = Redis::start().await;
    let mut config = settings(&redis);
    config.publish.timeout = Duration::from_secs(1);
    let pod = Pod::ready(&config).await;
    pod.publish("a", "0").await;
    redis.freeze().await;
    let (one, two) = (event("a", "1"), event("a", "2"));
    let began = Instant::now();
    let sent = async {
        let sent = pod.try_publish(&one).await;
        assert!(matches!(sent, Err(PublishError::OutcomeUnknown(_))), "{sent:?}");
    };
    let waits = async {
        // The first is under way, and holds the connection.
        tokio::task::yield_now().await;
        let waits = pod.log.publish(&two, began + Duration::from_millis(500)).await;
        assert!(matches!(waits, Err(PublishError::NotAccepted(_))), "{waits:?}");
    };
    tokio::join!(sent, waits);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    redis.thaw().await;
    pod.publish_again("a", "3").await;
    eventually("the third is read", SOON, async || {
        pod.seen.told(|told| told.values_of("a").last().is_some_and(|value| value == "3"))
    })
    .await;
    // What was said to be not accepted is not there.
    assert!(pod.seen.told(|told| !told.values_of("a").contains(&"2".to_owned())));
}

#[tokio::test]
async fn a_full_redis_takes_nothing_and_says_so() {
    let redis =
        Redis::start_with(&["--maxmemory", "4mb", "--maxmemory-policy", "noeviction"]).await;
    let config = settings(&redis);
    let pod = Pod::ready(&config).await;
    let data = format!("\"{}\"", "x".repeat(100_000));
    let mut taken = 0;
    let refusal = loop {
        match pod.try_publish(&event("a", &data)).await {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 100, "it has to be full");
    };
    assert!(matches!(&refusal, PublishError::NotAccepted(why) if why.contains("OOM")), "{refusal}");
    eventually("all that was taken is read", SOON, async || {
        pod.seen.told(|told| told.values_of("a").len() == taken)
    })
    .await;
}

#[tokio::test]
async fn a_replica_takes_nothing_and_as_many_replicas_as_asked_for_must_have_an_event() {
    let primary = Redis::start().await;
    let mut config = settings(&primary);
    config.redis.wait_replicas = 1;
    let pod = Pod::ready(&config).await;
    let alone = pod.try_publish(&keyed("a", "1", "k")).await;
    assert!(
        matches!(&alone, Err(PublishError::OutcomeUnknown(why)) if why.contains("0 of 1")),
        "{alone:?}"
    );
    let port = primary.port().to_string();
    let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &port]).await;
    eventually("replicated", SOON, async || {
        replica.command::<String>(&["INFO", "replication"]).await.contains("master_link_status:up")
    })
    .await;
    // The retry with the same key finds the first one, which the replica has by now.
    let again = pod.try_publish(&keyed("a", "1", "k")).await.expect("published");
    assert!(again.duplicate.is_some());
    pod.publish("a", "2").await;
    pod.sees("a", &["1".to_owned(), "2".to_owned()]).await;

    let mut of_replica = on_redis(&replica.url(), &config.redis.prefix);
    of_replica.publish.timeout = Duration::from_secs(1);
    let demoted = Pod::open(&of_replica);
    let refused = demoted.try_publish(&event("a", "3")).await;
    assert!(
        matches!(&refused, Err(PublishError::NotAccepted(why)) if why.contains("READONLY")),
        "{refused:?}"
    );
    // When it becomes the primary it is the same log.
    replica.command::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    demoted.publish_again("a", "3").await;
    demoted.sees("a", &["1".to_owned(), "2".to_owned(), "3".to_owned()]).await;
    assert_eq!(demoted.tag(), pod.tag());
}

#[tokio::test]
async fn a_wrong_password_is_said_and_never_shown() {
    let redis = Redis::start_with(&["--requirepass", "swordfish"]).await;
    let good = settings(&redis);
    let pod = Pod::ready(&good).await;
    pod.publish("a", "1").await;
    let url = redis.url().replace("swordfish", "sturgeon");
    let wrong = Pod::open(&on_redis(&url, &good.redis.prefix));
    wrong.is_cut_off().await;
    let why = wrong.seen.told(|told| told.unreachable().expect("a reason").to_owned());
    assert!(!why.contains("sturgeon"), "{why}");
    let refused = wrong.try_publish(&event("a", "2")).await.expect_err("no access");
    assert!(matches!(refused, PublishError::NotAccepted(_)));
    assert!(!format!("{refused} {:?}", wrong.log).contains("sturgeon"));
}

#[tokio::test]
async fn tls_is_spoken_with_a_server_whose_certificate_is_trusted() {
    let certificates = tempfile::tempdir().expect("a directory");
    let [ca, cert, key] = certify(certificates.path());
    let port = tidegate_rig::free_ports::<1>()[0].to_string();
    let redis = Redis::start_with(&[
        "--requirepass",
        "sword/fish",
        "--tls-port",
        &port,
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-auth-clients",
        "no",
    ])
    .await;
    let url = format!("rediss://:sword%2Ffish@127.0.0.1:{port}");
    let mut config = on_redis(&url, "tls");
    config.redis.ca_file = Some(ca.clone().into());
    let pod = Pod::ready(&config).await;
    pod.publish("a", "1").await;
    pod.sees("a", &["1".to_owned()]).await;

    let untrusted = Pod::open(&on_redis(&url, "tls"));
    untrusted.is_cut_off().await;
    let why = untrusted.seen.told(|told| told.unreachable().expect("a reason").to_owned());
    assert!(why.contains("certificate"), "{why}");

    // The same as settings of the program.
    let flags = ["--log-kind=redis", &format!("--redis-ca-file={ca}"), "--redis-prefix=tls"];
    let gateway = Gateway::spawn_with(&flags, &[("TIDEGATE_REDIS_URL", &url)]).await;
    gateway.until_ready().await;
    assert_eq!(gateway.publish("a", "t", r#"{"data":2}"#).await.status, 200);
    pod.sees("a", &["1".to_owned(), "2".to_owned()]).await;
    assert!(!gateway.log().contains("fish"));
    let _ = redis;
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_at_once() {
    let open = |change: &dyn Fn(&mut Config)| {
        let mut config = on_redis("rediss://:swordfish@127.0.0.1:1", "t");
        change(&mut config);
        Log::open(&config, Recording::default()).map(drop).expect_err("refused").to_string()
    };
    for refused in [
        open(&|config| config.redis.url = None),
        open(&|config| config.redis.ca_file = Some("/nowhere/ca.pem".into())),
        open(&|config| {
            config.redis.url =
                Some(tidegate::config::Secret::new("redis://:swordfish@127.0.0.1/x"));
        }),
    ] {
        assert!(!refused.contains("swordfish"), "{refused}");
    }
}

fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for file in std::fs::read_dir(from).expect("files") {
        let file = file.expect("a file");
        std::fs::copy(file.path(), to.join(file.file_name())).expect("copied");
    }
}

/// Makes an authority and a server's certificate for 127.0.0.1: authority, certificate, key.
fn certify(directory: &Path) -> [String; 3] {
    let openssl = |args: &str| {
        let done = Command::new("openssl").args(args.split(' ')).current_dir(directory).output();
        let done = done.expect("openssl runs (Debian: apt-get install openssl)");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    let extensions = "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n";
    std::fs::write(directory.join("server.ext"), extensions).expect("written");
    let new = "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("{new} -x509 -days 2 -subj /CN=ca -keyout ca.key -out ca.pem"));
    openssl(&format!("{new} -subj /CN=redis -keyout server.key -out server.csr"));
    openssl(
        "x509 -req -days 2 -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial \
         -extfile server.ext -out server.pem",
    );
    ["ca.pem", "server.pem", "server.key"]
        .map(|name| directory.join(name).to_str().expect("a path").to_owned())
}
