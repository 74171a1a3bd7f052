//! Any bytes as a GGUF file: open it, read every value and every tensor, build the tokenizer and
//! the chat template, use both, and load the model. An error is fine; a panic, an endless loop or an allocation
//! that the file can't back is a find.
#![no_main]

use kvquant::model::chat::{ChatTemplate, Message};
use kvquant::model::gguf::Gguf;
use kvquant::model::tokenizer::Tokenizer;
use kvquant::model::{Llama, WeightFormat};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(gguf) = Gguf::parse("fuzz.gguf", bytes) else { return };
    for key in gguf.keys() {
        let _ = gguf.opt_u32(key);
        let _ = gguf.opt_f32(key);
        let _ = gguf.opt_bool(key);
        let _ = gguf.opt_str(key);
        let _ = gguf.opt_str_array(key);
        let _ = gguf.opt_f32_array(key);
        let _ = gguf.opt_i32_array(key);
        let _ = gguf.opt_u32_array(key);
    }
    for name in gguf.tensor_names() {
        let tensor = gguf.tensor(name).expect("the file lists it");
        tensor.to_qtensor().expect("opening has checked it");
        tensor.dequantize_row(tensor.rows() - 1).expect("it has a row");
        assert!(tensor.dequantize_row(tensor.rows()).is_err());
    }
    if let Ok(tokenizer) = Tokenizer::from_gguf(&gguf) {
        tokenize(&gguf, &tokenizer);
    }
    let _ = Llama::load(gguf, WeightFormat::Auto);
});

fn tokenize(gguf: &Gguf, tokenizer: &Tokenizer) {
    let text = "Hello, 1234 worlds!\n\n  naïve \u{2581}東京 <|im_end|></s><s>a";
    if let Ok(ids) = tokenizer.encode(text, false) {
        assert!(ids.iter().all(|&id| !tokenizer.is_control(id)), "text has spelt a control token");
        tokenizer.decode(&ids).expect("the ids are the tokenizer's own");
    }
    let _ = tokenizer.encode_with_special(text, tokenizer.adds_bos());
    if let Ok(template) = ChatTemplate::from_gguf(gguf, tokenizer) {
        let _ = template.encode(tokenizer, &[Message::new("user", text)], true);
    }
}
