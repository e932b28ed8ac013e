//! Proxies from the environment, as docker and curl read it.

use std::env;

use super::settings::{host, is_loopback};

/// The proxy for a host; never one for this machine itself.
pub(super) fn proxy(https: bool, authority: &str) -> Option<ureq::Proxy> {
    let variable = |names: &[&str]| {
        names
            .iter()
            .find_map(|name| env::var(name).ok().filter(|value| !value.is_empty()))
    };
    if is_loopback(authority)
        || variable(&["NO_PROXY", "no_proxy"]).is_some_and(|list| exempt(&list, authority))
    {
        return None;
    }
    let of_scheme: &[&str] = if https {
        &["HTTPS_PROXY", "https_proxy"]
    } else {
        &["HTTP_PROXY", "http_proxy"]
    };
    let address = variable(of_scheme).or_else(|| variable(&["ALL_PROXY", "all_proxy"]))?;
    ureq::Proxy::new(&address).ok()
}

/// Whether a list of hosts, domains and `*` names this one.
fn exempt(list: &str, authority: &str) -> bool {
    list.split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .any(|entry| {
            let domain = entry
                .strip_prefix('*')
                .unwrap_or(entry)
                .trim_start_matches('.');
            let name = host(authority);
            entry == "*"
                || entry == authority
                || name == domain
                || name
                    .strip_suffix(domain)
                    .is_some_and(|rest| rest.ends_with('.') && !domain.is_empty())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_name_hosts_and_domains() {
        for list in [
            "*",
            "a.example",
            ".example",
            "example",
            "*.example",
            "x, a.example:5",
            "a.example:5",
        ] {
            assert!(exempt(list, "a.example:5"), "{list}");
        }
        for list in ["", ",", "b.example", "ample", "a.example:6", "a"] {
            assert!(!exempt(list, "a.example:5"), "{list}");
        }
    }
}
