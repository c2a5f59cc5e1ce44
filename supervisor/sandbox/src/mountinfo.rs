//! What is mounted where, read from the text of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Lines read at most: more mounts than a machine has, fewer than would keep us busy.
const MOUNTS: usize = 100_000;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Major and minor number of its file system, as stat(2) tells them for files on it; not on btrfs and some others.
    pub device: (u32, u32),
    /// Which directory of the file system it shows.
    pub root: PathBuf,
    /// Where.
    pub point: PathBuf,
    /// Options of this mount, such as `ro` and `noexec`, with commas between them.
    pub options: String,
    /// The file system's type.
    pub kind: String,
    /// What the file system lies on: a device or a word of its own.
    pub source: String,
    /// Options of the file system.
    pub super_options: String,
}

impl Mount {
    /// Whether it, or the file system as a whole, has the option `name`, with or without a value.
    pub fn has(&self, name: &str) -> bool {
        let all = self.options.split(',').chain(self.super_options.split(','));
        all.into_iter()
            .any(|option| option.split('=').next() == Some(name))
    }

    /// Returns where the directory `path` of the file system is seen; `None` if the mount shows another part of it.
    pub fn shows(&self, path: &Path) -> Option<PathBuf> {
        let below = path.strip_prefix(&self.root).ok()?;
        Some(if below.as_os_str().is_empty() {
            self.point.clone()
        } else {
            self.point.join(below)
        })
    }
}

/// Reads every mount; a line that is none is passed over.
pub fn read(text: &[u8]) -> Vec<Mount> {
    text.split(|byte| *byte == b'\n')
        .take(MOUNTS)
        .filter_map(mount)
        .collect()
}

/// The mount that `path`, which has no `..` and no symbolic link in it, lies on: the last one at the longest point, for
/// later mounts hide earlier ones.
pub fn holding<'m>(mounts: &'m [Mount], path: &Path) -> Option<&'m Mount> {
    mounts
        .iter()
        .filter(|mount| path.starts_with(&mount.point))
        .max_by_key(|mount| mount.point.as_os_str().len())
}

fn mount(line: &[u8]) -> Option<Mount> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    // Six fields, any number of tags, a dash, three fields. A name with a space in it has none: it is written \040.
    let dash = fields
        .iter()
        .skip(6)
        .position(|field| *field == b"-")?
        .checked_add(6)?;
    let (&[_, _, device, root, point, options], &[kind, source, super_options, ..]) =
        (fields.get(..6)?, fields.get(dash + 1..)?)
    else {
        return None;
    };
    let (major, minor) = std::str::from_utf8(device).ok()?.split_once(':')?;
    Some(Mount {
        device: (major.parse().ok()?, minor.parse().ok()?),
        root: path(root),
        point: path(point),
        options: text(options),
        kind: text(kind),
        source: text(source),
        super_options: text(super_options),
    })
}

fn path(field: &[u8]) -> PathBuf {
    OsString::from_vec(unescaped(field)).into()
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(&unescaped(field)).into_owned()
}

/// Puts back what is written as a backslash and three octal digits: space, tab, line feed, backslash.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        match (first, after) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"22 27 0:21 / /proc rw,relatime - proc proc rw\n\
        27 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw,discard,data=ordered\n\
        40 27 8:1 /sub /srv/my\\040data\\134 ro,noexec shared:7 - xfs /dev/sda1 rw,prjquota\n\
        41 27 8:1 / /srv/odd - - xfs - rw\n";

    #[test]
    fn fields_tags_and_escapes_are_read() {
        let mounts = read(TEXT);
        assert_eq!(mounts.len(), 4);
        let data = &mounts[2];
        assert_eq!(
            (data.device, data.kind.as_str(), data.source.as_str()),
            ((8, 1), "xfs", "/dev/sda1")
        );
        assert_eq!(data.point, Path::new("/srv/my data\\"));
        assert!(data.has("noexec") && data.has("prjquota") && !data.has("quota"));
        assert!(mounts[1].has("data") && !mounts[1].has("data=ordered"));
        assert_eq!(mounts[3].source, "-", "a source may be a dash itself");
    }

    #[test]
    fn the_longest_and_latest_mount_holds_a_path() {
        let mounts =
            read(b"1 0 8:1 / / rw - ext4 a rw\n2 1 8:2 / /srv rw - xfs b rw\n3 1 8:3 / /srv rw - xfs c rw\n");
        let source = |path| holding(&mounts, Path::new(path)).map(|mount| mount.source.as_str());
        assert_eq!(source("/srv/data"), Some("c"));
        assert_eq!(source("/srv2"), Some("a"), "names, not letters");
        assert_eq!(source("relative"), None);
    }

    #[test]
    fn a_part_of_a_file_system_is_seen_where_its_mount_shows_it() {
        let mounts = read(b"1 0 0:9 /pod /sys/fs/cgroup rw - cgroup2 cgroup rw\n");
        assert_eq!(
            mounts[0].shows(Path::new("/pod/app")),
            Some("/sys/fs/cgroup/app".into())
        );
        assert_eq!(mounts[0].shows(Path::new("/pod")), Some("/sys/fs/cgroup".into()));
        assert_eq!(mounts[0].shows(Path::new("/podium")), None);
    }

    #[test]
    fn what_is_no_mount_is_passed_over() {
        for text in [
            &b""[..],
            b"-",
            b" - ",
            b"1 2 3 4 5 6 - a b",
            b"1 2 x:y / / rw - a b c",
            b"1 2 4294967296:0 / / rw - a b c",
            b"1 2 8:0 / / rw a b c",
            b"\xff\xff\xff\n\0\0",
            b"1 2 8:0 / / rw -",
        ] {
            assert_eq!(read(text), [], "{}", String::from_utf8_lossy(text));
        }
        let odd = read(b"1 2 8:0 / /a\\9\\04\\477\xff rw - \xff b c");
        let point = std::os::unix::ffi::OsStrExt::as_bytes(odd[0].point.as_os_str());
        assert_eq!(
            point, b"/a\\9\\04\\477\xff",
            "not three octal digits of one byte: left alone"
        );
        assert_eq!(odd[0].kind, "\u{fffd}");
    }
}
