//! `attributes ->> 'key'` becomes `json_get(attributes, 'key')`, since our attributes are JSON text. Done
//! on tokens: the parser binds `->>` weaker than `=`, so its tree would be the wrong one.

use super::function;
use sqlparser::{
    dialect::GenericDialect,
    tokenizer::{Token, Tokenizer},
};

/// The same statement with calls; text that cannot be split into tokens comes back as it is, for the
/// parser to complain about.
pub(crate) fn to_calls(sql: &str) -> String {
    if !sql.contains("->") {
        return sql.to_owned();
    }
    let Ok(tokens) = Tokenizer::new(&GenericDialect, sql).with_unescape(false).tokenize() else { return sql.to_owned() };
    let mut out: Vec<String> = Vec::new();
    // Where the operand that ends here begins: a column, perhaps with its table, or a call.
    let mut operand: Option<usize> = None;
    let mut after_period = false;
    let mut rest = tokens.into_iter().peekable();
    while let Some(token) = rest.next() {
        match (&token, operand) {
            (Token::Arrow | Token::LongArrow, Some(start)) => {
                let spaces = std::iter::from_fn(|| rest.next_if(|next| matches!(next, Token::Whitespace(_)))).count();
                let Some(Token::SingleQuotedString(key)) = rest.next_if(|next| matches!(next, Token::SingleQuotedString(_))) else {
                    out.push(token.to_string());
                    out.extend((0..spaces).map(|_| " ".to_owned()));
                    operand = None;
                    continue;
                };
                let column = out.split_off(start).concat();
                out.push(format!("{}({}, '{key}')", function::NAME, column.trim_end()));
            }
            (Token::Word(_), _) => {
                if !after_period || operand.is_none() {
                    operand = Some(out.len());
                }
                out.push(token.to_string());
            }
            (Token::Period | Token::Whitespace(_), _) => out.push(token.to_string()),
            _ => {
                operand = None;
                out.push(token.to_string());
            }
        }
        after_period = token == Token::Period;
    }
    out.concat()
}

#[cfg(test)]
mod tests {
    use super::to_calls;

    #[test]
    fn an_attribute_becomes_a_call_and_the_rest_stays() {
        for (sql, wanted) in [
            ("SELECT attributes ->> 'http.route' FROM spans", "SELECT json_get(attributes, 'http.route') FROM spans"),
            ("x WHERE s.attributes->>'a' = 'b->c'", "x WHERE json_get(s.attributes, 'a') = 'b->c'"),
            ("a -> 'b' ->> 'c' IS NULL", "json_get(json_get(a, 'b'), 'c') IS NULL"),
            ("\"my col\" ->> 'it''s'", "json_get(\"my col\", 'it''s')"),
            ("a ->> 1", "a ->> 1"),
            ("'->>' || a", "'->>' || a"),
            ("no arrow", "no arrow"),
        ] {
            assert_eq!(to_calls(sql), wanted);
        }
    }
}
