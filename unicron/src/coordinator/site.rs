//! What a coordinator tells by HTTP: metrics, and where it is wanted the dashboard.

use super::metrics::text;
use super::service::Service;
use crate::dashboard::{Dashboard, Source};
use crate::http::{Asked, Page, Site};

/// The pages of a coordinator.
#[derive(Debug, Clone)]
pub(super) struct Pages {
    service: Service,
    dashboard: Option<Dashboard>,
}

impl Pages {
    /// Metrics alone.
    pub(super) fn metrics(service: Service) -> Self {
        Self { service, dashboard: None }
    }

    /// The dashboard, and metrics.
    pub(super) fn dashboard(service: Service) -> Self {
        let dashboard = Some(Dashboard::new(Source::Here(service.clone())));
        Self { service, dashboard }
    }
}

impl Site for Pages {
    async fn page(&self, asked: Asked) -> Page {
        if asked.path == "/metrics" {
            // An error means that another leads, or nobody.
            return match text::text(self.service.figures().await.ok()) {
                Ok(text) => Page::new(text::CONTENT_TYPE, text),
                Err(error) => Page::failed(error.to_string()),
            };
        }
        match &self.dashboard {
            Some(dashboard) => dashboard.page(asked).await,
            None => Page::not_found("metrics are at /metrics; --dashboard shows the dashboard\n"),
        }
    }
}
