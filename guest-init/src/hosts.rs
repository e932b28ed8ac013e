//! Contents of `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf`.

use std::fmt::Write;

use contracts::guest::{ContainerSpec, Network};

use crate::network;

/// The lines that docker writes into every `/etc/hosts`.
const STANDARD: &str = "127.0.0.1\tlocalhost\n\
    ::1\tlocalhost ip6-localhost ip6-loopback\n\
    fe00::\tip6-localnet\n\
    ff00::\tip6-mcastprefix\n\
    ff02::1\tip6-allnodes\n\
    ff02::2\tip6-allrouters\n";

/// Name of the file that changes when neighbours do.
pub const HOSTS: &str = "hosts";

/// Files to bind into a container, as (name in `/etc`, content). `head` and `neighbours` are the
/// lines of `/etc/hosts`.
#[must_use]
pub fn files(spec: &ContainerSpec, head: &str, neighbours: &str) -> Vec<(&'static str, String)> {
    let mut files = vec![
        ("hostname", format!("{}\n", spec.hostname)),
        (HOSTS, [head, neighbours].concat()),
    ];
    if let Some(content) = &spec.resolv_conf {
        files.push(("resolv.conf", content.clone()));
    }
    files
}

/// The lines of a container's `/etc/hosts` that do not change. Its own name stands for its address
/// on the bridge, or where it has none, for its loopback.
#[must_use]
pub fn head(spec: &ContainerSpec) -> String {
    let mut text = STANDARD.to_string();
    for (address, names) in spec
        .extra_hosts
        .iter()
        .filter(|(_, names)| !names.is_empty())
    {
        writeln!(text, "{address}\t{names}").expect("writing to a string never fails");
    }
    let hostname = std::slice::from_ref(&spec.hostname);
    let (address, names) = match &spec.network {
        Network::Bridge(own) if own.names.is_empty() => (own.address, hostname),
        Network::Bridge(own) => (own.address, &*own.names),
        _ => ([127, 0, 0, 1], hostname),
    };
    if names.iter().any(|name| !name.is_empty()) {
        network::line(&mut text, address, names);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::tests::spec;
    use contracts::guest::Interface;

    #[test]
    fn extra_hosts_stand_after_the_standard_lines_and_before_the_own_name() {
        let mut spec = spec();
        spec.extra_hosts = vec![("10.0.0.1".into(), "db".into())];
        let text = head(&spec);
        assert!(text.starts_with("127.0.0.1\tlocalhost\n::1\tlocalhost"));
        assert!(text.ends_with("\tip6-allrouters\n10.0.0.1\tdb\n127.0.0.1\tbox\n"));
    }

    #[test]
    fn names_on_the_bridge_stand_for_the_address_there() {
        let mut spec = spec();
        spec.network = Network::Bridge(Interface {
            address: [172, 17, 0, 2],
            prefix: 16,
            gateway: [172, 17, 0, 1],
            names: vec!["box".into(), "web".into()],
        });
        let text = head(&spec);
        assert!(text.ends_with("\tip6-allrouters\n172.17.0.2\tbox web\n"));
    }
}
