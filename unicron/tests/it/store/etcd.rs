//! What the store does when etcd dies, hangs, is out of reach or asks for certificates.

use super::cluster::{KEPT_EVENTS, Server, free_port};
use super::proxy::Proxy;
use super::{Arc, Duration, Instant, SLACK, Store, TTL, assert_over, assert_steps, lead, step};
use crate::certificates::Authority;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use unicron::rpc::TlsFiles;
use unicron::store::{Etcd, EtcdSettings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_is_killed_again_and_again_and_nothing_is_lost() {
    let Some(mut server) = Server::start() else { return };
    let store = server.store();
    // Longer than etcd is away.
    let leader = store.campaign("a", Duration::from_secs(20)).await.unwrap();
    let term = leader.term();
    let steps = KEPT_EVENTS;
    let committing = tokio::spawn(async move {
        for number in 1..=steps {
            assert_eq!(leader.commit(step(number)).await.unwrap(), number);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        leader
    });
    for pause_ms in [450, 1010, 330] {
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        server.kill();
        tokio::time::sleep(Duration::from_millis(200)).await;
        server.restart();
    }
    let leader = committing.await.unwrap();
    assert_steps(&server.store(), 0, 1, steps).await;
    assert_eq!(leader.term(), term);
    assert_eq!(store.leader().await.unwrap().as_deref(), Some("a"));
    // The lease is kept alive again: it outlives what etcd has left of it.
    let lost = tokio::time::timeout(Duration::from_secs(1), leader.lost()).await;
    assert!(lost.is_err(), "{lost:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_is_made_once() {
    let Some(server) = Server::start() else { return };
    let proxy = Proxy::to(server.url().strip_prefix("http://").unwrap());
    let settings = server.settings();
    let endpoints = vec![format!("http://{}", proxy.address)];
    let store: Arc<dyn Store> =
        Arc::new(Etcd::new(&EtcdSettings { endpoints, ..settings }).unwrap());
    // Nothing but the commits has an answer to lose.
    let leader = store.campaign("a", Duration::from_secs(60)).await.unwrap();
    for number in 1..=3 {
        proxy.lose_an_answer();
        assert_eq!(leader.commit(step(number)).await.unwrap(), number);
        assert!(proxy.has_lost_them());
    }
    assert_steps(&store, 0, 1, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_lease_is_kept_alive_and_survives_a_restart_of_etcd() {
    let Some(mut server) = Server::start() else { return };
    let store = server.store();
    let leader = store.campaign("a", Duration::from_secs(4)).await.unwrap();
    server.kill();
    server.restart();
    let lost = tokio::time::timeout(Duration::from_secs(6), leader.lost()).await;
    assert!(lost.is_err(), "{lost:?}");
    leader.commit(step(1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_etcd_does_not_hear_is_lost_within_its_ttl() {
    let Some(server) = Server::start() else { return };
    let store = server.store();
    let leader = lead(&store, "a").await;
    leader.commit(step(1)).await.unwrap();
    let begin = Instant::now();
    server.signal("STOP");
    let reason = leader.lost().await;
    let waited = begin.elapsed();
    assert!(reason.contains("its lease could not be renewed"), "{reason}");
    assert!(waited < TTL + Duration::from_secs(5), "{waited:?}");
    assert_over(leader.commit(step(2)).await, leader.term());
    server.signal("CONT");
    assert_over(leader.commit(step(2)).await, leader.term());
    // Its own lease of before doesn't make it wait.
    let term = leader.term();
    drop(leader);
    let leader = lead(&store, "a").await;
    assert!(leader.term() > term);
    assert_eq!(leader.commit(step(2)).await.unwrap(), 2);
    assert_steps(&store, 0, 1, 2).await;
}

/// The leader's clock says that it leads; etcd knows better.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_key_is_gone_is_refused_by_etcd_itself() {
    let Some(server) = Server::start() else { return };
    let (store, other) = (server.store(), server.store());
    let leader = store.campaign("a", Duration::from_secs(60)).await.unwrap();
    leader.commit(step(1)).await.unwrap();
    delete_all(server.url(), "/unicron/election/");
    let next = other.campaign("b", TTL).await.unwrap();
    assert_over(leader.commit(step(2)).await, leader.term());
    assert!(leader.lost().await.contains("has begun"));
    assert_eq!(next.commit(step(2)).await.unwrap(), 2);
    delete_all(server.url(), "/unicron/election/");
    assert_over(next.commit(step(3)).await, next.term());
    assert_eq!(next.lost().await, "its key in etcd is gone");
    assert_steps(&store, 0, 1, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_etcd_out_of_reach_is_said() {
    let url = format!("http://127.0.0.1:{}", free_port());
    let deadline = Duration::from_millis(500);
    let store = Etcd::new(&EtcdSettings { deadline, ..EtcdSettings::new(&url) }).unwrap();
    let begin = Instant::now();
    let expected = format!("{url}: load: not done within 500ms, is etcd up? ");
    let error = store.load("").await.unwrap_err().to_string();
    assert!(error.starts_with(&expected), "{error}");
    let error = store.campaign("a", TTL).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("{url}: grant a lease: ")), "{error}");
    assert!(begin.elapsed() < SLACK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_member_takes_over() {
    let Some(server) = Server::start() else { return };
    let settings =
        EtcdSettings::new(&format!("http://127.0.0.1:{}, {}", free_port(), server.url()));
    let store: Arc<dyn Store> = Arc::new(Etcd::new(&settings).unwrap());
    let leader = lead(&store, "a").await;
    assert_eq!(leader.commit(step(1)).await.unwrap(), 1);
    let lost = tokio::time::timeout(TTL * 2, leader.lost()).await;
    assert!(lost.is_err(), "{lost:?}");
}

/// etcd asks clients for a certificate of its authority.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_is_reached_by_tls_with_certificates_of_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (authority, other) = (Authority::new(), Authority::new());
    fs::write(path("ca.pem"), authority.pem()).unwrap();
    fs::write(path("other-ca.pem"), other.pem()).unwrap();
    for (name, issuer) in [("etcd", &authority), ("client", &authority), ("stranger", &other)] {
        let (certificate, key) = issuer.issue(name);
        fs::write(path(&format!("{name}.pem")), certificate).unwrap();
        fs::write(path(&format!("{name}-key.pem")), key).unwrap();
    }
    let argument = |flag: &str, name: &str| format!("--{flag}={}", path(name).display());
    let arguments = [
        argument("cert-file", "etcd.pem"),
        argument("key-file", "etcd-key.pem"),
        argument("trusted-ca-file", "ca.pem"),
        "--client-cert-auth".to_owned(),
    ];
    let Some(server) = Server::start_with("https", &arguments) else { return };
    let reach = |authority: &str, client: Option<&str>, deadline_s| {
        let of_client = |end: &str| client.map(|name| path(&format!("{name}{end}")));
        let (certificate, key) = (of_client(".pem"), of_client("-key.pem"));
        let tls = Some(TlsFiles { ca: path(authority), certificate, key });
        let deadline = Duration::from_secs(deadline_s);
        Etcd::new(&EtcdSettings { tls, deadline, ..server.settings() })
    };
    let store: Arc<dyn Store> = Arc::new(reach("ca.pem", Some("client"), 30).unwrap());
    let leader = lead(&store, "a").await;
    assert_eq!(leader.commit(step(1)).await.unwrap(), 1);
    for (authority, client) in
        [("other-ca.pem", Some("client")), ("ca.pem", None), ("ca.pem", Some("stranger"))]
    {
        let refused = reach(authority, client, 1).unwrap().load("").await.unwrap_err().to_string();
        assert!(refused.contains("not done within 1s, is etcd up?"), "{refused}");
    }
    let missing = reach("nowhere.pem", None, 1).unwrap_err().to_string();
    assert!(missing.starts_with(&path("nowhere.pem").display().to_string()), "{missing}");
}

#[tokio::test]
async fn a_mistake_in_the_settings_is_named() {
    for (endpoints, expected) in [
        ("", "etcd: \"\" is no URL that starts with http:// or https://"),
        ("localhost:2379", "etcd: \"localhost:2379\" is no URL that starts with"),
        ("http://a:1,http://b c", "etcd: \"http://b c\" is no URL: "),
        ("https://a:1", "etcd: \"https://a:1\" needs the certificate of the authority"),
    ] {
        let error = Etcd::new(&EtcdSettings::new(endpoints)).unwrap_err();
        assert!(error.is_bad_input() && error.to_string().starts_with(expected), "{error}");
    }
}

/// Deletes all keys under a prefix through etcd's JSON gateway, as an operator might.
fn delete_all(url: &str, prefix: &str) {
    let after = format!("{}0", prefix.strip_suffix('/').unwrap());
    let body = format!(r#"{{"key":"{}","range_end":"{}"}}"#, base64(prefix), base64(&after));
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let head = "POST /v3/kv/deleterange HTTP/1.0\r\nContent-Type: application/json\r\n";
    write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("\"deleted\":\"1\""), "{answer}");
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = |three: &[u8]| {
        let bits = (0..3).fold(0, |bits, i| bits << 8 | usize::from(*three.get(i).unwrap_or(&0)));
        let digit =
            |i: usize| if i <= three.len() { DIGITS[bits >> (18 - 6 * i) & 63] } else { b'=' };
        (0..4).map(|i| char::from(digit(i))).collect::<String>()
    };
    text.as_bytes().chunks(3).map(digits).collect()
}
