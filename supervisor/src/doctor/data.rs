//! The data folder: whose it is, who may look into it, whether a server works on it, and as which user apps would run.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use percloud_broker::Layout;
use percloud_sandbox::probe;

use super::check::{Check, Group, Subject};
use super::print::user;
use super::workplace::Target;

const FOLDER: Subject = Subject::new(Group::Data, "data-folder", "Owner and permissions");
const IN_USE: Subject = Subject::new(Group::Data, "data-in-use", "No other server uses it");
const OWNERS: Subject = Subject::new(Group::Data, "data-owners", "Owners can be translated");
const USER: Subject = Subject::new(Group::Machine, "running-user", "User");

pub fn checks(target: &Target) -> Vec<Check> {
    let me = rustix::process::geteuid().as_raw();
    let layout = Layout::new(target.data.clone(), PathBuf::new());
    vec![
        folder(&look(target), me),
        in_use(layout.in_use()),
        owners(probe::idmapped(&target.nearest), me),
        running_user(me),
    ]
}

/// What is in the place of the data folder.
enum Place {
    /// A folder.
    Folder { owner: u32, mode: u32, writable: bool },
    /// Nothing yet; whether it could be made.
    Nothing { above: String, writable: bool },
    /// Something else.
    Other,
    /// It cannot be told.
    Hidden(io::Error),
}

fn look(target: &Target) -> Place {
    let may = |path: &std::path::Path| {
        let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
        rustix::fs::accessat(rustix::fs::CWD, path, access, rustix::fs::AtFlags::EACCESS).is_ok()
    };
    match fs::metadata(&target.data).map(|about: Metadata| (about.is_dir(), about.uid(), about.mode())) {
        Ok((true, owner, mode)) => Place::Folder {
            owner,
            mode,
            writable: may(&target.data),
        },
        Ok((false, ..)) => Place::Other,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Place::Nothing {
            above: target.nearest.display().to_string(),
            writable: may(&target.nearest),
        },
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Place::Other,
        Err(error) => Place::Hidden(error),
    }
}

fn folder(place: &Place, me: u32) -> Check {
    const NO_START: &str = "the server does not start";
    match place {
        Place::Nothing {
            above,
            writable: true,
        } => FOLDER.good(format!(
            "not there yet; the server makes it, for itself alone, below {above}"
        )),
        Place::Nothing {
            above,
            writable: false,
        } => FOLDER.missing(
            format!("not there, and {} may not make it below {above}", user(me)),
            NO_START,
            "make it, give it to the server's user, mode 0700; or choose another with --data",
        ),
        Place::Other => FOLDER.missing(
            "there is something that is no folder",
            NO_START,
            "choose another with --data",
        ),
        Place::Hidden(error) => FOLDER.missing(
            format!("cannot be looked at: {error}"),
            NO_START,
            "run this as the server's user, or choose another with --data",
        ),
        Place::Folder {
            owner,
            writable: false,
            ..
        } => FOLDER.missing(
            format!("{}'s; {} may not write to it", user(*owner), user(me)),
            NO_START,
            "run the server as its owner, give it to the server's user, or choose another with --data",
        ),
        Place::Folder { owner, mode, .. } if *owner != me => FOLDER.gap(
            format!("{}'s, mode {:04o}", user(*owner), mode & 0o7777),
            format!(
                "its owner reads and changes everything; what {} writes there may be closed to its owner",
                user(me)
            ),
            format!(
                "run this and the server as {}, or give the folder to {}",
                user(*owner),
                user(me)
            ),
        ),
        Place::Folder { mode, .. } if mode & 0o077 != 0 => FOLDER.gap(
            format!("{}'s, mode {:04o}", user(me), mode & 0o7777),
            "other users of this machine see names in it, and what is less closed than the folder itself",
            "chmod 0700, on the data folder alone",
        ),
        Place::Folder { mode, .. } => FOLDER.good(format!("{}'s, mode {:04o}", user(me), mode & 0o7777)),
    }
}

fn in_use(answer: io::Result<bool>) -> Check {
    match answer {
        Ok(false) => IN_USE.good("nobody has it open"),
        Ok(true) => IN_USE.missing(
            "a server works on it now",
            "a second one does not start on it",
            "nothing, if that is the server you mean; else stop it, or choose another folder with --data",
        ),
        Err(error) => IN_USE.unknown(format!("its lock cannot be read ({error})")),
    }
}

/// Judges whether apps can be another user than root on this file system.
fn owners(answer: io::Result<Option<bool>>, me: u32) -> Check {
    const AS_ROOT: &str = "apps run as the machine's root user, held by their sandbox only";
    match answer {
        _ if me != 0 => OWNERS.good(format!("not needed: apps are {}, as the server", user(me))),
        Ok(Some(true)) => {
            OWNERS.good("apps are a user of their own, which owns nothing else (idmapped mounts)")
        }
        Ok(Some(false)) => OWNERS.gap(
            "this file system, or the container, has no idmapped mounts",
            AS_ROOT,
            "run the server as an ordinary user, or keep its data on ext4, xfs or btrfs",
        ),
        Ok(None) => OWNERS.gap(
            "the kernel, or the container, refuses another mapping of user ids",
            AS_ROOT,
            "run the server as an ordinary user",
        ),
        Err(error) => OWNERS.unknown(error),
    }
}

fn running_user(me: u32) -> Check {
    USER.good(match me {
        0 => "root; broker and launcher keep its rights, the other parts give them up".to_owned(),
        me => format!(
            "{}, an ordinary one; run this as the user who will run the server",
            user(me)
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::super::check::Status::*;
    use super::*;

    fn status(owner: u32, mode: u32, writable: bool, me: u32) -> super::super::check::Status {
        folder(
            &Place::Folder {
                owner,
                mode,
                writable,
            },
            me,
        )
        .status
    }

    #[test]
    fn a_folder_is_its_users_and_nobody_elses_to_enter() {
        assert_eq!(status(1500, 0o40700, true, 1500), Good);
        for open in [0o755, 0o710, 0o701, 0o777, 0o750] {
            assert_eq!(status(1500, 0o40000 | open, true, 1500), Gap, "{open:o}");
        }
        assert_eq!(status(1500, 0o40700, true, 0), Gap, "somebody else's");
        assert_eq!(status(0, 0o40700, false, 1500), Missing);
    }

    #[test]
    fn what_is_no_folder_cannot_be_one() {
        assert_eq!(folder(&Place::Other, 0).status, Missing);
        assert_eq!(
            folder(&Place::Hidden(io::ErrorKind::PermissionDenied.into()), 1).status,
            Missing
        );
        let nothing = |writable| Place::Nothing {
            above: "/srv".to_owned(),
            writable,
        };
        assert_eq!(folder(&nothing(true), 1).status, Good);
        assert_eq!(folder(&nothing(false), 1).status, Missing);
    }

    #[test]
    fn only_root_needs_owners_translated() {
        assert_eq!(owners(Ok(None), 1500).status, Good);
        assert_eq!(owners(Ok(Some(true)), 0).status, Good);
        assert_eq!(owners(Ok(Some(false)), 0).status, Gap);
        assert_eq!(owners(Ok(None), 0).status, Gap);
        assert_eq!(in_use(Ok(true)).status, Missing);
        assert_eq!(in_use(Err(io::ErrorKind::PermissionDenied.into())).status, Gap);
    }
}
