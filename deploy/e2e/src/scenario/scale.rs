//! Three pods, five, two, and three again.

use anyhow::Result;

use crate::disturb::{Disturbance, under_load};
use crate::notes::Notes;
use crate::site::Site;

pub(super) async fn run(site: &Site, notes: &mut Notes) -> Result<()> {
    let what = Disturbance { name: "scale 3 → 5 → 2", is_without_notice: false };
    under_load(site, notes, what, async |_, _| {
        site.main.settled(3).await?;
        for count in [5, 2] {
            site.main.scale(count).await?;
            site.main.settled(count as usize).await?;
        }
        Ok(())
    })
    .await?;
    site.main.scale(3).await?;
    site.main.settled(3).await?;
    Ok(())
}
