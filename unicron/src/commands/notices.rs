//! What a server tells people, and how it is asked to end.

use std::io::Write;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

/// Prints what is sent, line by line, to stderr, until all senders are gone.
pub fn print_all(who: &'static str) -> (UnboundedSender<String>, JoinHandle<()>) {
    let (sender, mut received) = unbounded_channel::<String>();
    let printing = tokio::spawn(async move {
        while let Some(notice) = received.recv().await {
            // A terminal that is gone ends nobody's training.
            let _ = writeln!(std::io::stderr(), "{who}: {notice}");
        }
    });
    (sender, printing)
}

/// Waits for Ctrl-C or SIGTERM. Where neither can be heard of, for ever.
pub async fn asked_to_end() {
    let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    match (interrupt, terminate) {
        (Ok(mut interrupt), Ok(mut terminate)) => {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        }
        _ => std::future::pending().await,
    }
}
