//! A small server of HTTP/1.1, for a page of metrics and a dashboard: who asks reads, and changes nothing.
//!
//! | what | file |
//! |---|---|
//! | connections, and how long they last | [`listener`] |
//! | what is asked, and an answer | this |
//!
//! What it tells, it tells in clear. So it is meant for this machine alone, or for a network that whoever
//! runs it trusts; and on this machine only for those who call it by its own name or address, for a page of
//! the web may ask a browser for whatever a name of its owner's points to.

pub mod listener;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, HeaderValue,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};
use std::net::IpAddr;

/// Pages by path.
pub trait Site: Clone + Send + Sync + 'static {
    /// The page at a path.
    fn page(&self, asked: Asked) -> impl Future<Output = Page> + Send;
}

/// What somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asked {
    /// The path, from `/` on.
    pub path: String,
    /// What follows a question mark.
    pub query: String,
}

impl Asked {
    /// A number of the query, as 7 in `after=7`; 0 where there is none.
    #[must_use]
    pub fn number(&self, name: &str) -> u64 {
        let pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        let found = pairs.into_iter().find(|(key, _)| *key == name);
        found.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    status: StatusCode,
    content_type: HeaderValue,
    body: Bytes,
    /// Of this body: whoever has it isn't sent it again.
    tag: Option<HeaderValue>,
}

/// Nothing but what comes from here, and no inline script or style: a name or a line of a log can't become
/// one, whatever is in it.
const POLICY: &str =
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The same for every page.
const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    // Ask whether it has changed.
    (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
];

const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

impl Page {
    /// A page of this type.
    #[must_use]
    pub fn new(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let content_type = HeaderValue::from_static(content_type);
        Self { status: StatusCode::OK, content_type, body: body.into(), tag: None }
    }

    /// With a tag of its body, which needn't be sent to whoever has it.
    #[must_use]
    pub fn tagged(self) -> Self {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        self.body.hash(&mut hasher);
        let tag = HeaderValue::try_from(format!("\"{:016x}\"", hasher.finish()));
        Self { tag: tag.ok(), ..self }
    }

    /// There is no such page; what there is instead.
    #[must_use]
    pub fn not_found(hint: &'static str) -> Self {
        Self::problem(StatusCode::NOT_FOUND, hint)
    }

    /// Nothing can be told at present: why.
    #[must_use]
    pub fn unavailable(why: String) -> Self {
        Self::problem(StatusCode::SERVICE_UNAVAILABLE, why)
    }

    /// It is our own fault.
    #[must_use]
    pub fn failed(why: String) -> Self {
        Self::problem(StatusCode::INTERNAL_SERVER_ERROR, why)
    }

    fn problem(status: StatusCode, why: impl Into<Bytes>) -> Self {
        Self { status, content_type: PLAIN, body: why.into(), tag: None }
    }

    /// For whoever has a body of this tag.
    fn into_response(self, has: Option<&HeaderValue>) -> Response<Full<Bytes>> {
        let is_known = self.tag.is_some() && self.tag.as_ref() == has;
        let (status, body) = match is_known {
            true => (StatusCode::NOT_MODIFIED, Bytes::new()),
            false => (self.status, self.body),
        };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.extend(HEADERS);
        headers.insert(CONTENT_TYPE, self.content_type);
        if let Some(tag) = self.tag {
            headers.insert(ETAG, tag);
        }
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response
    }
}

/// Whether a `Host` header names this machine: by an address, or as `localhost`.
fn is_own_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => host.split(':').next().unwrap_or(""),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_somebody_else_may_point_here_is_not_ours() {
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1:9464", "[::1]:80", "10.0.0.1"] {
            assert!(is_own_name(host), "{host}");
        }
        for host in ["", "evil.example", "127.0.0.1.evil.example:80", "localhost.evil", "[", "[x]"]
        {
            assert!(!is_own_name(host), "{host}");
        }
    }

    #[test]
    fn numbers_of_a_query() {
        let asked = |query: &str| Asked { query: query.to_owned(), ..Asked::default() };
        assert_eq!(asked("a=1&after=7").number("after"), 7);
        for query in ["", "after", "after=", "after=-1", "after=99999999999999999999", "x=7"] {
            assert_eq!(asked(query).number("after"), 0, "{query}");
        }
    }

    #[test]
    fn who_has_a_page_is_not_sent_it_again() {
        let page = || Page::new("text/css", "a {}").tagged();
        let first = page().into_response(None);
        assert_eq!(first.status(), StatusCode::OK);
        let tag = first.headers()[ETAG].clone();
        assert_eq!(page().into_response(Some(&tag)).status(), StatusCode::NOT_MODIFIED);
        let other = Page::new("text/css", "b {}").tagged().into_response(Some(&tag));
        assert_eq!(other.status(), StatusCode::OK);
    }
}
