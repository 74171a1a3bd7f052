//! Messages and services as they are on the wire, generated from `unicron/proto`.

mod group;
mod task;

/// The coordinator's service.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod v1 {
    tonic::include_proto!("unicron.v1");
}
