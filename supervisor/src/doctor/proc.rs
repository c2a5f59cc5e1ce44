//! Reads the kernel's files: bounded, and parsed by functions that are given the text.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;

/// Bytes read of one file: enough for a machine with thousands of mounts.
const LARGEST: u64 = 4 << 20;

/// Reads a file of the kernel's.
pub fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a file of the kernel's that was opened before, from its beginning.
pub fn read_again(mut file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a setting that is one number.
pub fn number(path: impl AsRef<Path>) -> io::Result<u64> {
    parse_number(&read(path)?)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it does not hold a number"))
}

/// The value of a setting: decimal digits and a line end. One too large for us is as large as can be.
pub fn parse_number(text: &[u8]) -> Option<u64> {
    let digits = text.trim_ascii();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut value = 0_u64;
    for digit in digits {
        value = value.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    }
    Some(value)
}

/// The number of bytes in the line `name:  N kB` of `/proc/meminfo` (proc_meminfo(5)).
pub fn memory_line(text: &[u8], name: &str) -> Option<u64> {
    text.split(|byte| *byte == b'\n').find_map(|line| {
        let value = line.strip_prefix(name.as_bytes())?.strip_prefix(b":")?;
        parse_number(value.trim_ascii().strip_suffix(b"kB")?)?.checked_mul(1024)
    })
}

/// Hundredths of the last ten seconds in which some program waited, of a file in `/proc/pressure` (the kernel's
/// accounting/psi.rst); 0 where it does not say.
pub fn pressure(text: &[u8]) -> u8 {
    let text = String::from_utf8_lossy(text);
    let some = text.lines().find_map(|line| line.strip_prefix("some avg10="));
    let whole = some.and_then(|share| share.split(['.', ' ']).next());
    whole.and_then(|share| share.parse().ok()).unwrap_or(0).min(100)
}

/// Bytes as people say them.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut unit = 0;
    let mut tenths = u128::from(count) * 10 / 1024;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_read_in_hundredths() {
        let text = b"some avg10=12.34 avg60=1.00 avg300=0.00 total=7381\nfull avg10=3.00 avg60=0.00 avg300=0.00 total=1\n";
        assert_eq!(pressure(text), 12);
        assert_eq!(pressure(b"some avg10=100.00 avg60=1.00"), 100);
        for nonsense in [
            &b""[..],
            b"some avg10=",
            b"some avg10=-3.0",
            b"full avg10=9.00",
            b"\xff",
        ] {
            assert_eq!(pressure(nonsense), 0);
        }
    }

    #[test]
    fn a_setting_is_digits_and_nothing_else() {
        for (text, value) in [
            (&b"96365\n"[..], Some(96365)),
            (b" 0 ", Some(0)),
            (b"", None),
            (b"\n", None),
            (b"-1\n", None),
            (b"+1\n", None),
            (b"0x10", None),
            (b"1 2", None),
            (b"\xff", None),
            (b"99999999999999999999999999", Some(u64::MAX)),
        ] {
            assert_eq!(parse_number(text), value, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn memory_is_found_by_its_whole_name() {
        let text = b"MemTotal:       24684096 kB\nMemAvailable:    1024 kB\nSwapTotal: 0 kB\nHugePages_Total:       0\nOdd: 99999999999999999999 kB\nMemFree: kB\n\xff: 1 kB";
        assert_eq!(memory_line(text, "MemTotal"), Some(24684096 * 1024));
        assert_eq!(memory_line(text, "MemAvailable"), Some(1 << 20));
        assert_eq!(memory_line(text, "SwapTotal"), Some(0));
        for name in ["Mem", "HugePages_Total", "Odd", "MemFree", "", "Absent"] {
            assert_eq!(memory_line(text, name), None, "{name}");
        }
    }

    #[test]
    fn bytes_are_said_with_one_decimal() {
        for (count, text) in [
            (0, "0.0 KiB"),
            (1536, "1.5 KiB"),
            ((1 << 20) - 1, "1023.9 KiB"),
            (1 << 30, "1.0 GiB"),
            (u64::MAX, "16383.9 PiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }
}
