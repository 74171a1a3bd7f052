//! The dashboard: a page that shows a cluster as it is, how it has done, and why.
//!
//! | what | file |
//! |---|---|
//! | what is asked for, and by whom it is answered | this |
//! | where what is shown comes from | [`source`] |
//! | the state and the events as the page reads them | [`state`] |
//! | the page itself | `page/` |
//!
//! A coordinator serves it, and so does `unicron dashboard` on a person's machine, with that person's token
//! and certificates: both ask for the same two messages, of themselves or over gRPC.
//!
//! The page asks every second, and changes what has changed. However many look at it, the coordinator is
//! asked once for all of them.
//!
//! **Invariant:** it only reads. Whatever people or their programs have written is put into the page as text,
//! never as HTML, and nothing is loaded from elsewhere.

pub mod source;
pub mod state;

pub use source::Source;

use crate::http::{Asked, Page, Site};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// The pages.
#[derive(Debug, Clone)]
pub struct Dashboard {
    source: Source,
    newest: Arc<Mutex<Option<(Instant, Page)>>>,
}

/// A state is shown again for so long.
const FRESH: Duration = Duration::from_millis(500);

const JSON: &str = "application/json";

/// The page's files: path, type, text.
const FILES: [(&str, &str, &str); 7] = [
    ("/", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("/page.css", "text/css; charset=utf-8", include_str!("page/page.css")),
    ("/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
    ("/page.js", SCRIPT, include_str!("page/page.js")),
    ("/dom.js", SCRIPT, include_str!("page/dom.js")),
    ("/nodes.js", SCRIPT, include_str!("page/nodes.js")),
    ("/events.js", SCRIPT, include_str!("page/events.js")),
];

const SCRIPT: &str = "text/javascript; charset=utf-8";

impl Dashboard {
    /// That shows what comes from there.
    #[must_use]
    pub fn new(source: Source) -> Self {
        Self { source, newest: Arc::default() }
    }

    /// The newest state. Whoever asks while it is fetched waits for the same.
    async fn state(&self) -> Page {
        let mut newest = self.newest.lock().await;
        if let Some((at, page)) = &*newest
            && at.elapsed() < FRESH
        {
            return page.clone();
        }
        match self.source.overview().await {
            Ok(overview) => {
                let page = Page::new(JSON, state::of_overview(&overview)).tagged();
                *newest = Some((Instant::now(), page.clone()));
                page
            }
            Err(problem) => Page::unavailable(problem),
        }
    }

    async fn events(&self, after: u64, has_routine: bool) -> Page {
        match self.source.events(after, has_routine).await {
            Ok(events) => Page::new(JSON, state::of_events(&events)),
            Err(problem) => Page::unavailable(problem),
        }
    }
}

impl Site for Dashboard {
    async fn page(&self, asked: Asked) -> Page {
        let file = FILES.iter().find(|(path, ..)| *path == asked.path);
        if let Some((_, content_type, text)) = file {
            return Page::new(content_type, *text).tagged();
        }
        match asked.path.as_str() {
            "/state.json" => self.state().await,
            "/events.json" => {
                self.events(asked.number("after"), asked.number("routine") == 1).await
            }
            _ => Page::not_found("the dashboard is at /\n"),
        }
    }
}
