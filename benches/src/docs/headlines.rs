//! What README.md says of the results: one figure a system, and how many claims hold.

use super::Generated;
use common::report::{Align, Claim, Table, Verdict};

/// The one figure of a system that tells most.
#[derive(Debug)]
pub struct Headline {
    pub system: &'static str,
    pub what: String,
    pub here: String,
    /// What it is held against.
    pub beside: String,
}

/// Adds the parts, from what the systems have left.
pub fn generate(generated: &mut Generated) {
    let mut table = Table::new(&[
        ("system", Align::Left),
        ("figure", Align::Left),
        ("here", Align::Right),
        ("beside it", Align::Left),
    ]);
    for headline in &generated.headlines {
        let Headline { system, what, here, beside } = headline;
        table.row([&format!("[{system}](docs/{system}/overview.md)"), what, here, beside]);
    }
    let counts = counts(&generated.claims);
    generated.parts.extend([("headlines", table.into()), ("claims-counts", counts.into())]);
}

/// Claims of papers and goals that the suite has set itself, apart.
fn counts(claims: &[Claim]) -> String {
    let (ours, papers): (Vec<&Claim>, Vec<&Claim>) = claims.iter().partition(|claim| claim.is_goal);
    format!(
        "Of {} claims of the papers {}. Of {} goals of our own {}.",
        papers.len(),
        outcomes(&papers),
        ours.len(),
        outcomes(&ours)
    )
}

fn outcomes(claims: &[&Claim]) -> String {
    let count = |is: fn(&Verdict) -> bool| claims.iter().filter(|claim| is(&claim.verdict)).count();
    format!(
        "{} hold, {} differ, {} are not reproduced",
        count(|verdict| *verdict == Verdict::Holds),
        count(|verdict| *verdict == Verdict::Differs),
        count(|verdict| matches!(verdict, Verdict::NotReproduced(_))),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_counted_by_whose_they_are() {
        let claims = [
            Claim::of_paper("kvquant", "table 1", "1").judged("1", true),
            Claim::of_paper("kvquant", "table 2", "1").not_reproduced("no model"),
            Claim::goal("kvquant", "speed", "2 x").judged("1 x", false),
        ];
        assert_eq!(
            counts(&claims),
            "Of 2 claims of the papers 1 hold, 0 differ, 1 are not reproduced. Of 1 goals of our own 0 hold, 1 differ, \
             0 are not reproduced."
        );
    }
}
