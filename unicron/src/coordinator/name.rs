//! What tasks and nodes may be called: their names are parts of paths, of commands and of tables.

/// Bytes of the longest name.
const MOST_BYTES: usize = 100;

/// Checks a name that anybody may have made up.
///
/// # Errors
/// What is wrong with it, and what would be right.
pub fn check(name: &str) -> Result<(), String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_name = (1..=MOST_BYTES).contains(&name.len())
        && name.chars().all(is_plain)
        && !name.starts_with('.');
    if is_name {
        return Ok(());
    }
    let start = name.chars().take(40).collect::<String>();
    Err(format!(
        "{start:?} is no name: 1 to {MOST_BYTES} letters, digits, `-`, `_` and `.`, not `.` first"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parts_of_paths() {
        for name in ["gpt", "GPT-3.5_b", "0"] {
            assert_eq!(check(name), Ok(()));
        }
        let long = "x".repeat(MOST_BYTES + 1);
        for name in ["", "a b", "a/b", "..", "a\nb", "caf\u{e9}", "a\0", &long] {
            let problem = check(name).unwrap_err();
            assert!(problem.contains("is no name") && problem.len() < 200, "{problem}");
        }
    }
}
