//! Two records of an experiment, value by value.

use super::rules::{Allowed, rules_of};
use common::report::Record;
use serde_json::Value;
use std::collections::BTreeMap;

/// What came of comparing records.
#[derive(Debug, Default)]
pub struct Comparison {
    pub n_experiments: usize,
    pub n_compared: usize,
    /// Those that are further apart than is allowed.
    pub differences: Vec<Difference>,
    /// What couldn't be compared, and why.
    pub left_out: Vec<String>,
}

/// A value that differs by more than is allowed.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    pub experiment: String,
    /// Where it is in the record's metrics.
    pub path: String,
    pub before: String,
    pub now: String,
    pub allowed: String,
    pub is_worse: bool,
}

impl Comparison {
    /// Compares two records of the experiment `name`.
    pub fn add(&mut self, name: &str, before: &Record, now: &Record) {
        let rules = rules_of(name);
        if rules.is_empty() {
            self.left_out.push(format!("{name}: times only"));
            return;
        }
        if before.configuration != now.configuration {
            self.left_out.push(format!(
                "{name}: configured otherwise, {} and now {}",
                before.configuration, now.configuration
            ));
            return;
        }
        self.n_experiments += 1;
        for rule in rules {
            let new: BTreeMap<String, &Value> = find(&now.metrics, rule.path).into_iter().collect();
            for (path, old) in find(&before.metrics, rule.path) {
                self.n_compared += 1;
                let new = new.get(&path).copied();
                let is_worse = match new {
                    Some(new) if rule.allowed.is_met(old, new) => continue,
                    Some(new) => rule.allowed.is_worse(old, new),
                    None => true,
                };
                self.differences.push(Difference {
                    experiment: name.to_owned(),
                    path,
                    before: shown(old),
                    now: new.map_or_else(|| "missing".to_owned(), shown),
                    allowed: rule.allowed.to_string(),
                    is_worse,
                });
            }
        }
    }
}

impl Allowed {
    /// Whether the new value is as near as it has to be. Values that aren't numbers are equal or not.
    fn is_met(self, old: &Value, new: &Value) -> bool {
        let (Some(old), Some(new)) = (old.as_f64(), new.as_f64()) else { return old == new };
        (new - old).abs() <= self.distance(old)
    }

    /// Whether a value that is too far away is so in the bad direction.
    fn is_worse(self, old: &Value, new: &Value) -> bool {
        let (Some(old), Some(new)) = (old.as_f64(), new.as_f64()) else { return true };
        match self {
            Allowed::Rise(_) | Allowed::RiseBy(_) => new > old,
            Allowed::Fall(_) | Allowed::FallBy(_) => new < old,
            Allowed::Nothing | Allowed::Relative(_) => true,
        }
    }

    fn distance(self, old: f64) -> f64 {
        match self {
            Allowed::Nothing => 0.0,
            Allowed::Relative(part) | Allowed::Rise(part) | Allowed::Fall(part) => part * old.abs(),
            Allowed::RiseBy(distance) | Allowed::FallBy(distance) => distance,
        }
    }
}

/// The values at a path, in which `*` is any index, and where each is. Nothing is no value.
fn find<'v>(metrics: &'v Value, path: &str) -> Vec<(String, &'v Value)> {
    let mut found = vec![(String::new(), metrics)];
    for step in path.split('.') {
        found = found
            .into_iter()
            .flat_map(|(at, value)| {
                let below: Vec<(String, &Value)> = match (step, value) {
                    ("*", Value::Array(items)) => {
                        items.iter().enumerate().map(|(i, item)| (i.to_string(), item)).collect()
                    }
                    (_, value) => {
                        value.get(step).map(|item| (step.to_owned(), item)).into_iter().collect()
                    }
                };
                let join =
                    move |step: String| if at.is_empty() { step } else { format!("{at}.{step}") };
                below.into_iter().map(move |(step, item)| (join(step), item)).collect::<Vec<_>>()
            })
            .collect();
    }
    found.retain(|(_, value)| !value.is_null());
    found
}

fn shown(value: &Value) -> String {
    match value.as_f64() {
        Some(number) if value.is_f64() && number.abs() < 1e-3 => format!("{number:.4e}"),
        Some(number) if value.is_f64() => format!("{number:.6}"),
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn stars_are_any_index() {
        let metrics = json!({"rows": [{"a": 1}, {"b": 2}, {"a": null}, {"a": 3}]});
        let found = find(&metrics, "rows.*.a");
        assert_eq!(found, [("rows.0.a".to_owned(), &json!(1)), ("rows.3.a".to_owned(), &json!(3))]);
    }

    #[test]
    fn better_is_told_from_worse() {
        let judge = |allowed: Allowed, old: Value, new: Value| match allowed.is_met(&old, &new) {
            true => "met",
            false if allowed.is_worse(&old, &new) => "worse",
            false => "better",
        };
        for (allowed, old, new, expected) in [
            (Allowed::Nothing, json!(3), json!(3), "met"),
            (Allowed::Nothing, json!(3), json!(2), "worse"),
            (Allowed::Nothing, json!("a"), json!("b"), "worse"),
            (Allowed::Rise(0.1), json!(10.0), json!(10.9), "met"),
            (Allowed::Rise(0.1), json!(10.0), json!(11.1), "worse"),
            (Allowed::Rise(0.1), json!(10.0), json!(8.0), "better"),
            (Allowed::FallBy(1.0), json!(80.0), json!(79.5), "met"),
            (Allowed::FallBy(1.0), json!(80.0), json!(78.5), "worse"),
            (Allowed::RiseBy(1.0), json!(0), json!(2), "worse"),
            (Allowed::Fall(0.1), json!(1.0), json!(1.2), "better"),
            (Allowed::Relative(0.01), json!(-1.0), json!(-1.005), "met"),
            (Allowed::Relative(0.01), json!(1.0), json!(2.0), "worse"),
        ] {
            assert_eq!(
                judge(allowed, old.clone(), new.clone()),
                expected,
                "{allowed}: {old} {new}"
            );
        }
    }
}
