//! Bits against loss: presets, other searched plans, plans by rules in the same formats, the paper's plans and
//! llama.cpp's formats, all on the same windows of a text that no choice has seen.

use super::SYSTEM;
use super::setting::{NamedPlan, PlanScore, QWEN, SMOLLM2, Setting, Windows};
use crate::experiment::{Experiment, Size};
use anyhow::Context;
use common::command::workspace_root;
use common::progress::Progress;
use common::report::{Claim, Verdict};
use kvquant::eval::ScoringRule;
use kvquant::model::WeightFormat;
use kvquant::policy::Plan;
use kvquant::presets::Preset;
use kvquant::search::rules;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What each preset may cost on SmolLM2.
const GOALS: [(Preset, f64); 3] =
    [(Preset::Balanced, 0.015), (Preset::Small, 0.03), (Preset::Tiny, 0.05)];
/// The plan of fewer bits still, its bits and what it may cost.
const STRETCH: (&str, f64, f64) = ("searched-1.5", 1.5, 0.08);
/// How long a search may take.
const MOST_SECONDS: f64 = 600.0;
/// What `balanced` may cost on the second model.
const QWEN_GOAL: f64 = 0.1;

/// The curve of one model.
pub struct Plans {
    pub model: &'static str,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct PlansMetrics {
    pub context: usize,
    pub n_windows: usize,
    /// f16 first, against which losses are.
    pub families: Vec<Family>,
}

/// Plans of one kind.
#[derive(Debug, Serialize, Deserialize)]
pub struct Family {
    pub name: String,
    pub scores: Vec<PlanScore>,
}

impl PlansMetrics {
    /// The score of a plan, if it was run.
    pub fn score(&self, plan: &str) -> Option<&PlanScore> {
        self.families.iter().flat_map(|family| &family.scores).find(|score| score.plan == plan)
    }
}

impl Plans {
    /// SmolLM2's; the second model is 491 MB, which the quick form does without.
    pub fn of(size: Size) -> Vec<Plans> {
        match size {
            Size::Quick => vec![Plans { model: SMOLLM2 }],
            Size::Full => vec![Plans { model: SMOLLM2 }, Plans { model: QWEN }],
        }
    }

    /// The plans by family, f16 first.
    fn families(
        &self,
        size: Size,
        setting: &Setting,
    ) -> anyhow::Result<Vec<(&'static str, Vec<NamedPlan>)>> {
        let presets = |presets: &[Preset]| -> anyhow::Result<Vec<NamedPlan>> {
            presets.iter().map(|&preset| setting.preset(preset)).collect()
        };
        let parse = |plans: &[&str]| -> anyhow::Result<Vec<NamedPlan>> {
            plans.iter().map(|plan| NamedPlan::parse(plan)).collect()
        };
        let f16 = ("half precision", parse(&["f16"])?);
        if size == Size::Quick {
            return Ok(vec![f16, ("searched", presets(&[Preset::Small])?)]);
        }
        let mut searched = presets(&Preset::SEARCHED)?;
        let shape = setting.model.config().cache_shape();
        let (key_layers, value_layers) = self.prefix()?;
        let mut by_rule =
            vec![NamedPlan::new("prefix rule", rules::prefix(shape, key_layers, value_layers))];
        let (mut paper, mut llama_cpp) = (parse(&["kivi-2"])?, parse(&["q8_0/q4_0", "q4_0"])?);
        if self.model == SMOLLM2 {
            for bits in ["4", "3", "1.5", "1.25"] {
                let plan = committed(self.model, bits)?;
                // One of them has a goal.
                searched.push(if bits == "1.5" { plan } else { plan.on_half_of_the_windows() });
            }
            let n = shape.n_layers;
            by_rule.push(NamedPlan::new("2 bits everywhere", rules::prefix(shape, n, n)));
            paper.extend(parse(&["kivi-4", "asymkv-30/0"])?);
            llama_cpp.extend(parse(&["q8_0"])?);
        }
        let half = |plans: Vec<NamedPlan>| -> Vec<NamedPlan> {
            plans.into_iter().map(NamedPlan::on_half_of_the_windows).collect()
        };
        Ok(vec![
            f16,
            ("searched", searched),
            ("the paper's rule in our formats", by_rule),
            ("the paper's and KIVI's", half(paper)),
            ("llama.cpp's", half(llama_cpp)),
        ])
    }

    /// l_k and l_v of the best prefix plan that the search for `small` measured.
    fn prefix(&self) -> anyhow::Result<(usize, usize)> {
        let evidence = evidence(self.model, Preset::Small)?;
        let prefix = evidence.prefix.context("the search for small has no prefix plan")?;
        Ok((prefix.key_layers, prefix.value_layers))
    }

    fn windows(&self, size: Size) -> Windows {
        let (context, skipped, n) = match (self.model, size) {
            // The first five were looked at while formats and search were made.
            (SMOLLM2, Size::Full) => (8192, 5, 8),
            (_, Size::Full) => (4096, 10, 4),
            (_, Size::Quick) => (1024, 8, 1),
        };
        Windows { context, skipped, n, rule: ScoringRule::All }
    }
}

impl Experiment for Plans {
    type Metrics = PlansMetrics;

    fn name(&self) -> String {
        format!("kvquant-plans-{}", self.model)
    }

