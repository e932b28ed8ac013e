//! Images.

use docker_model::{
    filters::Filters,
    image::{self, Listed, Summary},
};
use images::{
    reference::Reference,
    store::{Store, StoreError},
};

use super::Call;
use crate::{
    backend::Backend,
    error::{ApiError, whole},
    pull,
};

/// The filters of a list of images that are understood.
const FILTERS: [&str; 5] = ["before", "dangling", "label", "reference", "since"];

/// `POST /images/create`
pub fn create(api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    pull::pull(&api.engine.images(), call)
}

/// What is wrong with an image's name, or with the store.
#[must_use]
pub fn failure(name: &str, error: &StoreError) -> ApiError {
    match error {
        StoreError::NotFound { .. } | StoreError::Name { .. } => no_such_image(name),
        StoreError::Ambiguous { .. } => ApiError::invalid(whole(error)),
        _ => ApiError::internal(whole(error)),
    }
}

/// Docker's words for an image that is not there: with a tag, by which its command knows what to pull.
fn no_such_image(name: &str) -> ApiError {
    let parsed = name.parse::<Reference>();
    let full = parsed.map(|reference| reference.with_default_tag().familiar());
    ApiError::not_found(format!(
        "No such image: {}",
        full.as_deref().unwrap_or(name)
    ))
}

/// `GET /images/{}/json`
pub fn inspect(api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    let name = call.argument(0).to_owned();
    let store = open(api)?;
    let found = store
        .inspect(&name)
        .map_err(|error| failure(&name, &error))?;
    call.json(200, &image::inspect(&(&found).into()))
}

fn open(api: &Backend) -> Result<Store, ApiError> {
    Store::open(api.store()).map_err(|error| ApiError::internal(whole(&error)))
}

/// `GET /images/json`
pub fn list(api: &Backend, call: &mut Call<'_, '_>) -> Result<(), ApiError> {
    let store = open(api)?;
    let mut filters = Filters::from_json(call.query.get("filters").unwrap_or_default())?;
    if let Some(name) = call.query.text("filter") {
        // As old clients have it.
        filters.add("reference", name);
    }
    filters.check(&FILTERS)?;
    let dangling = filters.boolean("dangling")?;
    let created = |filter: &str| -> Result<Option<i64>, ApiError> {
        let name = filters.values(filter).next();
        let of = |name: &str| {
            let found = store.inspect(name).map_err(|error| failure(name, &error))?;
            let summary = Summary {
                created: found.created,
                ..Summary::default()
            };
            Ok(image::list(&summary).created)
        };
        name.map(of).transpose()
    };
    let (before, since) = (created("before")?, created("since")?);
    let all = store
        .list()
        .map_err(|error| ApiError::internal(whole(&error)))?;
    let mut rows: Vec<Listed> = Vec::new();
    for known in &all {
        let mut summary = Summary::from(known);
        if let Ok(found) = store.inspect(&summary.id) {
            let labels = found.config.config.labels;
            summary.labels = (!labels.is_empty()).then(|| labels.into_iter().collect());
        }
        let row = image::list(&summary);
        let shown = dangling.is_none_or(|dangling| dangling == known.names.is_empty())
            && before.is_none_or(|before| row.created < before)
            && since.is_none_or(|since| row.created > since)
            && filters.labels(summary.labels.as_ref().unwrap_or(&Default::default()))
            && filters.any("reference", |pattern| {
                known.names.iter().any(|name| is_named(name, pattern))
            });
        if shown {
            rows.push(row);
        }
    }
    call.json(200, &rows)
}

/// Whether an image's name is meant: whole, without its tag, or by a pattern with stars.
fn is_named(name: &Reference, pattern: &str) -> bool {
    let (whole, short) = (name.familiar(), name.familiar_name());
    matches(pattern, &whole) || matches(pattern, &short)
}

