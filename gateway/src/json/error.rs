//! Why a text is not JSON.

/// Why a text is not JSON, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("at byte {at}: {reason}")]
pub struct JsonError {
    /// The offset, in bytes from the start of the text.
    pub at: usize,
    /// What is wrong there.
    pub reason: Reason,
}

/// What is wrong with a text that is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The bytes are not UTF-8.
    #[error("the text is not UTF-8")]
    NotUtf8,
    /// The text starts with U+FEFF (RFC 8259, 8.1 forbids it).
    #[error("the text starts with a byte order mark; leave it out")]
    ByteOrderMark,
    /// The text ends too early.
    #[error("the text ends where {0} is expected")]
    End(Expected),
    /// Something else stands there.
    #[error("{0} is expected here")]
    Unexpected(Expected),
    /// A raw control character in a string.
    #[error("a control character in a string must be escaped")]
    Control,
    /// A backslash before something that it cannot escape.
    #[error("an escape is one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX")]
    Escape,
    /// A number that JSON cannot spell.
    #[error("a number is digits without a leading zero, then perhaps a fraction and an exponent")]
    Number,
    /// More containers in one another than the bound allows.
    #[error("containers are nested more than {0} deep")]
    TooDeep(usize),
}

/// What the grammar wants at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Expected {
    /// Any value.
    #[error("a value")]
    Value,
    /// `true`, `false` or `null`.
    #[error("true, false or null")]
    Literal,
    /// A member's name.
    #[error("a name in double quotes")]
    Name,
    /// What follows a name.
    #[error("':'")]
    Colon,
    /// What follows a member.
    #[error("',' or '}}'")]
    CommaOrBrace,
    /// What follows an element.
    #[error("',' or ']'")]
    CommaOrBracket,
    /// A string's end.
    #[error("'\"'")]
    Quote,
    /// The end of the text.
    #[error("the end of the text")]
    Nothing,
}
