//! What an account's name, handle and password may be.

/// Longest name of a person, in characters.
pub const NAME_LIMIT: usize = 80;
/// Shortest password, in characters.
pub const PASSWORD_MINIMUM: usize = 10;
/// Longest password, in bytes; long enough for any sentence, short enough to hash.
pub const PASSWORD_LIMIT: usize = 1024;

/// Why an account cannot be made as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The name is empty or too long.
    #[error("a name has 1 to {NAME_LIMIT} characters")]
    Name,
    /// The handle has other characters than it may.
    #[error("a handle starts with a letter and has up to 32 lower-case letters, digits and underscores")]
    Handle,
    /// The password is too short.
    #[error("a password has at least {PASSWORD_MINIMUM} characters")]
    ShortPassword,
    /// The password is too long.
    #[error("a password has at most {PASSWORD_LIMIT} bytes")]
    LongPassword,
    /// Nothing but one character again and again, or the handle itself.
    #[error("that password would be guessed at once")]
    ObviousPassword,
}

/// Checks a person's name and returns it without surrounding space.
pub fn name(text: &str) -> Result<&str, Unfit> {
    let text = text.trim();
    let fits = (1..=NAME_LIMIT).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    if fits { Ok(text) } else { Err(Unfit::Name) }
}

/// Checks a handle, `^[a-z_][a-z0-9_]*$` (sheet 6.4), and returns it without surrounding space.
pub fn handle(text: &str) -> Result<&str, Unfit> {
    let text = text.trim();
    let first = text
        .bytes()
        .next()
        .is_some_and(|byte| matches!(byte, b'a'..=b'z' | b'_'));
    let rest = text
        .bytes()
        .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
    if first && rest && text.len() <= 32 {
        Ok(text)
    } else {
        Err(Unfit::Handle)
    }
}

/// Checks a new password against the handle it is for.
pub fn password(text: &str, handle: &str) -> Result<(), Unfit> {
    if text.len() > PASSWORD_LIMIT {
        return Err(Unfit::LongPassword);
    }
    if text.chars().count() < PASSWORD_MINIMUM {
        return Err(Unfit::ShortPassword);
    }
    let mut characters = text.chars();
    let first = characters.next();
    let monotonous = characters.all(|character| Some(character) == first);
    let repeats_handle = !handle.is_empty() && text.to_lowercase().replace(handle, "").chars().count() < 4;
    if monotonous || repeats_handle {
        Err(Unfit::ObviousPassword)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_plain() {
        for (text, expected) in [
            ("anna", Ok("anna")),
            (" anna ", Ok("anna")),
            ("_a1", Ok("_a1")),
            ("1anna", Err(Unfit::Handle)),
            ("Anna", Err(Unfit::Handle)),
            ("", Err(Unfit::Handle)),
            ("anna<script>", Err(Unfit::Handle)),
        ] {
            assert_eq!(handle(text), expected, "{text}");
        }
        assert_eq!(handle(&"a".repeat(33)), Err(Unfit::Handle));
    }

    #[test]
    fn obvious_passwords_are_refused() {
        assert_eq!(password("aaaaaaaaaaaa", "anna"), Err(Unfit::ObviousPassword));
        assert_eq!(password("annaannaann", "anna"), Err(Unfit::ObviousPassword));
        assert_eq!(password("short", "anna"), Err(Unfit::ShortPassword));
        assert_eq!(password(&"xy".repeat(513), "anna"), Err(Unfit::LongPassword));
        assert_eq!(password("correct horse battery", "anna"), Ok(()));
    }
}
