//! Who is on the bridge, and the files in which neighbours find each other's names.

use std::{collections::BTreeMap, fmt::Write, fs::File, net::Ipv4Addr, os::unix::fs::FileExt};

use contracts::guest::Interface;

use crate::failure::Failure;

/// Most bytes of lines about neighbours in a file: each of them is written again whenever somebody
/// comes or goes. Enough for a thousand containers with docker's names.
const MAX_LINES: usize = 128 << 10;

/// The containers on the bridge, by address.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    all: BTreeMap<[u8; 4], Neighbour>,
    /// What the files lack, in order.
    changes: Vec<Change>,
}

/// A line that files are to have no more, and one that they are to have.
#[derive(Debug)]
struct Change {
    gone: Option<String>,
    come: Option<String>,
}

#[derive(Debug)]
struct Neighbour {
    id: String,
    port: String,
    /// Its line in all files, where it has a name and there is room.
    line: Option<String>,
    hosts: HostsFile,
}

/// Largest `/etc/hosts` that init changes. The container can write to its own, and what it writes
/// must not fill init's memory; one whose file is larger sees no neighbours come and go.
const MAX_FILE: usize = 256 << 10;

/// A container's `/etc/hosts`, of which the lines about containers are init's.
///
/// As with docker the rest is the container's: lines are put in and taken out one by one. The file is
/// open for writing all the time: nobody can take out a lease on it then, which would have init
/// wait for a container.
#[derive(Debug)]
struct HostsFile {
    file: File,
    /// How many of the changes that wait it has from its beginning.
    has: usize,
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

    /// `file` has the lines of all who are there now, and its own one.
    pub(super) fn join(&mut self, id: &str, port: String, interface: &Interface, file: File) {
        let line = self.line_of(interface.address, &interface.names);
        if let Some(line) = &line {
            self.changes.push(Change {
                gone: None,
                come: Some(line.clone()),
            });
        }
        let neighbour = Neighbour {
            id: id.into(),
            port,
            line,
            hosts: HostsFile {
                file,
                has: self.changes.len(),
            },
        };
        self.all.insert(interface.address, neighbour);
    }

    /// The line of a container that has these names from now on, where there is room for it.
    fn line_of(&self, address: [u8; 4], names: &[String]) -> Option<String> {
        if names.is_empty() {
            return None;
        }
        let mut own = String::new();
        line(&mut own, address, names);
        let others = self.all.iter().filter(|(other, _)| **other != address);
        let lines = others.filter_map(|(_, one)| one.line.as_ref());
        let length: usize = lines.map(String::len).sum();
        (length + own.len() <= MAX_LINES).then_some(own)
    }

    /// A container has other names from now on.
    pub(super) fn rename(&mut self, id: &str, names: &[String]) {
        let mut all = self.all.iter();
        let Some((address, _)) = all.find(|(_, one)| one.id == id) else {
            return;
        };
        let address = *address;
        let line = self.line_of(address, names);
        if let Some(one) = self.all.get_mut(&address)
            && one.line != line
        {
            let gone = std::mem::replace(&mut one.line, line.clone());
            self.changes.push(Change { gone, come: line });
        }
    }

    /// The port of a container that goes, if it has one.
    pub(super) fn leave(&mut self, id: &str) -> Option<String> {
        let mut all = self.all.iter();
        let (address, _) = all.find(|(_, one)| one.id == id)?;
        let address = *address;
        let Neighbour { port, line, .. } = self.all.remove(&address)?;
        if line.is_some() {
            self.changes.push(Change {
                gone: line,
                come: None,
            });
        }
        Some(port)
    }

    /// Lines for all of them, in the order of their addresses, as far as there is room.
    pub(super) fn lines(&self) -> String {
        let lines = self.all.values().filter_map(|one| one.line.as_deref());
        lines.collect()
    }

    /// Changes the files, if anything has changed.
    pub(super) fn refresh(&mut self) {
        let changes = std::mem::take(&mut self.changes);
        if changes.is_empty() {
            return;
        }
        for one in self.all.values_mut() {
            let has = std::mem::take(&mut one.hosts.has);
            one.hosts.change(changes.get(has..).unwrap_or_default());
        }
    }
}

/// A line of a hosts file.
pub(crate) fn line(lines: &mut String, address: [u8; 4], names: &[String]) {
    let address = Ipv4Addr::from(address);
    writeln!(lines, "{address}\t{}", names.join(" ")).expect("writing to a string never fails");
}

