//! Bodies in JSON, read as docker's daemon reads them.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    error::ApiError,
    http::{Exchange, limits::MAX_JSON},
};

/// The body of a request that has to have one.
///
/// # Errors
/// In docker's words when there is none, or it is no JSON of this kind.
pub fn required<T: DeserializeOwned>(exchange: &mut Exchange<'_>) -> Result<T, ApiError> {
    match text(exchange)? {
        Some(text) => parse(&text),
        None => Err(ApiError::invalid(
            "invalid JSON: got EOF while reading request body",
        )),
    }
}

/// The body of a request, or what stands for none.
///
/// # Errors
/// In docker's words when it is no JSON of this kind.
pub fn optional<T: DeserializeOwned + Default>(exchange: &mut Exchange<'_>) -> Result<T, ApiError> {
    match text(exchange)? {
        Some(text) => parse(&text),
        None => Ok(T::default()),
    }
}

fn text(exchange: &mut Exchange<'_>) -> Result<Option<Vec<u8>>, ApiError> {
    check_type(exchange.head().header("content-type"), exchange.has_body())?;
    match exchange.read_all(MAX_JSON)? {
        None => Err(ApiError::new(413, "the request's body is too large")),
        Some(text) => Ok(Some(text).filter(|text| !text.trim_ascii().is_empty())),
    }
}

/// A body has to say that it is JSON.
fn check_type(given: Option<&str>, has_body: bool) -> Result<(), ApiError> {
    let given = given.unwrap_or_default();
    let (kind, _) = given.split_once(';').unwrap_or((given, ""));
    match kind.trim() {
        "" if !has_body => Ok(()),
        "" => Err(ApiError::invalid(
            "malformed Content-Type header (): mime: no media type",
        )),
        kind if kind.eq_ignore_ascii_case("application/json") => Ok(()),
        _ => Err(ApiError::invalid(format!(
            "unsupported Content-Type header ({given}): must be 'application/json'"
        ))),
    }
}

/// Parses JSON, in which `null` is the same as nothing, whatever it stands for.
///
/// # Errors
/// As docker's, with another parser's words about what is wrong.
pub fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, ApiError> {
    let invalid = |error: serde_json::Error| {
        let message = match error.classify() {
            serde_json::error::Category::Eof => "unexpected EOF".into(),
            _ => error.to_string(),
        };
        ApiError::invalid(format!("invalid JSON: {message}"))
    };
    let mut value: Value = serde_json::from_slice(text).map_err(invalid)?;
    drop_nulls(&mut value);
    serde_json::from_value(value).map_err(invalid)
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            // The values of a map whose keys matter (`Volumes`, `PortBindings`) may be null, too.
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn null_is_nothing() {
        let text = br#"{"a": null, "b": [{"c": null}], "d": "e"}"#;
        let value: Value = parse(text).unwrap();
        assert_eq!(value.to_string(), r#"{"b":[{}],"d":"e"}"#);
    }

    #[test]
    fn what_is_no_json_is_refused_in_docker_s_manner() {
        let message = |text: &str| {
            let parsed: Result<BTreeMap<String, String>, _> = parse(text.as_bytes());
            parsed.unwrap_err().message
        };
        assert_eq!(message("{\"a\": "), "invalid JSON: unexpected EOF");
        assert!(message("{bad}").starts_with("invalid JSON: "));
        assert!(message("[1]").starts_with("invalid JSON: "));
    }

    #[test]
    fn body_has_to_be_called_json() {
        assert_eq!(check_type(None, false), Ok(()));
        assert_eq!(check_type(Some("application/json"), true), Ok(()));
        assert_eq!(
            check_type(Some("application/json; charset=utf-8"), true),
            Ok(())
        );
        assert!(check_type(None, true).is_err());
        let error = check_type(Some("text/plain"), true).unwrap_err();
        assert_eq!(
            error.message,
            "unsupported Content-Type header (text/plain): must be 'application/json'"
        );
    }
}
