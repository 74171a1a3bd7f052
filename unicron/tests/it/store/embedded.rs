//! What the embedded store does with its file.

use super::cluster::KEPT_EVENTS;
use super::{Arc, Store, assert_steps, lead, step};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::fs;
use std::path::Path;
use std::time::Duration;
use unicron::store::{Embedded, FILE_NAME};

async fn open(folder: &Path) -> Result<Arc<dyn Store>, String> {
    let opened = Embedded::open(folder, KEPT_EVENTS).await;
    opened.map(|store| Arc::new(store) as Arc<dyn Store>).map_err(|error| error.to_string())
}

#[tokio::test]
async fn one_coordinator_has_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("not").join("there");
    let store = open(&below).await.unwrap();
    let leader = lead(&store, "a").await;
    leader.commit(step(1)).await.unwrap();
    let refused = open(&below).await.unwrap_err();
    let path = below.join(FILE_NAME).display().to_string();
    assert!(refused.starts_with(&path), "{refused}");
    assert!(refused.contains("another coordinator has it open: stop that one"), "{refused}");
    drop((leader, store));
    assert_steps(&open(&below).await.unwrap(), 0, 1, 1).await;
}

#[tokio::test]
async fn what_is_no_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join(FILE_NAME),
        "not a database, but long enough to be read".repeat(99),
    )
    .unwrap();
    let refused = open(folder.path()).await.unwrap_err();
    assert!(refused.contains("restore a backup"), "{refused}");
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let refused = open(&file).await.unwrap_err();
    assert!(refused.starts_with(&file.display().to_string()), "{refused}");
}

/// A file that something else has altered opens, or is refused with its name; no panic gets out.
#[test]
fn a_damaged_file_is_an_error_not_a_panic() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    runtime.block_on(async {
        let store = open(folder.path()).await.unwrap();
        let leader = lead(&store, "a").await;
        for number in 1..=KEPT_EVENTS {
            leader.commit(step(number)).await.unwrap();
        }
    });
    let whole = fs::read(folder.path().join(FILE_NAME)).unwrap();
    let path = folder.path().join(FILE_NAME);
    let mutation = (any::<prop::sample::Index>(), any::<[u8; 4]>(), any::<bool>());
    let mut runner = TestRunner::new(ProptestConfig { cases: 48, ..ProptestConfig::default() });
    runner
        .run(&mutation, |(place, bytes, is_cut)| {
            let mut damaged = whole.clone();
            // Most of a new file is empty; what isn't lies at its start.
            let place = place.index(damaged.len().min(64 * 1024) - bytes.len());
            damaged[place..place + bytes.len()].copy_from_slice(&bytes);
            if is_cut {
                damaged.truncate(place + bytes.len());
            }
            fs::write(&path, &damaged).unwrap();
            runtime.block_on(async {
                let opened = open(folder.path()).await;
                let Ok(store) = opened else {
                    let refused = opened.unwrap_err();
                    assert!(refused.starts_with(&path.display().to_string()), "{refused}");
                    return;
                };
                let _ = store.load("").await;
                let _ = store.events(0, 10).await;
                if let Ok(leader) = store.campaign("a", Duration::from_secs(1)).await {
                    let _ = leader.commit(step(9)).await;
                }
            });
            Ok(())
        })
        .unwrap();
}
