use std::io::{Read, Write};
use std::num::NonZeroU64;

use capnp::message::Builder;
use ed25519_dalek::SigningKey;
use lzma_rust2::{XzOptions, XzWriter, XzWriterMt};
use proptest::prelude::*;
use sha2::Sha256;

use super::*;
use crate::crafted::*;

fn check_within(bytes: &[u8], limits: &Limits) -> Result<VerifiedSpk, SpkError> {
    let scratch = tempfile::tempdir().unwrap();
    let result = verify(bytes, scratch.path(), limits, &mut |_| {});
    assert_eq!(
        std::fs::read_dir(scratch.path()).unwrap().count(),
        0,
        "the temporary file has no name"
    );
    result
}

fn check(bytes: &[u8]) -> Result<VerifiedSpk, SpkError> {
    check_within(bytes, &Limits::default())
}

#[track_caller]
fn assert_refused(bytes: &[u8], code: &str) {
    let error = check(bytes).expect_err("it has to be refused");
    assert_eq!(error.code(), code, "{error}");
}

#[test]
fn a_good_package_is_known_by_its_hash_and_key() {
    let bytes = spk_with(&usable());
    let spk = check(&bytes).unwrap();
    assert_eq!(spk.package_id().0, Sha256::digest(&bytes)[..16]);
    assert_eq!(spk.app_id().0, key().verifying_key().to_bytes());
    assert_eq!(spk.size(), bytes.len() as u64);
    let manifest = manifest_starting("/run").len() as u64;
    assert_eq!(
        spk.contents(),
        Contents {
            files: 3,
            folders: 2,
            links: 1,
            bytes: manifest + 10 + 4
        }
    );
}

#[test]
fn a_package_cut_anywhere_is_truncated() {
    let bytes = spk_with(&usable());
    for length in 0..bytes.len() {
        let error = check(&bytes[..length]).err().unwrap();
        assert_eq!(error.code(), "truncated", "cut to {length}: {error}");
    }
}

#[test]
fn other_files_are_not_packages() {
    assert_refused(b"PK\x03\x04 a zip file", "wrong-magic");
    assert_refused(b"x", "wrong-magic");
    assert_refused(b"", "truncated");
    assert_refused(&[&MAGIC[..], b"not compressed at all"].concat(), "not-xz");
    assert_refused(&[&MAGIC[..], b"\x1f\x8b gzip"].concat(), "not-xz");
}

#[test]
fn nothing_may_follow_the_package() {
    let good = spk_with(&usable());
    assert_refused(&[&good[..], b"x"].concat(), "trailing-bytes");
    assert_refused(&[&good[..], &[0; 4]].concat(), "trailing-bytes");
    assert_refused(&[&good[..], &xz(b"a second stream")].concat(), "trailing-bytes");
    let mut longer = archive(&usable(), 1024);
    longer.extend([0; 8]);
    assert_refused(&spk(&longer), "trailing-bytes");
    longer.truncate(longer.len() - 16);
    assert_refused(&spk(&longer), "truncated");
}

#[test]
fn damaged_compression_is_noticed() {
    let mut bytes = spk_with(&usable());
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    let error = check(&bytes).err().unwrap();
    assert!(matches!(error.code(), "corrupt" | "bad-signature"), "{error}");
}

#[test]
fn other_contents_need_another_signature() {
    let (one, other) = (archive(&usable(), 1024), archive(&[], 1024));
    assert_refused(&spk_of(&signature(&other), &one), "bad-signature");
    // A valid key whose signature is of another key.
    let mut forged = signature(&one);
    let place = forged
        .windows(32)
        .position(|part| part == key().verifying_key().as_bytes())
        .unwrap();
    let stranger = SigningKey::from_bytes(&[1; 32]);
    forged[place..place + 32].copy_from_slice(stranger.verifying_key().as_bytes());
    assert_refused(&spk_of(&forged, &one), "bad-signature");
}

#[test]
fn every_bit_of_key_signature_and_hash_counts() {
    let archive = archive(&usable(), 1024);
    let good = signature(&archive);
    let start = good.len() - 32 - 128;
    for bit in (start * 8..good.len() * 8).step_by(7) {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let error = check(&spk_of(&bad, &archive)).err().unwrap();
        assert_eq!(error.code(), "bad-signature", "bit {bit}: {error}");
    }
}

#[test]
fn keys_that_anyone_can_sign_for_are_refused() {
    // With a key of small order, the signature (R = identity, S = 0) fits many messages.
    let archive = archive(&usable(), 1024);
    let hash: [u8; 64] = Sha512::digest(&archive).into();
    let mut identity = [0; 32];
    identity[0] = 1;
    let mut overflowing = [0xff; 32];
    (overflowing[0], overflowing[31]) = (0xee, 0x7f);
    for key in [identity, [0; 32], overflowing] {
        let mut signed = [0; 128];
        signed[0] = 1;
        signed[64..].copy_from_slice(&hash);
        assert_refused(&spk_of(&message(&key, &signed), &archive), "bad-signature");
    }
}

fn message(key: &[u8], signed: &[u8]) -> Vec<u8> {
    let mut message = Builder::new_default();
    let mut root: signature::Builder<'_> = message.init_root();
    root.set_public_key(key);
    root.set_signature(signed);
    serialize::write_message_to_words(&message)
}

