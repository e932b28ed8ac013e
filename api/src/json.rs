//! Bodies in JSON, read as docker's daemon reads them.

use serde::{
    Deserializer,
    de::{
        DeserializeOwned, IntoDeserializer, Visitor,
        value::{MapDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};
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
    let value: Value = serde_json::from_slice(text).map_err(invalid)?;
    T::deserialize(Lenient(value)).map_err(invalid)
}

/// A value in which `null` is the zero value of what is wanted, as in Go: an empty text, list or structure,
/// 0, false. A key of a map whose value it is stays one.
struct Lenient(Value);

/// Methods that give a visitor a zero value.
macro_rules! zero {
    ($($method:ident => $visit:ident($zero:expr),)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
            match self.0 {
                Value::Null => visitor.$visit($zero),
                _ => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Lenient {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self.0 {
            Value::Array(items) => {
                let items = items.into_iter().map(Lenient);
                visitor.visit_seq(SeqDeserializer::new(items))
            }
            Value::Object(fields) => {
                let fields = fields.into_iter();
                let fields = fields.map(|(key, value)| (key, Lenient(value)));
                visitor.visit_map(MapDeserializer::new(fields))
            }
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    zero! {
        deserialize_bool => visit_bool(false),
        deserialize_i8 => visit_i8(0),
        deserialize_i16 => visit_i16(0),
        deserialize_i32 => visit_i32(0),
        deserialize_i64 => visit_i64(0),
        deserialize_u8 => visit_u8(0),
        deserialize_u16 => visit_u16(0),
        deserialize_u32 => visit_u32(0),
        deserialize_u64 => visit_u64(0),
        deserialize_f32 => visit_f32(0.0),
        deserialize_f64 => visit_f64(0.0),
        deserialize_str => visit_str(""),
        deserialize_string => visit_str(""),
        deserialize_seq => visit_seq(SeqDeserializer::new(std::iter::empty::<Lenient>())),
        deserialize_map => visit_map(MapDeserializer::new(std::iter::empty::<(String, Lenient)>())),
    }

    forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

impl IntoDeserializer<'_, serde_json::Error> for Lenient {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(default)]
    struct Wanted {
        text: String,
        number: i64,
        truth: bool,
        list: Vec<String>,
        inner: Option<Box<Wanted>>,
        table: BTreeMap<String, String>,
        any: BTreeMap<String, Value>,
        lists: BTreeMap<String, Vec<u16>>,
        many: Vec<Wanted>,
    }

    fn wanted(text: &str) -> Wanted {
        parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn null_is_the_zero_value() {
        let text = r#"{"text":null,"number":null,"truth":null,"list":null,"inner":null,"table":null,
            "any":null,"lists":null,"many":null,"unknown":null}"#;
        assert_eq!(wanted(text), Wanted::default());
        assert_eq!(wanted("null"), Wanted::default());
        let found = wanted(r#"{"list":["a",null],"many":[null,{"number":3}]}"#);
        assert_eq!(found.list, ["a", ""]);
        assert_eq!(found.many.len(), 2);
        assert_eq!(found.many[1].number, 3);
        let found = wanted(r#"{"inner":{"text":null,"number":-1}}"#);
        assert_eq!(found.inner.unwrap().number, -1);
    }

    #[test]
    fn keys_of_maps_stay() {
        let found = wanted(r#"{"table":{"a":null},"any":{"/data":null},"lists":{"80":null}}"#);
        assert_eq!(found.table["a"], "");
        assert_eq!(found.any["/data"], Value::Null);
        assert!(found.lists["80"].is_empty());
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
