//! Users and groups by the container's own `/etc/passwd` and `/etc/group`, as docker reads them.
//!
//! Both files belong to the image and may hold anything: lines that are not entries are skipped,
//! and what is taken from them is bounded.

/// Most bytes of either file that are read: some hundred thousand entries. More would let an
/// image fill the guest's memory before its limit applies to a program.
pub const MAX_FILE: usize = 16 << 20;

/// Highest user or group number that docker accepts.
const MAX_ID: u32 = i32::MAX.unsigned_abs();

/// Most supplementary groups of a process (`NGROUPS_MAX` of Linux).
const MAX_GROUPS: usize = 65_536;

/// Who a process runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User number.
    pub uid: u32,
    /// Primary group number.
    pub gid: u32,
    /// Supplementary groups; the primary one is the first.
    pub groups: Vec<u32>,
    /// Home directory, `/` for a user that has no entry.
    pub home: Vec<u8>,
}

/// A user or group that does not exist in the container.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// Neither an entry nor a number.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    NoUser(String),
    /// Neither an entry nor a number.
    #[error("unable to find group {0}: no matching entries in group file")]
    NoGroup(String),
    /// A number that no user or group may have.
    #[error("user or group number {0} is not between 0 and {MAX_ID}")]
    OutOfRange(String),
    /// The group file names more groups than a process can have.
    #[error("user {0} has more than {MAX_GROUPS} groups")]
    TooManyGroups(String),
}

struct User<'a> {
    name: &'a [u8],
    uid: u32,
    gid: u32,
    home: &'a [u8],
}

struct Group<'a> {
    name: &'a [u8],
    gid: u32,
    members: &'a [u8],
}

fn number(text: &[u8]) -> Option<u32> {
    // Only digits: `+1` parses as a number, and is none here.
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = std::str::from_utf8(text).ok()?.parse().ok()?;
    (number <= MAX_ID).then_some(number)
}

fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    file.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii)
}

fn users(passwd: &[u8]) -> impl Iterator<Item = User<'_>> {
    lines(passwd).filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next()?;
        let uid = number(fields.nth(1)?)?;
        let gid = number(fields.next()?)?;
        let home = fields.nth(1).unwrap_or_default();
        Some(User {
            name,
            uid,
            gid,
            home,
        })
    })
}

fn groups(group: &[u8]) -> impl Iterator<Item = Group<'_>> {
    lines(group).filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next()?;
        let gid = number(fields.nth(1)?)?;
        let members = fields.next().unwrap_or_default();
        Some(Group { name, gid, members })
    })
}

/// The number that a text of digits stands for, or `None` for a name.
fn as_number(text: &str) -> Result<Option<u32>, UserError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match number(text.as_bytes()) {
        Some(number) => Ok(Some(number)),
        None => Err(UserError::OutOfRange(text.into())),
    }
}

fn find_group(file: &[u8], name: &str) -> Result<u32, UserError> {
    match as_number(name)? {
        Some(number) => Ok(number),
        None => groups(file)
            .find(|group| group.name == name.as_bytes())
            .map(|group| group.gid)
            .ok_or_else(|| UserError::NoGroup(name.into())),
    }
}

