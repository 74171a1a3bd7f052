//! What the papers claim, and goals beyond them, beside what was measured here.
//!
//! "Not reproduced, because …" is a legal row: a claim that is left out looks like one that holds.

use std::fmt::{self, Write as _};

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

/// What a paper says of its system, or a goal beyond the papers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The system: `kvquant`, `unicron` or `longnn`.
    pub system: String,
    /// The claim in a few words, with the paper's table or section.
    pub claim: String,
    /// Whether this repository has set it itself.
    pub is_goal: bool,
    /// The paper's value or the goal's bound, with its unit.
    pub promised: String,
    /// The value measured here, with its unit; empty where nothing was measured.
    pub here: String,
    /// What became of it.
    pub verdict: Verdict,
}

impl Claim {
    /// A claim of the system's paper, which nothing has judged yet.
    #[must_use]
    pub fn of_paper(system: &str, claim: impl Into<String>, paper: impl Into<String>) -> Self {
        Self {
            system: system.to_owned(),
            claim: claim.into(),
            is_goal: false,
            promised: paper.into(),
            here: String::new(),
            verdict: Verdict::NotReproduced("not in this run".to_owned()),
        }
    }

    /// A goal of this repository's own, which nothing has judged yet.
    #[must_use]
    pub fn goal(system: &str, claim: impl Into<String>, bound: impl Into<String>) -> Self {
        Self { is_goal: true, ..Self::of_paper(system, claim, bound) }
    }

    /// The claim with what was measured.
    #[must_use]
    pub fn measured(self, here: impl Into<String>, verdict: Verdict) -> Self {
        Self { here: here.into(), verdict, ..self }
    }

    /// The claim with what was measured, by whether it holds.
    #[must_use]
    pub fn judged(self, here: impl Into<String>, holds: bool) -> Self {
        self.measured(here, Verdict::judged(holds))
    }

    /// The claim where it wasn't measured.
    #[must_use]
    pub fn not_reproduced(self, reason: &str) -> Self {
        Self { verdict: Verdict::NotReproduced(reason.to_owned()), ..self }
    }

    /// What a table has in its column of promises: goals are marked as such.
    #[must_use]
    pub fn promise(&self) -> String {
        let mark = if self.is_goal { "goal: " } else { "" };
        format!("{mark}{}", self.promised)
    }
}

/// The claims for a terminal: the table, and below it the reasons that are too long for a cell, each once.
#[must_use]
pub fn claims_text(claims: &[Claim]) -> String {
    let mut reasons: Vec<&str> = Vec::new();
    let claims: Vec<Claim> = claims
        .iter()
        .map(|claim| match &claim.verdict {
            Verdict::NotReproduced(reason)
                if reason.contains('\n') || reason.chars().count() > LONGEST_REASON =>
            {
                let known = reasons.iter().position(|known| known == reason);
                let number = known.unwrap_or_else(|| {
                    reasons.push(reason);
                    reasons.len() - 1
                });
                claim.clone().not_reproduced(&format!("[{}]", number + 1))
            }
            _ => claim.clone(),
        })
        .collect();
    let mut text = claims_table(&claims).to_text();
    for (number, reason) in reasons.iter().enumerate() {
        let _ = write!(text, "\n[{}] {}\n", number + 1, reason.replace('\n', "\n    "));
    }
    text
}

/// Characters of a reason that stands in a terminal's table.
const LONGEST_REASON: usize = 60;

/// The claims as a table "paper / here", for Markdown or a page.
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
        let (promise, verdict) = (claim.promise(), claim.verdict.to_string());
        let here = if claim.here.is_empty() { "-" } else { &claim.here };
        table.row([&claim.system, &claim.claim, &promise, here, &verdict]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Vec<Claim> {
        vec![
            Claim::of_paper("kvquant", "memory at 4096 tokens", "9.0 GB").judged("8.9 GB", true),
            Claim::of_paper("kvquant", "score | Table 1", "9.0").not_reproduced("no 7B model here"),
            Claim::goal("kvquant", "speed", "≥ 3 x").judged("2 x", false),
        ]
    }

    #[test]
    fn every_claim_has_a_row_whatever_became_of_it() {
        let table = claims_table(&claims());
        assert_eq!(
            table.to_text(),
            "system   claim                        paper    here  verdict\n\
             ───────  ─────────────────────  ───────────  ──────  ────────────────────────────────\n\
             kvquant  memory at 4096 tokens       9.0 GB  8.9 GB  holds\n\
             kvquant  score | Table 1                9.0       -  not reproduced: no 7B model here\n\
             kvquant  speed                  goal: ≥ 3 x     2 x  differs\n"
        );
        assert!(table.to_markdown().contains("| score \\| Table 1 "));
    }

    #[test]
    fn long_reasons_stand_below_once() {
        let open = |claim: &str, reason: &str| {
            Claim::of_paper("longnn", claim, "1").not_reproduced(reason)
        };
        let claims = [
            open("a", "no file\nput it there"),
            open("b", "no file\nput it there"),
            open("c", "no GPU"),
        ];
        let text = claims_text(&claims);
        assert_eq!(text.matches("not reproduced: [1]").count(), 2, "{text}");
        assert!(text.contains("not reproduced: no GPU"), "{text}");
        assert!(text.ends_with("\n\n[1] no file\n    put it there\n"), "{text}");
    }

    #[test]
    fn claims_survive_json() {
        let text = serde_json::to_string(&claims()).unwrap();
        assert!(text.contains(r#""verdict":{"not_reproduced":"no 7B model here"}"#), "{text}");
        assert_eq!(serde_json::from_str::<Vec<Claim>>(&text).unwrap(), claims());
    }
}
