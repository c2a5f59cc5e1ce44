//! Packages for tests: good ones, and every kind of bad one, signed like good ones.

use std::io::Write;

use capnp::message::{Builder, HeapAllocator};
use capnp::serialize;
use ed25519_dalek::SigningKey;
use lzma_rust2::{XzOptions, XzWriter};
use percloud_schemas::package_capnp::{archive, manifest};
use sha2::{Digest, Sha512};

use crate::archive::MAGIC;
use crate::pack::signature_message;

/// An entry to put into an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    File(Vec<u8>, Vec<u8>),
    Program(Vec<u8>, Vec<u8>),
    Link(Vec<u8>, Vec<u8>),
    Folder(Vec<u8>, Vec<Item>),
}

pub(crate) fn file(name: &str, content: &[u8]) -> Item {
    Item::File(name.into(), content.into())
}

pub(crate) fn program(name: &str, content: &[u8]) -> Item {
    Item::Program(name.into(), content.into())
}

pub(crate) fn link(name: &str, target: &str) -> Item {
    Item::Link(name.into(), target.into())
}

pub(crate) fn folder(name: &str, items: Vec<Item>) -> Item {
    Item::Folder(name.into(), items)
}

/// The modification time of every crafted entry: before 1970 and with a fraction.
pub(crate) const MODIFIED: i64 = -1_500_000_001;

pub(crate) fn key() -> SigningKey {
    SigningKey::from_bytes(&[42; 32])
}

/// A manifest whose commands start `program`.
pub(crate) fn manifest_starting(program: &str) -> Vec<u8> {
    let mut message = Builder::new_default();
    let mut manifest: manifest::Builder<'_> = message.init_root();
    manifest.reborrow().init_app_title().set_default_text("Crafted");
    manifest.set_app_version(3);
    manifest
        .reborrow()
        .init_app_marketing_version()
        .set_default_text("0.3");
    manifest
        .reborrow()
        .init_continue_command()
        .init_argv(1)
        .set(0, program);
    let mut action = manifest.init_actions(1).get(0);
    action.reborrow().init_noun_phrase().set_default_text("thing");
    action.init_command().init_argv(1).set(0, program);
    serialize::write_message_to_words(&message)
}

/// What a small, working package holds.
pub(crate) fn usable() -> Vec<Item> {
    vec![
        file("sandstorm-manifest", &manifest_starting("/run")),
        program("run", b"#!/bin/sh\n"),
        folder(
            "lib",
            vec![
                file("data", b"data"),
                link("out", "/etc/passwd"),
                folder("empty", vec![]),
            ],
        ),
    ]
}

/// Writes an archive the way Sandstorm's packer could: `first_segment` small gives many segments and far pointers.
pub(crate) fn archive(items: &[Item], first_segment: u32) -> Vec<u8> {
    let allocator = HeapAllocator::new()
        .first_segment_words(first_segment)
        .allocation_strategy(capnp::message::AllocationStrategy::FixedSize);
    let mut message = Builder::new(allocator);
    let root: archive::Builder<'_> = message.init_root();
    fill(root.init_files(items.len() as u32), items);
    serialize::write_message_to_words(&message)
}

fn fill(mut list: capnp::struct_list::Builder<'_, archive::file::Owned>, items: &[Item]) {
    for (index, item) in items.iter().enumerate() {
        let mut entry = list.reborrow().get(index as u32);
        entry.set_last_modification_time_ns(MODIFIED);
        match item {
            Item::File(name, content) => {
                entry.set_name(capnp::text::Reader(name));
                entry.set_regular(content);
            }
            Item::Program(name, content) => {
                entry.set_name(capnp::text::Reader(name));
                entry.set_executable(content);
            }
            Item::Link(name, target) => {
                entry.set_name(capnp::text::Reader(name));
                entry.set_symlink(capnp::text::Reader(target));
            }
            Item::Folder(name, items) => {
                entry.set_name(capnp::text::Reader(name));
                fill(entry.init_directory(items.len() as u32), items);
            }
        }
    }
}

/// A package with these archive bytes, properly signed and compressed.
pub(crate) fn spk(archive: &[u8]) -> Vec<u8> {
    spk_of(&signature(archive), archive)
}

/// A package with these entries.
pub(crate) fn spk_with(items: &[Item]) -> Vec<u8> {
    spk(&archive(items, 1024))
}

/// The signature message for an archive.
pub(crate) fn signature(archive: &[u8]) -> Vec<u8> {
    signature_message(&key(), &Sha512::digest(archive).into())
}

/// A package with these two parts, compressed.
pub(crate) fn spk_of(signature: &[u8], archive: &[u8]) -> Vec<u8> {
    [&MAGIC[..], &xz(&[signature, archive].concat())].concat()
}

pub(crate) fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut writer = XzWriter::new(Vec::new(), XzOptions::with_preset(1)).unwrap();
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}
