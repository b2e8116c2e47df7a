//! `helm test`.

use anyhow::Result;
use tokio::time::Instant;

use crate::notes::{Notes, seconds};
use crate::site::Site;

pub(super) async fn run(site: &Site, notes: &mut Notes) -> Result<()> {
    let began = Instant::now();
    let said = site.main.test().await?;
    notes.check(
        said.contains("Succeeded"),
        format!("helm test passed in {}", seconds(began.elapsed())),
    );
    Ok(())
}
