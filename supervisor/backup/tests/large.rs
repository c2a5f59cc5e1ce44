//! Large files in little memory. In a process of their own, for they look at what the whole process used.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;

use percloud_backup::{GrainInfo, Limits, STORAGE};

/// What packing and restoring may add to the memory in use: buffers, and the states of coder and decoder.
const MEMORY: u64 = 16 << 20;

/// The most memory this process ever had, in bytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

/// Packs and restores a file of `size` bytes with something at its start, at `middle` and at its end. `thorough` looks at
/// every other byte too, and asks another program.
fn round_trip(size: u64, middle: u64, thorough: bool) {
    let place = tempfile::tempdir().unwrap();
    let (grain, staging) = (place.path().join("grain"), place.path().join("staging"));
    fs::create_dir_all(grain.join(STORAGE)).unwrap();
    fs::create_dir(&staging).unwrap();
    let file = File::create_new(grain.join(STORAGE).join("large")).unwrap();
    file.set_len(size).unwrap();
    let marks = [0, middle, size - 6];
    for at in marks {
        file.write_all_at(b"marked", at).unwrap();
    }
    let zip = place.path().join("backup.zip");
    let limits = Limits::default();
    let before = peak();

    let out = BufWriter::new(File::create_new(&zip).unwrap());
    let packed = percloud_backup::pack(&grain, &GrainInfo::default(), &limits, out, &mut |_| Ok(()));
    assert_eq!(packed.unwrap().bytes, size);
    if thorough {
        check_with_unzip(&zip);
    }
    let zip = File::open(&zip).unwrap();
    let restored = percloud_backup::restore(zip, &staging, &limits, &mut |_, _| Ok(())).unwrap();
    assert_eq!(restored.bytes, size);
    let used = peak() - before;
    assert!(used < MEMORY, "{used} bytes for a file of {size}");

    let file = File::open(staging.join(STORAGE).join("large")).unwrap();
    assert_eq!(file.metadata().unwrap().len(), size);
    // It is as sparse as it was, so that reading it again takes a moment and no disk.
    assert!(file.metadata().unwrap().blocks() * 512 < 1 << 20);
    for at in marks {
        let mut mark = [0; 6];
        file.read_exact_at(&mut mark, at).unwrap();
        assert_eq!(&mark, b"marked", "at {at}");
    }
    if !thorough {
        return;
    }
    let mut rest = BufReader::with_capacity(1 << 20, file);
    let (mut buffer, mut others) = (vec![0; 1 << 20], 0);
    loop {
        match rest.read(&mut buffer).unwrap() {
            0 => break,
            length => others += buffer[..length].iter().filter(|byte| **byte != 0).count(),
        }
    }
    assert_eq!(others, 3 * 6);
}

/// What another program says of the archive, where there is one.
#[allow(clippy::disallowed_methods, reason = "tests start programs")]
fn check_with_unzip(zip: &Path) {
    match Command::new("unzip").arg("-tq").arg(zip).output() {
        Ok(output) => assert!(output.status.success(), "{output:?}"),
        Err(_) => eprintln!("NOT TESTED: unzip is not installed (Debian package unzip)"),
    }
}

#[test]
fn two_gibibytes_take_no_more_memory_than_two_bytes() {
    round_trip(2 << 30, 1 << 30, false);
}

/// Where sizes need 64 bits. Slow: `cargo test -p percloud-backup -- --ignored`.
#[test]
#[ignore = "takes a minute or two"]
fn five_gibibytes_take_64_bits() {
    round_trip(5 << 30, (4 << 30) + 12_345, true);
}
