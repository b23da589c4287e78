//! How large a statement may be, told before it is parsed: parsing, walking, planning and dropping it all go down its
//! tree by recursion, and `a + b + c ...` is as deep as it has operators.

use crate::error::StoreError;
use sqlparser::{
    dialect::GenericDialect,
    keywords::Keyword,
    tokenizer::{Token, Tokenizer},
};

/// Longer statements are refused unread.
const BYTES_MAX: usize = 64 * 1024;
/// Operators and keywords in a statement at most; lists of values are as long as they like.
const OPERATORS_MAX: usize = 1_000;
/// One `||` counts as so many: texts are joined by recursion on threads of polars' own, whose stacks are small.
const CONCATENATION: usize = 10;
/// Stack of a thread that runs a statement of that size: an operator takes up to 45 KB where a crate is compiled for size
/// of build and not for speed, and as much again is left. Only what is touched is memory.
pub(crate) const STACK_BYTES: usize = 256 << 20;

/// An error if the statement is too large to be run safely.
pub(crate) fn fits(sql: &str) -> Result<(), StoreError> {
    if sql.len() > BYTES_MAX {
        return Err(StoreError::Refused(format!("the statement has {} bytes, {BYTES_MAX} are allowed: make it shorter", sql.len())));
    }
    let tokens = Tokenizer::new(&GenericDialect, sql).tokenize();
    let tokens = tokens.map_err(|error| StoreError::Statement(format!("the statement cannot be read: {error}")))?;
    let operators: usize =
        tokens.iter().map(|token| if *token == Token::StringConcat { CONCATENATION } else { usize::from(is_operator(token)) }).sum();
    if operators > OPERATORS_MAX {
        return Err(StoreError::Refused(format!(
            "the statement has {operators} operators and keywords, {OPERATORS_MAX} are allowed: use IN (...) instead of many ORs, or ask in parts"
        )));
    }
    Ok(())
}

/// Keywords that put one thing below another; most others are names of columns as well.
const KEYWORDS: [Keyword; 20] = [
    Keyword::AND,
    Keyword::OR,
    Keyword::XOR,
    Keyword::NOT,
    Keyword::IS,
    Keyword::IN,
    Keyword::LIKE,
    Keyword::ILIKE,
    Keyword::RLIKE,
    Keyword::BETWEEN,
    Keyword::DIV,
    Keyword::CASE,
    Keyword::WHEN,
    Keyword::CAST,
    Keyword::SELECT,
    Keyword::JOIN,
    Keyword::UNION,
    Keyword::INTERSECT,
    Keyword::EXCEPT,
    Keyword::COLLATE,
];

/// Everything but names, values, commas and brackets.
fn is_operator(token: &Token) -> bool {
    match token {
        Token::Word(word) => word.quote_style.is_none() && KEYWORDS.contains(&word.keyword),
        Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::DoubleQuotedString(_)
        | Token::Whitespace(_)
        | Token::Comma
        | Token::Period
        | Token::LParen
        | Token::RParen
        | Token::SemiColon
        | Token::EOF => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_are_bounded_and_lists_are_not() {
        let many = |one: &str, times: usize| one.repeat(times);
        for fine in [
            format!("SELECT 1{}", many(" + 1", 990)),
            format!("SELECT name{} FROM spans", many(" || name", 99)),
            format!("SELECT count(*) FROM spans WHERE span_id IN ('x'{})", many(", 'y'", 5_000)),
            format!("SELECT name FROM spans WHERE service = 'a' {}", many("OR service = 'a' ", 490)),
        ] {
            assert!(fits(&fine).is_ok(), "{}", &fine[..60]);
        }
        for deep in [
            format!("SELECT 1{}", many("+1", 1_001)),
            format!("SELECT {}true", many("NOT ", 1_001)),
            format!("SELECT name{} FROM spans", many(" || name", 101)),
            format!("SELECT 1{}", many("::int", 1_001)),
            many("SELECT 1 AS a UNION ALL ", 501),
            format!("SELECT CASE {} END", many("WHEN 1 = 2 THEN 3 ", 501)),
        ] {
            let error = fits(&deep).expect_err("it is deep").to_string();
            assert!(error.contains("1000 are allowed"), "{error}");
        }
        assert!(fits(&many("x", BYTES_MAX + 1)).expect_err("it is long").to_string().contains("make it shorter"));
    }
}
