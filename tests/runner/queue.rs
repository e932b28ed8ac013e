//! Which tests there are, and in which order they are drawn.

/// The tests in what a test program lists by `--list --format terse`.
pub(crate) fn listed(list: &str) -> Vec<String> {
    let tests = list.lines().filter_map(|line| line.strip_suffix(": test"));
    tests.map(str::to_owned).collect()
}

/// Puts those first that are named in `longest`, in its order; the others keep theirs.
pub(crate) fn in_order(mut names: Vec<String>, longest: &str) -> Vec<String> {
    let longest: Vec<&str> = longest.lines().map(str::trim).collect();
    let place = |name: &String| longest.iter().position(|long| long == name);
    names.sort_by_key(|name| place(name).unwrap_or(longest.len()));
    names
}

/// What is named in `longest` and is no test.
pub(crate) fn unknown<'a>(names: &[String], longest: &'a str) -> impl Iterator<Item = &'a str> {
    let known = |long: &&str| names.iter().any(|name| name == long);
    let longest = longest.lines().map(str::trim);
    longest.filter(move |long| !long.is_empty() && !known(long))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_listed_and_nothing_else() {
        let list = "exec::one: test\nsome words\nhosts::two: test\nfast: benchmark\n";
        assert_eq!(listed(list), ["exec::one", "hosts::two"]);
    }

    #[test]
    fn longest_come_first_and_the_others_stay_in_order() {
        let names = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
        let longest = "d\nnone\nb\n";
        assert_eq!(unknown(&names, longest).collect::<Vec<_>>(), ["none"]);
        assert_eq!(in_order(names, longest), ["d", "b", "a", "c"]);
    }
}
