//! The signing Secret gets a second key, then loses the first.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tidegate_faults::door::Key;
use tokio::time::Instant;

use crate::disturb::{Disturbance, under_load};
use crate::kube::until;
use crate::notes::{Notes, seconds};
use crate::pod::Pod;
use crate::site::{Site, put_keys};

/// "Within seconds". The mounted file alone takes up to two minutes.
const SECONDS: Duration = Duration::from_secs(10);

pub(super) async fn run(site: &Site, notes: &mut Notes) -> Result<()> {
    let old = site.key();
    let new = Key::random(&format!("{}n", old.kid), &mut rand::rng());
    let what = Disturbance { name: "the signing Secret is rotated", is_without_notice: false };
    under_load(site, notes, what, async |load, notes| {
        let pods = site.main.settled(3).await?;
        let readers = load.books().count() as u64;

        let began = Instant::now();
        put_keys(&site.main.kube, &[&old, &new]).await?;
        all_take(&pods, &new, true).await.context("the new key")?;
        let took = seconds(began.elapsed());
        notes.say(format!("every pod took the new key {took} after the Secret was written"));
        all_take(&pods, &old, true).await.context("the old key beside the new one")?;
        let goodbyes = load.books().filter(|book| !book.goodbyes.is_empty()).count();
        notes.check(goodbyes == 0, format!("{goodbyes} streams ended while both keys were good"));
        // Publishers sign with it now, readers when they come back.
        site.use_key(&new);

        let began = Instant::now();
        put_keys(&site.main.kube, &[&new]).await?;
        let revoked = async || {
            let ended = load.books().filter(|book| book.goodbyes.contains_key("revoked")).count();
            ensure!(ended as u64 == readers, "{ended} of {readers} streams");
            Ok(Some(()))
        };
        until("every stream of the old key ends with goodbye `revoked`", SECONDS, revoked).await?;
        let took = seconds(began.elapsed());
        notes.say(format!(
            "all {readers} streams of the old key had goodbye `revoked` after {took}"
        ));
        all_take(&pods, &old, false).await.context("the old key, revoked")?;
        until("all readers are back", 3 * SECONDS, async || {
            Ok(load.books().all(|book| book.resumes >= 1).then_some(()))
        })
        .await
    })
    .await
}

/// Waits until every pod takes a key, or none does.
async fn all_take(pods: &[Pod], key: &Key, wanted: bool) -> Result<()> {
    for pod in pods {
        until(&format!("{} answers so", pod.name), SECONDS, async || {
            Ok((pod.takes(key).await? == wanted).then_some(()))
        })
        .await?;
    }
    Ok(())
}