impl HostsFile {
    /// Makes these changes. The content is replaced in place, since the file is bound into the
    /// container; what only gets longer is written at the end.
    fn change(&self, changes: &[Change]) {
        if changes.is_empty() {
            return;
        }
        let Some(before) = self.content() else { return };
        let after = changed(&before, changes);
        let pairs = before.iter().zip(&after);
        let same = pairs.take_while(|(one, other)| one == other).count();
        let mut rest = after.get(same..).unwrap_or_default().to_vec();
        // Whoever reads it meanwhile sees whole lines: what is left of longer content is blank before
        // it is cut off.
        let longer = before.len().saturating_sub(after.len());
        rest.extend(std::iter::repeat_n(b'\n', longer));
        // When the container has filled its file system it lacks names, and nobody else does.
        let _ = self.file.write_all_at(&rest, same as u64);
        if longer > 0 {
            let _ = self.file.set_len(after.len() as u64);
        }
    }

    /// What is in it, unless the container has made too much of it.
    fn content(&self) -> Option<Vec<u8>> {
        let length = usize::try_from(self.file.metadata().ok()?.len()).ok()?;
        if length > MAX_FILE {
            return None;
        }
        let mut content = vec![0; length];
        self.file.read_exact_at(&mut content, 0).ok()?;
        Some(content)
    }
}

/// The content after changes: a line that goes is taken out once, and only where it still is; one that
/// comes stands at the end.
fn changed(before: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut lines: Vec<&[u8]> = before.split_inclusive(|byte| *byte == b'\n').collect();
    for change in changes {
        if let Some(gone) = &change.gone
            && let Some(index) = lines.iter().position(|line| *line == gone.as_bytes())
        {
            lines.remove(index);
        }
        if let Some(come) = &change.come {
            if lines.last().is_some_and(|line| !line.ends_with(b"\n")) {
                lines.push(b"\n");
            }
            lines.push(come.as_bytes());
        }
    }
    lines.concat()
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
        let own = interface(last, names);
        let mut content = "own\n".to_string();
        line(&mut content, own.address, &own.names);
        content.push_str(&neighbours.lines());
        std::fs::write(&path, content).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        neighbours.join(&format!("id{last}"), format!("v{last}"), &own, file);
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
        assert_eq!(first, "own\n172.17.0.2\tweb alias\n172.17.0.3\tdb\n");
        assert_eq!(second, "own\n172.17.0.3\tdb\n172.17.0.2\tweb alias\n");
    }

    #[test]
    fn what_the_container_wrote_stays_when_others_come_and_go() {
        let mut neighbours = Neighbours::default();
        let one = join(&mut neighbours, 2, &["one"]);
        let two = join(&mut neighbours, 3, &["two"]);
        neighbours.refresh();
        let own = "10.0.0.1\tmine\n172.17.0.3\ttwo\n10.0.0.2\tand this";
        std::fs::write(&one, own).unwrap();
        assert_eq!(neighbours.leave("id3").as_deref(), Some("v3"));
        assert_eq!(neighbours.leave("id3"), None);
        neighbours.refresh();
        assert_eq!(read(&one), "10.0.0.1\tmine\n10.0.0.2\tand this");
        let three = join(&mut neighbours, 4, &["three"]);
        neighbours.refresh();
        let text = read(&one);
        for path in [one, two, three] {
            std::fs::remove_file(path).unwrap();
        }
        assert_eq!(
            text,
            "10.0.0.1\tmine\n10.0.0.2\tand this\n172.17.0.4\tthree\n"
        );
    }

    #[test]
    fn new_name_is_followed_by_all() {
        let mut neighbours = Neighbours::default();
        let one = join(&mut neighbours, 2, &["one"]);
        let two = join(&mut neighbours, 3, &["two"]);
        neighbours.refresh();
        neighbours.rename("id3", &["second".into()]);
        neighbours.refresh();
        let (first, second) = (read(&one), read(&two));
        std::fs::remove_file(one).unwrap();
        std::fs::remove_file(two).unwrap();
        assert_eq!(first, "own\n172.17.0.2\tone\n172.17.0.3\tsecond\n");
        assert_eq!(second, "own\n172.17.0.2\tone\n172.17.0.3\tsecond\n");
    }

    #[test]
    fn file_that_the_container_has_made_large_is_left_alone() {
        let mut neighbours = Neighbours::default();
        let one = join(&mut neighbours, 2, &["one"]);
        let file = File::options().write(true).open(&one).unwrap();
        file.set_len(1 << 40).unwrap();
        let two = join(&mut neighbours, 3, &["two"]);
        neighbours.refresh();
        let length = file.metadata().unwrap().len();
        std::fs::remove_file(one).unwrap();
        std::fs::remove_file(two).unwrap();
        assert_eq!(length, 1 << 40);
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
            neighbours.join("id", "v".into(), &own, file);
        }
        let lines = neighbours.lines();
        assert!(lines.len() <= MAX_LINES && lines.len() > MAX_LINES - 2500);
        assert!(lines.ends_with('\n'));
    }
}
