//! About the server itself.

use super::Call;
use crate::{backend::Backend, error::ApiError};

/// `GET /_ping`, `HEAD /_ping`
pub fn ping(_api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    let headers = [
        ("Builder-Version", "1"),
        ("Cache-Control", "no-cache, no-store, must-revalidate"),
        ("Pragma", "no-cache"),
        ("Swarm", "inactive"),
    ];
    let text = match call.exchange.head().method.as_str() {
        "HEAD" => "",
        _ => "OK",
    };
    call.text(text, &headers)
}
