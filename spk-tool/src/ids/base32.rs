//! The base32 of app ids: Crockford-like, but with `u` and without `b` (sheet section 1.3).

use super::ParseIdError;

const ALPHABET: &[u8; 32] = b"0123456789acdefghjkmnpqrstuvwxyz";

/// Encodes most significant bit first, padding the last character with zero bits.
pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity((bytes.len() * 8).div_ceil(5));
    let (mut pending, mut bits) = (0u32, 0);
    for byte in bytes {
        pending = pending << 8 | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(digit(pending >> bits));
        }
    }
    if bits > 0 {
        text.push(digit(pending << (5 - bits)));
    }
    text
}

fn digit(value: u32) -> char {
    char::from(ALPHABET[(value & 31) as usize])
}

/// Decodes forgivingly. The result has `floor(characters · 5 / 8)` bytes and the bits left over must be zero.
pub(super) fn decode(text: &str) -> Result<Vec<u8>, ParseIdError> {
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    let (mut pending, mut bits) = (0u32, 0);
    for character in text.chars() {
        pending = pending << 5 | value(character).ok_or(ParseIdError::Character(character))?;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((pending >> bits) as u8);
        }
        pending &= (1 << bits) - 1;
    }
    if pending == 0 {
        Ok(bytes)
    } else {
        Err(ParseIdError::LeftoverBits)
    }
}

fn value(character: char) -> Option<u32> {
    let plain = match character.to_ascii_lowercase() {
        'o' => b'0',
        'i' | 'l' => b'1',
        'b' => b'8',
        other => u8::try_from(other).ok()?,
    };
    let position = ALPHABET.iter().position(|digit| *digit == plain)?;
    u32::try_from(position).ok()
}
