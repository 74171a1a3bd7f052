//! Fields of a CSV line, as RFC 4180 quotes them. A field never spans lines, so that every line of a
//! file is a row and a message can name it.

use std::borrow::Cow;

/// The fields of a line. Space around a field that isn't quoted doesn't count.
///
/// # Errors
/// If quotes aren't closed, or something follows them.
pub(super) fn fields(line: &str) -> Result<Vec<Cow<'_, str>>, String> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let (field, after) = match rest.trim_start().strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (Cow::Borrowed(rest[..end].trim()), &rest[end..])
            }
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Ok(fields),
        }
    }
}

/// A field from behind its opening quote, and what follows it: a comma or nothing.
fn quoted_field(text: &str) -> Result<(Cow<'_, str>, &str), String> {
    let mut from = 0;
    loop {
        let Some(quote) = text[from..].find('"') else {
            return Err("a quoted field isn't closed by \" on its line".to_owned());
        };
        let end = from + quote;
        let after = &text[end + 1..];
        if after.starts_with('"') {
            from = end + 2;
            continue;
        }
        let after = after.trim_start();
        if !(after.is_empty() || after.starts_with(',')) {
            let problem = "text follows a quoted field; a quote within it is written \"\"";
            return Err(problem.to_owned());
        }
        let field = &text[..end];
        let is_plain = from == 0;
        let field = if is_plain { field.into() } else { field.replace("\"\"", "\"").into() };
        return Ok((field, after));
    }
}

/// A field as it is written: quoted where it must be.
pub(super) fn quoted(field: &str) -> Cow<'_, str> {
    if field.contains([',', '"']) || field.trim() != field {
        format!("\"{}\"", field.replace('"', "\"\"")).into()
    } else {
        field.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_are_split_at_commas_outside_quotes() {
        for (line, expected) in [
            ("", &[""][..]),
            ("a, b ,,", &["a", "b", "", ""]),
            ("\"a,b\",c", &["a,b", "c"]),
            (" \"a \"\"b\"\"\" , c", &["a \"b\"", "c"]),
            ("\"\"", &[""]),
            ("a\"b", &["a\"b"]),
        ] {
            assert_eq!(fields(line).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn broken_quotes_are_told() {
        assert!(fields("a,\"b").unwrap_err().contains("isn't closed"));
        assert!(fields("\"a\"b,c").unwrap_err().contains("text follows a quoted field"));
        assert!(fields("\"a\"\"").unwrap_err().contains("isn't closed"));
    }

    proptest! {
        #[test]
        fn what_is_quoted_is_read_back(row in prop::collection::vec("[ a\",é]{0,6}", 1..5)) {
            let line = row.iter().map(|field| quoted(field)).collect::<Vec<_>>().join(",");
            prop_assert_eq!(fields(&line).unwrap(), row);
        }

        #[test]
        fn no_line_panics(line in any::<String>()) {
            let _ = fields(&line);
        }
    }
}
