//! What clients write for "nothing": Go's encoder writes empty lists, maps and pointers as `null`.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

/// The empty object that stands for "in the set", as in `{"80/tcp": {}}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// A set as docker writes it: an object of empty objects.
pub type Set = BTreeMap<String, Empty>;

/// Reads `null` as the default.
///
/// # Errors
/// Those of the value's own reader.
pub fn is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Words of a command: a list, one string, or `null`.
///
/// # Errors
/// When it is none of them.
pub fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        Many(Vec<String>),
        One(String),
    }
    Ok(
        Option::<Words>::deserialize(deserializer)?.map(|words| match words {
            Words::Many(words) => words,
            Words::One(word) => vec![word],
        }),
    )
}

/// Whether Go's `omitempty` leaves out a map: there is none, or it is empty.
pub(crate) fn is_empty<K, V>(map: &Option<BTreeMap<K, V>>) -> bool {
    map.as_ref().is_none_or(BTreeMap::is_empty)
}

/// Whether Go's `omitempty` leaves out a number.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
pub(crate) fn is_zero(number: &i64) -> bool {
    *number == 0
}
