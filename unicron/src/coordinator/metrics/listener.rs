//! The way to whoever asks for the figures: HTTP, `GET /metrics`.
//!
//! It tells names of nodes and tasks, without encryption: so it is meant for this machine alone, or for a
//! network that whoever runs it trusts.

use super::text;
use crate::coordinator::service::Service;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// More who ask at the same time wait. Prometheus has one connection.
const MOST_CONNECTIONS: usize = 16;

/// A request is a few lines, sent at once.
const REQUEST_PATIENCE: Duration = Duration::from_secs(5);

/// Nobody reads an answer for longer.
const CONNECTION_PATIENCE: Duration = Duration::from_secs(30);

/// Answers for ever.
pub(in crate::coordinator) async fn listen(listener: TcpListener, service: Service) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Too many files are open: others close theirs.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let service = service.clone();
        tokio::spawn(async move {
            // Whoever is too slow for an answer gets none.
            let _ = tokio::time::timeout(CONNECTION_PATIENCE, converse(stream, service)).await;
            drop(place);
        });
    }
}

async fn converse(stream: TcpStream, service: Service) {
    let answer = service_fn(|request: Request<Incoming>| {
        let service = service.clone();
        async move { Ok::<_, Infallible>(answer(&request, &service).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_PATIENCE)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer);
    // What goes wrong on a connection is its client's matter.
    let _ = serving.await;
}

async fn answer(request: &Request<Incoming>, service: &Service) -> Response<Full<Bytes>> {
    if request.uri().path() != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "metrics are at /metrics\n");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "GET is allowed\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    // An error means that another leads, or nobody.
    match text::text(service.figures().await.ok()) {
        Ok(text) => {
            let mut response = plain(StatusCode::OK, text);
            let sort = HeaderValue::from_static(text::CONTENT_TYPE);
            response.headers_mut().insert(CONTENT_TYPE, sort);
            response
        }
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response
}
