//! A connection that breaks at the worst moment: the request has arrived, its answer hasn't.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Longer than etcd takes for a commit.
const SILENCE: Duration = Duration::from_millis(500);

/// Stands between a client and a server; ends with the test's process.
pub struct Proxy {
    pub address: SocketAddr,
    /// How many connections are yet to be broken.
    breaks: Arc<AtomicUsize>,
}

impl Proxy {
    pub fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let breaks = Arc::new(AtomicUsize::new(0));
        let (server, counter) = (server.to_owned(), Arc::clone(&breaks));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&server) else { continue };
                let (to_server, to_client) = (server.try_clone(), client.try_clone());
                let counter = Arc::clone(&counter);
                thread::spawn(move || copy(client, to_server.unwrap(), None));
                thread::spawn(move || copy(server, to_client.unwrap(), Some(&counter)));
            }
        });
        Self { address, breaks }
    }

    /// The next answer is kept back, and a little later the connection ends.
    pub fn lose_an_answer(&self) {
        self.breaks.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether all that were to be lost are.
    pub fn has_lost_them(&self) -> bool {
        self.breaks.load(Ordering::SeqCst) == 0
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, breaks: Option<&AtomicUsize>) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        let less_one = |breaks: usize| breaks.checked_sub(1);
        let is_break = breaks.is_some_and(|breaks| {
            breaks.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less_one).is_ok()
        });
        if is_break {
            thread::sleep(SILENCE);
            break;
        }
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
