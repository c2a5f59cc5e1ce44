use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::*;
use crate::limits::Limits;

/// Creates files (`name` or `name!` for a program), folders (`name/`) and links (`name -> target`).
fn tree(root: &Path, entries: &[&str]) {
    for entry in entries {
        if let Some((name, target)) = entry.split_once(" -> ") {
            fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            symlink(target, root.join(name)).unwrap();
        } else if let Some(name) = entry.strip_suffix('/') {
            fs::create_dir_all(root.join(name)).unwrap();
        } else {
            let name = entry.trim_end_matches('!');
            fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            fs::write(
                root.join(name),
                format!("{} {name}", root.file_name().unwrap().display()),
            )
            .unwrap();
            let mode = if name == *entry { 0o644 } else { 0o755 };
            fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
    }
}

fn mapping(at: &str, from: &Path, hide: &[&str]) -> Mapping {
    Mapping {
        at: at.parse().unwrap(),
        from: from.to_owned(),
        hide: hide.iter().map(|path| path.parse().unwrap()).collect(),
    }
}

/// Lists a collection in the language of [`tree`], contents in brackets, without what is made for every package.
fn listing(collection: &Collection) -> Vec<String> {
    const MADE: [&str; 6] = [
        "dev/",
        "proc/",
        "proc/cpuinfo []",
        "sandstorm-manifest [m]",
        "tmp/",
        "var/",
    ];
    let mut lines = Vec::new();
    let mut left = vec![(String::new(), Collection::ROOT)];
    while let Some((path, position)) = left.pop() {
        for (name, position) in collection.names(position).unwrap() {
            let path = format!("{path}{}", String::from_utf8_lossy(name));
            lines.push(match &collection.entry(*position).kind {
                EntryKind::Folder(_) => {
                    left.push((format!("{path}/"), *position));
                    format!("{path}/")
                }
                EntryKind::Link(target) => format!("{path} -> {}", String::from_utf8_lossy(target)),
                EntryKind::File { executable, content } => {
                    let content = match content {
                        Content::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                        Content::Path { path, .. } => fs::read_to_string(path).unwrap(),
                    };
                    format!("{path}{} [{content}]", if *executable { "!" } else { "" })
                }
            });
        }
    }
    lines.retain(|line| !MADE.contains(&line.as_str()));
    lines.sort();
    lines
}

struct Case {
    folder: tempfile::TempDir,
    wanted: Wanted,
}

impl Case {
    fn new(trees: &[(&str, &[&str])]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, entries) in trees {
            fs::create_dir(folder.path().join(name)).unwrap();
            tree(&folder.path().join(name), entries);
        }
        Self {
            folder,
            wanted: Wanted {
                manifest: b"m".to_vec(),
                ..Wanted::default()
            },
        }
    }

    fn map(mut self, at: &str, from: &str, hide: &[&str]) -> Self {
        let mapping = mapping(at, &self.folder.path().join(from), hide);
        self.wanted.search_path.push(mapping);
        self
    }

    fn include(mut self, path: &str) -> Self {
        self.wanted.always_include.push(path.parse().unwrap());
        self
    }

    fn list(mut self, text: &str) -> Self {
        let path = self.folder.path().join("files.list");
        fs::write(&path, text).unwrap();
        self.wanted.file_list = Some(path);
        self
    }

    fn collect(&self) -> Result<Collection, SourceError> {
        collect(&self.wanted, &Limits::default())
    }

    #[track_caller]
    fn gives(&self, expected: &[&str]) {
        assert_eq!(listing(&self.collect().unwrap()), expected);
    }
}

#[test]
fn every_package_has_what_the_sandbox_looks_for() {
    let case = Case::new(&[]);
    let collection = case.collect().unwrap();
    for path in ["dev", "tmp", "var", "proc/cpuinfo", "sandstorm-manifest"] {
        let found = crate::tree::resolve(&collection, path.as_bytes()).unwrap();
        assert_ne!(found, crate::tree::Found::Nothing, "{path}");
    }
    case.gives(&[]);
}

#[test]
fn the_first_source_that_has_a_file_wins_and_folders_merge() {
    Case::new(&[
        ("one", &["a", "d/x", "d/y", "kind"]),
        ("two", &["a", "b", "d/y", "d/z", "kind/inner"]),
    ])
    .map("", "one", &[])
    .map("", "two", &[])
    .include(".")
    .gives(&[
        "a [one a]",
        "b [two b]",
        "d/",
        "d/x [one d/x]",
        "d/y [one d/y]",
        "d/z [two d/z]",
        "kind [one kind]",
    ]);
}

#[test]
fn hidden_paths_are_hidden_with_all_below_and_only_in_their_source() {
    Case::new(&[
        ("one", &["a", "secret/key", "keep/secret"]),
        ("two", &["secret/other", "a"]),
    ])
    .map("", "one", &["a", "secret"])
    .map("", "two", &[])
    .include(".")
    .gives(&[
        "a [two a]",
        "keep/",
        "keep/secret [one keep/secret]",
        "secret/",
        "secret/other [two secret/other]",
    ]);
}

