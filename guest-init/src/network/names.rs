//! Who is on the bridge, and the files in which neighbours find each other's names.

use std::{collections::BTreeMap, fmt::Write, fs::File, net::Ipv4Addr, os::unix::fs::FileExt};

use coracle_protocol::Interface;

use crate::failure::Failure;

/// Most bytes of lines about neighbours in a file: each of them is written again whenever somebody
/// comes or goes. Enough for a thousand containers with docker's names.
const MAX_LINES: usize = 128 << 10;

/// The containers on the bridge, by address.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    all: BTreeMap<[u8; 4], Neighbour>,
    changed: bool,
}

#[derive(Debug)]
struct Neighbour {
    id: String,
    port: String,
    names: Vec<String>,
    hosts: HostsFile,
}

/// A container's `/etc/hosts`, as init keeps it.
///
/// The container can write to it, and gets init's text back when a neighbour comes or goes. It is
/// open for writing all the time: nobody can take out a lease on it then, which would have init
/// wait for a container.
#[derive(Debug)]
struct HostsFile {
    file: File,
    /// The lines that stay.
    head: String,
    /// What was written last, in bytes.
    length: usize,
}

impl Neighbours {
    /// Refuses an address that somebody has.
    pub(super) fn check(&self, interface: &Interface) -> Result<(), Failure> {
        if self.all.contains_key(&interface.address) {
            let address = Ipv4Addr::from(interface.address);
            return Err(Failure::setup(format!(
                "cannot give out address {address}: another container has it"
            )));
        }
        Ok(())
    }

    pub(super) fn join(
        &mut self,
        id: &str,
        port: String,
        interface: &Interface,
        file: File,
        head: String,
    ) {
        let neighbour = Neighbour {
            id: id.into(),
            port,
            names: interface.names.clone(),
            hosts: HostsFile {
                file,
                head,
                length: 0,
            },
        };
        self.all.insert(interface.address, neighbour);
        self.changed = true;
    }

    /// The port of a container that goes, if it has one.
    pub(super) fn leave(&mut self, id: &str) -> Option<String> {
        let mut all = self.all.iter();
        let (address, _) = all.find(|(_, one)| one.id == id)?;
        let address = *address;
        self.changed = true;
        self.all.remove(&address).map(|one| one.port)
    }

    /// Lines for all of them, in the order of their addresses, as far as there is room.
    pub(super) fn lines(&self) -> String {
        self.lines_but(None)
    }

    fn lines_but(&self, own: Option<[u8; 4]>) -> String {
        let mut lines = String::new();
        let others = self
            .all
            .iter()
            .filter(|(address, _)| Some(**address) != own);
        for (address, one) in others.filter(|(_, one)| !one.names.is_empty()) {
            let length = lines.len();
            line(&mut lines, *address, &one.names);
            if lines.len() > MAX_LINES {
                lines.truncate(length);
                break;
            }
        }
        lines
    }

    /// Writes the files, if anything has changed.
    pub(super) fn refresh(&mut self) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        let addresses: Vec<[u8; 4]> = self.all.keys().copied().collect();
        for address in addresses {
            let lines = self.lines_but(Some(address));
            if let Some(one) = self.all.get_mut(&address) {
                one.hosts.write(&lines);
            }
        }
    }
}

/// A line of a hosts file.
pub(crate) fn line(lines: &mut String, address: [u8; 4], names: &[String]) {
    let address = Ipv4Addr::from(address);
    writeln!(lines, "{address}\t{}", names.join(" ")).expect("writing to a string never fails");
}

impl HostsFile {
    /// Replaces the content in place, since the file is bound into the container. Whoever reads it
    /// meanwhile sees whole lines: what is left of longer content is blank before it is cut off.
    fn write(&mut self, lines: &str) {
        let mut content = [&*self.head, lines].concat();
        let length = content.len();
        if self.length > length {
            content.extend(std::iter::repeat_n('\n', self.length - length));
        }
        // When the container has filled its file system it lacks names, and nobody else does.
        let _ = self.file.write_all_at(content.as_bytes(), 0);
        let _ = self.file.set_len(length as u64);
        self.length = length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(last: u8, names: &[&str]) -> Interface {
        Interface {
            address: [172, 17, 0, last],
            prefix: 16,
            gateway: [172, 17, 0, 1],
            names: names.iter().map(ToString::to_string).collect(),
        }
    }

    /// A neighbour, and the file that it sees.
    fn join(neighbours: &mut Neighbours, last: u8, names: &[&str]) -> std::path::PathBuf {
        let name = format!(
            "coracle-hosts-{}-{}-{last}",
            std::process::id(),
            names.join("-")
        );
        let path = std::env::temp_dir().join(name);
        let file = File::create(&path).unwrap();
        let id = format!("id{last}");
        neighbours.join(
            &id,
            format!("v{last}"),
            &interface(last, names),
            file,
            "own\n".into(),
        );
        path
    }

    fn read(path: &std::path::Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn each_file_names_the_others() {
        let mut neighbours = Neighbours::default();
        let one = join(&mut neighbours, 2, &["web", "alias"]);
        let two = join(&mut neighbours, 3, &["db"]);
        neighbours.refresh();
        let (first, second) = (read(&one), read(&two));
        std::fs::remove_file(one).unwrap();
        std::fs::remove_file(two).unwrap();
        assert_eq!(first, "own\n172.17.0.3\tdb\n");
        assert_eq!(second, "own\n172.17.0.2\tweb alias\n");
    }

    #[test]
    fn who_goes_is_forgotten_and_what_the_container_wrote_too() {
        let mut neighbours = Neighbours::default();
        let one = join(&mut neighbours, 2, &["one"]);
        let two = join(&mut neighbours, 3, &["two"]);
        neighbours.refresh();
        std::fs::write(&one, "x".repeat(1000)).unwrap();
        assert_eq!(neighbours.leave("id3").as_deref(), Some("v3"));
        assert_eq!(neighbours.leave("id3"), None);
        neighbours.refresh();
        let text = read(&one);
        std::fs::remove_file(one).unwrap();
        std::fs::remove_file(two).unwrap();
        assert_eq!(text, "own\n");
    }

    #[test]
    fn address_is_one_containers() {
        let mut neighbours = Neighbours::default();
        let path = join(&mut neighbours, 2, &["taken"]);
        std::fs::remove_file(path).unwrap();
        assert!(neighbours.check(&interface(2, &[])).is_err());
        assert!(neighbours.check(&interface(3, &[])).is_ok());
    }

    #[test]
    fn lines_end_where_there_is_no_more_room() {
        let mut neighbours = Neighbours::default();
        let name = "n".repeat(60);
        for last in 0..=255 {
            let names = vec![name.clone(); 32];
            let path = std::env::temp_dir().join(format!("coracle-full-{}", std::process::id()));
            let file = File::create(&path).unwrap();
            std::fs::remove_file(path).unwrap();
            let mut own = interface(last, &[]);
            own.names = names;
            neighbours.join("id", "v".into(), &own, file, String::new());
        }
        let lines = neighbours.lines();
        assert!(lines.len() <= MAX_LINES && lines.len() > MAX_LINES - 2500);
        assert!(lines.ends_with('\n'));
    }
}
