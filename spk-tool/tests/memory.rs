//! Packs, checks and unpacks far more than it may use memory for.
//!
//! Alone in its file: the memory of all children of this process is what is measured.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use nix::sys::resource::{UsageWho, getrusage};

const MIB: usize = 1 << 20;
/// What the program may use, in MiB. A debug build on two cores needs about 170 to pack and 20 to unpack.
const MOST: i64 = 200;

#[test]
fn memory_is_bounded_whatever_the_size_of_the_package() {
    let home = tempfile::tempdir().unwrap();
    let app = home.path().join("app");
    fs::create_dir(&app).unwrap();
    fs::write(app.join("run"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(app.join("run"), fs::Permissions::from_mode(0o755)).unwrap();
    // One file larger than the limit on memory, some that do not compress.
    File::create(app.join("large"))
        .unwrap()
        .set_len(230 * MIB as u64)
        .unwrap();
    let mut state = 1u64;
    let mut noise = File::create(app.join("noise")).unwrap();
    for _ in 0..18 {
        let block: Vec<u8> = (0..MIB)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as u8
            })
            .collect();
        noise.write_all(&block).unwrap();
    }

    let spk = |arguments: &[&str]| {
        #[allow(
            clippy::disallowed_methods,
            reason = "a test of the program starts the program"
        )]
        let mut command = Command::new(env!("CARGO_BIN_EXE_spk"));
        command
            .args(arguments)
            .current_dir(home.path())
            .env("HOME", home.path())
            .stdout(Stdio::null());
        assert!(command.status().unwrap().success(), "{arguments:?}");
        // The largest of all children so far, in KiB.
        getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss() / 1024
    };
    spk(&["init", "-q", "-r", "-A", "-I", "app", "--", "/run"]);
    // The largest of all runs counts, so what needs least goes first: packing with the smallest dictionary, reading,
    // and packing as usual.
    let packed_small = spk(&["pack", "-q", "--level", "0", "--threads", "1", "small.spk"]);
    let read = spk(&["unpack", "-q", "small.spk", "out"]);
    assert!(
        read <= MOST / 2,
        "reading used {read} MiB, packing before it {packed_small} MiB"
    );
    assert_eq!(
        fs::metadata(home.path().join("out/large")).unwrap().len(),
        230 * MIB as u64
    );
    let packed = spk(&["pack", "-q", "--threads", "2", "app.spk"]);
    assert!(packed <= MOST, "packing used {packed} MiB");
}
