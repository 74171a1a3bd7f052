//! torchrun's ways to say how many of what.

use std::str::FromStr;

/// `--nnodes`: so many nodes, or from the fewest to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nodes {
    pub fewest: usize,
    pub most: usize,
}

impl FromStr for Nodes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<usize>().ok().filter(|&number| number > 0);
        let (fewest, most) = text.split_once(':').unwrap_or((text, text));
        match (number(fewest), number(most)) {
            (Some(fewest), Some(most)) if fewest <= most => Ok(Self { fewest, most }),
            _ => Err("neither a number of nodes nor MIN:MAX, as 4 or 1:4".to_owned()),
        }
    }
}

/// `--nproc-per-node`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Processes {
    Number(usize),
    /// One for each GPU.
    Gpu,
    /// One for each core.
    Cpu,
    /// One for each GPU, or, where there is none, for each core.
    Auto,
}

impl FromStr for Processes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("gpu", _) => Ok(Self::Gpu),
            ("cpu", _) => Ok(Self::Cpu),
            ("auto", _) => Ok(Self::Auto),
            (_, Ok(number)) if number > 0 => Ok(Self::Number(number)),
            _ => Err("neither a number of processes nor gpu, cpu or auto".to_owned()),
        }
    }
}

impl Processes {
    /// On a node with so many GPUs and cores.
    pub fn on(self, gpus: usize, cores: usize) -> Result<usize, String> {
        match self {
            Self::Number(number) => Ok(number),
            Self::Gpu if gpus == 0 => Err("this node has no GPU; give a number".to_owned()),
            Self::Auto if gpus == 0 => Ok(cores.max(1)),
            Self::Gpu | Self::Auto => Ok(gpus),
            Self::Cpu => Ok(cores.max(1)),
        }
    }
}

/// `--rdzv-conf`: what of it means something here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rendezvous {
    /// Seconds that the fewest nodes are waited for.
    pub join_timeout_s: f64,
    /// Seconds that more nodes are waited for, once the fewest are there.
    pub last_call_timeout_s: f64,
}

impl Default for Rendezvous {
    fn default() -> Self {
        Self { join_timeout_s: 600.0, last_call_timeout_s: 5.0 }
    }
}

impl FromStr for Rendezvous {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut settings = Self::default();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or(format!("{pair:?} is not KEY=VALUE"))?;
            let seconds =
                value.trim().parse::<f64>().ok().filter(|s| (0.0..=604_800.0).contains(s));
            let seconds = seconds.ok_or(format!("{key}: {value:?} is no number of seconds"))?;
            match key.trim() {
                "join_timeout" | "timeout" => settings.join_timeout_s = seconds,
                "last_call_timeout" | "lastcall_timeout" => settings.last_call_timeout_s = seconds,
                // The lease takes their place.
                "keep_alive_interval"
                | "keep_alive_max_attempt"
                | "close_timeout"
                | "read_timeout" => {}
                key => return Err(format!("{key:?} is none of join_timeout, last_call_timeout")),
            }
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torchruns_words_are_understood() {
        assert_eq!("1:4".parse(), Ok(Nodes { fewest: 1, most: 4 }));
        assert_eq!("2".parse(), Ok(Nodes { fewest: 2, most: 2 }));
        for wrong in ["0", "4:1", "a", "1:2:3", ""] {
            assert!(wrong.parse::<Nodes>().is_err(), "{wrong}");
        }
        assert_eq!(
            "gpu".parse::<Processes>().unwrap().on(0, 8).unwrap_err(),
            "this node has no GPU; give a number"
        );
        assert_eq!("auto".parse::<Processes>().unwrap().on(0, 8), Ok(8));
        assert_eq!("auto".parse::<Processes>().unwrap().on(2, 8), Ok(2));
        assert_eq!("3".parse::<Processes>().unwrap().on(2, 8), Ok(3));
        assert!("0".parse::<Processes>().is_err());
        let conf: Rendezvous = "join_timeout=30,last_call_timeout=1".parse().unwrap();
        assert_eq!(conf, Rendezvous { join_timeout_s: 30.0, last_call_timeout_s: 1.0 });
        assert!("join=3".parse::<Rendezvous>().unwrap_err().contains("none of join_timeout"));
    }
}
