//! Finds, inside a package, the program that a command of its manifest starts.
//!
//! Works alike on a package that was read ([`crate::archive::Archive`]) and on one about to be written
//! ([`crate::source::Collection`]). Nothing outside the package is ever looked at: a link's target is resolved as the
//! sandbox will resolve it, with the package as the root of all paths.

use crate::error::{SpkError, printable};
use crate::manifest::Command;

/// A tree of files in which names can be looked up.
pub trait Tree {
    /// Names a folder of this tree.
    type Folder: Copy;
    /// Names the contents of a regular file.
    type Content;

    /// Returns the root folder.
    fn root(&self) -> Self::Folder;

    /// Looks up a name in a folder.
    fn find(&self, folder: Self::Folder, name: &[u8]) -> Looked<Self::Folder, Self::Content>;
}

/// The answer to a look-up: nothing, something, or a tree that cannot be read.
pub type Looked<F, C> = Result<Option<Node<F, C>>, SpkError>;

/// What a name stands for.
#[derive(Clone, Debug)]
pub enum Node<F, C> {
    /// A regular file.
    File {
        /// May be executed.
        executable: bool,
        /// Its contents.
        content: C,
    },
    /// A symbolic link and its target.
    Link(Vec<u8>),
    /// A folder.
    Folder(F),
}

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A file that may be executed.
    Program,
    /// A regular file that may not.
    PlainFile,
    /// A folder.
    Folder,
    /// A place that only exists in a running grain: below `/var`, `/tmp`, `/dev` or `/proc`.
    Runtime,
    /// Nothing.
    Nothing,
}

/// As many links as Linux follows in one path.
const MOST_LINKS: usize = 40;
/// More components than a path of `PATH_MAX` bytes can usefully have.
const MOST_COMPONENTS: usize = 1024;

/// Finds out what `path` leads to. Relative paths start at the root, where a grain's program is started.
pub fn resolve<T: Tree>(tree: &T, path: &[u8]) -> Result<Found, SpkError> {
    let mut rest: Vec<Vec<u8>> = components(path);
    // The folders from the root to the current one, with the name of the first for telling run-time places.
    let mut folders = vec![tree.root()];
    let mut top: Vec<u8> = Vec::new();
    let (mut links, mut visited) = (0, 0);
    while let Some(name) = rest.pop() {
        visited += 1;
        if visited > MOST_COMPONENTS {
            return Ok(Found::Nothing);
        }
        if name == b".." {
            if folders.len() > 1 {
                folders.pop();
            }
            continue;
        }
        if folders.len() == 1 {
            top.clone_from(&name);
        }
        if matches!(&top[..], b"var" | b"tmp" | b"dev" | b"proc") {
            return Ok(Found::Runtime);
        }
        let folder = *folders.last().expect("the root is never left");
        match tree.find(folder, &name)? {
            None => return Ok(Found::Nothing),
            Some(Node::Folder(inner)) => folders.push(inner),
            Some(Node::File { .. }) if !rest.is_empty() => return Ok(Found::Nothing),
            Some(Node::File { executable: true, .. }) => return Ok(Found::Program),
            Some(Node::File { .. }) => return Ok(Found::PlainFile),
            Some(Node::Link(target)) => {
                links += 1;
                if links > MOST_LINKS {
                    return Ok(Found::Nothing);
                }
                if target.first() == Some(&b'/') {
                    folders.truncate(1);
                }
                rest.extend(components(&target));
            }
        }
    }
    Ok(Found::Folder)
}

/// Splits a path, last component first, so that the next one can be popped.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    let names = path
        .split(|byte| *byte == b'/')
        .filter(|name| !matches!(*name, b"" | b"."));
    names.rev().map(<[u8]>::to_vec).collect()
}

/// Makes sure that the program of `command` is in the package and executable. `what` names the command.
pub fn check_command<T: Tree>(tree: &T, what: &str, command: &Command) -> Result<(), SpkError> {
    let program = command.argv.first().map_or("", String::as_str);
    let path = printable(program.as_bytes());
    let found = match resolve(tree, program.as_bytes())? {
        Found::Program | Found::Runtime => return Ok(()),
        Found::Nothing => {
            return Err(SpkError::MissingExecutable {
                command: what.to_owned(),
                path,
            });
        }
        Found::PlainFile => "a file that is not marked executable",
        Found::Folder => "a folder",
    };
    Err(SpkError::NotExecutable {
        command: what.to_owned(),
        path,
        found,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Paths of programs (`!`), files, folders (trailing `/`) and links (`a -> b`).
    struct Paths(&'static [&'static str]);

    impl Tree for Paths {
        type Folder = usize;
        type Content = ();

        fn root(&self) -> usize {
            usize::MAX
        }

        fn find(&self, folder: usize, name: &[u8]) -> Result<Option<Node<usize, ()>>, SpkError> {
            let name = std::str::from_utf8(name).unwrap();
            let wanted = match self.0.get(folder) {
                Some(parent) => format!("{parent}{name}"),
                None => name.to_owned(),
            };
            for (index, entry) in self.0.iter().enumerate() {
                let node = match entry.split_once(" -> ") {
                    Some((link, target)) if link == wanted => Node::Link(target.as_bytes().to_vec()),
                    _ if *entry == format!("{wanted}!") => Node::File {
                        executable: true,
                        content: (),
                    },
                    _ if *entry == wanted => Node::File {
                        executable: false,
                        content: (),
                    },
                    _ if *entry == format!("{wanted}/") => Node::Folder(index),
                    _ => continue,
                };
                return Ok(Some(node));
            }
            Ok(None)
        }
    }

    const TREE: Paths = Paths(&[
        "run!",
        "notes",
        "bin -> usr/bin",
        "usr/",
        "usr/bin/",
        "usr/bin/tool!",
        "usr/bin/up -> ../../run",
        "usr/bin/out -> ../../../../run",
        "absolute -> /usr/bin/tool",
        "loop -> loop",
        "state -> /var/app",
        "dangling -> nowhere",
        "slash -> run/",
    ]);

    #[test]
    fn programs_are_found_as_the_sandbox_finds_them() {
        for (path, expected) in [
            ("/run", Found::Program),
            ("run", Found::Program),
            ("./run", Found::Program),
            ("//./run", Found::Program),
            ("/bin/tool", Found::Program),
            ("/usr/bin/up", Found::Program),
            ("/usr/bin/out", Found::Program),
            ("../../run", Found::Program),
            ("/absolute", Found::Program),
            ("/notes", Found::PlainFile),
            ("/usr", Found::Folder),
            ("", Found::Folder),
            ("/loop", Found::Nothing),
            ("/dangling", Found::Nothing),
            ("/notes/deeper", Found::Nothing),
            ("/nothing", Found::Nothing),
            ("/var/late", Found::Runtime),
            ("/state", Found::Runtime),
        ] {
            assert_eq!(resolve(&TREE, path.as_bytes()).unwrap(), expected, "{path}");
        }
    }

    #[test]
    fn endless_paths_end() {
        let path = "usr/../".repeat(100_000);
        assert_eq!(resolve(&TREE, path.as_bytes()).unwrap(), Found::Nothing);
    }
}
