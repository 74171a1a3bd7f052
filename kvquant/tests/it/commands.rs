//! The command line, as a user or a script meets it.

use common::testing::{Program, shared_data};

const KVQUANT: Program = Program(env!("CARGO_BIN_EXE_kvquant"));

#[test]
fn memory_of_the_paper() {
    insta::assert_snapshot!(
        KVQUANT.stdout(&[
            "memory", "--model", "llama-2-7b", "--kv", "asymkv-16/0", "--window", "0", "--context",
            "8192", "--batch", "48", "--against", "kivi-2", "--budget", "80GiB",
        ]),
        @"
    llama-2-7b, asymkv-16/0:window=0: 48 x 8192 tokens
    keys              16106127360 bytes     15.000 GiB
    values            12884901888 bytes     12.000 GiB
    cache             28991029248 bytes     27.000 GiB
    as f16           206158430208 bytes    192.000 GiB
    on the way        29316612096 bytes     27.303 GiB
    2.250 bits per element, metadata and window included
    saves 9.00 GiB against kivi-2:window=0
    80.00 GiB hold 48 x up to 24188 tokens
    80.00 GiB hold up to 140 x 8192 tokens
    "
    );
}

#[test]
fn memory_as_json() {
    let memory = KVQUANT.json(&[
        "memory",
        "--model",
        "llama-2-13b",
        "--kv",
        "asymkv-20/0",
        "--context",
        "4096",
        "--batch",
        "2",
        "--json",
    ]);
    let bytes = |key: &str| memory[key].as_u64().unwrap();
    assert_eq!(bytes("cache_bytes"), bytes("k_bytes") + bytes("v_bytes"));
    let elements = 2.0 * 2.0 * 4096.0 * 40.0 * 40.0 * 128.0;
    let bits = memory["bits_per_element"].as_f64().unwrap();
    assert!((bits - bytes("cache_bytes") as f64 * 8.0 / elements).abs() < 1e-9);
}

#[test]
fn devices_name_the_processor() {
    let devices = KVQUANT.json(&["devices", "--json"]);
    assert!(devices["cpu"]["logical_cores"].as_u64().unwrap() > 0, "{devices}");
    assert!(KVQUANT.stdout(&["devices"]).contains("processor"));
}

#[test]
fn generating_and_scoring_with_a_real_model() {
    let Some(model) = shared_data("models/stories260k-f32.gguf") else { return };
    let Some(text) = shared_data("text/tinyshakespeare/input.txt") else { return };
    let (model, text) = (model.to_str().unwrap(), text.to_str().unwrap());
    let generated = KVQUANT.json(&[
        "generate",
        "--model",
        model,
        "--kv",
        "asymkv-5/0",
        "--raw",
        "--prompt",
        "Once upon a time",
        "--max-tokens",
        "40",
        "--json",
    ]);
    assert!(generated["text"].as_str().unwrap().contains("little girl"), "{generated}");
    assert_eq!(generated["generated_tokens"], 40);

    let score = |plan: &str| {
        let score = KVQUANT.json(&[
            "perplexity",
            "--model",
            model,
            "--kv",
            plan,
            "--text",
            text,
            "--context",
            "256",
            "--windows",
            "2",
            "--rule",
            "second-half",
            "--json",
        ]);
        assert_eq!(score["tokens_scored"], 2 * 127, "{score}");
        let nll = score["nll"].as_f64().unwrap();
        let perplexity = score["perplexity"].as_f64().unwrap();
        assert!((nll.exp() / perplexity - 1.0).abs() < 1e-9, "{score}");
        assert!(score["cache_bytes"].as_u64().unwrap() > 0, "{score}");
        (perplexity, score["bits_per_element"].as_f64().unwrap())
    };
    let (f16, f16_bits) = score("f16");
    assert_eq!(f16_bits, 16.0);
    let (one_bit, one_bit_bits) = score("kivi-1:window=32");
    assert!(one_bit > f16 && one_bit_bits < 8.0, "{one_bit} {f16} {one_bit_bits}");
}

