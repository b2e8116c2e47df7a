//! Idempotency keys.

use super::*;

#[tokio::test]
async fn a_key_is_taken_once_and_its_duplicates_get_the_first_ones_place() {
    let redis = Redis::shared().await;
    let config = settings(redis);
    let pods = [Pod::ready(&config).await, Pod::ready(&config).await];
    let first = pods[0].try_publish(&keyed("a", "1", "k")).await.expect("published");
    assert_eq!(first.duplicate, None);
    for pod in &pods {
        let again = pod.try_publish(&keyed("a", "another body", "k")).await.expect("published");
        let message_id = keyed("a", "1", "k").message_id;
        assert_eq!(again, Receipt { duplicate: Some(message_id), ..first });
    }
    // Another room, another type of audience: other keys.
    let other = pods[1].try_publish(&keyed("b", "2", "k")).await.expect("published");
    assert_eq!(other.duplicate, None);
    for expected in [None, Some(())] {
        let key = IdempotencyKey::new("k").expect("a key");
        let event = NewEvent { idempotency_key: Some(key), ..broadcast("3") };
        let receipt = pods[0].try_publish(&event).await.expect("published");
        assert_eq!(receipt.duplicate.map(drop), expected);
    }
    pods[0].publish("a", "last").await;
    for pod in &pods {
        pod.sees("a", &["1".to_owned(), "last".to_owned()]).await;
    }
}

#[tokio::test]
async fn every_use_of_a_key_renews_its_window_and_after_it_the_event_is_new() {
    let redis = Redis::shared().await;
    let mut config = settings(redis);
    config.dedupe.window = Duration::from_millis(1500);
    let pod = Pod::ready(&config).await;
    let first = pod.try_publish(&keyed("a", "1", "k")).await.expect("published");
    // Used all the time for longer than the window is.
    let mut last = first;
    eventually("older than the window", SOON, async || {
        last = pod.try_publish(&keyed("a", "1", "k")).await.expect("published");
        assert_eq!((last.offset, last.duplicate.is_some()), (first.offset, true));
        let now: Vec<i64> = redis.command(&["TIME"]).await;
        now[0] * 1000 + now[1] / 1000 - first.timestamp > 2000
    })
    .await;
    // And then left alone: the key is gone by the server's clock.
    let name = format!("{}:{{events}}:key:*", config.redis.prefix);
    let keys: Vec<String> = redis.command(&["KEYS", &name]).await;
    assert_eq!(keys.len(), 1);
    eventually("the window is over", SOON, async || {
        redis.command::<u64>(&["EXISTS", &keys[0]]).await == 0
    })
    .await;
    let again = pod.try_publish(&keyed("a", "1", "k")).await.expect("published");
    assert_eq!(again.duplicate, None);
    assert!(again.offset > first.offset);
    pod.sees("a", &["1".to_owned(), "1".to_owned()]).await;
}

#[tokio::test]
async fn keys_outlive_a_restart_of_redis() {
    let redis = Redis::start().await;
    let config = settings(&redis);
    let pod = Pod::ready(&config).await;
    let first = pod.try_publish(&keyed("a", "1", "k")).await.expect("published");
    redis.kill().await;
    redis.restart().await;
    pod.publish_again("a", "2").await;
    let again = pod.try_publish(&keyed("a", "1", "k")).await.expect("published");
    assert_eq!((again.offset, again.duplicate.is_some()), (first.offset, true));
}
