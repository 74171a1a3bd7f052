//! `kvquant devices`

use clap::Args;
use common::command::{print, print_json};
use common::device::{Cpu, Devices, GpuProbe, discover};

/// Show the processor, its vector instructions, memory and GPUs
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  kvquant devices --json")]
pub struct DevicesCommand {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl DevicesCommand {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let devices = discover();
        match self.json {
            true => print_json(&devices),
            false => print(&text(&devices)),
        }
    }
}

fn text(devices: &Devices) -> String {
    let Cpu { model, architecture, physical_cores, logical_cores, memory_bytes, features } =
        &devices.cpu;
    let physical = physical_cores.map_or("?".to_owned(), |cores| cores.to_string());
    let mut lines = vec![
        format!("processor  {model} ({architecture})"),
        format!("cores      {physical} physical, {logical_cores} logical"),
        format!("memory     {:.1} GiB", gib(*memory_bytes)),
        format!("vectors    {}", features.names().join(" ")),
    ];
    match &devices.gpus {
        GpuProbe::Found(gpus) => lines.extend(gpus.iter().map(|gpu| {
            format!(
                "GPU {}      {}, {:.1} GiB, compute capability {}.{}, {} multiprocessors",
                gpu.index,
                gpu.name,
                gib(gpu.memory_bytes),
                gpu.compute_major,
                gpu.compute_minor,
                gpu.multiprocessors
            )
        })),
        GpuProbe::Absent(why) => lines.push(format!("GPU        none ({why})")),
    }
    lines.join("\n") + "\n"
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / (1u64 << 30) as f64
}