#[test]
fn benches_give_a_row_for_each_plan() {
    let bench = KVQUANT.json(&[
        "bench",
        "attention",
        "--contexts",
        "96",
        "--bits",
        "16,2",
        "--plans",
        "kivi-1",
        "--groups",
        "2",
        "--kv-heads",
        "1",
        "--head-dims",
        "64",
        "--repeats",
        "1",
        "--json",
    ]);
    let plans: Vec<&str> = rows(&bench).map(|row| row["plan"].as_str().unwrap()).collect();
    assert_eq!(plans, ["f16", "2 bits", "kivi-1"], "{bench}");
    assert!(rows(&bench).all(|row| row["seconds"].as_f64().unwrap() > 0.0), "{bench}");

    let Some(model) = shared_data("models/stories260k-f32.gguf") else { return };
    let decode = ["bench", "decode", "--model", model.to_str().unwrap(), "--steps", "2"];
    let bench = KVQUANT.json(
        &[&decode[..], &["--contexts", "0,40", "--kv", "f16,kivi-2", "--repeats", "1", "--json"]]
            .concat(),
    );
    let shapes: Vec<(&str, u64)> = rows(&bench)
        .map(|row| (row["kv"].as_str().unwrap(), row["context"].as_u64().unwrap()))
        .collect();
    assert_eq!(shapes, [("f16", 0), ("kivi-2", 0), ("f16", 40), ("kivi-2", 40)]);
    for row in rows(&bench) {
        assert!(row["tokens_per_s"].as_f64().unwrap() > 0.0, "{row}");
        assert_eq!(row["prefill_tokens_per_s"].is_null(), row["context"] == 0, "{row}");
        assert!(row["perplexity"].is_null(), "no record of this model: {row}");
        let read = row["bytes_read_per_token"].as_f64().unwrap();
        assert!(read >= bench["weights_bytes"].as_f64().unwrap(), "{row}");
    }
    let with = |more: &[&'static str]| [&decode[..], more].concat();
    KVQUANT.fails(&with(&["--peer", "nowhere"]), 2, "nowhere has no llama-batched-bench");
    KVQUANT.fails(&with(&["--contexts", "9k"]), 2, "512");
    KVQUANT.fails(&with(&["--kv", "kivi-3"]), 2, "kivi-3");
}

fn rows(report: &serde_json::Value) -> impl Iterator<Item = &serde_json::Value> {
    report["rows"].as_array().unwrap().iter()
}

#[test]
fn bad_input_says_what_and_where() {
    KVQUANT.fails(
        &["perplexity", "--kv", "asymkv-4/x-16/0"],
        2,
        "           ^ expected 1, 2, 4 or 8 bits",
    );
    KVQUANT.fails(&["perplexity", "--kv", "missing.toml"], 2, "missing.toml");
    KVQUANT.fails(&["perplexity"], 2, "--kv <PLAN>");
    let presets = "expected a preset (exact, balanced, small, tiny), kivi-BITS";
    KVQUANT.fails(&["perplexity", "--kv", "balancd"], 2, presets);
    KVQUANT.fails(&["memory", "--kv", "asymkv-40/0"], 2, "the model has 30 layers");
    KVQUANT.fails(
        &["memory", "--kv", "kivi-2", "--model", "gpt-5"],
        2,
        "published shapes are llama-2-7b",
    );
    KVQUANT.fails(&["memory", "--kv", "kivi-2", "--budget", "lots"], 2, "write 8GiB");
    KVQUANT.fails(
        &["memory", "--kv", "f16", "--context", "4294967295", "--batch", "4294967295"],
        2,
        "beyond 2^64 bytes",
    );
    let text = env!("CARGO_MANIFEST_DIR").to_owned() + "/Cargo.toml";
    KVQUANT.fails(
        &["generate", "--kv", "f16", "--prompt", "x", "--model", &text],
        2,
        "Cargo.toml: magic",
    );
    KVQUANT.fails(&["nonsense"], 2, "nonsense");
}

#[test]
fn a_text_that_is_too_short_or_missing_is_named() {
    let Some(model) = shared_data("models/stories260k-f32.gguf") else { return };
    let model = model.to_str().unwrap();
    let short = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(short.path(), "Once upon a time").unwrap();
    let score = |text: &str, expected| {
        KVQUANT.fails(
            &["perplexity", "--model", model, "--kv", "f16", "--text", text],
            2,
            expected,
        );
    };
    score(short.path().to_str().unwrap(), "the text has 4 tokens, but a window takes 1024");
    score("missing.txt", "the text missing.txt can't be read");
}

#[test]
fn every_command_has_help_with_an_example() {
    for command in
        ["devices", "generate", "perplexity", "memory", "bench attention", "bench decode"]
    {
        let words: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let help = KVQUANT.stdout(&words);
        assert!(help.contains(&format!("\n  kvquant {command}")), "{help}");
    }
}
