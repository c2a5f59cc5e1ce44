//! Our schemas are those of the published crate `sandstorm`: every id, field, ordinal, offset, default, method and
//! superclass. Names of files and texts of documentation may differ; nothing that shows on the wire may.
#![allow(
    clippy::disallowed_methods,
    reason = "a test asks cargo where a crate's files are"
)]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use capnp::message::ReaderOptions;
use capnp::schema_capnp::{code_generator_request, field, method, node, type_, value};
use percloud_schema_compiler::{Sources, compile};

const FILES: [&str; 12] = [
    "activity",
    "api-session",
    "email",
    "grain",
    "identity",
    "ip",
    "powerbox",
    "sandstorm-http-bridge",
    "supervisor",
    "util",
    "web-publishing",
    "web-session",
];

/// `WebSession.Context.headerWhitelist`; names were added after the crate was published.
const HEADERS: u64 = 0xbaac_e870_5446_63eb;
/// `ByteStream` and `WebSocketStream`; their methods became streaming (`-> stream`) later, which changes no byte of a
/// call: the result struct is empty either way.
const BYTE_STREAM: u64 = 0xcd57_3877_29cf_e35f;
const WEB_SOCKET_STREAM: u64 = 0xf001_fc1d_5e57_4a07;
const WRITE_RESULTS: u64 = 0xecde_2a9c_6f3f_84c9;
const SEND_BYTES_RESULTS: u64 = 0x82a3_ee23_aa0a_e3a3;
const GROWN_SINCE: [u64; 5] = [
    HEADERS,
    BYTE_STREAM,
    WEB_SOCKET_STREAM,
    WRITE_RESULTS,
    SEND_BYTES_RESULTS,
];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The folder of the published schemas, in cargo's own cache.
fn published() -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--manifest-path"])
        .arg(workspace().join("published/Cargo.toml"))
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "cargo metadata failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    let end = text
        .find("/sandstorm-0.27.0/Cargo.toml")
        .expect("the published crate is in the metadata");
    let start = text[..end].rfind('"').expect("paths are quoted") + 1;
    PathBuf::from(&text[start..end]).join("sandstorm-0.27.0/schema")
}

fn describe_all(folder: &Path, import: &Path) -> BTreeMap<u64, String> {
    let files = FILES
        .iter()
        .map(|name| folder.join(format!("{name}.capnp")))
        .collect();
    let sources = Sources {
        files,
        import_paths: vec![import.to_owned()],
        ..Sources::default()
    };
    let request = compile(&sources).expect("the schemas compile");
    let options = ReaderOptions {
        traversal_limit_in_words: None,
        nesting_limit: 64,
    };
    let message = capnp::serialize::read_message(&request[..], options).expect("a message");
    let request: code_generator_request::Reader<'_> = message.get_root().expect("a request");
    let nodes = request.get_nodes().expect("nodes");
    let described = nodes
        .iter()
        .filter_map(|node| Some((node.get_id(), describe(node).expect("a readable node")?)));
    described.collect()
}

/// What of a node shows on the wire; `None` for what never does (files, annotations).
fn describe(node: node::Reader<'_>) -> capnp::Result<Option<String>> {
    let mut text = String::new();
    match node.which()? {
        node::Struct(body) => {
            let _ = writeln!(
                text,
                "struct data {} pointers {} group {} union at {} of {}",
                body.get_data_word_count(),
                body.get_pointer_count(),
                body.get_is_group(),
                body.get_discriminant_offset(),
                body.get_discriminant_count()
            );
            for field in body.get_fields()?.iter() {
                describe_field(field, &mut text)?;
            }
        }
        node::Enum(body) => {
            for (number, enumerant) in body.get_enumerants()?.iter().enumerate() {
                let _ = writeln!(text, "{number} {}", enumerant.get_name()?.to_str()?);
            }
        }
        node::Interface(body) => {
            for superclass in body.get_superclasses()?.iter() {
                let _ = writeln!(text, "extends {:x}", superclass.get_id());
            }
            for (number, method) in body.get_methods()?.iter().enumerate() {
                describe_method(number, method, &mut text)?;
            }
        }
        node::Const(body) => {
            let _ = writeln!(
                text,
                "const {} = {}",
                describe_type(body.get_type()?)?,
                describe_value(body.get_value()?)?
            );
        }
        node::File(()) | node::Annotation(_) => return Ok(None),
    }
    Ok(Some(text))
}

fn describe_field(field: field::Reader<'_>, text: &mut String) -> capnp::Result<()> {
    let _ = write!(
        text,
        "{} tag {} ",
        field.get_name()?.to_str()?,
        field.get_discriminant_value()
    );
    match field.get_ordinal().which()? {
        field::ordinal::Implicit(()) => text.push_str("implicit "),
        field::ordinal::Explicit(number) => {
            let _ = write!(text, "@{number} ");
        }
    }
    match field.which()? {
        field::Slot(slot) => {
            let kind = describe_type(slot.get_type()?)?;
            let default = describe_value(slot.get_default_value()?)?;
            let _ = writeln!(text, "at {} :{kind} = {default}", slot.get_offset());
        }
        field::Group(group) => {
            let _ = writeln!(text, "group {:x}", group.get_type_id());
        }
    }
    Ok(())
}

