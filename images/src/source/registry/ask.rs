//! Asking an endpoint for something, with what opens it.

use ureq::Body;
use ureq::http::{Response, StatusCode};

use super::RegistryError;
use super::auth::authenticate;
use super::challenge;
use super::client::{Ask, Client, advice, lock, refusal};
use super::endpoint::Endpoint;
use super::failure::message;
use super::limits::MAX_AUTHENTICATIONS;

/// Asks until there is an answer that is one. The status is 200 or 206.
pub(super) fn get(
    client: &Client,
    endpoint: &Endpoint,
    ask: Ask<'_>,
) -> Result<Response<Body>, RegistryError> {
    for _ in 0..=MAX_AUTHENTICATIONS {
        let used = lock(&endpoint.authorization).clone();
        let (response, own) =
            client.attempts(&endpoint.authority, ask.what, endpoint.attempts, || {
                client.exchange(endpoint, ask, used.as_deref())
            })?;
        match response.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => return Ok(response),
            StatusCode::UNAUTHORIZED if own => {
                answer_challenge(client, endpoint, ask, used.as_deref(), response)?;
            }
            _ => return Err(refusal(endpoint, ask.what, response)),
        }
    }
    Err(RegistryError::Denied {
        host: endpoint.authority.clone(),
        what: ask.what.to_owned(),
        message: String::new(),
        advice: advice(endpoint, true),
    })
}

/// Finds what opens the endpoint, unless another thread has done so meanwhile.
fn answer_challenge(
    client: &Client,
    endpoint: &Endpoint,
    ask: Ask<'_>,
    used: Option<&str>,
    response: Response<Body>,
) -> Result<(), RegistryError> {
    let mut current = lock(&endpoint.authorization);
    if current.as_deref() != used {
        return Ok(());
    }
    let headers = response.headers().get_all("www-authenticate");
    let texts = || headers.iter().filter_map(|value| value.to_str().ok());
    let Some(challenge) = challenge::choose(texts()) else {
        if texts().next().is_none() {
            drop(current);
            return Err(refusal(endpoint, ask.what, response));
        }
        return Err(RegistryError::Challenge {
            host: endpoint.authority.clone(),
            challenge: super::printable(&texts().collect::<Vec<_>>().join(", "), 200),
        });
    };
    let new = authenticate(client, endpoint, ask.what, &challenge)?;
    if used == Some(new.as_str()) {
        // The same name and password again do not help.
        return Err(RegistryError::Denied {
            host: endpoint.authority.clone(),
            what: ask.what.to_owned(),
            message: message(response),
            advice: advice(endpoint, true),
        });
    }
    *current = Some(new);
    Ok(())
}