/// Whether a text is of a pattern as Go's `path.Match` has it: a star stands for anything but slashes, `?` for a
/// character, `[…]` for one of some. It takes time as the product of both lengths at most: only the last star
/// seen can have to stand for more.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut of) = (0, 0);
    let mut star = None;
    loop {
        let next = text.get(of).copied();
        match (pattern.get(at), next) {
            (None, None) => return true,
            (Some('*'), _) => {
                at += 1;
                star = Some((at, of));
                continue;
            }
            (Some(_), Some(character)) => {
                if let Some(length) = one(pattern.get(at..).unwrap_or_default(), character) {
                    (at, of) = (at + length, of + 1);
                    continue;
                }
            }
            _ => {}
        }
        match star {
            Some((after, from)) if text.get(from).is_some_and(|character| *character != '/') => {
                star = Some((after, from + 1));
                (at, of) = (after, from + 1);
            }
            _ => return false,
        }
    }
}

/// Characters of the pattern that stand for this one, from its beginning on; `None` if they do not.
fn one(pattern: &[char], character: char) -> Option<usize> {
    match pattern {
        ['?', ..] => (character != '/').then_some(1),
        ['\\', escaped, ..] => (*escaped == character).then_some(2),
        ['[', rest @ ..] => class(rest, character).map(|length| length + 1),
        [own, ..] => (*own == character).then_some(1),
        [] => None,
    }
}

/// As [`one`], behind the bracket.
fn class(pattern: &[char], character: char) -> Option<usize> {
    let not = pattern.first() == Some(&'^');
    let begin = usize::from(not);
    let mut at = begin;
    let mut found = false;
    loop {
        if pattern.get(at) == Some(&']') && at > begin {
            return (found != not).then_some(at + 1);
        }
        let (low, length) = member(pattern.get(at..)?)?;
        at += length;
        let mut high = low;
        if pattern.get(at) == Some(&'-') {
            let length;
            (high, length) = member(pattern.get(at + 1..)?)?;
            at += 1 + length;
        }
        found |= (low..=high).contains(&character);
    }
}

/// A character in brackets, and the length of what it is written as.
fn member(pattern: &[char]) -> Option<(char, usize)> {
    match pattern {
        ['\\', escaped, ..] => Some((*escaped, 2)),
        ['\\' | '-' | ']', ..] | [] => None,
        [own, ..] => Some((*own, 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_that_is_not_there_has_its_whole_name() {
        assert_eq!(no_such_image("nosuch:1").message, "No such image: nosuch:1");
        assert_eq!(
            no_such_image("nosuch").message,
            "No such image: nosuch:latest"
        );
        assert_eq!(
            no_such_image("docker.io/library/nosuch").message,
            "No such image: nosuch:latest"
        );
    }

    #[test]
    fn patterns_stop_at_slashes() {
        assert!(matches("busy*", "busybox"));
        assert!(matches("*:latest", "busybox:latest"));
        assert!(matches("a/*:1", "a/b:1"));
        assert!(!matches("busy*", "busybox/a"));
        assert!(!matches("box", "busybox"));
    }

    #[test]
    fn patterns_are_go_s() {
        for (pattern, text, is) in [
            ("busy?ox", "busybox", true),
            ("a?b", "a/b", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("[a", "a", false),
            ("[]a]", "]", false),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("a\\", "a", false),
            ("*", "", true),
            ("*/*", "a/b", true),
            ("*/*", "a/b/c", false),
            ("*a*b/*c", "xaxb/xc", true),
            ("*ab*", "aab", true),
            ("a*b*c", "abxbc", true),
            ("ä?", "äö", true),
        ] {
            assert_eq!(matches(pattern, text), is, "{pattern} {text}");
        }
    }

    #[test]
    fn no_pattern_keeps_a_processor_busy() {
        let pattern = "*a".repeat(40) + "b";
        assert!(!matches(&pattern, &"a".repeat(250)));
    }
}