#[test]
fn sources_can_begin_deeper() {
    Case::new(&[("root", &["a"]), ("lib", &["x", "sub/y"])])
        .map("opt/app", "lib", &["sub"])
        .map("", "root", &[])
        .include(".")
        .gives(&["a [root a]", "opt/", "opt/app/", "opt/app/x [lib x]"]);
}

#[test]
fn a_source_that_is_a_link_is_followed_and_links_inside_are_kept() {
    let case = Case::new(&[("real", &["a", "l -> a", "out -> /etc"])]);
    symlink("real", case.folder.path().join("alias")).unwrap();
    case.map("", "alias", &[])
        .include(".")
        .gives(&["a [real a]", "l -> a", "out -> /etc"]);
}

#[test]
fn programs_are_what_their_owner_may_execute() {
    Case::new(&[("s", &["run!", "data"])])
        .map("", "s", &[])
        .include(".")
        .gives(&["data [s data]", "run! [s run]"]);
}

#[test]
fn listed_folders_are_not_followed() {
    Case::new(&[("s", &["d/x", "d/y", "e/z", "f"])])
        .map("", "s", &[])
        .list("# files\n\nd\r\n  f  \ne/z\nsandstorm-manifest\nsandstorm-http-bridge\nproc/cpuinfo\n")
        .gives(&["d/", "e/", "e/z [s e/z]", "f [s f]"]);
}

#[test]
fn what_is_listed_has_to_be_there() {
    let case = Case::new(&[("s", &["a"])])
        .map("", "s", &[])
        .list("a\ngone\nd/gone too\n")
        .include("lib");
    let error = case.collect().err().unwrap();
    assert!(
        matches!(&error, SourceError::Missing(paths) if paths.len() == 3),
        "{error}"
    );
    assert!(error.to_string().contains("\"d/gone too\""), "{error}");
}

#[test]
fn lines_that_are_no_paths_are_named() {
    for (line, problem) in [("/etc/passwd", "slash"), ("a/../b", "\"..\""), ("a//b", "empty")] {
        let case = Case::new(&[("s", &["a"])])
            .map("", "s", &[])
            .list(&format!("a\n{line}\n"));
        let error = case.collect().err().unwrap().to_string();
        assert!(error.contains("line 2") && error.contains(problem), "{error}");
    }
}

#[test]
fn included_folders_bring_all_they_hold() {
    Case::new(&[("s", &["d/x", "d/e/y", "f"])])
        .map("", "s", &[])
        .include("d")
        .gives(&["d/", "d/e/", "d/e/y [s d/e/y]", "d/x [s d/x]"]);
}

#[test]
fn places_that_exist_only_in_a_grain_stay_empty() {
    Case::new(&[(
        "s",
        &[
            "var/state",
            "tmp/x",
            "dev/null",
            "proc/version",
            "proc/cpuinfo",
            "a",
        ],
    )])
    .map("", "s", &[])
    .include(".")
    .gives(&["a [s a]", "proc/version [s proc/version]"]);
}

#[test]
fn files_listed_behind_a_link_are_found_behind_it() {
    let source: &[(&str, &[&str])] = &[("s", &["usr/lib/x", "lib -> usr/lib"])];
    Case::new(source)
        .map("", "s", &[])
        .list("lib/x\nlib\nusr/lib/x\n")
        .gives(&["lib -> usr/lib", "usr/", "usr/lib/", "usr/lib/x [s usr/lib/x]"]);
    let error = Case::new(source)
        .map("", "s", &[])
        .list("lib/x\nlib\n")
        .collect()
        .err()
        .unwrap();
    assert!(matches!(error, SourceError::Conflict { .. }), "{error}");
    // Without the link itself, its folders become real ones.
    Case::new(source)
        .map("", "s", &[])
        .list("lib/x\n")
        .gives(&["lib/", "lib/x [s usr/lib/x]"]);
}

#[test]
fn special_files_become_empty_ones_with_a_warning() {
    let case = Case::new(&[("s", &["a"])]);
    let _socket = std::os::unix::net::UnixListener::bind(case.folder.path().join("s/socket")).unwrap();
    let case = case.map("", "s", &[]).include(".");
    let collection = case.collect().unwrap();
    assert_eq!(listing(&collection), ["a [s a]", "socket []"]);
    assert!(
        collection.warnings[0].contains("socket"),
        "{:?}",
        collection.warnings
    );
}

#[test]
fn the_package_being_written_is_not_packed() {
    let case = Case::new(&[("s", &["a", "old.spk"])])
        .map("", "s", &[])
        .include(".");
    let output = case.folder.path().join("s/old.spk");
    let wanted = Wanted {
        output: Some(output),
        ..case.wanted.clone()
    };
    assert_eq!(
        listing(&collect(&wanted, &Limits::default()).unwrap()),
        ["a [s a]"]
    );
}

#[test]
fn too_many_or_too_large_files_are_refused() {
    let case = Case::new(&[("s", &["a", "b"])]).map("", "s", &[]).include(".");
    for limits in [
        Limits {
            entries: 6,
            ..Limits::default()
        },
        Limits {
            file: 2,
            ..Limits::default()
        },
    ] {
        let error = collect(&case.wanted, &limits).err().unwrap();
        assert!(matches!(error, SourceError::TooLarge { .. }), "{error}");
    }
}