/// Resolves `user[:group]` and further groups. An empty user is number 0; numbers need no entry.
/// A group that is named takes the place of all groups that the group file gives the user.
///
/// # Errors
/// When a name has no entry, or a number is out of range.
pub fn resolve(
    passwd: &[u8],
    group: &[u8],
    user: &str,
    further: &[String],
) -> Result<Identity, UserError> {
    let (user_name, group_name) = match user.split_once(':') {
        Some((user, group)) => (user, group),
        None => (user, ""),
    };
    let wanted = if user_name.is_empty() {
        Some(0)
    } else {
        as_number(user_name)?
    };
    let entry = users(passwd).find(|user| match wanted {
        Some(uid) => user.uid == uid,
        None => user.name == user_name.as_bytes(),
    });
    let (uid, own_gid, home) = match (&entry, wanted) {
        (Some(entry), _) => (entry.uid, entry.gid, entry.home),
        (None, Some(uid)) => (uid, 0, &b""[..]),
        (None, None) => return Err(UserError::NoUser(user_name.into())),
    };
    let mut identity = Identity {
        uid,
        gid: own_gid,
        groups: Vec::new(),
        home: if home.is_empty() { b"/" } else { home }.to_vec(),
    };
    if group_name.is_empty() {
        identity.groups.push(identity.gid);
        if let Some(entry) = &entry {
            let member = |group: &Group<'_>| {
                let mut members = group.members.split(|byte| *byte == b',');
                members.any(|member| member == entry.name)
            };
            let found = groups(group).filter(member).map(|group| group.gid);
            identity.groups.extend(found.take(MAX_GROUPS));
        }
    } else {
        identity.gid = find_group(group, group_name)?;
        identity.groups.push(identity.gid);
    }
    for name in further {
        identity.groups.push(find_group(group, name)?);
    }
    if identity.groups.len() > MAX_GROUPS {
        return Err(UserError::TooManyGroups(user.into()));
    }
    Ok(identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/bash\n\
        daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n\
        broken line\n\
        :::\n\
        app:x:1000:1001:App:/home/app:/bin/sh\n\
        short:x:7:7\n";
    const GROUP: &[u8] =
        b"root:x:0:\ndaemon:x:1:\nwheel:x:10:root,app\nvideo:x:44:app\napp:x:1001:\n";

    fn resolved(user: &str) -> Result<Identity, UserError> {
        resolve(PASSWD, GROUP, user, &[])
    }

    fn identity(uid: u32, gid: u32, groups: &[u32], home: &str) -> Identity {
        Identity {
            uid,
            gid,
            groups: groups.to_vec(),
            home: home.into(),
        }
    }

    #[test]
    fn empty_user_is_root_with_its_groups() {
        assert_eq!(resolved("").unwrap(), identity(0, 0, &[0, 10], "/root"));
    }

    #[test]
    fn name_gives_number_home_and_supplementary_groups() {
        let expected = identity(1000, 1001, &[1001, 10, 44], "/home/app");
        assert_eq!(resolved("app").unwrap(), expected);
        assert_eq!(resolved("1000").unwrap(), expected);
    }

    #[test]
    fn number_without_entry_runs_in_group_0_with_home_at_the_root() {
        assert_eq!(resolved("4711").unwrap(), identity(4711, 0, &[0], "/"));
    }

    #[test]
    fn named_group_replaces_supplementary_groups() {
        assert_eq!(
            resolved("app:wheel").unwrap(),
            identity(1000, 10, &[10], "/home/app")
        );
        assert_eq!(
            resolved("app:77").unwrap(),
            identity(1000, 77, &[77], "/home/app")
        );
        assert_eq!(resolved(":44").unwrap(), identity(0, 44, &[44], "/root"));
    }

    #[test]
    fn further_groups_are_added_by_name_or_number() {
        let further = ["video".to_string(), "99".to_string()];
        let identity = resolve(PASSWD, GROUP, "daemon", &further).unwrap();
        assert_eq!(identity.groups, [1, 44, 99]);
    }

    #[test]
    fn unknown_names_are_refused() {
        assert_eq!(resolved("nobody"), Err(UserError::NoUser("nobody".into())));
        assert_eq!(resolved("app:x"), Err(UserError::NoGroup("x".into())));
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for text in ["2147483648", "4294967296", "99999999999999999999"] {
            assert_eq!(resolved(text), Err(UserError::OutOfRange(text.into())));
        }
        assert!(resolved("-1").is_err());
        assert!(resolved("+1").is_err());
    }

    #[test]
    fn entry_with_number_out_of_range_is_skipped() {
        let passwd = b"evil:x:4294967295:0::/:\n";
        assert!(resolve(passwd, b"", "evil", &[]).is_err());
    }

    #[test]
    fn entry_without_home_gets_the_root() {
        assert_eq!(resolved("short").unwrap(), identity(7, 7, &[7], "/"));
    }

    #[test]
    fn group_file_cannot_exceed_the_limit_of_groups() {
        let file = "g:x:5:root\n".repeat(MAX_GROUPS + 2);
        assert!(resolve(PASSWD, file.as_bytes(), "root", &[]).is_err());
    }

    #[test]
    fn files_of_other_bytes_are_read_without_harm() {
        assert!(resolve(&[0xff, b':', 0, b'\n'], &[0xfe; 64], "0", &[]).is_ok());
    }
}
