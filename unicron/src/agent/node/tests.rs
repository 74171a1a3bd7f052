//! What a node says, in which order.

use super::*;
use tokio::sync::oneshot;

fn node() -> Node {
    let settings = Settings {
        node: "a".to_owned(),
        slots: 1,
        host: "127.0.0.1".to_owned(),
        gpus: Vec::new(),
        program: PathBuf::new(),
        folder: PathBuf::new(),
        run_id: String::new(),
        incarnation: "1".to_owned(),
        grace: Duration::ZERO,
        health: None,
        kernel_log: PathBuf::new(),
        store_bytes: 1 << 20,
        sets_threads: false,
        output: None,
    };
    let (occurrences, _) = mpsc::channel(1);
    let (heard, _) = mpsc::channel(1);
    let (notices, _) = mpsc::unbounded_channel();
    Node::new(settings, occurrences, heard, notices)
}

fn committed(iteration: u64) -> Say {
    Say::Committed(v1::Committed { worker: 1, iteration, ..v1::Committed::default() })
}

#[test]
fn what_waits_for_a_welcome_is_said_in_its_order() {
    let mut node = node();
    node.say(committed(1));
    let (answer, mut answered) = oneshot::channel();
    node.come(Incoming::Connecting(answer));
    let (_, mut messages) = answered.try_recv().unwrap();
    node.say(committed(2));
    assert!(messages.try_recv().is_err(), "nobody has welcomed it");
    let welcome = v1::Welcome { lease_s: 4.0, ..v1::Welcome::default() };
    node.come(Incoming::Message(to_agent::Message::Welcome(welcome)));
    node.say(committed(3));
    let said = std::iter::from_fn(|| messages.try_recv().ok());
    let iterations: Vec<u64> = said
        .filter_map(|message| match message.message {
            Some(Say::Committed(committed)) => Some(committed.iteration),
            _ => None,
        })
        .collect();
    assert_eq!(iterations, [1, 2, 3]);
    node.come(Incoming::Gone);
    node.say(committed(4));
    assert!(messages.try_recv().is_err());
}
