//! What the papers claim beside what was measured here.
//!
//! "Not reproduced, because …" is a legal row: a claim that is left out looks like one that holds.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Align, Table};

/// What became of a claim here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The claim holds here.
    Holds,
    /// It was measured, and it came out differently.
    Differs,
    /// It was not measured, for this reason.
    NotReproduced(String),
}

impl Verdict {
    /// Of a claim that was measured.
    #[must_use]
    pub fn judged(holds: bool) -> Self {
        if holds { Self::Holds } else { Self::Differs }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Holds => f.write_str("holds"),
            Self::Differs => f.write_str("differs"),
            Self::NotReproduced(reason) => write!(f, "not reproduced: {reason}"),
        }
    }
}

/// One claim of a paper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The system: `kvquant`, `unicron` or `longnn`.
    pub system: String,
    /// The claim in a few words, with the paper's table or section.
    pub claim: String,
    /// The paper's value, with its unit.
    pub paper: String,
    /// The value measured here, with its unit; empty where nothing was measured.
    pub here: String,
    /// What became of it.
    pub verdict: Verdict,
}

impl Claim {
    /// The claim where it wasn't measured.
    #[must_use]
    pub fn not_reproduced(self, reason: &str) -> Self {
        Self { verdict: Verdict::NotReproduced(reason.to_owned()), ..self }
    }
}

/// The claims as a table "paper / here", for a terminal, Markdown or a page.
#[must_use]
pub fn claims_table(claims: &[Claim]) -> Table {
    let mut table = Table::new(&[
        ("system", Align::Left),
        ("claim", Align::Left),
        ("paper", Align::Right),
        ("here", Align::Right),
        ("verdict", Align::Left),
    ]);
    for claim in claims {
        let verdict = claim.verdict.to_string();
        let here = if claim.here.is_empty() { "-" } else { &claim.here };
        table.row([&claim.system, &claim.claim, &claim.paper, here, &verdict]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Vec<Claim> {
        let claim = |claim: &str, here: &str, verdict| Claim {
            system: "kvquant".to_owned(),
            claim: claim.to_owned(),
            paper: "9.0 GB".to_owned(),
            here: here.to_owned(),
            verdict,
        };
        vec![
            claim("memory at 4096 tokens", "8.9 GB", Verdict::Holds),
            claim("score | Table 1", "", Verdict::NotReproduced("no 7B model here".to_owned())),
        ]
    }

    #[test]
    fn every_claim_has_a_row_whatever_became_of_it() {
        let table = claims_table(&claims());
        assert_eq!(
            table.to_text(),
            "system   claim                   paper    here  verdict\n\
             ───────  ─────────────────────  ──────  ──────  ────────────────────────────────\n\
             kvquant  memory at 4096 tokens  9.0 GB  8.9 GB  holds\n\
             kvquant  score | Table 1        9.0 GB       -  not reproduced: no 7B model here\n"
        );
        assert!(table.to_markdown().contains("| score \\| Table 1 "));
    }

    #[test]
    fn claims_survive_json() {
        let text = serde_json::to_string(&claims()).unwrap();
        assert!(text.contains(r#""verdict":{"not_reproduced":"no 7B model here"}"#), "{text}");
        assert_eq!(serde_json::from_str::<Vec<Claim>>(&text).unwrap(), claims());
    }
}