    fn run(&self, size: Size, progress: &Progress) -> anyhow::Result<(PlansMetrics, Value)> {
        let setting = Setting::load(self.model, WeightFormat::F32, progress)?;
        let windows = self.windows(size);
        let families = self.families(size, &setting)?;
        let plans: Vec<NamedPlan> = families.iter().flat_map(|(_, plans)| plans.clone()).collect();
        let mut scores = setting.score(&self.name(), &plans, windows, progress)?.into_iter();
        let families = families
            .iter()
            .map(|(name, plans)| Family {
                name: (*name).to_owned(),
                scores: scores.by_ref().take(plans.len()).collect(),
            })
            .collect();
        let metrics = PlansMetrics { context: windows.context, n_windows: windows.n, families };
        Ok((metrics, setting.configuration(windows)))
    }

    fn judged(&self, metrics: &PlansMetrics) -> Vec<Claim> {
        let mut claims = self.claims();
        let mut rows = claims.iter_mut();
        let mut judge = |here: Option<(String, Verdict)>| {
            if let (Some(claim), Some((here, verdict))) = (rows.next(), here) {
                (claim.here, claim.verdict) = (here, verdict);
            }
        };
        if self.model != SMOLLM2 {
            let score = metrics.score("balanced");
            judge(score.map(|score| (in_words(score), verdict(score, f64::INFINITY, QWEN_GOAL))));
            return claims;
        }
        for (preset, most) in GOALS {
            let bits = preset.budget().map_or(f64::INFINITY, |budget| budget.bits);
            let score = metrics.score(&preset.to_string());
            judge(score.map(|score| (in_words(score), verdict(score, bits, most))));
        }
        let (name, bits, most) = STRETCH;
        let score = metrics.score(name);
        judge(score.map(|score| (in_words(score), verdict(score, bits, most))));
        let both = metrics.score("small").zip(metrics.score("prefix rule"));
        judge(both.map(|(small, prefix)| {
            let [small_loss, prefix_loss] = [small, prefix].map(|score| 100.0 * score.loss);
            let here = format!("{small_loss:+.1} % against {prefix_loss:+.1} %");
            (here, Verdict::judged(small.loss_high < prefix.loss_low))
        }));
        let found = evidence(self.model, Preset::Small).ok();
        judge(found.map(|found| {
            let here = format!("{:.0} s, {}", found.seconds, found.processor);
            (here, Verdict::judged(found.seconds < MOST_SECONDS))
        }));
        claims
    }

    fn claims(&self) -> Vec<Claim> {
        let claim = |claim: &str, bound: String| Claim::goal(SYSTEM, claim, bound);
        if self.model != SMOLLM2 {
            let text = format!("preset balanced on {}, 4096 tokens", self.model);
            return vec![claim(&text, format!("≤ {:+.0} %", 100.0 * QWEN_GOAL))];
        }
        let bound = |bits: f64, most: f64| format!("{bits} bits, ≤ {:+.1} %", 100.0 * most);
        let of_preset = |(preset, most): (Preset, f64)| {
            let bits = preset.budget().map_or(16.0, |budget| budget.bits);
            claim(&format!("preset {preset}, 8192 tokens"), bound(bits, most))
        };
        let mut claims: Vec<Claim> = GOALS.into_iter().map(of_preset).collect();
        claims.push(claim("searched, 8192 tokens", bound(STRETCH.1, STRETCH.2)));
        claims.push(claim(
            "a searched plan beats the prefix rule at the same bytes",
            "smaller loss".to_owned(),
        ));
        claims.push(claim("a search on two cores", format!("< {MOST_SECONDS:.0} s")));
        claims
    }
}

/// Of a loss at no more than so many bits that may be `most`.
fn verdict(score: &PlanScore, bits: f64, most: f64) -> Verdict {
    match score {
        PlanScore { loss_high, .. } if loss_high.is_infinite() => {
            Verdict::NotReproduced("one window says little".to_owned())
        }
        PlanScore { loss, loss_high, bits_per_element, .. }
            if *loss <= most && *loss_high > most && *bits_per_element <= bits =>
        {
            let text = "the measured loss is within the goal, its 95 % interval reaches beyond";
            Verdict::NotReproduced(text.to_owned())
        }
        score => Verdict::judged(score.loss_high <= most && score.bits_per_element <= bits),
    }
}

fn in_words(score: &PlanScore) -> String {
    format!(
        "{:.2} bits, {:+.1} % ({:+.1} to {:+.1})",
        score.bits_per_element,
        100.0 * score.loss,
        100.0 * score.loss_low,
        100.0 * score.loss_high
    )
}

/// A searched plan that is no preset.
fn committed(model: &str, bits: &str) -> anyhow::Result<NamedPlan> {
    let root = workspace_root().context("run this inside the workspace")?;
    let plan = Plan::from_file(&root.join(format!("benches/plans/{model}/{bits}.toml")))?;
    Ok(NamedPlan::new(&plan.to_string(), plan))
}

/// What a shipped plan says of the search that found it.
#[derive(Debug, Deserialize)]
pub struct Evidence {
    pub bits: f64,
    pub expected: f64,
    pub measured: f64,
    pub random: Vec<(f64, f64)>,
    pub prefix: Option<PrefixEvidence>,
    pub tokens: usize,
    pub seconds: f64,
    pub command: String,
    pub processor: String,
}

#[derive(Debug, Deserialize)]
pub struct PrefixEvidence {
    pub key_layers: usize,
    pub value_layers: usize,
    pub bits: f64,
    pub divergence: f64,
}

/// The evidence of a shipped plan.
pub fn evidence(model: &str, preset: Preset) -> anyhow::Result<Evidence> {
    #[derive(Deserialize)]
    struct File {
        evidence: Evidence,
    }
    let root = workspace_root().context("run this inside the workspace")?;
    let path = root.join(format!("kvquant/presets/{model}/{preset}.toml"));
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("{} can't be read", path.display()))?;
    let file: File =
        toml::from_str(&text).with_context(|| format!("{} has no evidence", path.display()))?;
    Ok(file.evidence)
}
