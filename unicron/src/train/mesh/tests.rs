//! Meshes of several workers in one process.

use super::*;
use std::thread;
use std::time::Instant;

const PATIENCE: Duration = Duration::from_secs(5);

struct Worker {
    mesh: Mesh,
    events: Receiver<MeshEvent>,
}

fn worker(me: u64) -> Worker {
    let (sender, events) = mpsc::channel();
    let sink: Sink = Arc::new(move |event| drop(sender.send(event)));
    Worker { mesh: Mesh::listen("127.0.0.1", me, 100, sink).unwrap(), events }
}

fn addresses(workers: &[&Worker]) -> Vec<(u64, String)> {
    workers.iter().map(|w| (w.mesh.shared.me, w.mesh.address().to_string())).collect()
}

impl Worker {
    fn hears(&self) -> (u64, Message) {
        match self.events.recv_timeout(PATIENCE).unwrap() {
            MeshEvent::Message(from, envelope) => (from, envelope.message),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn members_hear_each_other_whoever_learns_of_the_group_first() {
    for second_first in [false, true] {
        let (mut a, mut b) = (worker(1), worker(2));
        let (to_a, to_b) = (addresses(&[&a]), addresses(&[&b]));
        let (first, others) = if second_first { (&mut b, &to_a) } else { (&mut a, &to_b) };
        first.mesh.switch(7, others).unwrap();
        // Time for a connection that the other doesn't expect yet.
        thread::sleep(Duration::from_millis(30));
        if second_first {
            a.mesh.switch(7, &to_b).unwrap();
        } else {
            b.mesh.switch(7, &to_a).unwrap();
        }
        a.mesh.send(2, 1, Message::Prepared);
        b.mesh.send(1, 1, Message::Segment(3, vec![1.0, 2.0].into()));
        assert_eq!(b.hears(), (1, Message::Prepared));
        assert_eq!(a.hears(), (2, Message::Segment(3, vec![1.0, 2.0].into())));
    }
}

#[test]
fn a_member_that_ends_is_told_of_and_one_that_never_was_too() {
    let (mut a, b) = (worker(1), worker(2));
    let mut others = addresses(&[&b]);
    a.mesh.switch(1, &others).unwrap();
    drop(b);
    let MeshEvent::Lost(1, 2, _) = a.events.recv_timeout(PATIENCE).unwrap() else { panic!() };
    // Nobody listens there any more.
    others[0].0 = 3;
    a.mesh.switch(2, &others).unwrap();
    let MeshEvent::Lost(2, 3, error) = a.events.recv_timeout(PATIENCE).unwrap() else { panic!() };
    assert!(!error.is_empty());
}

#[test]
fn a_group_that_was_left_says_nothing_more() {
    let (mut a, mut b) = (worker(1), worker(2));
    let (to_a, to_b) = (addresses(&[&a]), addresses(&[&b]));
    a.mesh.switch(1, &to_b).unwrap();
    b.mesh.switch(1, &to_a).unwrap();
    a.mesh.send(2, 1, Message::Over);
    assert_eq!(b.hears(), (1, Message::Over));
    b.mesh.switch(2, &to_a).unwrap();
    a.mesh.send(2, 1, Message::Prepared);
    a.mesh.switch(2, &to_b).unwrap();
    a.mesh.send(2, 2, Message::Over);
    assert_eq!(b.hears(), (1, Message::Over));
    assert!(b.events.try_recv().is_err());
}

#[test]
fn a_stranger_has_no_part() {
    let mut a = worker(1);
    a.mesh.switch(1, &[]).unwrap();
    for hello in [
        Hello { epoch: 1, from: 9, to: 1 },
        Hello { epoch: 0, from: 2, to: 1 },
        Hello { epoch: 1, from: 2, to: 4 },
    ] {
        let mut stream = TcpStream::connect(a.mesh.address()).unwrap();
        hello.write(&mut stream).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(std::io::Read::read(&mut stream, &mut [0; 8]).unwrap(), 0);
    }
    assert!(a.events.try_recv().is_err());
}

#[test]
fn a_peer_that_reads_nothing_holds_up_nobody() {
    let mut a = worker(1);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = vec![(2, listener.local_addr().unwrap().to_string())];
    a.mesh.switch(1, &silent).unwrap();
    let clock = Instant::now();
    let large = Message::State(vec![0.0; 1 << 20].into());
    for _ in 0..50 {
        a.mesh.send(2, 1, large.clone());
    }
    a.mesh.switch(2, &[]).unwrap();
    assert!(clock.elapsed() < Duration::from_secs(2), "{:?}", clock.elapsed());
}