fn describe_method(number: usize, method: method::Reader<'_>, text: &mut String) -> capnp::Result<()> {
    let (name, params, results) = (
        method.get_name()?.to_str()?,
        method.get_param_struct_type(),
        method.get_result_struct_type(),
    );
    let _ = writeln!(text, "@{number} {name} {params:x} -> {results:x}");
    Ok(())
}

fn describe_type(kind: type_::Reader<'_>) -> capnp::Result<String> {
    Ok(match kind.which()? {
        type_::Void(()) => "Void".into(),
        type_::Bool(()) => "Bool".into(),
        type_::Int8(()) => "Int8".into(),
        type_::Int16(()) => "Int16".into(),
        type_::Int32(()) => "Int32".into(),
        type_::Int64(()) => "Int64".into(),
        type_::Uint8(()) => "UInt8".into(),
        type_::Uint16(()) => "UInt16".into(),
        type_::Uint32(()) => "UInt32".into(),
        type_::Uint64(()) => "UInt64".into(),
        type_::Float32(()) => "Float32".into(),
        type_::Float64(()) => "Float64".into(),
        type_::Text(()) => "Text".into(),
        type_::Data(()) => "Data".into(),
        type_::List(list) => format!("List({})", describe_type(list.get_element_type()?)?),
        type_::Enum(body) => format!("enum {:x}", body.get_type_id()),
        type_::Struct(body) => format!("struct {:x}", body.get_type_id()),
        type_::Interface(body) => format!("interface {:x}", body.get_type_id()),
        type_::AnyPointer(_) => "AnyPointer".into(),
    })
}

fn describe_value(content: value::Reader<'_>) -> capnp::Result<String> {
    Ok(match content.which()? {
        value::Void(()) => "void".into(),
        value::Bool(content) => content.to_string(),
        value::Int8(content) => content.to_string(),
        value::Int16(content) => content.to_string(),
        value::Int32(content) => content.to_string(),
        value::Int64(content) => content.to_string(),
        value::Uint8(content) => content.to_string(),
        value::Uint16(content) | value::Enum(content) => content.to_string(),
        value::Uint32(content) => content.to_string(),
        value::Uint64(content) => content.to_string(),
        value::Float32(content) => content.to_string(),
        value::Float64(content) => content.to_string(),
        value::Text(content) => format!("{:?}", content?.to_str()?),
        value::Data(content) => format!("{:?}", content?),
        value::List(content) => {
            let list: capnp::text_list::Reader<'_> = content.get_as()?;
            let items: Result<Vec<_>, _> = list
                .iter()
                .map(|item| item.map(|item| item.to_str().map(str::to_owned)))
                .collect();
            format!("{items:?}")
        }
        value::Struct(_) => "struct".into(),
        value::Interface(()) => "interface".into(),
        value::AnyPointer(_) => "pointer".into(),
    })
}

#[test]
fn our_schemas_are_the_published_ones() {
    let theirs_at = published();
    let theirs = describe_all(&theirs_at, &theirs_at);
    let ours = describe_all(&workspace().join("sandstorm"), &workspace());
    assert!(
        theirs.len() > 200,
        "only {} published nodes were read",
        theirs.len()
    );
    let mut differences = String::new();
    for (id, expected) in &theirs {
        if GROWN_SINCE.contains(id) {
            continue;
        }
        match ours.get(id) {
            None => {
                let _ = writeln!(differences, "{id:#x} is missing:\n{expected}");
            }
            Some(found) if found != expected => {
                let _ = writeln!(
                    differences,
                    "{id:#x} differs; published:\n{expected}ours:\n{found}"
                );
            }
            Some(_) => {}
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn what_grew_since_only_grew() {
    let theirs_at = published();
    let theirs = describe_all(&theirs_at, &theirs_at);
    let ours = describe_all(&workspace().join("sandstorm"), &workspace());
    // The allow-list of request headers: every published name is still there.
    for name in theirs[&HEADERS]
        .split("Ok(\"")
        .skip(1)
        .map(|rest| rest.split('"').next().expect("a quoted name"))
    {
        assert!(ours[&HEADERS].contains(&format!("\"{name}\"")), "{name}");
    }
    // Streaming methods: the same numbers and parameters; the result, empty then and now, has another name.
    for (interface, method) in [
        (BYTE_STREAM, "@0 write 97ed122121126ff2 -> "),
        (WEB_SOCKET_STREAM, "@0 sendBytes 9a712ce3fcad8cd8 -> "),
    ] {
        assert!(theirs[&interface].starts_with(method));
        assert!(ours[&interface].starts_with(&format!("{method}995f9a3377c0b16e\n")));
        assert_eq!(
            theirs[&interface].lines().skip(1).collect::<Vec<_>>(),
            ours[&interface].lines().skip(1).collect::<Vec<_>>()
        );
    }
    for result in [WRITE_RESULTS, SEND_BYTES_RESULTS] {
        assert_eq!(
            theirs[&result],
            "struct data 0 pointers 0 group false union at 0 of 0\n"
        );
    }
}
