//! Connections: how many at a time, and how long they last.

use super::{Asked, Page, Site, is_own_name};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{HOST, IF_NONE_MATCH};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// More who ask at the same time wait. Prometheus has one connection, a browser up to six.
const MOST_CONNECTIONS: usize = 32;

/// A request is a few lines, sent at once.
const REQUEST_PATIENCE: Duration = Duration::from_secs(5);

/// Nobody reads an answer for longer.
const CONNECTION_PATIENCE: Duration = Duration::from_secs(30);

/// Answers for ever.
pub async fn listen(listener: TcpListener, site: impl Site) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    // An address that others reach has names that we don't know.
    let is_local = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Too many files are open: others close theirs.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let site = site.clone();
        tokio::spawn(async move {
            // Whoever is too slow for an answer gets none.
            let _ =
                tokio::time::timeout(CONNECTION_PATIENCE, converse(stream, site, is_local)).await;
            drop(place);
        });
    }
}

async fn converse(stream: TcpStream, site: impl Site, is_local: bool) {
    let answer = service_fn(|request: Request<Incoming>| {
        let site = site.clone();
        async move { Ok::<_, Infallible>(answer(&request, &site, is_local).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_PATIENCE)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer);
    // What goes wrong on a connection is its client's matter.
    let _ = serving.await;
}

async fn answer(
    request: &Request<Incoming>,
    site: &impl Site,
    is_local: bool,
) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let page = Page::problem(StatusCode::METHOD_NOT_ALLOWED, "GET is allowed\n");
        return page.into_response(None);
    }
    // HTTP/1.0 has no such header, and no browser speaks it.
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    if is_local && !host.is_none_or(is_own_name) {
        let why = "ask for this machine by localhost or by its address\n";
        return Page::problem(StatusCode::MISDIRECTED_REQUEST, why).into_response(None);
    }
    let uri = request.uri();
    let query = uri.query().unwrap_or_default().to_owned();
    let page = site.page(Asked { path: uri.path().to_owned(), query }).await;
    page.into_response(request.headers().get(IF_NONE_MATCH))
}
