//! `images/create`: a pull, told step by step.

use std::{io::Write, os::fd::AsFd};

use coracle_engine::images::{Images, PullRequest};
use docker_model::event::without_tag;
use images::{reference::Reference, source::registry::RegistryError};
use serde_json::json;

use crate::{
    auth,
    backend::client_of,
    error::{ApiError, whole},
    http::{Exchange, Streaming, has_hung_up, limits::WRITE_TIME},
    progress::Lines,
    routes::{Call, JSON},
};

/// The image that is asked for: by name and tag, or a digest in the tag's place.
///
/// # Errors
/// When it is no name.
fn wanted(image: &str, tag: Option<&str>) -> Result<Reference, ApiError> {
    let name = match tag {
        Some(digest) if digest.contains(':') => format!("{image}@{digest}"),
        Some(tag) => format!("{}:{tag}", without_tag(image)),
        None => image.to_owned(),
    };
    name.parse::<Reference>()
        .map(Reference::with_default_tag)
        .map_err(|_| ApiError::invalid(format!("invalid reference format: {name}")))
}

/// Begins its answer with the first line: until then, what goes wrong is an error of its own.
struct Answer<'e, 'c> {
    waiting: Option<&'e mut Exchange<'c>>,
    stream: Option<Streaming<'e>>,
}

impl Answer<'_, '_> {
    fn write(&mut self, line: &[u8]) {
        if let Some(exchange) = self.waiting.take() {
            self.stream = crate::routes::stream(exchange, JSON).ok();
            if let Some(stream) = &self.stream
                && stream.wait_at_most(WRITE_TIME).is_err()
            {
                self.stream = None;
            }
        }
        // A client that does not read, since it is stopped, does not end the pull: others may wait for its layers,
        // and for the locks on them.
        if let Some(stream) = &mut self.stream
            && stream.write_all(line).is_err()
        {
            self.stream = None;
        }
    }
}

/// Pulls an image for as long as its client is there, and answers.
///
/// # Errors
/// When there is no such image, or it cannot be had.
pub fn pull(images: &Images, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    let Some(image) = call.query.text("fromImage") else {
        return Err(ApiError::unsupported(
            "importing a file system is not supported (fromSrc): use 'coracle load'",
        ));
    };
    let mut request = PullRequest::new(wanted(image, call.query.text("tag"))?);
    if let Some(platform) = call.query.text("platform") {
        let platform = platform.parse().map_err(|_| {
            ApiError::invalid(format!("{platform:?} is no platform such as linux/amd64"))
        })?;
        request.platform = Some(platform);
    }
    request.credential = auth::credential(call.exchange.head().header(auth::HEADER));
    let client = client_of(call.exchange())?;
    let mut answer = Answer {
        waiting: Some(call.exchange()),
        stream: None,
    };
    let is_there = || !has_hung_up(client.as_fd());
    let done = {
        let lines = Lines::new(|line: &[u8]| answer.write(line), &is_there);
        let done = images.pull(&request, &lines);
        if let Err(error) = &done
            && lines.has_begun()
        {
            let message = whole(error);
            lines.say(&json!({ "errorDetail": { "message": message }, "error": message }));
        }
        done
    };
    if answer.waiting.is_some()
        && let Err(error) = done
    {
        return Err(failure(&request.name, &error));
    }
    if let Some(stream) = answer.stream {
        stream.finish()?;
    }
    Ok(())
}

/// What is wrong with a pull that has not begun, in the words that clients look for.
fn failure(reference: &Reference, error: &coracle_engine::Error) -> ApiError {
    let name = reference.familiar();
    match error.registry() {
        Some(RegistryError::NotFound { .. }) => ApiError::not_found(format!(
            "manifest for {name} not found: manifest unknown: manifest unknown"
        )),
        Some(RegistryError::Denied { .. }) => ApiError::not_found(format!(
            "pull access denied for {}, repository does not exist or may require 'docker login': {}",
            reference.familiar_name(),
            whole(error)
        )),
        _ => ApiError::internal(whole(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read, os::unix::net::UnixStream, time::Duration};

    use super::*;
    use crate::http::{Connection, Head};

    #[test]
    fn client_that_does_not_read_is_given_up() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let same = server.try_clone().unwrap();
        let mut connection = Connection::new(server);
        let head = Head::parse(b"POST /images/create HTTP/1.1\r\n\r\n").unwrap();
        let mut exchange = Exchange::new(&mut connection, head).unwrap();
        let mut answer = Answer {
            waiting: Some(&mut exchange),
            stream: None,
        };
        answer.write(b"{}\r\n");
        client.read_exact(&mut [0; 15]).unwrap();
        assert_eq!(same.write_timeout().unwrap(), Some(WRITE_TIME));
        same.set_write_timeout(Some(Duration::from_millis(10)))
            .unwrap();
        // More than a connection holds, and nobody reads it.
        for _ in 0..64 {
            answer.write(&[b'x'; 64 << 10]);
        }
        assert!(answer.stream.is_none());
    }

    #[test]
    fn names_are_put_together_as_clients_take_them_apart() {
        let name = |image, tag| wanted(image, tag).unwrap().familiar();
        assert_eq!(
            name("docker.io/library/alpine", Some("3.10")),
            "alpine:3.10"
        );
        assert_eq!(name("alpine", None), "alpine:latest");
        assert_eq!(name("alpine:1", None), "alpine:1");
        // docker-py names the tag twice.
        assert_eq!(name("127.0.0.1:5000/a:1", Some("1")), "127.0.0.1:5000/a:1");
        assert_eq!(name("127.0.0.1:5000/a", Some("2")), "127.0.0.1:5000/a:2");
        let digest = format!("sha256:{}", "1".repeat(64));
        assert_eq!(name("alpine", Some(&digest)), format!("alpine@{digest}"));
        assert_eq!(wanted("A B", None).unwrap_err().status, 400);
    }
}
