//! `1e6` becomes `1000000.0`: polars reads no exponents. Done on tokens, so that texts and names stay.

use sqlparser::{
    dialect::GenericDialect,
    tokenizer::{Token, Tokenizer},
};

/// The same statement without exponents; what cannot be split into tokens comes back as it is.
pub(crate) fn spelt_out(sql: String) -> String {
    let exponent = |pair: &[u8]| pair[0].is_ascii_digit() && pair[1].eq_ignore_ascii_case(&b'e') || pair == b".e" || pair == b".E";
    if !sql.as_bytes().windows(2).any(exponent) {
        return sql;
    }
    let Ok(tokens) = Tokenizer::new(&GenericDialect, &sql).with_unescape(false).tokenize() else { return sql };
    let spelt = |token: &Token| match token {
        Token::Number(text, _) if text.contains(['e', 'E']) => text.parse::<f64>().ok().filter(|value| value.is_finite()).map(decimal),
        _ => None,
    };
    tokens.iter().map(|token| spelt(token).unwrap_or_else(|| token.to_string())).collect()
}

/// Always with a point: it stays a number that is not whole.
fn decimal(value: f64) -> String {
    let text = value.to_string();
    if text.contains('.') { text } else { text + ".0" }
}

#[cfg(test)]
mod tests {
    use super::spelt_out;

    #[test]
    fn exponents_are_spelt_out_and_texts_stay() {
        for (sql, wanted) in [
            ("SELECT duration_ns / 1e6 AS ms FROM spans", "SELECT duration_ns / 1000000.0 AS ms FROM spans"),
            ("x > 2.5E-3 AND y < 1e+2", "x > 0.0025 AND y < 100.0"),
            ("a = '1e6' AND \"b1e6\" = c1e6", "a = '1e6' AND \"b1e6\" = c1e6"),
            ("x = 'it''s 1e6' OR x > 3e0", "x = 'it''s 1e6' OR x > 3.0"),
            ("1e999", "1e999"),
        ] {
            assert_eq!(spelt_out(sql.to_owned()), wanted);
        }
    }
}
