//! Compiles the protocols under `proto/` without `protoc`.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let protocols = ["unicron/v1/unicron.proto", "etcd/etcd.proto"];
    let present: Vec<&str> =
        protocols.into_iter().filter(|path| Path::new("proto").join(path).exists()).collect();
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(present, ["proto"])?;
    tonic_prost_build::configure().compile_fds(files)?;
    Ok(())
}
