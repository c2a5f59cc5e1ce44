use super::super::check::Status::*;
use super::*;

fn mount(kind: &str, options: &str, super_options: &str) -> Mount {
    Mount {
        device: (8, 1),
        root: "/".into(),
        point: "/srv".into(),
        options: options.to_owned(),
        kind: kind.to_owned(),
        source: "/dev/sda1".to_owned(),
        super_options: super_options.to_owned(),
    }
}

#[test]
fn a_disk_is_good_and_all_else_is_a_gap() {
    for (name, status) in [
        ("ext4", Good),
        ("xfs", Good),
        ("btrfs", Good),
        ("tmpfs", Gap),
        ("overlay", Gap),
        ("nfs4", Gap),
        ("fuse.sshfs", Gap),
        ("fuseblk", Gap),
        ("9p", Gap),
        ("vfat", Gap),
        ("", Gap),
        ("EXT4", Gap),
        ("fusex", Gap),
    ] {
        assert_eq!(kind(&mount(name, "rw", "rw")).status, status, "{name}");
    }
    assert_eq!(sort("fuse.sshfs"), Sort::Remote);
    assert_eq!(sort("fusex"), Sort::Unknown);
}

#[test]
fn a_hostile_name_of_a_device_is_shown_harmless() {
    let mut odd = mount("ext4", "rw", "rw");
    odd.source = "\u{1b}]0;title\u{7}".to_owned();
    assert_eq!(kind(&odd).found, "ext4 on \\u{1b}]0;title\\u{7}, at /srv");
}

#[test]
fn fsync_counts_only_where_it_can_mean_something() {
    let took = || Ok(Duration::from_micros(300));
    let status =
        |kind: &str, options: &str, more: &str| fsync(Some(&mount(kind, options, more)), took()).status;
    assert_eq!(status("ext4", "rw", "rw,discard"), Good);
    assert_eq!(status("ext4", "rw", "rw,barrier=1"), Good);
    assert_eq!(status("ext4", "rw", "rw,nobarrier"), Gap);
    assert_eq!(status("ext4", "rw", "rw,barrier=0"), Gap);
    assert_eq!(status("f2fs", "rw", "rw,fsync_mode=nobarrier"), Gap);
    assert_eq!(status("tmpfs", "rw", "rw"), Gap);
    assert_eq!(status("overlay", "rw", "rw,volatile"), Gap);
    assert_eq!(status("nfs4", "rw", "rw"), Gap);
    assert_eq!(fsync(None, took()).status, Gap);
    assert_eq!(
        fsync(
            Some(&mount("ext4", "rw", "rw")),
            Err(io::Error::from_raw_os_error(5))
        )
        .status,
        Missing
    );
}

#[test]
fn room_is_judged_by_what_is_left() {
    assert_eq!(judge_space(0, 1 << 40).status, Missing);
    assert_eq!(judge_space(1, 1 << 40).status, Gap);
    assert_eq!(judge_space(LITTLE_SPACE, 1 << 40).status, Good);
    assert_eq!(judge_space(u64::MAX, u64::MAX).status, Good);
    assert_eq!(judge_inodes(0, 0).status, Good, "btrfs counts none");
    assert_eq!(judge_inodes(0, 10).status, Missing);
    assert_eq!(judge_inodes(5, 10).status, Gap);
    assert_eq!(judge_inodes(FEW_FILES, u64::MAX).status, Good);
}

#[test]
fn a_mount_for_reading_or_without_programs_is_of_no_use() {
    assert_eq!(judge_flags(false, false).status, Good);
    assert_eq!(judge_flags(true, false).status, Missing);
    let check = judge_flags(false, true);
    assert_eq!(check.status, Missing);
    assert!(check.found.starts_with("noexec"));
}

#[test]
fn quotas_name_the_remedy_of_their_file_system() {
    let remedy = |kind| {
        quota(Ok(ProjectQuota::Off), Some(&mount(kind, "", "")))
            .remedy
            .unwrap()
    };
    assert!(remedy("ext4").contains("tune2fs"));
    assert!(!remedy("xfs").contains("tune2fs"));
    assert_eq!(quota(Ok(ProjectQuota::On), None).status, Good);
    assert_eq!(quota(Ok(ProjectQuota::Absent), None).status, Gap);
}

#[test]
fn what_is_tried_works_in_a_folder_and_fails_without() {
    let place = tempfile::tempdir().unwrap();
    assert_eq!(rename(replace(place.path())).status, Good);
    assert!(save(place.path()).is_ok());
    let nowhere = place.path().join("nowhere");
    assert_eq!(rename(replace(&nowhere)).status, Missing);
    assert_eq!(tmpfile(nameless(&nowhere)).status, Gap);
    assert!(save(&nowhere).is_err());
}
