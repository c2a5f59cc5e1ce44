use proptest::prelude::*;

use super::*;

const TEXT: &str = "6r8gt8ct5e774489grqvzz7dc4fzntpxjrusdwcy329ppnkt3kuh";
const KEY: &str = "35d0fca1792b4e7211097dedbffcec591dfa66bd8df586717e18935ad2591cb5";

fn key() -> [u8; 32] {
    let mut key = [0; 32];
    for (position, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&KEY[2 * position..2 * position + 2], 16).unwrap();
    }
    key
}

#[test]
fn known_app_id_reads_and_writes() {
    assert_eq!(TEXT.parse::<AppId>().unwrap(), AppId(key()));
    assert_eq!(AppId(key()).to_string(), TEXT);
}

#[test]
fn decoding_forgives_what_people_mistype() {
    assert_eq!(TEXT.to_uppercase().parse::<AppId>().unwrap(), AppId(key()));
    assert_eq!(
        base32::decode("oOiIlLbB").unwrap(),
        base32::decode("00111188").unwrap()
    );
}

#[test]
fn every_digit_and_letter_decodes() {
    for character in ('0'..='9').chain('a'..='z').chain('A'..='Z') {
        assert!(
            base32::decode(&format!("{character}0000000")).is_ok(),
            "{character}"
        );
    }
}

#[test]
fn wrong_ids_are_told_apart() {
    assert_eq!("abc".parse::<AppId>(), Err(ParseIdError::Length { expected: 52 }));
    assert_eq!(
        TEXT.replace('6', "-").parse::<AppId>(),
        Err(ParseIdError::Character('-'))
    );
    // 52 characters are 260 bits; the last four must be zero, so the last character is 0 or h.
    assert_eq!(
        format!("{}k", &TEXT[..51]).parse::<AppId>(),
        Err(ParseIdError::LeftoverBits)
    );
    assert_eq!(
        "b5bb".parse::<PackageId>(),
        Err(ParseIdError::Length { expected: 32 })
    );
    assert_eq!(
        "x5bb9d8014a0f9b1d61e21e796d78dcc".parse::<PackageId>(),
        Err(ParseIdError::Character('x'))
    );
    assert!("é5bb9d8014a0f9b1d61e21e796d78dc".parse::<PackageId>().is_err());
}

#[test]
fn package_id_is_lower_case_hex() {
    let text = "b5bb9d8014a0f9b1d61e21e796d78dcc";
    let id: PackageId = text.parse().unwrap();
    assert_eq!(id.to_string(), text);
    assert_eq!(text.to_uppercase().parse::<PackageId>().unwrap(), id);
    assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{text}\""));
    assert_eq!(
        serde_json::from_str::<PackageId>(&format!("\"{text}\"")).unwrap(),
        id
    );
    assert!(serde_json::from_str::<AppId>("\"x\"").is_err());
}

proptest! {
    #[test]
    fn app_ids_survive_text(bytes in any::<[u8; 32]>()) {
        let id = AppId(bytes);
        prop_assert_eq!(id.to_string().len(), 52);
        prop_assert_eq!(id.to_string().parse::<AppId>().unwrap(), id);
    }

    #[test]
    fn base32_survives_any_length(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        prop_assert_eq!(base32::decode(&base32::encode(&bytes)).unwrap(), bytes);
    }

    #[test]
    fn parsing_any_text_never_panics(text in "\\PC{0,60}") {
        let _ = text.parse::<AppId>();
        let _ = text.parse::<PackageId>();
    }
}