#[test]
fn lengths_of_key_and_signature_are_fixed() {
    let archive = archive(&usable(), 1024);
    for (key, signed) in [
        (31, 128),
        (33, 128),
        (0, 128),
        (32, 64),
        (32, 127),
        (32, 129),
        (32, 0),
    ] {
        let message = message(&vec![1; key], &vec![1; signed]);
        assert_refused(&spk_of(&message, &archive), "wrong-lengths");
    }
}

#[test]
fn the_signature_message_is_bounded() {
    let huge_count = [0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0];
    assert_refused(&spk_of(&huge_count, &[0; 64]), "too-large");
    let huge_segment = [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
    assert_refused(&spk_of(&huge_segment, &[0; 64]), "too-large");
    let no_struct = [0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
    assert_refused(&spk_of(&no_struct, &[0; 64]), "bad-archive");
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let limits = Limits {
        archive: 1 << 20,
        ..Limits::default()
    };
    let zeros = vec![0; 64 << 20];
    let bomb = spk(&zeros);
    assert!(bomb.len() < 64 << 10, "it is small outside: {}", bomb.len());
    let error = check_within(&bomb, &limits).err().unwrap();
    assert_eq!(error.code(), "too-large", "{error}");
    // And one byte over.
    let most = archive(&[file("f", &[0; 1000])], 1024);
    let limits = Limits {
        archive: most.len() as u64,
        ..Limits::default()
    };
    assert!(check_within(&spk(&most), &limits).is_ok());
    let limits = Limits {
        archive: most.len() as u64 - 1,
        ..Limits::default()
    };
    assert_eq!(
        check_within(&spk(&most), &limits).err().unwrap().code(),
        "too-large"
    );
}

#[test]
fn a_package_larger_than_its_contents_could_make_it_stops() {
    // An endless file that looks like a package at first.
    let good = spk_with(&usable());
    let endless = good[..good.len() - 40].chain(std::io::repeat(1));
    let error = verify(endless, &std::env::temp_dir(), &Limits::default(), &mut |_| {})
        .err()
        .unwrap();
    assert!(
        matches!(error.code(), "corrupt" | "too-large" | "trailing-bytes"),
        "{error}"
    );
}

#[test]
fn too_large_a_dictionary_is_refused_before_it_is_used() {
    let mut bytes = spk_with(&usable());
    // Stream header (12 bytes), then the block header: size, flags, filter id, its size, dictionary, padding, CRC-32.
    let block = MAGIC.len() + 12;
    let size = (usize::from(bytes[block]) + 1) * 4;
    assert_eq!(bytes[block + 2], 0x21, "the filter is LZMA2");
    bytes[block + 4] = 38; // 2 GiB
    let checksum = crc32(&bytes[block..block + size - 4]);
    bytes[block + size - 4..block + size].copy_from_slice(&checksum.to_le_bytes());
    assert_refused(&bytes, "too-large");
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = !0;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ 0xedb8_8320
            } else {
                crc >> 1
            };
        }
    }
    !crc
}

#[test]
fn failing_reads_are_reported_as_such() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is on fire"))
        }
    }
    let good = spk_with(&usable());
    for length in [0, 4, 8, 12, 20, good.len() - 1, good.len()] {
        let error = verify(
            good[..length].chain(Failing),
            &std::env::temp_dir(),
            &Limits::default(),
            &mut |_| {},
        );
        assert_eq!(error.err().unwrap().code(), "io", "after {length} bytes");
    }
}

#[test]
fn every_way_of_compressing_is_read() {
    let archive = archive(&[file("data", &noise(3 << 20))], 1024);
    let payload = [&signature(&archive)[..], &archive].concat();
    for preset in [0, 6, 9] {
        let mut writer = XzWriter::new(MAGIC.to_vec(), XzOptions::with_preset(preset)).unwrap();
        writer.write_all(&payload).unwrap();
        check(&writer.finish().unwrap()).unwrap();
    }
    for check_type in [
        lzma_rust2::CheckType::None,
        lzma_rust2::CheckType::Crc32,
        lzma_rust2::CheckType::Sha256,
    ] {
        // Many blocks, compressed side by side.
        let mut options = XzOptions::with_preset(1);
        options.set_check_sum_type(check_type);
        options.set_block_size(NonZeroU64::new(1 << 20));
        let mut writer = XzWriterMt::new(MAGIC.to_vec(), options, 2).unwrap();
        writer.write_all(&payload).unwrap();
        check(&writer.finish().unwrap()).unwrap();
    }
}

/// Bytes that do not compress well, the same every time.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    (0..length).map(|_| next()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_packages_are_refused_without_panic(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let good = spk_with(&usable());
        let mut bad = good.clone();
        for (place, value) in changes {
            let place = place.index(bad.len());
            bad[place] = value;
        }
        prop_assert_eq!(check(&bad).is_ok(), bad == good);
    }

    #[test]
    fn damaged_payloads_are_refused_without_panic(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        // Damaged below the compression, and not signed again.
        let archive = archive(&usable(), 1024);
        let good = [&signature(&archive)[..], &archive].concat();
        let mut bad = good.clone();
        for (place, value) in changes {
            let place = place.index(bad.len());
            bad[place] = value;
        }
        let spk = [&MAGIC[..], &xz(&bad)].concat();
        prop_assert_eq!(check(&spk).is_ok(), bad == good);
    }
}
